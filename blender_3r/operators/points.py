"""What an artist does with imported points beyond the sliders: crop box, views on and off, how they are drawn."""

from __future__ import annotations

import bpy
import numpy as np
from bpy.app.translations import pgettext_iface as iface_

from ..scene import compat
from ..scene.fast_display import add_fast_display, fast_modifier, remove_fast_display
from ..scene.point_crop import fit_crop_box
from ..scene.point_kind import can_be_cloud, other_kind
from ..scene.point_nodes import find_points, point_input, point_modifier
from ..scene.point_views import hidden_flags, hide_views, list_views, view_names, views_of
from ..scene.points import show_colors
from ..viewport.fast_points import fast_points


class PointsOperator:
    """What the operators share: the points that the panel shows."""

    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if find_points(context) is None:
            cls.poll_message_set("Select imported points, or anything of their reconstruction")
            return False
        if context.mode != "OBJECT":
            cls.poll_message_set("Switch to Object Mode first")
            return False
        return True


class THREER_OT_add_crop_box(PointsOperator, bpy.types.Operator):
    """Add a box around the points; move, turn and scale it, and only the points inside it show"""

    bl_idname = "threer.add_crop_box"
    bl_label = "Add Crop Box"

    def execute(self, context: bpy.types.Context) -> set[str]:
        points = find_points(context)
        modifier = point_modifier(points)
        box = compat.modifier_input(modifier, point_input(modifier, "Crop Box"))
        if box is None or box.name not in context.scene.objects:
            box = fit_crop_box(points)
            compat.set_modifier_input(modifier, point_input(modifier, "Crop Box"), box)
        compat.set_modifier_input(modifier, point_input(modifier, "Crop"), True)
        for item in context.selected_objects:
            item.select_set(False)
        if box.name in context.view_layer.objects:
            box.select_set(True)
            context.view_layer.objects.active = box
        return {"FINISHED"}


class THREER_OT_list_views(PointsOperator, bpy.types.Operator):
    """List the views, to show or hide the points of each"""

    bl_idname = "threer.list_views"
    bl_label = "Choose Views"

    def execute(self, context: bpy.types.Context) -> set[str]:
        points = find_points(context)
        modifier = point_modifier(points)
        if list_views(points, modifier, point_input(modifier, "Views")) is None:
            self.report({"ERROR"}, "These points do not know their views. Import the reconstruction again.")
            return {"CANCELLED"}
        return {"FINISHED"}


class THREER_OT_show_views(PointsOperator, bpy.types.Operator):
    """Show or hide the points of views; no point is lost"""

    bl_idname = "threer.show_views"
    bl_label = "Show or Hide Views"

    which: bpy.props.EnumProperty(
        name="Which",
        items=(
            ("ALL", "All", "Show the points of all views"),
            ("NONE", "None", "Hide the points of all views"),
            ("INVERT", "Invert", "Show what is hidden and hide what shows"),
            ("ONLY", "Only", "Show the points of this view and of no other"),
            ("TOGGLE", "Toggle", "Show or hide the points of this view"),
        ),
    )
    view: bpy.props.StringProperty(name="View", description="Name of the view, for Only and Toggle")

    @classmethod
    def description(cls, context: bpy.types.Context, properties: THREER_OT_show_views) -> str:
        return cls.bl_rna.properties["which"].enum_items[properties.which].description

    def execute(self, context: bpy.types.Context) -> set[str]:
        points = find_points(context)
        modifier = point_modifier(points)
        mesh = list_views(points, modifier, point_input(modifier, "Views"))
        names = np.array(view_names(mesh) if mesh is not None else [], dtype=str)
        this = names == self.view
        if mesh is None or (self.which in ("ONLY", "TOGGLE") and not this.any()):
            words = iface_("The points have no view {!r}. Choose one of the list.")
            self.report({"ERROR"}, words.format(self.view))
            return {"CANCELLED"}
        hidden = hidden_flags(mesh)
        hide_views(
            mesh,
            {
                "ALL": np.zeros_like(hidden),
                "NONE": np.ones_like(hidden),
                "INVERT": ~hidden,
                "ONLY": ~this,
                "TOGGLE": hidden ^ this,
            }[self.which],
        )
        return {"FINISHED"}


class THREER_OT_change_points(PointsOperator, bpy.types.Operator):
    """Keep the points as a mesh, which every Blender can open, or as a point cloud, which is edited as such"""

    bl_idname = "threer.change_points"
    bl_label = "Mesh or Point Cloud"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not can_be_cloud():
            cls.poll_message_set("Needs Blender 5.1 or newer")
            return False
        return super().poll(context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        changed = other_kind(find_points(context))
        context.view_layer.objects.active = changed
        return {"FINISHED"}


class THREER_OT_show_point_colors(bpy.types.Operator):
    """Switch this 3D view to Material Preview: Solid draws point clouds gray"""

    bl_idname = "threer.show_point_colors"
    bl_label = "Show Colors"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.area is not None and context.area.type == "VIEW_3D"

    def execute(self, context: bpy.types.Context) -> set[str]:
        show_colors(context.space_data)
        return {"FINISHED"}


class THREER_OT_toggle_fast_display(PointsOperator, bpy.types.Operator):
    """Draw the points straight from the graphics card's memory: in their colours in Solid too, and fast enough to \
play points that move. Renders do not change; viewport renders and clicks in the view leave the points out"""

    bl_idname = "threer.toggle_fast_display"
    bl_label = "Fast Display"

    def execute(self, context: bpy.types.Context) -> set[str]:
        points = find_points(context)
        if fast_modifier(points) is not None:
            remove_fast_display(points)
        else:
            fast_points.forget()
            add_fast_display(points)
        return {"FINISHED"}


def listed_views(context: bpy.types.Context) -> bpy.types.Mesh | None:
    """The mesh of the views that the panel lists, or None before they are listed."""
    points = find_points(context)
    modifier = point_modifier(points) if points is not None else None
    return views_of(modifier, point_input(modifier, "Views")) if modifier is not None else None


classes = (
    THREER_OT_add_crop_box,
    THREER_OT_list_views,
    THREER_OT_show_views,
    THREER_OT_change_points,
    THREER_OT_show_point_colors,
    THREER_OT_toggle_fast_display,
)

"""How imported points look: the inputs of their modifier, grouped, where the artist looks for them."""

from __future__ import annotations

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..operators.points import listed_views
from ..scene import compat, dynamic
from ..scene.fast_display import fast_modifier
from ..scene.point_kind import can_be_cloud
from ..scene.point_nodes import INPUTS, find_points, point_input, point_modifier
from ..scene.point_views import view_names
from ..viewport.fast_points import fast_points
from ..widgets import text

_NEEDS = {"Hide Edges": "edge", "Min Views": "seen_by", "Hide Sky": "sky"}  # the attribute that an input goes by


class THREER_UL_views(bpy.types.UIList):
    """The views with points, each with an eye."""

    def draw_item(
        self,
        context: bpy.types.Context,
        layout: bpy.types.UILayout,
        data: bpy.types.BoolAttribute,
        item: bpy.types.BoolAttributeValue,
        icon: int,
        active_data: bpy.types.PropertyGroup,
        active_property: str,
        index: int,
    ) -> None:
        mesh = data.id_data
        name = view_names(mesh)[index]
        row = layout.row(align=True)
        label = row.row()
        label.active = not item.value
        label.label(text=name)
        side = label.row()
        side.alignment = "RIGHT"
        side.label(text=text.count(mesh.attributes["points"].data[index].value))
        only = row.operator("threer.show_views", text="", icon="ZOOM_SELECTED", emboss=False)
        only.which, only.view = "ONLY", name
        toggle = row.operator("threer.show_views", text="", icon="HIDE_ON" if item.value else "HIDE_OFF", emboss=False)
        toggle.which, toggle.view = "TOGGLE", name

    def filter_items(
        self, context: bpy.types.Context, data: bpy.types.BoolAttribute, property_name: str
    ) -> tuple[list[int], list[int]]:
        """Views without points are left out; the search field goes by name."""
        mesh = data.id_data
        names = view_names(mesh)
        wanted = self.filter_name.lower()
        flags = [
            self.bitflag_filter_item if points.value and wanted in name.lower() else 0
            for name, points in zip(names, mesh.attributes["points"].data, strict=False)
        ]
        return flags, []


class _PointsPanel:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "3R"


class THREER_PT_points(_PointsPanel, bpy.types.Panel):
    bl_label = "Points"
    bl_order = 1

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        points = find_points(context)
        return points is not None and points.mode == "OBJECT"  # Edit Mode hides what the panel goes by

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        points = find_points(context)
        count = len(points.data.attributes["position"].data)
        row = layout.row()
        row.label(text=points.name, icon="OUTLINER_OB_POINTCLOUD")
        side = row.row()
        side.alignment = "RIGHT"
        side.label(text=text.count(count))
        is_fast = fast_modifier(points) is not None
        if fast_points.failure:
            words = iface_("The graphics card does not draw the points: {}. Blender's own display shows them.")
            text.draw_wrapped(layout, words.format(fast_points.failure), icon="ERROR")
        place = layout
        if not is_fast and context.space_data.shading.type == "SOLID":
            place = layout.box()
            text.draw_wrapped(place, "Solid draws points gray.", icon="INFO")
            place.operator("threer.show_point_colors", icon="SHADING_TEXTURE")
        place.operator("threer.toggle_fast_display", icon="SHADING_SOLID", depress=is_fast)
        if is_fast and fast_points.share_drawn(points) < 1:
            words = iface_("Without a graphics card {} % of them are drawn, each as much larger.")
            text.draw_wrapped(layout, words.format(round(100 * fast_points.share_drawn(points))), icon="INFO")
        column = _rows(layout)
        _draw_inputs(context, column, "Look")
        if can_be_cloud():
            kind = "Mesh" if isinstance(points.data, bpy.types.Mesh) else "Point Cloud"
            other = "Point Cloud" if kind == "Mesh" else "Mesh"
            layout.operator("threer.change_points", text=iface_("{}: Turn into {}").format(iface_(kind), iface_(other)))


class THREER_PT_point_moving(_PointsPanel, bpy.types.Panel):
    bl_label = "Moving"
    bl_parent_id = "THREER_PT_points"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        points = find_points(context)
        return points is not None and dynamic.moving_modifier(points) is not None

    def draw(self, context: bpy.types.Context) -> None:
        column = _rows(self.layout)
        modifier = dynamic.moving_modifier(find_points(context))
        for name, _ in dynamic.INPUTS:
            data, path = compat.modifier_input_place(modifier, dynamic.moving_input(modifier, name))
            column.prop(data, path, text=name)


class THREER_PT_point_filter(_PointsPanel, bpy.types.Panel):
    bl_label = "Filter"
    bl_parent_id = "THREER_PT_points"

    def draw(self, context: bpy.types.Context) -> None:
        _draw_inputs(context, _rows(self.layout), "Filter")


class THREER_PT_point_crop(_PointsPanel, bpy.types.Panel):
    bl_label = "Crop"
    bl_parent_id = "THREER_PT_points"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        points = find_points(context)
        modifier = point_modifier(points)
        column = _rows(self.layout)
        if compat.modifier_input(modifier, point_input(modifier, "Crop Box")) is None:
            column.operator("threer.add_crop_box", icon="MESH_CUBE")
            return
        _draw_inputs(context, column, "Crop")
        column.operator("threer.add_crop_box", text="Select Crop Box", icon="RESTRICT_SELECT_OFF")


class THREER_PT_point_views(_PointsPanel, bpy.types.Panel):
    bl_label = "Views"
    bl_parent_id = "THREER_PT_points"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        points = find_points(context)
        return points is not None and "edge" in points.data.attributes  # points of no view in particular have none

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        mesh = listed_views(context)
        if mesh is None:
            layout.operator("threer.list_views", icon="HIDE_OFF")
            return
        row = layout.row(align=True)
        for which in ("ALL", "NONE", "INVERT"):
            row.operator("threer.show_views", text=which.title()).which = which
        layout.template_list(
            "THREER_UL_views", "", mesh.attributes["hidden"], "data", context.scene.threer, "active_view", rows=4
        )


def _rows(layout: bpy.types.UILayout) -> bpy.types.UILayout:
    layout.use_property_split = True
    layout.use_property_decorate = False
    return layout.column()


def _draw_inputs(context: bpy.types.Context, column: bpy.types.UILayout, panel: str) -> None:
    """The inputs of one of the group's panels, as far as the points know what they go by."""
    points = find_points(context)
    for item in INPUTS:
        if item.panel == panel and _NEEDS.get(item.name, "position") in points.data.attributes:
            _draw_input(column, point_modifier(points), item.name)


def _draw_input(layout: bpy.types.UILayout, modifier: bpy.types.NodesModifier, name: str) -> None:
    """One input of the points' modifier."""
    data, path = compat.modifier_input_place(modifier, point_input(modifier, name))
    if name == "Crop Box":
        layout.prop_search(data, path, bpy.data, "objects", text=name)
    else:
        layout.prop(data, path, text=name)


classes = (
    THREER_UL_views,
    THREER_PT_points,
    THREER_PT_point_moving,
    THREER_PT_point_filter,
    THREER_PT_point_crop,
    THREER_PT_point_views,
)

"""How a reconstruction stands in the world, from selected points."""

from __future__ import annotations

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..scene.orient_picks import find_root
from ..scene.shown import edited_clip
from ..widgets import text


class _Orient:
    bl_label = "Orient and Scale"
    bl_region_type = "UI"
    bl_category = "3R"
    bl_order = 3
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return find_root(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        if edited_clip(context) is not None:
            text.draw_wrapped(layout, "Select tracks. The solved camera places them.", icon="INFO")
        elif context.mode == "OBJECT":
            text.draw_wrapped(layout, "Select points in Edit Mode, or empties put on points.", icon="INFO")
        column = layout.column(align=True)
        column.operator("threer.set_floor", icon="MESH_GRID")
        column.operator("threer.set_origin", icon="EMPTY_AXIS")
        row = column.row(align=True)
        for axis in "XY":
            row.operator("threer.set_axis", text=iface_("Set {} Axis").format(axis)).axis = axis
        column = layout.column(align=True)
        column.operator_context = "INVOKE_DEFAULT"
        column.operator("threer.set_distance", text="Set Distance...", icon="DRIVER_DISTANCE")
        column.operator("threer.set_height", text="Set Height...", icon="EMPTY_SINGLE_ARROW")
        layout.operator("threer.reset_orientation", icon="LOOP_BACK")


class THREER_PT_orient(_Orient, bpy.types.Panel):
    bl_space_type = "VIEW_3D"


class THREER_PT_orient_clip(_Orient, bpy.types.Panel):
    bl_space_type = "CLIP_EDITOR"


classes = (THREER_PT_orient, THREER_PT_orient_clip)

"""What most shots do not need: closed sub-panels of the tab."""

from __future__ import annotations

import bpy

from ..scene.point_kind import can_be_cloud
from ..translations import OWN


class Options:
    """What they share."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "3R"
    bl_parent_id = "THREER_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def column(self, context: bpy.types.Context) -> bpy.types.UILayout:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        return layout.column()


class THREER_PT_frames(Options, bpy.types.Panel):
    bl_label = "Frames"
    bl_translation_context = OWN
    bl_order = 1

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.scene.threer.info_kind in ("movie", "sequence", "rig")

    def draw(self, context: bpy.types.Context) -> None:
        settings = context.scene.threer
        column = self.column(context)
        if settings.info_kind == "rig":
            column.prop(settings, "rig_frame")
            return
        column.prop(settings, "use_range")
        rows = column.column(align=True)
        rows.active = settings.use_range
        rows.prop(settings, "first")
        rows.prop(settings, "last")
        rows.prop(settings, "step")


class THREER_PT_lens(Options, bpy.types.Panel):
    bl_label = "Lens"
    bl_translation_context = OWN
    bl_order = 3

    def draw(self, context: bpy.types.Context) -> None:
        settings = context.scene.threer
        column = self.column(context)
        column.prop(settings, "lens", text="Zoom")
        column.prop(settings, "focal_known")
        if settings.focal_known == "MM":
            column.prop(settings, "focal_mm", text="Millimeters")
            column.prop(settings, "sensor_mm")
        elif settings.focal_known == "PX":
            column.prop(settings, "focal_px", text="Pixels")
        if settings.info_kind in ("movie", "sequence"):
            column.prop(settings, "center")


class THREER_PT_result(Options, bpy.types.Panel):
    bl_label = "Result"
    bl_order = 4

    def draw(self, context: bpy.types.Context) -> None:
        settings = context.scene.threer
        column = self.column(context)
        column.prop(settings, "dense")
        column.prop(settings, "points", text="Point Budget")
        if settings.points == 0:
            column.label(text="0: the quality decides")
        if can_be_cloud():
            column.prop(settings, "points_as")
        column.prop(settings, "match_scene")
        column.prop(settings, "show_report")
        if settings.info_kind in ("photos", "rig"):
            column.prop(settings, "slideshow")
        elif settings.info_kind in ("movie", "sequence"):
            column.prop(settings, "moving")
            if settings.moving == "known":
                column.prop(settings, "find_moving")


classes = (THREER_PT_frames, THREER_PT_lens, THREER_PT_result)

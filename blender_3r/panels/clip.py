"""The sidebar of the Movie Clip Editor: the open clip, reconstructed."""

from __future__ import annotations

import bpy

from ..client.session import session
from ..scene.shown import edited_clip
from . import engine, main, method


class THREER_PT_clip(bpy.types.Panel):
    bl_label = "Reconstruct This Clip"
    bl_space_type = "CLIP_EDITOR"
    bl_region_type = "UI"
    bl_category = "3R"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return edited_clip(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        settings = context.scene.threer
        is_picked = settings.source == "CLIP" and settings.clip == edited_clip(context)
        if session.engine.state != "ready" or session.is_installing:
            engine.draw_status(layout.box())
        column = layout.column()
        if is_picked:
            main.draw_facts(column, settings)
        column.use_property_split = True
        column.use_property_decorate = False
        if is_picked:
            method.draw_method(column, context.scene)
        else:
            column.prop(settings, "method")
        column.row().prop(settings, "quality", expand=True)
        if is_picked:
            method.draw_estimate(layout, context.scene)
        layout.separator(factor=0.5)
        if session.is_running:
            main.draw_running(layout, settings)
        else:
            row = layout.row()
            row.scale_y = 1.6
            row.operator("threer.reconstruct_clip", icon="CON_CAMERASOLVER")
            main.draw_outcome(layout, context)
        main.draw_row(layout)


classes = (THREER_PT_clip,)

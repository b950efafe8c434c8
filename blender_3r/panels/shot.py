"""A tracked shot made ready to render."""

from __future__ import annotations

import bpy

from ..scene.surfaces import job_of


class THREER_PT_shot(bpy.types.Panel):
    bl_label = "Shot"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "3R"
    bl_order = 4
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return job_of(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        column = self.layout.column()
        column.operator_context = "INVOKE_DEFAULT"
        column.operator("threer.setup_shot", text="Set Up Shot...", icon="SCENE")
        column.operator("threer.render_shot", text="Render Shot...", icon="RENDER_ANIMATION")


classes = (THREER_PT_shot,)

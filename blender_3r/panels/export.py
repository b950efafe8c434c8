"""A reconstruction that is in the scene, to other programs."""

from __future__ import annotations

import bpy

from ..scene.surfaces import job_of


class THREER_PT_export(bpy.types.Panel):
    bl_label = "Export"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "3R"
    bl_order = 5
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return job_of(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        column = self.layout.column()
        column.operator_context = "INVOKE_DEFAULT"
        column.operator("threer.export", text="Export...", icon="EXPORT")
        column.operator("threer.load_depth", icon="RENDERLAYERS")


def draw_menu(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    """The entry of File ▸ Export."""
    self.layout.operator("threer.export", text="3R Reconstruction")


classes = (THREER_PT_export,)

"""How good the solve is, and its tracks."""

from __future__ import annotations

import bpy

from ..scene.surfaces import job_of


class THREER_PT_report(bpy.types.Panel):
    bl_label = "Quality"
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
        column.operator("threer.report", icon="GRAPH")
        column.operator("threer.add_tracks", icon="TRACKER")


classes = (THREER_PT_report,)

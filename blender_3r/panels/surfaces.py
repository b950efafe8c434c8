"""Surfaces of a reconstruction that is in the scene."""

from __future__ import annotations

import bpy

from ..scene.surface_looks import LOOKS
from ..scene.surfaces import job_of, surfaces_of
from ..translations import OWN


class THREER_PT_surfaces(bpy.types.Panel):
    bl_label = "Surfaces"
    bl_translation_context = OWN
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "3R"
    bl_order = 2
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return job_of(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = context.scene.threer.surfaces
        column = layout.column()
        row = column.row()
        row.active = not settings.use_voxel
        row.prop(settings, "detail", expand=True)
        column.prop(settings, "use_voxel")
        if settings.use_voxel:
            column.prop(settings, "voxel")
        column.prop(settings, "faces")
        column.prop(settings, "min_confidence")
        column.prop(settings, "moving")
        column.row().prop(settings, "texture", expand=True)
        row = column.row(align=True)
        row.operator("threer.make_surface", icon="MESH_DATA")
        row.operator("threer.import_surface", text="", icon="IMPORT")
        layout.separator(factor=0.5)
        column = layout.column()
        column.prop(settings, "which")
        if settings.which == "SPREAD":
            column.prop(settings, "count")
        column.prop(settings, "edge_angle")
        column.prop(settings, "budget")
        column.operator("threer.add_view_surfaces", icon="IMAGE_PLANE")
        if surfaces_of(context.scene, job_of(context)):
            layout.separator(factor=0.5)
            row = layout.row(align=True)
            for name, title, _ in LOOKS:
                row.operator("threer.surface_look", text=title).look = name


classes = (THREER_PT_surfaces,)

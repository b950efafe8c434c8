"""The cameras of photos, one after the other."""

from __future__ import annotations

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..operators.step_cameras import photo_cameras, place_of


class THREER_PT_photos(bpy.types.Panel):
    bl_label = "Photos"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "3R"
    bl_order = 1

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(photo_cameras(context))

    def draw(self, context: bpy.types.Context) -> None:
        cameras = photo_cameras(context)
        place = place_of(context, cameras)
        row = self.layout.row(align=True)
        row.operator("threer.step_camera", text="", icon="TRIA_LEFT").step = -1
        if place is None:
            name = iface_("Look Through Photos")
        else:
            name = iface_("{} ({} of {})").format(cameras[place].name, place + 1, len(cameras))
        row.operator("threer.step_camera", text=name).step = 1
        row.operator("threer.step_camera", text="", icon="TRIA_RIGHT").step = 1


classes = (THREER_PT_photos,)

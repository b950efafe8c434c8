"""Footage that is in this file already: behind a camera, on an empty, or open in the Movie Clip Editor."""

from __future__ import annotations

import bpy

from ..scene.shown import edited_clip, shown_footage
from .footage import pick_block
from .reconstruct import why_not


class THREER_OT_pick_shown(bpy.types.Operator):
    """Take the picture behind the camera, or on the selected empty, as the footage"""

    bl_idname = "threer.pick_shown"
    bl_label = "Use Shown Footage"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if shown_footage(context) is None:
            cls.poll_message_set("Neither the camera nor the selected empty shows a movie or an image")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.threer
        pick_block(settings, shown_footage(context))
        if settings.info_error:
            self.report({"WARNING"}, settings.info_error)
        return {"FINISHED"}


class THREER_OT_reconstruct_clip(bpy.types.Operator):
    """Find the camera and the scene's points from the clip of this editor, in the background"""

    bl_idname = "threer.reconstruct_clip"
    bl_label = "Reconstruct This Clip"
    bl_options = {"REGISTER"}  # the results come later, each with an undo step of its own

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if edited_clip(context) is None:
            cls.poll_message_set("Open a clip in the Movie Clip Editor first")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.threer
        pick_block(settings, edited_clip(context))
        reason = why_not(settings)
        if reason:
            self.report({"ERROR"}, reason)
            return {"CANCELLED"}
        return bpy.ops.threer.reconstruct()


classes = (THREER_OT_pick_shown, THREER_OT_reconstruct_clip)

"""What of the footage is left alone."""

from __future__ import annotations

import bpy

from ..widgets.text import draw_wrapped
from .options import Options

_MEANING = {  # of a choice, as it is and inverted
    ("FILES", False): "White is left alone",
    ("FILES", True): "Black is left alone",
    ("ALPHA", False): "What is transparent is left alone",
    ("ALPHA", True): "What is opaque is left alone",
    ("MASK", False): "What the mask covers is left alone",
    ("MASK", True): "All but the mask is left alone",
}


class THREER_PT_mask(Options, bpy.types.Panel):
    bl_label = "Mask"
    bl_order = 2

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        settings = context.scene.threer
        return settings.info_kind in ("movie", "sequence", "photos") and settings.method in ("auto", "classic")

    def draw(self, context: bpy.types.Context) -> None:
        settings = context.scene.threer
        column = self.column(context)
        column.prop(settings, "mask_from")
        if settings.mask_from == "FILES":
            column.prop(settings, "mask_path", text="")
        elif settings.mask_from == "MASK":
            column.prop(settings, "mask", text="")
            if settings.info_kind == "photos":
                column.label(text="The same for all photos")
        if settings.mask_from != "NO":
            column.prop(settings, "mask_invert")
            draw_wrapped(column, _MEANING[settings.mask_from, settings.mask_invert])


classes = (THREER_PT_mask,)

"""Sentences, numbers and times as the panels show them."""

from __future__ import annotations

import textwrap

import bpy

CHARACTER_PX = 6.6  # mean width of a character of the interface font at scale 1, measured on sentences like ours


def draw_wrapped(layout: bpy.types.UILayout, sentence: str, icon: str = "NONE", margin_px: int = 70) -> None:
    """A sentence over as many lines as the region's width asks for; icon before the first."""
    scale = bpy.context.preferences.system.ui_scale
    region = bpy.context.region
    width = region.width if region is not None and region.type == "UI" else 420 * scale
    characters = max(18, int((width / scale - margin_px) / CHARACTER_PX))
    column = layout.column(align=True)
    column.scale_y = 0.8
    for number, line in enumerate(textwrap.wrap(sentence, characters)):
        if icon == "NONE":
            column.label(text=line)
        else:
            column.label(text=line, icon=icon if number == 0 else "BLANK1")


def duration(seconds: float) -> str:
    """ "8 s", "2 min 5 s", "1 h 10 min"."""
    total = int(seconds + 0.5)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60} s"
    return f"{total // 3600} h {total % 3600 // 60} min"


def time_left(seconds: float) -> str:
    """A guess, so in round numbers."""
    if seconds < 5:
        return "a few seconds left"
    if seconds < 60:
        return f"about {round(seconds / 5) * 5} s left"
    if seconds < 3600:
        return f"about {round(seconds / 60)} min left"
    return f"about {seconds / 3600:.1f} h left"


def count(number: int) -> str:
    """ "870", "12 400", "1.2 million"."""
    if number >= 1_000_000:
        return f"{number / 1e6:.1f} million"
    return f"{number:,}".replace(",", " ")

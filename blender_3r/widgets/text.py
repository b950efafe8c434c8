"""Sentences, numbers and times as the panels show them."""

from __future__ import annotations

from collections.abc import Callable

import blf
import bpy
from bpy.app.translations import pgettext_iface as iface_

MARGINS_PX = 78  # what a box, the region's edges and its tabs take of a line, at scale 1
ICON_PX = 22
ELSEWHERE_PX = 480  # assumed width outside of a sidebar, at scale 1


def draw_wrapped(layout: bpy.types.UILayout, sentence: str, icon: str = "NONE", width_px: int = ELSEWHERE_PX) -> None:
    """A sentence, translated, over as many lines as the sidebar's width asks for, elsewhere width_px; icon before the
    first."""
    scale = bpy.context.preferences.system.ui_scale
    width = bpy.context.region.width if is_narrow() else width_px * scale
    column = layout.column(align=True)
    column.scale_y = 0.8
    taken = MARGINS_PX if icon == "NONE" else MARGINS_PX + ICON_PX
    for number, line in enumerate(wrap(iface_(sentence), width - taken * scale, _label_width)):
        if icon == "NONE":
            column.label(text=line)
        else:
            column.label(text=line, icon=icon if number == 0 else "BLANK1")


def is_narrow() -> bool:
    """In the sidebar a name and a size do not stand beside each other, and a path has no room."""
    region = bpy.context.region
    return region is not None and region.type == "UI"


def wrap(sentence: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """Lines of words that measure at most width; a longer word stands alone."""
    lines: list[str] = []
    for word in sentence.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and measure(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _label_width(words: str) -> float:
    """Pixels in the interface's font."""
    preferences = bpy.context.preferences
    blf.size(0, preferences.ui_styles[0].widget.points * preferences.system.ui_scale)
    return blf.dimensions(0, words)[0]


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
        return iface_("a few seconds left")
    if seconds < 60:
        return iface_("about {} s left").format(round(seconds / 5) * 5)
    if seconds < 3600:
        return iface_("about {} min left").format(round(seconds / 60))
    return iface_("about {:.1f} h left").format(seconds / 3600)


def count(number: int) -> str:
    """ "870", "12 400", "1.2 million"."""
    if number >= 1_000_000:
        return iface_("{:.1f} million").format(number / 1e6)
    return f"{number:,}".replace(",", " ")


def megabytes(number: float) -> str:
    """ "43 MB", "2.1 GB"."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"

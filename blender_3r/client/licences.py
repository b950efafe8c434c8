"""Licences' full texts, word for word, where they may be passed on: Creative Commons dedicates those of its licences to
the public domain (their last paragraph says so). Knows nothing of bpy.
"""

from __future__ import annotations

import functools
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "licences"
FILES = {"CC BY-NC-SA 4.0": "cc-by-nc-sa-4.0.txt", "CC BY-NC 4.0": "cc-by-nc-4.0.txt"}  # by the name in the records
PAGE_LINES = 24


@functools.cache
def pages(licence: str) -> tuple[tuple[str, ...], ...]:
    """The text in pages of lines; none for a licence whose text does not come with the extension."""
    if licence not in FILES:
        return ()
    lines = (FOLDER / FILES[licence]).read_text(encoding="utf-8").expandtabs(5).splitlines()
    return tuple(tuple(lines[first : first + PAGE_LINES]) for first in range(0, len(lines), PAGE_LINES))

"""What of the footage is left alone, as the panel says it: in the form of a request."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy

from ..engine.errors import EngineError
from ..engine.source import Source
from ..scene.mask_images import write_mask, write_still_mask

if TYPE_CHECKING:
    from ..properties import THREER_PG_settings

FOLDER = "mask"  # of the job folder: where a mask of Blender's is drawn


def mask_settings(settings: THREER_PG_settings) -> dict[str, Any]:
    """A mask of Blender's is drawn only when the job's folder is known: see draw_mask.

    Raises EngineError when a mask is asked for and none is chosen.
    """
    if settings.mask_from == "NO":
        return {}
    if settings.mask_from == "MASK":
        if settings.mask is None:
            raise EngineError("usage", "No mask is chosen.", "Draw one in the Movie Clip Editor, or set Mask to None.")
        return {}
    path = "alpha"
    if settings.mask_from == "FILES":
        if not settings.mask_path:
            raise EngineError("usage", "No mask is chosen.", "Choose its file or folder, or set Mask to None.")
        path = os.path.abspath(bpy.path.abspath(settings.mask_path))
    return {"mask": path, **_inverted(settings)}


def draw_mask(settings: THREER_PG_settings, source: Source, folder: Path) -> dict[str, Any]:
    """Draw the mask of Blender's that is chosen into the job's folder; nothing where none is. Raises EngineError."""
    if settings.mask_from != "MASK" or settings.mask is None:
        return {}
    size = (settings.info_width, settings.info_height)
    if min(size) < 1:
        raise EngineError("input", "The size of the footage is not known.", "Pick it again.")
    if source.is_video:
        frames = {number: scene_frame(settings, source, number) for number in _numbers(settings, source)}
        path = write_mask(settings.mask, size, frames, folder / FOLDER)
    else:
        path = write_still_mask(settings.mask, size, settings.id_data.frame_current, folder / FOLDER)
    return {"mask": str(path), **_inverted(settings)}


def scene_frame(settings: THREER_PG_settings, source: Source, number: int) -> int:
    """The scene frame at which Blender shows a frame of the footage, whose clip may be shifted."""
    clip = _clip(settings, source)
    start, offset = (1, 0) if clip is None else (clip.frame_start, clip.frame_offset)
    if source.kind == "movie":
        return number + start - offset
    return number if clip is None else number - source.numbers[0] + start - offset


def _clip(settings: THREER_PG_settings, source: Source) -> bpy.types.MovieClip | None:
    """The clip that the mask was drawn over: the one that is picked, else one of the same footage."""
    if settings.source == "CLIP" and settings.clip is not None:
        return settings.clip
    files = {os.path.normpath(file) for file in source.files}
    clips = (clip for clip in bpy.data.movieclips if os.path.normpath(bpy.path.abspath(clip.filepath)) in files)
    return next(clips, None)


def _numbers(settings: THREER_PG_settings, source: Source) -> list[int]:
    """The footage's own numbers of the frames that the job takes."""
    numbers = range(settings.info_count) if source.kind == "movie" else source.numbers
    first = numbers[0] if source.first is None else source.first
    last = numbers[-1] if source.last is None else source.last
    return [number for number in numbers if first <= number <= last and (number - first) % source.step == 0]


def _inverted(settings: THREER_PG_settings) -> dict[str, bool]:
    return {"mask_invert": True} if settings.mask_invert else {}

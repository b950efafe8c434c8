"""What stands in front of a render, as a mask over the footage: white hides the render there.

the job's mask     files, a movie, or what was drawn of a mask of Blender's when the job began
a mask of Blender's, as it is now
what moves by itself, where the job knows it: written to moving_mask/NAME_0001.png in the job folder
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

from ..engine.errors import EngineError
from ..engine.jobfolder import JobFolder
from ..engine.reconstruction import View
from ..engine.source import IMAGE_SUFFIXES, MOVIE_SUFFIXES, source_from_path
from . import tags
from .depth_images import load_image, load_sequence
from .jobdata import JobData
from .plate import is_movie
from .shot_plates import Footage, frames_of, shot_view

MOVING_FOLDER = "moving_mask"  # of the job folder
_ROLE = "mask"


@dataclass(frozen=True)
class Front:
    """footage: of the mask. is_inverted: black hides."""

    footage: Footage
    is_inverted: bool = False


def blender_mask(name: str) -> Front:
    """A mask of this file. Raises EngineError("usage") when there is none of that name."""
    mask = bpy.data.masks.get(name)
    if mask is None:
        raise EngineError("usage", f"There is no mask {name}.", "Choose one that is in this file.")
    return Front(Footage(mask))


def job_mask(scene: bpy.types.Scene, data: JobData) -> Front:
    """The mask that the job was given. Raises EngineError when it has none, or it is gone."""
    settings = (JobFolder.open(data.folder).read_json("request") or {}).get("settings") or {}
    path, is_inverted = settings.get("mask"), bool(settings.get("mask_invert"))
    if not isinstance(path, str) or path == "alpha":
        raise EngineError(
            "usage", "The reconstruction was made without a mask of files.", "Choose a mask of Blender's for the shot."
        )
    place = Path(path)
    if not place.exists():
        raise EngineError("input", f"The mask {place} is not there any more.", "Put it back, or choose another.")
    if place.suffix.lower() in MOVIE_SUFFIXES:
        return Front(_movie(data, place), is_inverted)
    return Front(_images(scene, data, place), is_inverted)


def moving_mask(scene: bpy.types.Scene, data: JobData) -> Front:
    """What the job knows to move by itself; frames without it take it from the nearest one that has it.

    Raises EngineError when the job knows of nothing that moves.
    """
    job, views = JobFolder.open(data.folder), data.reconstruction.views
    known = [index for index in data.reconstruction.solved if job.has_extra(index, "moving")]
    if not known:
        raise EngineError(
            "usage", "This reconstruction does not know what moves.", "Choose a mask, or what is nearer by its depth."
        )
    folder = Path(data.folder) / MOVING_FOLDER
    folder.mkdir(exist_ok=True)
    digits = max(4, max(len(str(view.frame or 0)) for view in views))
    names = [f"moving_{index if view.frame is None else view.frame:0{digits}d}.png" for index, view in enumerate(views)]
    for index, name in enumerate(names):
        nearest = min(known, key=lambda other: abs(other - index))
        lens = views[index].intrinsics
        known_there = _enlarged(job.read_extra(nearest, "moving"), lens.width, lens.height)
        write_gray(folder / name, np.where(known_there, 255, 0).astype(np.uint8))
    if not data.is_video:
        view = shot_view(scene, data) or data.solved_views[0]
        return Front(_single(data, view, folder / names[views.index(view)]))
    first = min(range(len(views)), key=lambda index: views[index].frame)
    return Front(_sequence(data, folder / names[first], views))


def write_gray(path: Path, values: np.ndarray) -> None:
    """(h, w) uint8 as a PNG file."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = values.shape
    rows = np.zeros((height, width + 1), np.uint8)  # each row begins with its filter: none
    rows[:, 1:] = values
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows.tobytes(), 1)), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def _enlarged(values: np.ndarray, width: int, height: int) -> np.ndarray:
    """(height, width) by the nearest of values (h, w). Blender's own scaling makes the outermost pixels half black."""
    rows, columns = (
        np.arange(side) * count // side for side, count in ((height, len(values)), (width, values.shape[1]))
    )
    return values[np.ix_(rows, columns)]


def _movie(data: JobData, path: Path) -> Footage:
    clip = tags.find(bpy.data.movieclips, data.folder, _ROLE)
    if clip is None:
        clip = bpy.data.movieclips.load(str(path))
        clip.name = f"{data.name} Mask"
        tags.set_tag(clip, data.folder, _ROLE)
    clip.filepath = str(path)
    clip.frame_start = 1 if is_movie(data) else 0  # it counts as the footage does, from 0
    return Footage(clip)


def _images(scene: bpy.types.Scene, data: JobData, place: Path) -> Footage:
    """A folder or a sequence of masks, or one for all, matched with the frames as the engine does."""
    files = (
        [Path(file) for file in source_from_path(place).files]
        if place.is_file()
        else sorted(file for file in place.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    )
    if len(files) == 1 and place.is_file():
        return _single(data, None, files[0])
    if not data.is_video:
        view = shot_view(scene, data) or data.solved_views[0]
        named = [file for file in files if file.stem.lower() == Path(view.file).stem.lower()]
        if not named:
            raise EngineError("input", f"There is no mask for {view.file} in {place}.", "Name it as the photo.")
        return _single(data, view, named[0])
    numbers = {int(found[-1]): file for file in files if (found := re.findall(r"\d+", file.stem))}
    views = data.reconstruction.views
    wanted = [view for view in views if view.frame in numbers]
    if wanted:
        first = min(wanted, key=lambda view: view.frame)
        return _sequence(data, numbers[first.frame], wanted)
    if len(files) != len(views) or not numbers:
        raise EngineError(
            "input", f"No mask in {place} belongs to a frame of the footage.", "Number them as the frames are."
        )
    shift = min(view.frame for view in views) - min(numbers)  # one for each frame, but counted from elsewhere
    return _sequence(data, numbers[min(numbers)], views, shift)


def _sequence(data: JobData, first: Path, views: list[View], shift: int = 0) -> Footage:
    image = load_sequence(data, _ROLE, first, views)
    image["frame_offset"] -= shift
    return Footage(image, frames_of(image))


def _single(data: JobData, view: View | None, file: Path) -> Footage:
    image = load_image(data, _ROLE, view.file if view else "", f"{data.name} Mask", file)
    image.source = "FILE"
    return Footage(image)

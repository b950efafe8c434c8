"""Exported depth and confidence as images in Blender: a sequence for footage, single images for photos."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import bpy

from ..engine.errors import EngineError
from ..engine.reconstruction import View
from . import tags
from .jobdata import JobData
from .plate import scene_frames

KINDS = ("depth", "confidence")
FOLDER = "depth_passes"  # of the job folder: where the engine writes what is loaded here


@dataclass(frozen=True)
class DepthImages:
    """The images that are in the file now, and sentences for the user."""

    images: list[bpy.types.Image]
    warnings: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "Loaded " + ", ".join(image.name for image in self.images[:4]) + "."


def load_depth(data: JobData, folder: Path) -> DepthImages:
    """Load folder/depth/*.exr and folder/confidence/*.exr of the job's export, or update what was loaded before.

    Values are the exported ones (colour space Non-Color): planar z in the job's units, 0 = unknown; confidence 0..1.
    A sequence's custom properties frame_start, frame_duration and frame_offset are what an image node or texture needs
    to show it in time with the scene. Raises EngineError("input") when there are no files.
    """
    images: list[bpy.types.Image] = []
    warnings: list[str] = []
    for kind in KINDS:
        files = sorted((folder / kind).rglob("*.exr"))
        if not files:
            raise EngineError("input", f"There are no images in {folder / kind}.", "Load the depth again.")
        if data.is_video:
            images.append(load_sequence(data, kind, files[0], data.solved_views))
        else:
            images += [_single(data, kind, file) for file in files]
    solved = len(data.solved_views)
    found = len(list((folder / "depth").rglob("*.exr")))
    if found < solved:
        warnings.append(f"{found} of {solved} frames have depth; the others stay empty.")
    return DepthImages(images, warnings)


def load_sequence(
    data: JobData, role: str, first_file: Path, views: list[View], color_space: str | None = "Non-Color"
) -> bpy.types.Image:
    """The image sequence of that role, beginning with the file of the first of views, or what was loaded before.

    Blender counts a sequence by the last number in its files' names, which is the footage's own. color_space: None
    leaves it to the kind of file. For the custom properties see load_depth.
    """
    numbers = {view.frame: frame for view, frame in zip(views, scene_frames(data, views))}
    first = min(numbers, key=lambda number: numbers[number])
    image = load_image(data, role, "", f"{data.name} {role.title()}", first_file, color_space)
    image.source = "SEQUENCE"
    image["frame_start"] = numbers[first]
    image["frame_duration"] = max(numbers) - first + 1
    image["frame_offset"] = first - 1
    return image


def _single(data: JobData, kind: str, file: Path) -> bpy.types.Image:
    image = load_image(data, kind, file.stem, f"{file.stem} {kind.title()}", file)
    image.source = "FILE"
    return image


def load_image(
    data: JobData, role: str, view: str, name: str, file: Path, color_space: str | None = "Non-Color"
) -> bpy.types.Image:
    """The image with that tag, of file; loaded if it is not there. color_space: None leaves it to the kind of file."""
    image = tags.find(bpy.data.images, data.folder, role, view)
    if image is None:
        image = bpy.data.images.load(str(file))
        image.name = name
        tags.set_tag(image, data.folder, role, view)
    else:
        image.filepath = str(file)
        image.reload()
    if color_space is not None:
        image.colorspace_settings.name = color_space
    image.use_fake_user = True  # nothing uses it yet
    return image

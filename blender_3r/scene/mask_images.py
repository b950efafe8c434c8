"""A mask of the Movie Clip Editor as images that the engine reads: white where something is left alone.

Blender itself draws them, as a strip in a scene of its own: a script does not see what tracks do to the points of a
mask that hangs on them, nor its shape keys.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy

from ..engine.errors import EngineError

LARGEST_SIDE = 1280  # px: the engine reads masks no larger than that
_STILL = "mask.png"


def write_mask(mask: bpy.types.Mask, size: tuple[int, int], frames: dict[int, int], folder: Path) -> Path:
    """Draw mask into folder as mask_NUMBER.png, over pictures of size (width, height).

    frames: {number of the footage's frame: scene frame}. Files that would become the same are left alone, so that a
    job with this mask can go on. Returns folder. Raises EngineError when there is nothing to draw or no room for it.
    """
    names = {scene_frame: f"mask_{number:04d}.png" for number, scene_frame in frames.items()}
    _draw(mask, size, names, folder)
    return folder


def write_still_mask(mask: bpy.types.Mask, size: tuple[int, int], frame: int, folder: Path) -> Path:
    """One image for all photos: the mask as it is at a scene frame. As write_mask; returns the file."""
    _draw(mask, size, {frame: _STILL}, folder)
    return folder / _STILL


def _draw(mask: bpy.types.Mask, size: tuple[int, int], names: dict[int, str], folder: Path) -> None:
    if not any(len(spline.points) for layer in mask.layers if not layer.hide_render for spline in layer.splines):
        raise EngineError(
            "usage", f"The mask {mask.name} has no shapes that render.", "Draw one, or choose another mask."
        )
    step = math.gcd(*(frame - min(names) for frame in names)) or 1
    scratch = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix="drawn-", dir=folder))
        with _mask_scene(mask, size, min(names), max(names), step) as scene:
            scene.render.filepath = str(scratch / "######")
            bpy.ops.render.render(animation=True, scene=scene.name)
        wanted = {folder / name: scratch / f"{frame - min(names) + 1:06d}.png" for frame, name in names.items()}
        _take_over(wanted, folder)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise EngineError(
            "machine", f"The mask cannot be drawn to {folder} ({reason}).", "Free disk space there."
        ) from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def _take_over(wanted: dict[Path, Path], folder: Path) -> None:
    """What was drawn, to its place: only what differs from what is there. Other masks of ours go."""
    for target, drawn in wanted.items():
        if not target.is_file() or target.read_bytes() != drawn.read_bytes():
            drawn.replace(target)
    for old in folder.glob("mask*.png"):
        if old not in wanted:
            old.unlink()


@contextmanager
def _mask_scene(
    mask: bpy.types.Mask, size: tuple[int, int], first: int, last: int, step: int
) -> Iterator[bpy.types.Scene]:
    """A scene that renders the mask and nothing else: its frame 1 is first."""
    scene = bpy.data.scenes.new("3R Mask")
    copy = mask.copy()  # a strip shows no more than the frames its mask is set to
    try:
        copy.frame_start, copy.frame_end = first, last + 1  # the last one is not shown
        editor = scene.sequence_editor_create()
        strips = editor.strips if hasattr(editor, "strips") else editor.sequences  # until 4.3
        strip = strips.new_mask(name="Mask", mask=copy, channel=1, frame_start=1)
        scene.frame_start, scene.frame_end, scene.frame_step = 1, last - first + 1, step
        scale = min(1.0, LARGEST_SIDE / max(size))
        render = scene.render
        render.resolution_x, render.resolution_y = (max(4, round(side * scale)) for side in size)
        render.resolution_percentage = 100
        if hasattr(render.image_settings, "media_type"):  # from 5.0
            render.image_settings.media_type = "IMAGE"
        for name in (item.identifier for item in render.bl_rna.properties if item.identifier.startswith("use_stamp_")):
            setattr(render, name, False)  # the time of the render would make every file another one
        render.image_settings.file_format, render.image_settings.color_mode = "PNG", "BW"
        scene.view_settings.view_transform = "Standard"
        yield scene
        strips.remove(strip)  # else Blender miscounts who uses the copy
    finally:
        bpy.data.scenes.remove(scene)
        bpy.data.masks.remove(copy)

"""One camera for all photos: at each frame of the scene it stands where another photo was taken, and shows it.

Photos differ in size and a scene has one, so each is fitted into the picture of the first, centred, its lens with it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import bpy
import numpy as np

from ..engine.reconstruction import Intrinsics, View
from ..engine.source import Source
from . import compat, tags
from .cameras import Keys, write_animated_camera, write_keys
from .plate import fit, new_background, show_photo

FIRST_FRAME = 1


def write_slideshow(
    camera: bpy.types.Object, views: Sequence[View], paths: Sequence[str | None], source: Source | None
) -> None:
    """Let camera jump from view to view, one per frame from FIRST_FRAME on, with keys that hold.

    paths: the picture of each view, None for none. Called again, it writes all of it anew; how strongly the pictures
    show stays as the user set it.
    """
    first = views[0].intrinsics
    size = first.width, first.height
    fitted = [dataclasses.replace(view, intrinsics=fitted_lens(view.intrinsics, size)) for view in views]
    write_animated_camera(camera, fitted, frames_of(views), tripod=False, held=True)
    data = camera.data
    shown = [number for number, path in enumerate(paths) if path is not None]
    while len(data.background_images) > len(shown):
        data.background_images.remove(data.background_images[-1])
    for slot, number in enumerate(shown):
        if slot == len(data.background_images):
            new_background(data, first.fx / first.fy)
        image = bpy.data.images.load(paths[number], check_existing=True)
        show_photo(data.background_images[slot], image, paths[number], source, views[number].intrinsics, size)
    _key_backgrounds(data, [FIRST_FRAME + number for number in shown])


def frames_of(views: Sequence[View]) -> range:
    """The scene frame of each view."""
    return range(FIRST_FRAME, FIRST_FRAME + len(views))


def fitted_lens(intrinsics: Intrinsics, size: tuple[int, int]) -> Intrinsics:
    """The lens of a photo that lies as large as it can, centred, in a picture of that size (width, height)."""
    width, height = size
    scale = fit((intrinsics.width, intrinsics.height), size)
    return dataclasses.replace(
        intrinsics,
        width=width,
        height=height,
        fx=intrinsics.fx * scale,
        fy=intrinsics.fy * scale,
        cx=width / 2 + (intrinsics.cx - intrinsics.width / 2) * scale,
        cy=height / 2 + (intrinsics.cy - intrinsics.height / 2) * scale,
    )


def _key_backgrounds(data: bpy.types.Camera, frames: Sequence[int]) -> None:
    """Each background shows at its own frame only, so that Blender loads no picture but that one."""
    if not frames and (data.animation_data is None or data.animation_data.action is None):
        return
    curves = compat.fcurves_of(data, f"{data.name} Action")
    tags.set_tag(data.animation_data.action, data[tags.JOB], "action", data.get(tags.VIEW, ""))
    for old in [curve for curve in curves if curve.data_path.startswith("background_images[")]:
        curves.remove(old)
    for slot, frame in enumerate(frames):
        keys = Keys((frame - 1, frame, frame + 1), (False,) * 3, held=True)
        curve = curves.new(f"background_images[{slot}].show_background_image")
        write_keys(curve, keys, np.array([0.0, 1.0, 0.0]))

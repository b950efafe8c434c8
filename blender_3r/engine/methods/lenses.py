"""Known cameras from a file of the form of cameras.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import EngineError
from ..media.frames import FrameSource
from ..media.info import FrameInfo
from ..reconstruction import Intrinsics

_ERRORS = (OSError, ValueError, KeyError, TypeError, IndexError)


def read_intrinsics(path: Path, frames: FrameSource) -> list[Intrinsics]:
    """The lens of every frame, scaled to the frame's size; images are found by name, suffix and folder may differ.

    Raises EngineError("usage") when the file cannot be read or lacks a frame.
    """
    try:
        images = _images(path, frames)
        missing = [info.file for info, image in zip(frames.infos, images, strict=True) if image is None]
        if missing:
            raise KeyError(missing[0])
        return [_lens(image, info) for info, image in zip(frames.infos, images, strict=True)]
    except _ERRORS as error:
        raise _unusable(path, error, "with fx, fy, cx, cy for every image") from error


def read_posed(path: Path, frames: FrameSource) -> tuple[list[Intrinsics], list[np.ndarray]]:
    """(lenses, world_from_camera (4, 4)) of every frame; where the file has none, a lens as wide as the others' median
    and nan. Images are found as in read_intrinsics.

    Raises EngineError("usage") as read_poses, and for images without a lens.
    """
    poses = read_poses(path, frames)
    try:
        images = _images(path, frames)
        lenses = [None if one is None else _lens(one, info) for one, info in zip(images, frames.infos, strict=True)]
        typical = np.median([lens.fx / max(lens.width, lens.height) for lens in lenses if lens is not None])
        for k, info in enumerate(frames.infos):
            if lenses[k] is None:
                focal = float(typical) * max(info.width, info.height)
                lenses[k] = Intrinsics(info.width, info.height, focal, focal, info.width / 2, info.height / 2)
        return lenses, poses
    except _ERRORS as error:
        raise _unusable(path, error, "with fx, fy, cx, cy for every image") from error


def read_poses(path: Path, frames: FrameSource) -> list[np.ndarray]:
    """world_from_camera (4, 4) of every frame, nan where the file has none; images are found as in read_intrinsics.

    Raises EngineError("usage") when the file cannot be read or knows fewer than two of the frames' poses.
    """
    try:
        poses = []
        for info, image in zip(frames.infos, _images(path, frames), strict=True):
            matrix = (image or {}).get("c2w")
            pose = np.full((4, 4), np.nan) if matrix is None else np.array(matrix, dtype=np.float64)
            if pose.shape != (4, 4):
                raise ValueError(f"c2w of {info.file} is no 4x4 matrix")
            poses.append(pose)
        count = sum(bool(np.isfinite(pose).all()) for pose in poses)
        if count < min(2, len(poses)):
            raise ValueError(f"it has the poses of {count} of the images")
        return poses
    except _ERRORS as error:
        raise _unusable(path, error, "with c2w for two images at least") from error


def _images(path: Path, frames: FrameSource) -> list[dict[str, Any] | None]:
    """What the file says of every frame, by its whole name, else by its name without folder and suffix if only one
    image is called so.
    """
    images = json.loads(path.read_text(encoding="utf-8"))["images"]
    whole = {str(image["file"]): image for image in images}
    stems: dict[str, list[dict[str, Any]]] = {}
    for image in whole.values():
        stems.setdefault(Path(str(image["file"])).stem, []).append(image)
    alone = {stem: found[0] for stem, found in stems.items() if len(found) == 1}
    return [whole.get(info.file) or alone.get(Path(info.file).stem) for info in frames.infos]


def _lens(image: dict[str, Any], info: FrameInfo) -> Intrinsics:
    """An image's, scaled to the frame's size."""
    dist = image.get("dist") or {}
    lens = Intrinsics(
        int(image["width"]),
        int(image["height"]),
        *(float(image[name]) for name in ("fx", "fy", "cx", "cy")),
        *(float(dist.get(name) or 0.0) for name in ("k1", "k2", "p1", "p2")),
    )
    return lens.scaled_to(info.width, info.height)


def _unusable(path: Path, error: Exception, wanted: str) -> EngineError:
    return EngineError(
        "usage",
        f"The cameras in {path} cannot be used ({type(error).__name__}: {error}).",
        f"Give a file of the form of cameras.json, {wanted}.",
    )

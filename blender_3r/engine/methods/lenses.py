"""Known cameras from a file of the form of cameras.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import EngineError
from ..media.frames import FrameSource
from ..reconstruction import Intrinsics

_ERRORS = (OSError, ValueError, KeyError, TypeError, IndexError)


def read_intrinsics(path: Path, frames: FrameSource) -> list[Intrinsics]:
    """The lens of every frame, scaled to the frame's size; images are found by their names without suffix.

    Raises EngineError("usage") when the file cannot be read or lacks a frame.
    """
    try:
        known = _images(path)
        lenses = []
        for info in frames.infos:
            image = known[Path(info.file).stem]
            dist = image.get("dist") or {}
            lens = Intrinsics(
                int(image["width"]),
                int(image["height"]),
                *(float(image[name]) for name in ("fx", "fy", "cx", "cy")),
                *(float(dist.get(name) or 0.0) for name in ("k1", "k2", "p1", "p2")),
            )
            lenses.append(lens.scaled_to(info.width, info.height))
        return lenses
    except _ERRORS as error:
        raise _unusable(path, error, "with fx, fy, cx, cy for every image") from error


def read_poses(path: Path, frames: FrameSource) -> list[np.ndarray]:
    """world_from_camera (4, 4) of every frame, nan where the file has none; images are found as in read_intrinsics.

    Raises EngineError("usage") when the file cannot be read or knows fewer than two of the frames' poses.
    """
    try:
        known = _images(path)
        poses = []
        for info in frames.infos:
            matrix = (known.get(Path(info.file).stem) or {}).get("c2w")
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


def _images(path: Path) -> dict[str, Any]:
    images = json.loads(path.read_text(encoding="utf-8"))["images"]
    return {Path(str(image["file"])).stem: image for image in images}


def _unusable(path: Path, error: Exception, wanted: str) -> EngineError:
    return EngineError(
        "usage",
        f"The cameras in {path} cannot be used ({type(error).__name__}: {error}).",
        f"Give a file of the form of cameras.json, {wanted}.",
    )

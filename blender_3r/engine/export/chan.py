"""Nuke's .chan camera file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ..jobfolder import JobFolder
from ..reconstruction import Reconstruction, View
from . import ExportOptions
from .folder import whole_file

_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


def write_chan(job: JobFolder, result: Reconstruction, out: Path, options: ExportOptions) -> None:
    """One line per solved view: frame, translation, rotation in degrees, vertical angle of view in degrees.

    Axes as in Nuke: y up, the camera looks along -z (the job's world turned by 180 degrees about x). Rotation order
    ZXY, Nuke's default: R = Ry Rx Rz. A movie's frame n is line n + 1, since compositors count movies from 1;
    sequences keep their numbers, photos are numbered from 1. Distortion and an off-centre lens have no place in it.
    """
    is_movie = all(view.file.startswith("frame_") for view in result.views)
    lines = []
    for index in result.solved:
        view = result.views[index]
        frame = index + 1 if result.kind != "video" or view.frame is None else view.frame + (1 if is_movie else 0)
        lines.append("\t".join([str(frame), *(f"{value:.9g}" for value in _columns(view))]))
    with whole_file(out) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def euler_zxy(rotation: np.ndarray) -> tuple[float, float, float]:
    """(rx, ry, rz) in radians with rotation = Ry(ry) Rx(rx) Rz(rz)."""
    rx = math.asin(float(np.clip(-rotation[1, 2], -1.0, 1.0)))
    if abs(rotation[1, 2]) > 1 - 1e-9:  # looking straight up or down: only ry -+ rz is defined, so rz = 0
        return rx, math.atan2(-rotation[2, 0], rotation[0, 0]), 0.0
    return rx, math.atan2(rotation[0, 2], rotation[2, 2]), math.atan2(rotation[1, 0], rotation[1, 1])


def _columns(view: View) -> list[float]:
    pose = _FLIP @ view.world_from_camera @ _FLIP
    lens = view.intrinsics
    angle = 2 * math.atan(lens.height / (2 * lens.fy))
    return [*pose[:3, 3], *map(math.degrees, euler_zxy(pose[:3, :3])), math.degrees(angle)]

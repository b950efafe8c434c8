"""Poses and focal lengths as text and JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..jobfolder import JobFolder
from ..reconstruction import CONVENTION, Reconstruction, View
from . import ExportOptions
from .colmap import quaternion
from .names import image_names


def write_poses(job: JobFolder, result: Reconstruction, out: Path, options: ExportOptions) -> None:
    """The solved views, one line each and in the same order in every text file; OpenCV axes, the job's world.

    poses_tum.txt: time, position, quaternion (x, y, z, w); the time is in seconds for footage with a frame rate, else
    the view's number. poses.txt: camera-to-world 4x4, row by row. focals.txt: fx fy. intrinsics.txt: 3x3, row by row;
    both in pixels of the original frame. names.txt: the frames. poses.json: all of it, with distortion.
    """
    names = image_names(result)
    views = [(names[index], _time(result, index), result.views[index]) for index in result.solved]
    poses = [view.world_from_camera for _, _, view in views]
    _write_lines(
        out / "poses_tum.txt",
        "time tx ty tz qx qy qz qw (camera to world)",
        [[time, *pose[:3, 3], *_xyzw(pose)] for (_, time, _), pose in zip(views, poses)],
    )
    _write_lines(out / "poses.txt", "camera-to-world 4x4, row by row", [pose.ravel() for pose in poses])
    lenses = [view.intrinsics for _, _, view in views]
    _write_lines(out / "focals.txt", "fx fy in pixels of the frame", [[lens.fx, lens.fy] for lens in lenses])
    _write_lines(out / "intrinsics.txt", "3x3 in pixels, row by row", [lens.matrix.ravel() for lens in lenses])
    (out / "names.txt").write_text("".join(f"{name}\n" for name, _, _ in views), encoding="utf-8")
    data = {"convention": CONVENTION, "metric": result.metric, "views": [_view(*entry) for entry in views]}
    (out / "poses.json").write_text(json.dumps(data, indent=1, ensure_ascii=False), encoding="utf-8")


def _time(result: Reconstruction, index: int) -> float:
    frame = result.views[index].frame
    if result.kind == "video" and result.fps and frame is not None:
        return frame / result.fps
    return float(index)


def _xyzw(pose: np.ndarray) -> np.ndarray:
    return np.roll(quaternion(pose[:3, :3]), -1)


def _view(name: str, time: float, view: View) -> dict[str, Any]:
    lens, pose = view.intrinsics, view.world_from_camera
    return {
        "name": name,
        "frame": view.frame,
        "time": time,
        "width": lens.width,
        "height": lens.height,
        "focal": [lens.fx, lens.fy],
        "principal_point": [lens.cx, lens.cy],
        "distortion": {"k1": lens.k1, "k2": lens.k2, "p1": lens.p1, "p2": lens.p2},
        "world_from_camera": pose.tolist(),
        "position": pose[:3, 3].tolist(),
        "quaternion_xyzw": _xyzw(pose).tolist(),
    }


def _write_lines(path: Path, heading: str, rows: list[Any]) -> None:
    lines = [f"# {heading}", *(" ".join(f"{value:.12g}" for value in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")

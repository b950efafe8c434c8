"""Jobs for the tests of exports, written straight into a folder: a step in depth, known colours, cameras on an arc."""

from __future__ import annotations

import math
import os
from pathlib import Path

import cv2
import numpy as np

from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.reconstruction import Intrinsics, Reconstruction, View
from blender_3r.engine.source import Source

ROWS, COLUMNS = 24, 32
NEAR, FAR = 2.0, 6.0  # depth left and right of the middle


def camera(index: int, unsolved: tuple[int, ...] = ()) -> np.ndarray | None:
    """On an arc, turned about two axes."""
    if index in unsolved:
        return None
    yaw, roll = 0.2 * index, 0.3
    about_y = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    about_z = np.array([[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    pose = np.eye(4)
    pose[:3, :3] = about_y @ about_z
    pose[:3, 3] = 0.4 * index, -0.1 * index, 0.3
    return pose


def maps(index: int) -> dict[str, np.ndarray]:
    """Depth: a step in the middle, the first row unknown; confidence grows to the right; colours tell rows, columns."""
    depth = np.full((ROWS, COLUMNS), NEAR + 0.1 * index, np.float32)
    depth[:, COLUMNS // 2 :] = FAR
    depth[0] = 0
    confidence = np.tile(np.linspace(0, 1, COLUMNS, dtype=np.float32), (ROWS, 1))
    color = np.zeros((ROWS, COLUMNS, 3), np.uint8)
    color[..., 0], color[..., 1] = np.arange(COLUMNS)[None] * 8, np.arange(ROWS)[:, None] * 10
    color[..., 2] = 60 * index
    return {"depth": depth, "confidence": confidence, "color": color}


def make_job(
    folder: str | os.PathLike[str],
    views: int = 3,
    unsolved: tuple[int, ...] = (),
    dense: bool = True,
    sparse: bool = True,
    footage: bool = False,
    **result: object,
) -> JobFolder:
    """Photos 00.jpg, 01.jpg ..., or frames of a movie for kind="video".

    footage: the photos are there, too. result: fields of Reconstruction.
    """
    job = JobFolder.create(folder)
    lens = Intrinsics(64, 48, 50.0, 52.0, 33.0, 23.0, k1=-0.02)
    movie = result.get("kind") == "video"
    result.setdefault("kind", "photos")
    entries = [
        View(
            f"frame_{index:04d}" if movie else f"{index:02d}.jpg",
            2 * index if movie else None,
            lens,
            camera(index, unsolved),
        )
        for index in range(views)
    ]
    job.write_cameras(Reconstruction(entries, **result))
    if footage:
        paths = write_images(job.path.with_name(f"{job.path.name} photos"), [view.file for view in entries], lens)
        job.write_json("request", {"source": Source("photos", tuple(map(str, paths))).to_json()})
    if dense:
        for index in range(views):
            job.write_view(index, maps(index))
    if sparse:
        rng = np.random.default_rng(1)
        job.write_sparse(
            {
                "points": rng.normal((0, 0, 4), 0.5, (40, 3)).astype(np.float32),
                "color": rng.integers(0, 255, (40, 3)).astype(np.uint8),
                "error": rng.random(40).astype(np.float32),
                "views": np.full(40, 2, np.int32),
            }
        )
    return job


def write_images(folder: Path, names: list[str], lens: Intrinsics) -> list[Path]:
    """Noise of the lens's size."""
    folder.mkdir()
    rng = np.random.default_rng(4)
    for name in names:
        image = rng.integers(0, 255, (lens.height, lens.width, 3)).astype(np.uint8)
        (folder / name).write_bytes(cv2.imencode(Path(name).suffix, image)[1].tobytes())
    return [folder / name for name in names]


def files_in(folder: Path) -> list[str]:
    """All files below the folder, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

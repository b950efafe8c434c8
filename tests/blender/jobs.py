"""Job folders made of numbers, for tests that need no engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.reconstruction import Intrinsics, Reconstruction, View
from blender_3r.engine.source import Source


def pose(x: float, y: float, z: float, yaw_deg: float = 0.0, pitch_deg: float = 0.0) -> np.ndarray:
    """An OpenCV camera-to-world in a world whose y axis points down, as solvers make it: yaw right, pitch up."""
    yaw, pitch = np.radians([yaw_deg, pitch_deg])
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    tilt = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ tilt
    matrix[:3, 3] = x, y, z
    return matrix


def lens(width: int = 64, height: int = 36, fx: float = 60.0, **values: float) -> Intrinsics:
    """A centred lens with square pixels, unless values say otherwise."""
    return Intrinsics(width, height, fx, **{"fy": fx, "cx": width / 2, "cy": height / 2, **values})


def walk(count: int = 5, intrinsics: Intrinsics | None = None, missing: tuple[int, ...] = ()) -> list[View]:
    """A camera that walks along +z and turns a little; frames counted from 0."""
    return [
        View(
            f"frame_{i:04d}",
            i,
            intrinsics or lens(),
            None if i in missing else pose(0.02 * i, 0.01 * i, 0.1 * i, yaw_deg=2.0 * i - 4, pitch_deg=-5),
        )
        for i in range(count)
    ]


def photos(names: list[str], intrinsics: Intrinsics | None = None) -> list[View]:
    """Cameras side by side."""
    return [
        View(name, None, intrinsics or lens(), pose(0.3 * i, 0, 0, yaw_deg=-3.0 * i)) for i, name in enumerate(names)
    ]


def make_job(
    folder: Path, reconstruction: Reconstruction, source: Source | None = None, engine_version: str = "0.1.0"
) -> JobFolder:
    """A job folder with cameras and a request, without points."""
    job = JobFolder.create(folder)
    source = source or Source("movie", (str(folder / "missing.mp4"),))
    job.write_json(
        "request",
        {"engine_version": engine_version, "method": "classic", "source": source.to_json(), "settings": {}},
    )
    job.write_cameras(reconstruction)
    return job


def add_plane_view(job: JobFolder, index: int, depth: float = 2.0, size: tuple[int, int] = (36, 64)) -> None:
    """Dense arrays of a plane facing the camera, every pixel known, colours and confidence varying over the map."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    color = np.stack([rows * 255 // height, columns * 255 // width, np.full(size, 40 * index % 256)], axis=-1)
    job.write_view(
        index,
        {
            "depth": np.full(size, depth, np.float32),
            "confidence": (columns / width).astype(np.float32),
            "color": color.astype(np.uint8),
        },
    )


def add_sparse(job: JobFolder, points: np.ndarray) -> None:
    """Sparse points, all of one colour."""
    count = len(points)
    job.write_sparse(
        {
            "points": points.astype(np.float32),
            "color": np.tile(np.uint8([200, 100, 50]), (count, 1)),
            "error": np.full(count, 0.5, np.float32),
            "views": np.full(count, 3, np.int32),
        }
    )

"""Everything a scene needs of a job folder, read and checked before a single datablock is made. NumPy only.

`read_job` touches nothing of Blender, so it may run in a thread while the window stays alive.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..engine.errors import EngineError
from ..engine.jobfolder import JobFolder
from ..engine.reconstruction import Reconstruction, View
from ..engine.source import Source
from .cloud import Cloud, knows_moving, read_cloud
from .placement import guess_placement, typical_depth

MOVING = ("known", "frames", "none")  # what shows at its own frame only: what is known to move, everything, nothing
_GUIDES = 4000  # points that judge how a world stands


@dataclass(frozen=True)
class JobData:
    """folder: absolute, and the job's identity in a scene. source: None when request.json is missing.

    cloud: points that always show. moving: points that show at the frame of their view only.
    placement: 4x4, Blender's world from the engine's (see placement.py). depth: typical distance from camera to
    points in engine units, None if unknown.
    """

    folder: str
    name: str
    reconstruction: Reconstruction
    source: Source | None
    engine_version: str
    cloud: Cloud | None
    placement: np.ndarray
    depth: float | None
    moving: Cloud | None = None

    @property
    def solved_views(self) -> list[View]:
        return [self.reconstruction.views[i] for i in self.reconstruction.solved]

    @property
    def is_video(self) -> bool:
        return self.reconstruction.kind == "video"


def job_identity(folder: str | os.PathLike[str]) -> str:
    """What marks the datablocks of the job in that folder."""
    return str(Path(folder).resolve())


def read_job(folder: str | os.PathLike[str], point_budget: int = 1_000_000, moving: str = "known") -> JobData:
    """Read a job, finished or still running.

    point_budget: at most so many points; 0 for none. moving: one of MOVING; photos have no frames, so for them it
    does not matter.

    Raises EngineError("input") when there is no job, no camera yet, or a file is damaged.
    """
    job = JobFolder.open(folder)
    reconstruction = job.read_cameras()
    if reconstruction is None:
        raise EngineError("input", f"The job in {job.path} has no cameras yet.", "Wait until the cameras are solved.")
    if not reconstruction.solved:
        raise EngineError(
            "input", f"No camera of the job in {job.path} is solved.", "See the job's message for what went wrong."
        )
    _check_views(job, reconstruction)
    request = job.read_json("request") or {}
    source = Source.from_json(request["source"]) if isinstance(request.get("source"), dict) else None
    cloud, moving_cloud = _read_clouds(job, reconstruction, point_budget, moving)
    is_mixed = moving != "known" and knows_moving(job, reconstruction)
    stands = read_cloud(job, reconstruction, _GUIDES, moving=False) if is_mixed else None
    guides = _guide_points(job, stands or cloud or moving_cloud, reconstruction)
    return JobData(
        folder=job_identity(folder),
        name=source.name if source else Path(reconstruction.source).stem or job.path.resolve().name,
        reconstruction=reconstruction,
        source=source,
        engine_version=str(request.get("engine_version", "")),
        cloud=cloud,
        placement=guess_placement(reconstruction, guides),
        depth=typical_depth(reconstruction, guides),
        moving=moving_cloud,
    )


def _read_clouds(
    job: JobFolder, reconstruction: Reconstruction, budget: int, moving: str
) -> tuple[Cloud | None, Cloud | None]:
    """What always shows, and what shows at its own frame only; together at most budget points.

    What moves is seldom much of the picture, and is seen by one view at a time: it gets up to half of the budget.
    """
    if moving not in MOVING:
        raise ValueError(f"moving: {moving!r} is none of {MOVING}")
    is_video = reconstruction.kind == "video"
    if is_video and moving == "frames":
        cloud = read_cloud(job, reconstruction, budget)
        return (None, cloud) if cloud is not None and cloud.is_dense else (cloud, None)
    if is_video and moving == "known" and knows_moving(job, reconstruction):
        cloud = read_cloud(job, reconstruction, budget // 2, moving=True)
        return read_cloud(job, reconstruction, budget - len(cloud or ()), moving=False), cloud
    return read_cloud(job, reconstruction, budget), None


def _check_views(job: JobFolder, reconstruction: Reconstruction) -> None:
    path = job.path / "cameras.json"
    for index in reconstruction.solved:
        view = reconstruction.views[index]
        lens = view.intrinsics
        numbers = (lens.fx, lens.fy, lens.cx, lens.cy, lens.k1, lens.k2, lens.p1, lens.p2)
        if not np.isfinite(numbers).all() or min(lens.fx, lens.fy, lens.width, lens.height) <= 0:
            raise EngineError("input", f"{path}: the lens of {view.file} makes no sense.", "Reconstruct again.")
        rotation = view.world_from_camera[:3, :3]
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
            raise EngineError("input", f"{path}: the pose of {view.file} is no rotation.", "Reconstruct again.")
        if reconstruction.kind == "video" and view.frame is None:
            raise EngineError("input", f"{path}: {view.file} has no frame number.", "Reconstruct again.")


def _guide_points(job: JobFolder, cloud: Cloud | None, reconstruction: Reconstruction) -> np.ndarray | None:
    """Points to judge the world's stand and size by: the sparse ones first, so that it does not depend on the budget
    and stays while dense views arrive."""
    sparse = job.read_sparse() if reconstruction.motion != "tripod" else None
    if sparse is not None and len(sparse["points"]) >= 10:
        points = sparse["points"]
    elif cloud is not None:
        points = cloud.points
    else:
        return None
    points = np.array(points[np.linspace(0, len(points) - 1, _GUIDES).astype(np.int64)], dtype=np.float64)
    return np.unique(points[np.isfinite(points).all(axis=1)], axis=0)

"""The points of a job as flat arrays: dense views if there are any, else the sparse points. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from ..engine.errors import EngineError
from ..engine.jobfolder import JobFolder
from ..engine.reconstruction import Reconstruction, View, depth_to_points

_CODES = np.arange(256) / 255
_LINEAR = np.where(_CODES <= 0.04045, _CODES / 12.92, ((_CODES + 0.055) / 1.055) ** 2.4).astype(np.float32)
SPARSE_FOOTPRINT_PX = 3.0  # a sparse point stands for the patch around it, and one pixel could not be seen


@dataclass(frozen=True)
class Cloud:
    """n points in the engine's world.

    points (n, 3) float32; colors (n, 4) float32, scene linear (of the footage's sRGB) and alpha 1; confidence (n,)
    float32 in 0..1; views (n,) int32: index of the view a point was seen from, -1 if from many; footprint (n,)
    float32: distance to the neighbouring sample at that depth (depth / focal, more where samples were left out), in
    scene units.
    """

    points: np.ndarray
    colors: np.ndarray
    confidence: np.ndarray
    views: np.ndarray
    footprint: np.ndarray

    def __len__(self) -> int:
        return len(self.points)

    def _select(self, keep: slice | np.ndarray) -> Cloud:
        return Cloud(**{field.name: getattr(self, field.name)[keep] for field in fields(self)})


def read_cloud(job: JobFolder, reconstruction: Reconstruction, budget: int) -> Cloud | None:
    """At most budget points of the job, or None when it has none (a tripod shot never has).

    Dense views are thinned evenly to the budget, one view at a time: memory grows with the budget, not with the shot.
    Raises EngineError("input") when arrays are damaged.
    """
    if reconstruction.motion == "tripod" or budget <= 0:
        return None
    counts = _dense_counts(job, reconstruction)
    total = sum(counts.values())
    if total == 0:
        return _sparse_cloud(job, reconstruction, budget)
    # Slightly below the budget: the pattern meets its share only on average.
    share = 1.0 if total <= budget else 0.998 * budget / total
    capacity = min(total, budget)
    cloud = Cloud(
        np.empty((capacity, 3), np.float32),
        np.empty((capacity, 4), np.float32),
        np.empty(capacity, np.float32),
        np.empty(capacity, np.int32),
        np.empty(capacity, np.float32),
    )
    filled = 0
    pattern = _ThinningPattern(share)
    for index, count in counts.items():
        if count:
            filled += _fill(cloud, filled, index, reconstruction.views[index], _read_dense(job, index), pattern)
    return cloud._select(slice(filled))


def linear_colors(colors: np.ndarray) -> np.ndarray:
    """(n, 4) float32 scene linear with alpha 1, of (n, 3) uint8 sRGB."""
    linear = np.empty((len(colors), 4), np.float32)
    for channel in range(3):
        linear[:, channel] = _LINEAR[colors[:, channel]]
    linear[:, 3] = 1.0
    return linear


def _dense_counts(job: JobFolder, reconstruction: Reconstruction) -> dict[int, int]:
    """Known pixels of every solved view with dense arrays."""
    known = {}
    for index in job.view_indices():
        if index < len(reconstruction.views) and reconstruction.views[index].is_solved:
            known[index] = int(np.count_nonzero(_is_known(_read_dense(job, index)["depth"])))
    return known


def _is_known(depth: np.ndarray) -> np.ndarray:
    return np.isfinite(depth) & (depth > 0)


def _read_dense(job: JobFolder, index: int) -> dict[str, np.ndarray]:
    arrays = job.read_view(index)
    shape = arrays["depth"].shape
    if (
        len(shape) != 2
        or arrays["depth"].dtype.kind != "f"
        or arrays["confidence"].shape != shape
        or arrays["color"].shape != (*shape, 3)
        or arrays["color"].dtype != np.uint8
    ):
        raise EngineError(
            "input", f"The arrays of view {index} in {job.path} do not fit together.", "Reconstruct again."
        )
    return arrays


class _ThinningPattern:
    """Which pixels stay when only a share of them may: evenly spread, the same for all maps of one size."""

    def __init__(self, share: float) -> None:
        self.share = share
        self._masks: dict[tuple[int, int], np.ndarray] = {}

    def apply(self, depth: np.ndarray) -> np.ndarray:
        """depth with what is unknown or left out set to 0."""
        if self.share >= 1.0:
            return np.where(_is_known(depth), depth, np.float32(0))
        mask = self._masks.get(depth.shape)
        if mask is None:
            # Multiples of the plastic number's powers fill the unit interval evenly along rows and columns alike.
            row = np.arange(depth.shape[0])[:, None] * 0.5698402909980532
            column = np.arange(depth.shape[1])[None, :] * 0.7548776662466927
            mask = self._masks[depth.shape] = (row + column) % 1.0 < self.share
        return np.where(mask & _is_known(depth), depth, np.float32(0))


def _fill(
    cloud: Cloud, start: int, index: int, view: View, arrays: dict[str, np.ndarray], pattern: _ThinningPattern
) -> int:
    """Write the points of one view from start on; returns how many."""
    depth = pattern.apply(arrays["depth"])
    points, pixels = depth_to_points(view, depth)
    room = len(cloud) - start
    points, pixels = points[:room], pixels[:room]
    part = slice(start, start + len(pixels))
    focal = view.intrinsics.fx * depth.shape[1] / view.intrinsics.width
    cloud.points[part] = points
    cloud.colors[part] = linear_colors(arrays["color"].reshape(-1, 3)[pixels])
    cloud.confidence[part] = np.nan_to_num(arrays["confidence"].reshape(-1)[pixels])
    cloud.views[part] = index
    cloud.footprint[part] = depth.reshape(-1)[pixels] / (focal * np.sqrt(pattern.share))
    return len(pixels)


def _sparse_cloud(job: JobFolder, reconstruction: Reconstruction, budget: int) -> Cloud | None:
    arrays = job.read_sparse()
    if arrays is None or len(arrays["points"]) == 0:
        return None
    points, colors, errors = (arrays[name] for name in ("points", "color", "error"))
    count = len(points)
    if points.shape != (count, 3) or colors.shape != (count, 3) or colors.dtype != np.uint8 or errors.shape != (count,):
        raise EngineError("input", f"The sparse points in {job.path} do not fit together.", "Reconstruct again.")
    keep = np.flatnonzero(np.isfinite(points).all(axis=1))
    if len(keep) > budget:
        keep = keep[np.linspace(0, len(keep) - 1, budget).astype(np.int64)]
    if len(keep) == 0:
        return None
    points = np.array(points[keep], dtype=np.float32)
    error = np.nan_to_num(np.array(errors[keep], dtype=np.float32), nan=1e3, posinf=1e3)
    return Cloud(
        points,
        linear_colors(colors[keep]),
        1.0 / (1.0 + error),
        np.full(len(keep), -1, np.int32),
        SPARSE_FOOTPRINT_PX * _nearest_pixel_size(points, reconstruction),
    )


def _nearest_pixel_size(points: np.ndarray, reconstruction: Reconstruction) -> np.ndarray:
    """Size (n,) float32 of a pixel at each point, seen from the nearest of at most 32 cameras."""
    solved = reconstruction.solved
    chosen = [reconstruction.views[i] for i in solved[:: max(1, len(solved) // 32)]]
    nearest = np.full(len(points), np.inf, np.float32)
    for view in chosen:
        distance = np.linalg.norm(points - view.world_from_camera[:3, 3].astype(np.float32), axis=1)
        np.minimum(nearest, distance / np.float32(view.intrinsics.fx), out=nearest)
    return nearest

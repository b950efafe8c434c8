"""The points of a job as flat arrays: dense views if there are any, else the sparse points. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from ..engine.errors import EngineError
from ..engine.geometry.edges import floating_strength
from ..engine.jobfolder import JobFolder
from ..engine.reconstruction import Intrinsics, Reconstruction, View

_CODES = np.arange(256) / 255
_LINEAR = np.where(_CODES <= 0.04045, _CODES / 12.92, ((_CODES + 0.055) / 1.055) ** 2.4).astype(np.float32)
HALF_EDGE = np.float32(0.05)  # jump of the depth at which edge is 0.5
SPARSE_FOOTPRINT_PX = 3.0  # a sparse point stands for the patch around it, and one pixel could not be seen


@dataclass(frozen=True)
class Cloud:
    """n points in the engine's world.

    points (n, 3) float32; colors (n, 4) float32, scene linear (of the footage's sRGB) and alpha 1; confidence (n,)
    float32 in 0..1; views (n,) int32: index of the view a point was seen from, -1 if from many; footprint (n,)
    float32: distance to the neighbouring sample at that depth (depth / focal, more where samples were left out), in
    scene units; depth (n,) float32: along the axis of that view's camera, or distance to the nearest camera.
    edge (n,) float32 in 0..1, or None: how much a point floats between two surfaces (0.5: the depth jumps by 5 %).
    seen_by (n,) int8, or None: how many views agree on it, 0 if not known. sky (n,) bool, or None: taken for sky.
    names: of all the views.
    """

    points: np.ndarray
    colors: np.ndarray
    confidence: np.ndarray
    views: np.ndarray
    footprint: np.ndarray
    depth: np.ndarray
    edge: np.ndarray | None = None
    seen_by: np.ndarray | None = None
    sky: np.ndarray | None = None
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.points)

    @property
    def is_dense(self) -> bool:
        """Made of depth maps, so that every point belongs to a view."""
        return self.edge is not None

    def _select(self, keep: slice | np.ndarray) -> Cloud:
        arrays = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "names"}
        chosen = {name: None if values is None else values[keep] for name, values in arrays.items()}
        return Cloud(**chosen, names=self.names)


def read_cloud(job: JobFolder, reconstruction: Reconstruction, budget: int, moving: bool | None = None) -> Cloud | None:
    """At most budget points of the job, or None when it has none (a tripod shot never has).

    Dense views are thinned evenly to the budget, one view at a time: memory grows with the budget, not with the shot.
    moving: only what moves by itself (True), only what does not (False), or both. Sparse points stand still.
    Raises EngineError("input") when arrays are damaged.
    """
    if reconstruction.motion == "tripod" or budget <= 0:
        return None
    sizes = _dense_sizes(job, reconstruction)
    total = sum(sizes.values())
    if total > budget or moving is not None:
        sizes = {index: int(np.count_nonzero(_wanted(job, index, moving))) for index in sizes}
        total = sum(sizes.values())
    # Slightly below the budget: the pattern meets its share only on average.
    share = 1.0 if total <= budget else 0.998 * budget / total
    filling = _Filling(job, reconstruction, min(total, budget), share, moving)
    for index, size in sizes.items():
        if size:
            filling.add(index)
    if filling.count == 0:
        return None if moving else read_sparse_cloud(job, reconstruction, budget)
    return filling.cloud._select(slice(filling.count))


def knows_moving(job: JobFolder, reconstruction: Reconstruction) -> bool:
    """Whether any view tells what moves in it."""
    return any(job.has_extra(index, "moving") for index in reconstruction.solved)


def linear_colors(colors: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """(n, 4) float32 scene linear with alpha 1, of (n, 3) uint8 sRGB; written to out if given."""
    out = np.empty((len(colors), 4), np.float32) if out is None else out
    for channel in range(3):
        out[:, channel] = np.take(_LINEAR, colors[:, channel])
    out[:, 3] = 1.0
    return out


def _dense_sizes(job: JobFolder, reconstruction: Reconstruction) -> dict[int, int]:
    """Pixels of every solved view with dense arrays."""
    solved = set(reconstruction.solved)
    return {index: _read_dense(job, index)["depth"].size for index in job.view_indices() if index in solved}


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


def _wanted(job: JobFolder, index: int, moving: bool | None) -> np.ndarray:
    """(h, w) bool: pixels of a view with depth that move, that do not, or both; see read_cloud."""
    known = _is_known(_read_dense(job, index)["depth"])
    mask = None if moving is None else _read_extra(job, index, "moving", known.shape)
    if mask is None:
        return np.zeros_like(known) if moving else known
    return known & (np.asarray(mask, bool) == moving)


def _read_extra(job: JobFolder, index: int, name: str, shape: tuple[int, int]) -> np.ndarray | None:
    values = job.read_extra(index, name)
    if values is not None and (values.shape != shape or values.dtype not in (bool, np.uint8)):
        raise EngineError(
            "input", f"The arrays of view {index} in {job.path} do not fit together.", "Reconstruct again."
        )
    return values


def _pick(values: np.ndarray, pixels: np.ndarray, out: np.ndarray) -> np.ndarray:
    """out, filled with a map's values at those places in it."""
    return np.take(
        np.asarray(values, np.float32), pixels, out=out, mode="clip"
    )  # other modes take a detour over a copy


class _ThinningPattern:
    """Which pixels stay when only a share of them may: evenly spread, the same for all maps of one size."""

    def __init__(self, share: float) -> None:
        self.share = share
        self._masks: dict[tuple[int, int], np.ndarray] = {}

    def of(self, shape: tuple[int, int]) -> np.ndarray | bool:
        """(h, w) bool, or True for all."""
        if self.share >= 1.0:
            return True
        mask = self._masks.get(shape)
        if mask is None:
            # Multiples of the plastic number's powers fill the unit interval evenly along rows and columns alike.
            row = np.arange(shape[0])[:, None] * 0.5698402909980532
            column = np.arange(shape[1])[None, :] * 0.7548776662466927
            mask = self._masks[shape] = (row + column) % 1.0 < self.share
        return mask


class _Rays:
    """Rays (n, 3) float32 with z = 1 of a view's pixels; those of the last lens are kept, most shots have one."""

    def __init__(self) -> None:
        self._lens: Intrinsics | None = None
        self._rays: np.ndarray | None = None

    def of(self, view: View, shape: tuple[int, int], pixels: np.ndarray) -> np.ndarray:
        """pixels (n,): places in the flattened map of that shape (h, w)."""
        lens = view.intrinsics.scaled_to(shape[1], shape[0])
        if lens != self._lens:  # met for the first time: perhaps never again, so not for the whole map yet
            self._lens, self._rays = lens, None
            return _rays(lens, pixels)
        if self._rays is None:
            self._rays = _rays(lens, np.arange(shape[0] * shape[1]))
        return self._rays if len(pixels) == len(self._rays) else np.take(self._rays, pixels, axis=0)


def _rays(lens: Intrinsics, pixels: np.ndarray) -> np.ndarray:
    rows, columns = np.divmod(pixels, lens.width)
    return lens.rays(np.stack([columns + 0.5, rows + 0.5], axis=-1)).astype(np.float32)


class _Filling:
    """A cloud that is being filled view by view. count: how many points it holds."""

    def __init__(
        self, job: JobFolder, reconstruction: Reconstruction, capacity: int, share: float, moving: bool | None
    ) -> None:
        self.job, self.reconstruction, self.moving = job, reconstruction, moving
        self.count = 0
        self._pattern = _ThinningPattern(share)
        self._rays = _Rays()
        indices = list(job.view_indices())
        judged, with_sky = (any(job.has_extra(i, name) for i in indices) for name in ("support", "sky"))
        self.cloud = Cloud(
            np.empty((capacity, 3), np.float32),
            np.empty((capacity, 4), np.float32),
            np.empty(capacity, np.float32),
            np.empty(capacity, np.int32),
            np.empty(capacity, np.float32),
            np.empty(capacity, np.float32),
            np.empty(capacity, np.float32),
            np.zeros(capacity, np.int8) if judged else None,
            np.zeros(capacity, bool) if with_sky else None,
            tuple(view.file for view in reconstruction.views),
        )

    def add(self, index: int) -> None:
        """The points of one view."""
        cloud, view = self.cloud, self.reconstruction.views[index]
        arrays = _read_dense(self.job, index)
        depth = arrays["depth"]
        known = _is_known(depth)
        wanted = known if self.moving is None else _wanted(self.job, index, self.moving)
        pixels = np.flatnonzero(wanted & self._pattern.of(depth.shape))[: len(cloud) - self.count]
        part = slice(self.count, self.count + len(pixels))
        self.count += len(pixels)

        z = _pick(depth, pixels, cloud.depth[part])
        local = self._rays.of(view, depth.shape, pixels) * z[:, None]
        pose = view.world_from_camera.astype(np.float32)
        np.matmul(local, pose[:3, :3].T, out=cloud.points[part])
        cloud.points[part] += pose[:3, 3]
        linear_colors(np.take(arrays["color"].reshape(-1, 3), pixels, axis=0), out=cloud.colors[part])
        confidence = _pick(arrays["confidence"], pixels, cloud.confidence[part])
        np.nan_to_num(confidence, copy=False)
        cloud.views[part] = index
        focal = view.intrinsics.fx * depth.shape[1] / view.intrinsics.width
        np.multiply(z, np.float32(1 / (focal * np.sqrt(self._pattern.share))), out=cloud.footprint[part])
        strength = np.take(floating_strength(depth, known), pixels)
        np.divide(strength, strength + HALF_EDGE, out=cloud.edge[part])
        self._add_extras(index, part, pixels, depth.shape)

    def _add_extras(self, index: int, part: slice, pixels: np.ndarray, shape: tuple[int, int]) -> None:
        for name, target, most in (("support", self.cloud.seen_by, 127), ("sky", self.cloud.sky, 1)):
            values = _read_extra(self.job, index, name, shape) if target is not None else None
            if values is not None:
                target[part] = np.minimum(values.reshape(-1)[pixels], most)


def read_sparse_cloud(job: JobFolder, reconstruction: Reconstruction, budget: int) -> Cloud | None:
    """At most budget of the solved points, or None when there are none. Raises as read_cloud does."""
    arrays = job.read_sparse()
    if arrays is None or len(arrays["points"]) == 0:
        return None
    points, colors, errors, views = (arrays[name] for name in ("points", "color", "error", "views"))
    count = len(points)
    if (
        points.shape != (count, 3)
        or colors.shape != (count, 3)
        or colors.dtype != np.uint8
        or errors.shape != (count,)
        or views.shape != (count,)
    ):
        raise EngineError("input", f"The sparse points in {job.path} do not fit together.", "Reconstruct again.")
    keep = np.flatnonzero(np.isfinite(points).all(axis=1))
    if len(keep) > budget:
        keep = keep[np.linspace(0, len(keep) - 1, budget).astype(np.int64)]
    if len(keep) == 0:
        return None
    points = np.array(points[keep], dtype=np.float32)
    error = np.nan_to_num(np.array(errors[keep], dtype=np.float32), nan=1e3, posinf=1e3)
    distance, pixel = _nearest_camera(points, reconstruction)
    return Cloud(
        points,
        linear_colors(colors[keep]),
        1.0 / (1.0 + error),
        np.full(len(keep), -1, np.int32),
        SPARSE_FOOTPRINT_PX * pixel,
        distance,
        seen_by=np.clip(views[keep], 0, 127).astype(np.int8),
        names=tuple(view.file for view in reconstruction.views),
    )


def _nearest_camera(points: np.ndarray, reconstruction: Reconstruction) -> tuple[np.ndarray, np.ndarray]:
    """Distance (n,) float32 to the nearest of at most 32 cameras, and the smallest size of a pixel at that point."""
    solved = reconstruction.solved
    nearest, finest = (np.full(len(points), np.inf, np.float32) for _ in range(2))
    for view in [reconstruction.views[i] for i in solved[:: max(1, len(solved) // 32)]]:
        distance = np.linalg.norm(points - view.world_from_camera[:3, 3].astype(np.float32), axis=1)
        np.minimum(nearest, distance, out=nearest)
        np.minimum(finest, distance / np.float32(view.intrinsics.fx), out=finest)
    return nearest, finest

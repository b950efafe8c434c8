"""The points of a job as flat arrays: dense views if there are any, else the sparse points. NumPy only."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import numpy as np

from ..engine.errors import EngineError
from ..engine.geometry.edges import floating_strength
from ..engine.jobfolder import JobFolder
from ..engine.reconstruction import Intrinsics, Reconstruction, View

_CODES = np.arange(256) / 255
_LINEAR = np.where(_CODES <= 0.04045, _CODES / 12.92, ((_CODES + 0.055) / 1.055) ** 2.4).astype(np.float32)
HALF_EDGE = np.float32(0.05)  # jump of the depth at which edge is 0.5
_THREADS = 2
_CHUNK = 1 << 16  # pixels worked on at once
_KEPT_LENSES = 8
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

    def _select(self, keep: np.ndarray) -> Cloud:
        arrays = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "names"}
        chosen = {name: None if values is None else values[keep] for name, values in arrays.items()}
        return Cloud(**chosen, names=self.names)


def read_cloud(job: JobFolder, reconstruction: Reconstruction, budget: int, moving: bool | None = None) -> Cloud | None:
    """At most budget points of the job, or None when it has none (a tripod shot never has).

    Dense views are thinned evenly to the budget. Memory grows with the budget, not with the shot: two views are read
    at a time, each in a thread, since most of it is arithmetic for which NumPy lets the other thread run.
    moving: only what moves by itself (True), only what does not (False), or both. Sparse points stand still.
    Raises EngineError("input") when arrays are damaged.
    """
    if reconstruction.motion == "tripod" or budget <= 0:
        return None
    solved = set(reconstruction.solved)
    indices = [index for index in job.view_indices() if index in solved]
    maps = _Maps(job, moving)
    with ThreadPoolExecutor(_THREADS, "3R points") as pool:
        counts = list(pool.map(maps.count, indices))
        total = sum(counts)
        if total > budget:
            # Slightly below the budget: the pattern meets its share only on average.
            maps.pattern = _ThinningPattern(0.998 * budget / total)
            counts = list(pool.map(maps.count, indices))
        ends = np.minimum(np.cumsum(counts), budget).tolist()
        if not ends or ends[-1] == 0:
            return None if moving else read_sparse_cloud(job, reconstruction, budget)
        filling = _Filling(job, reconstruction, maps, indices, ends[-1])
        filled = list(pool.map(filling.add, indices, map(slice, [0, *ends], ends)))
    if filled != ends:  # the engine replaced a view meanwhile
        keep = np.concatenate([np.arange(*run) for run in zip([0, *ends], filled, strict=False)])
        return filling.cloud._select(keep)
    return filling.cloud


def knows_moving(job: JobFolder, reconstruction: Reconstruction) -> bool:
    """Whether any view tells what moves in it."""
    return any(job.has_extra(index, "moving") for index in reconstruction.solved)


def linear_colors(colors: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """(n, 4) float32 scene linear with alpha 1, of (n, 3) uint8 sRGB; written to out if given."""
    out = np.empty((len(colors), 4), np.float32) if out is None else out
    for channel in range(3):
        out[:, channel] = np.take(_LINEAR, colors[:, channel], mode="clip")
    out[:, 3] = 1.0
    return out


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
    for name in ("depth", "confidence"):
        arrays[name] = np.asarray(arrays[name], np.float32)
    return arrays


def _read_extra(job: JobFolder, index: int, name: str, shape: tuple[int, int]) -> np.ndarray | None:
    values = job.read_extra(index, name)
    if values is not None and (values.shape != shape or values.dtype not in (bool, np.uint8)):
        raise EngineError(
            "input", f"The arrays of view {index} in {job.path} do not fit together.", "Reconstruct again."
        )
    return values


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


class _Maps:
    """Which pixels of the views' maps become points. pattern: which of them stay when they are too many."""

    def __init__(self, job: JobFolder, moving: bool | None) -> None:
        self.job, self.moving = job, moving
        self.pattern = _ThinningPattern(1.0)

    def count(self, index: int) -> int:
        """How many points a view gives."""
        depth = _read_dense(self.job, index)["depth"]
        return int(np.count_nonzero(self.wanted(index, _is_known(depth))))

    def wanted(self, index: int, known: np.ndarray) -> np.ndarray:
        """(h, w) bool of a view's map, of which known (h, w) has depth."""
        mask = None if self.moving is None else _read_extra(self.job, index, "moving", known.shape)
        if mask is None:
            wanted = np.zeros_like(known) if self.moving else known
        else:
            wanted = known & (np.asarray(mask, bool) == self.moving)
        return wanted & self.pattern.of(known.shape)


class _Rays:
    """Where the pixels of views look: x and y (2, n) float32 at z = 1.

    For a lens that several views share they are computed once, and kept for the last few such lenses.
    """

    def __init__(self, views: Iterable[View]) -> None:
        self._uses = Counter(view.intrinsics for view in views)
        self._lock = threading.Lock()
        self._kept: dict[Intrinsics, np.ndarray] = {}

    def of(self, view: View, shape: tuple[int, int]) -> Callable[[np.ndarray], np.ndarray]:
        """A function of places (n,) in the flattened map of that shape (h, w)."""
        lens = view.intrinsics.scaled_to(shape[1], shape[0])
        if self._uses[view.intrinsics] < 2:
            return lambda pixels: _rays(lens, pixels)
        with self._lock:  # the other thread would compute the same
            rays = self._kept.get(lens)
            if rays is None:
                rays = self._kept[lens] = _all_rays(lens)
            if len(self._kept) > _KEPT_LENSES:
                del self._kept[next(iter(self._kept))]
        return lambda pixels: np.take(rays, pixels, axis=1, mode="clip")


def _all_rays(lens: Intrinsics) -> np.ndarray:
    """(2, h * w) float32."""
    count = lens.width * lens.height
    rays = np.empty((2, count), np.float32)
    for start in range(0, count, _CHUNK):
        stop = min(start + _CHUNK, count)
        rays[:, start:stop] = _rays(lens, np.arange(start, stop))
    return rays


def _rays(lens: Intrinsics, pixels: np.ndarray) -> np.ndarray:
    rows, columns = np.divmod(pixels, lens.width)
    rays = lens.rays(np.stack([columns + 0.5, rows + 0.5], axis=-1))
    return rays[:, :2].T.astype(np.float32)


class _Filling:
    """A cloud of count points that is being filled view by view, by several threads."""

    def __init__(
        self, job: JobFolder, reconstruction: Reconstruction, maps: _Maps, indices: list[int], count: int
    ) -> None:
        self.job, self.views, self.maps = job, reconstruction.views, maps
        self._rays = _Rays(self.views[index] for index in indices)
        judged, with_sky = (any(job.has_extra(i, name) for i in indices) for name in ("support", "sky"))
        self.cloud = Cloud(
            np.empty((count, 3), np.float32),
            np.empty((count, 4), np.float32),
            np.empty(count, np.float32),
            np.empty(count, np.int32),
            np.empty(count, np.float32),
            np.empty(count, np.float32),
            np.empty(count, np.float32),
            np.zeros(count, np.int8) if judged else None,
            np.zeros(count, bool) if with_sky else None,
            tuple(view.file for view in reconstruction.views),
        )

    def add(self, index: int, part: slice) -> int:
        """The points of one view, as far as they fit into that part; returns where they end."""
        cloud, view = self.cloud, self.views[index]
        arrays = _read_dense(self.job, index)
        depth = arrays["depth"]
        shape, known = depth.shape, _is_known(depth)
        maps = [  # attribute, values of the view's pixels
            (cloud.depth, depth),
            (cloud.confidence, arrays["confidence"]),
            (cloud.edge, floating_strength(depth, known)),
        ]
        for name, target, most in (("support", cloud.seen_by, 127), ("sky", cloud.sky, 1)):
            values = _read_extra(self.job, index, name, shape) if target is not None else None
            if values is not None:
                maps.append((target, np.minimum(values, most).astype(target.dtype)))
        colors, rays = np.asarray(arrays["color"]).reshape(-1, 3), self._rays.of(view, shape)
        end = part.start
        for pixels, place in _chunks(self.maps.wanted(index, known), part):
            for target, values in maps:
                # Other modes take a detour over a copy.
                np.take(values.reshape(-1), pixels, out=target[place], mode="clip")
            _place(rays(pixels), cloud.depth[place], view.world_from_camera, out=cloud.points[place])
            linear_colors(np.take(colors, pixels, axis=0), out=cloud.colors[place])
            certain, edge = cloud.confidence[place], cloud.edge[place]
            np.fmin(np.fmax(certain, 0.0, out=certain), 1.0, out=certain)  # not a number: 0
            np.divide(edge, edge + HALF_EDGE, out=edge)
            end = place.stop
        cloud.views[part] = index
        pixel = shape[1] * view.intrinsics.fx / view.intrinsics.width * np.sqrt(self.maps.pattern.share)
        np.multiply(cloud.depth[part], np.float32(1 / pixel), out=cloud.footprint[part])
        return end


def _chunks(wanted: np.ndarray, part: slice) -> Iterator[tuple[np.ndarray, slice]]:
    """Places of wanted pixels in a flattened map and of their points in the cloud, some at a time, until part is full.

    A chunk's arrays stay in the processor's cache, and in memory that the process has already.
    """
    flat, begin = wanted.reshape(-1), part.start
    for start in range(0, flat.size, _CHUNK):
        pixels = np.flatnonzero(flat[start : start + _CHUNK])[: part.stop - begin]
        pixels += start
        if len(pixels):
            yield pixels, slice(begin, begin + len(pixels))
            begin += len(pixels)


def _place(rays: np.ndarray, depth: np.ndarray, world_from_camera: np.ndarray, out: np.ndarray) -> None:
    """World positions (n, 3), of rays (2, n) as of _Rays and depth (n,)."""
    local = np.empty((4, len(depth)), np.float32)
    np.multiply(rays, depth, out=local[:2])
    local[2], local[3] = depth, 1.0
    np.matmul(local.T, world_from_camera[:3].T.astype(np.float32), out=out)


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

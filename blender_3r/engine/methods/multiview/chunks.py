"""More views than one pass of a network takes: overlapping chunks, each moved onto the one before by a similarity.

NumPy only. A chunk is a prediction in a world and a scale of its own; the world of the joined views is the first
chunk's. What is told of a seam is relative to the depth, so that it means the same in every scale.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ...geometry.rotations import nearest_rotation, rotation_angle
from ...geometry.similarity import Similarity, fit_cameras, fit_similarity

PIXELS_A_VIEW = 4096  # that are compared; more make a similarity no better
CAMERA_SHARE = 0.1  # of the weight, for the cameras of the shared views; the rest is the pixels'
DRAWN, DRAWN_POINTS, SCORED = 256, 3, 1500  # similarities tried, points of each, points each is judged by
SCORE_QUANTILE = 0.4  # of the distances, by which a trial is judged: more than half may be wrong
ROUNDS, CONVERGED = 25, 1e-7
TUNING = 2.5  # in standard deviations: from there on a point loses weight fast
MEDIAN_OF_SPHERE = 1.538  # median length of a vector of three normal numbers
AGREES = 0.05  # of the depth: pixels of both chunks closer than that are taken to agree
LEAST_POINTS = 12
# From there on a seam is not believed.
LARGEST_ERROR, LEAST_AGREEING = 0.05, 0.5


class Chunk(NamedTuple):
    """What one pass says of n views.

    views: (n,) numbers in the sequence, ascending. world_from_camera: (n, 4, 4) rigid, of the chunk's own world.
    points: of each view, (h, w, 3) in its own camera's frame and the chunk's scale. confidence: of each view, (h, w)
    in 0..1, 0 = takes no part.
    """

    views: Sequence[int]
    world_from_camera: np.ndarray
    points: Sequence[np.ndarray]
    confidence: Sequence[np.ndarray]


class Seam(NamedTuple):
    """How well two chunks agree about the views first..last that both have.

    error: median distance of a pixel's two places over its depth. agreeing: share of the pixels within AGREES.
    camera_shift: mean distance of a camera's two places over the typical depth; camera_turn_deg: mean angle between
    its two directions. scale: of the new chunk in the joined world.
    """

    first: int
    last: int
    error: float
    agreeing: float
    camera_shift: float
    camera_turn_deg: float
    scale: float

    @property
    def holds(self) -> bool:
        """Whether the chunks can be taken for one scene."""
        return self.error <= LARGEST_ERROR and self.agreeing >= LEAST_AGREEING

    def __str__(self) -> str:
        return (
            f"views {self.first}-{self.last} lie {100 * self.error:.2f} % of the depth apart, {self.agreeing:.0%} of "
            f"their pixels agree, their cameras are {100 * self.camera_shift:.2f} % of the depth and "
            f"{self.camera_turn_deg:.2f} degrees apart"
        )


class Placed(NamedTuple):
    """A chunk in the joined world. move: from the chunk's own. world_from_camera: (n, 4, 4); those of shared views go
    over smoothly from what the chunk before said. seam: None of the first chunk.
    """

    move: Similarity
    world_from_camera: np.ndarray
    seam: Seam | None


class Joined(NamedTuple):
    """world_from_camera: by view. moves: of every chunk. seams: between neighbours, one fewer."""

    world_from_camera: dict[int, np.ndarray]
    moves: list[Similarity]
    seams: list[Seam]


def plan(count: int, size: int, overlap: int) -> list[range]:
    """The views of every chunk: `size` each, the last `overlap` of each are the first of the next.

    The last chunk begins earlier rather than being shorter, as more shared views join better. Raises ValueError for
    chunks that would add nothing or share nothing.
    """
    if count <= size:
        return [range(count)]
    if not 0 < overlap < size:
        raise ValueError(f"chunks of {size} views cannot overlap by {overlap}")
    parts = [next_chunk(0, count, size, overlap)]
    while parts[-1].stop < count:
        parts.append(next_chunk(parts[-1].stop, count, size, overlap))
    return parts


def next_chunk(covered: int, count: int, size: int, overlap: int) -> range:
    """The views of the chunk after those that cover the first `covered` of all; see plan()."""
    start = min(max(0, covered - overlap), max(0, count - size))
    return range(start, min(count, start + size))


class ChunkChain:
    """Takes chunks in their order; keeps only the last one, moved to its place."""

    def __init__(self, seed: int = 0) -> None:
        """seed: of the trials; the same chunks are joined the same way."""
        self._rng = np.random.default_rng(seed)
        self._last: Chunk | None = None
        self._scale = 1.0

    def add(self, chunk: Chunk, in_place: bool = False) -> Placed:
        """The next chunk in the joined world; earlier chunks stay where they are.

        in_place: the chunk is in that world already, and is only compared. Raises ValueError for a chunk that shares
        no view with the one before.
        """
        if self._last is None:
            move, seam, poses = identity(), None, np.array(chunk.world_from_camera, dtype=np.float64)
        else:
            move, seam, poses = self._join(self._last, chunk, in_place)
        self._last = chunk._replace(world_from_camera=move.move_cameras(chunk.world_from_camera))
        self._scale = float(move.scale)
        return Placed(move, poses, seam)

    def _join(self, before: Chunk, chunk: Chunk, in_place: bool) -> tuple[Similarity, Seam, np.ndarray]:
        here = {view: k for k, view in enumerate(chunk.views)}
        shared = [(k, here[view]) for k, view in enumerate(before.views) if view in here]
        if not shared:
            raise ValueError("a chunk shares no view with the one before")
        old, new = (list(side) for side in zip(*shared, strict=True))
        pairs = _Pairs(before, chunk, old, new, self._scale)
        move = identity() if in_place else pairs.fit(self._rng)
        poses = move.move_cameras(chunk.world_from_camera)
        seam = pairs.judge(move, before.world_from_camera[old], poses[new], [before.views[k] for k in old])
        for rank, (k_old, k_new) in enumerate(shared):
            part = (rank + 1) / (len(shared) + 1)
            poses[k_new] = blend_poses(before.world_from_camera[k_old], poses[k_new], part)
        return move, seam, poses


def join(chunks: Iterable[Chunk], seed: int = 0) -> Joined:
    """All chunks in the first one's world. Raises ValueError as ChunkChain.add() does."""
    chain = ChunkChain(seed)
    poses: dict[int, np.ndarray] = {}
    moves, seams = [], []
    for chunk in chunks:
        placed = chain.add(chunk)
        poses.update(zip(chunk.views, placed.world_from_camera, strict=True))
        moves.append(placed.move)
        if placed.seam is not None:
            seams.append(placed.seam)
    return Joined(poses, moves, seams)


def identity() -> Similarity:
    """The similarity that leaves everything where it is."""
    return Similarity(np.float64(1.0), np.eye(3), np.zeros(3))


def blend_poses(first: np.ndarray, second: np.ndarray, part: float) -> np.ndarray:
    """The rigid pose (4, 4) between two near ones: 0 is the first, 1 the second."""
    pose = (1 - part) * first + part * second
    pose[:3, :3] = nearest_rotation(pose[:3, :3])
    return pose


class _Pairs:
    """The same places in the chunk before, moved, and in the next one.

    source: (n, 3) in the next chunk's world, target: (n, 3) in the joined one. distance: (n,) of the target from its
    camera, along z. weight: (n,). The last 4 of each shared view are its camera: the centre, and a step along each
    axis.
    """

    def __init__(self, before: Chunk, chunk: Chunk, old: list[int], new: list[int], scale: float) -> None:
        """scale: of the chunk before in the joined world."""
        rows = [_pixels(before, chunk, i, j, scale) for i, j in zip(old, new, strict=True)]
        self.pixels = sum(len(row[0]) for row in rows)
        depths = np.array([_typical_depths(row[2], row[4]) for row in rows])
        self.typical = float(np.nanmedian(depths[:, 0])) if np.isfinite(depths[:, 0]).any() else 0.0
        self._cameras = before.world_from_camera[old], chunk.world_from_camera[new]
        if self.pixels < LEAST_POINTS:
            return
        source, target, distance, weight = (np.concatenate([row[n] for row in rows]) for n in (0, 1, 2, 3))
        steps = np.where(np.isfinite(depths), depths, np.nanmedian(depths, axis=0))
        targets, sources = (_frame(poses, step) for poses, step in zip(self._cameras, steps.T, strict=True))
        share = CAMERA_SHARE / (1 - CAMERA_SHARE) * weight.sum() / len(sources)
        self.source, self.target = np.concatenate([source, sources]), np.concatenate([target, targets])
        self.distance = np.concatenate([distance, np.repeat(steps[:, 0], 4)])
        self.weight = np.concatenate([weight, np.full(len(sources), share)])

    def fit(self, rng: np.random.Generator) -> Similarity:
        """The similarity most pairs agree on: the best of random trials, then reweighted least squares."""
        if self.pixels < LEAST_POINTS:
            return self._fit_cameras()
        move = self._best_of_trials(rng)
        inverse = self.weight / self.distance**2
        for _ in range(ROUNDS):
            error = self.errors(move)
            deviation = max(_median(error, self.weight) / MEDIAN_OF_SPHERE, 1e-9)
            robust = 1.0 / (1.0 + (error / (TUNING * deviation)) ** 2) ** 2
            before, move = move, fit_similarity(self.source, self.target, inverse * robust)
            if np.abs(move.matrix - before.matrix).max() < CONVERGED * np.abs(move.matrix).max():
                break
        return move

    def errors(self, move: Similarity) -> np.ndarray:
        """(n,) distance of the moved source to the target over the depth."""
        return np.linalg.norm(move.apply(self.source) - self.target, axis=1) / self.distance

    def judge(self, move: Similarity, before: np.ndarray, after: np.ndarray, views: list[int]) -> Seam:
        """The seam after moving. before, after: (n, 4, 4) poses of the shared views in the joined world."""
        error, agreeing = 1.0, 0.0
        if self.pixels >= LEAST_POINTS:
            errors, weight = self.errors(move)[: self.pixels], self.weight[: self.pixels]
            error, agreeing = _median(errors, weight), float(np.average(errors <= AGREES, weights=weight))
        turn = rotation_angle(np.swapaxes(before[:, :3, :3], 1, 2) @ after[:, :3, :3])
        shift = np.linalg.norm(before[:, :3, 3] - after[:, :3, 3], axis=1).mean()
        relative = float(shift / self.typical) if self.typical > 0 else float(shift > 0)
        return Seam(
            views[0], views[-1], error, agreeing, relative, float(np.degrees(turn.mean())), scale=float(move.scale)
        )

    def _fit_cameras(self) -> Similarity:
        """Where the pixels say nothing; one camera alone cannot tell the scale."""
        old, new = self._cameras
        if len(old) >= 2 and np.ptp(new[:, :3, 3], axis=0).max() > 0:
            return fit_cameras(new, old)
        turn = old[0, :3, :3] @ new[0, :3, :3].T
        return Similarity(np.float64(1.0), turn, old[0, :3, 3] - turn @ new[0, :3, 3])

    def _best_of_trials(self, rng: np.random.Generator) -> Similarity:
        chosen = rng.integers(0, len(self.source), (DRAWN, DRAWN_POINTS))
        trials = fit_similarity(self.source[chosen], self.target[chosen])
        judged = rng.permutation(len(self.source))[:SCORED]
        moved = np.einsum("tij,nj->tni", trials.scale[:, None, None] * trials.rotation, self.source[judged])
        moved += trials.translation[:, None]
        errors = np.linalg.norm(moved - self.target[judged], axis=2) / self.distance[judged]
        best = int(np.argmin(np.quantile(errors, SCORE_QUANTILE, axis=1)))
        return Similarity(trials.scale[best], trials.rotation[best], trials.translation[best])


def _pixels(before: Chunk, chunk: Chunk, i: int, j: int, scale: float) -> tuple[np.ndarray, ...]:
    """(source, target, distance, weight, depth in the next chunk) of some pixels of one shared view."""
    old, new = before.points[i].reshape(-1, 3), chunk.points[j].reshape(-1, 3)
    weight = np.sqrt(before.confidence[i].reshape(-1) * chunk.confidence[j].reshape(-1))
    finite = np.isfinite(old).all(axis=1) & np.isfinite(new).all(axis=1)
    good = np.flatnonzero(finite & (weight > 0) & (old[:, 2] > 0) & (new[:, 2] > 0))
    good = good[:: max(1, len(good) // PIXELS_A_VIEW)]
    old, new = scale * old[good].astype(np.float64), new[good].astype(np.float64)
    pose, own = before.world_from_camera[i], chunk.world_from_camera[j]
    target = old @ pose[:3, :3].T + pose[:3, 3]
    source = new @ own[:3, :3].T + own[:3, 3]
    return source, target, old[:, 2], weight[good].astype(np.float64), new[:, 2]


def _typical_depths(old: np.ndarray, new: np.ndarray) -> tuple[float, float]:
    return (float(np.median(old)), float(np.median(new))) if len(old) else (np.nan, np.nan)


def _frame(poses: np.ndarray, step: np.ndarray) -> np.ndarray:
    """(4 n, 3): of each camera the centre and a point so far along each axis."""
    centers = poses[:, None, :3, 3]
    axes = np.swapaxes(poses[:, :3, :3], 1, 2) * step[:, None, None]
    return np.concatenate([centers, centers + axes], axis=1).reshape(-1, 3)


def _median(values: np.ndarray, weights: np.ndarray) -> float:
    """The weighted median."""
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, 0.5 * total[-1])])

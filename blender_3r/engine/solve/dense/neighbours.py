"""Which views get depth, which other views they are matched with, and how deep the scene is in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...reconstruction import Reconstruction

# Views further apart in a video are not looked at: it bounds how many pictures are held at a time.
VIDEO_REACH = 64
_VIDEO_OFFSETS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64)
_PHOTO_CANDIDATES = 48
_GRID = 16  # samples along the longer side of a picture
# A source is of use from this much parallax on: pixels of movement per relative change of depth.
MIN_PARALLAX = 3.0
# Best parallax: enough to see 2 % of depth as most of a pixel, not so much that surfaces hide one another.
BEST_PARALLAX = 45.0
# A source far worse than the best one adds more wrong than right.
WORST_SHARE = 0.05
PARALLAX_WIDTH = 1.0
SCALE_WIDTH = 0.35
NEAR_SHARE = 0.4
MIN_OVERLAP = 0.3
_STEPS = tuple(m * 10**e for e in range(6) for m in (1, 2, 5))


@dataclass(frozen=True)
class PairMeasures:
    """What the poses say of n sample points of one view as seen from m other views, (m, n) each.

    seen: the point falls inside the other picture. parallax: pixels of movement per relative change of depth, 0 where
    not seen. scale: natural logarithm of the other picture's scale against the view's, 0 where not seen.
    """

    seen: np.ndarray
    parallax: np.ndarray
    scale: np.ndarray

    @property
    def overlap(self) -> np.ndarray:
        """(m,) share of the points seen."""
        return self.seen.mean(axis=1) if self.seen.shape[1] else np.zeros(len(self.seen))

    @property
    def usefulness(self) -> np.ndarray:
        """(m, n) 0..1: how much the other view helps to find the point's depth."""
        parallax = np.maximum(self.parallax, 1e-6)
        gain = np.exp(-((np.log(parallax / BEST_PARALLAX) / PARALLAX_WIDTH) ** 2) - (self.scale / SCALE_WIDTH) ** 2)
        return np.where(self.seen & (self.parallax >= MIN_PARALLAX), gain, 0.0)


class Scene:
    """Solved cameras and sparse points, as arrays, at the working size of the dense maps."""

    def __init__(self, reconstruction: Reconstruction, points: np.ndarray, max_side: int) -> None:
        """points: (n, 3) in world axes."""
        views = reconstruction.views
        self.is_video = reconstruction.kind == "video"
        self.solved = np.array(reconstruction.solved, dtype=int)
        self.position = {int(view): k for k, view in enumerate(self.solved)}
        self.points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        self.points = self.points[np.isfinite(self.points).all(axis=1)]
        poses = np.array([views[i].world_from_camera for i in self.solved]).reshape(-1, 4, 4)
        self.rotation = poses[:, :3, :3]
        self.centre = poses[:, :3, 3]
        lenses = [views[i].intrinsics for i in self.solved]
        shrink = [min(1.0, max_side / max(lens.width, lens.height)) for lens in lenses]
        self.lens = np.array(
            [(a.fx * s, a.fy * s, a.cx * s, a.cy * s, a.width * s, a.height * s) for a, s in zip(lenses, shrink)]
        ).reshape(-1, 6)

    def visible(self, view: int) -> np.ndarray:
        """(n, 3) world points that fall inside the picture of a solved view, in front of it."""
        k = self.position[view]
        x, y, z = _project(self.points, self.rotation[k], self.centre[k], self.lens[k])
        return self.points[_inside(x, y, z, self.lens[k])]

    def samples(self, view: int) -> np.ndarray:
        """(n, 3) world points on a grid over the whole picture, each as deep as the sparse point next to it.

        A grid, since sparse points crowd where there is texture and are few at the border, which goes out of sight
        first when the camera moves forward. Empty when the view sees no sparse point.
        """
        k = self.position[view]
        points = self.visible(view)
        if len(points) == 0:
            return points
        x, y, z = _project(points, self.rotation[k], self.centre[k], self.lens[k])
        fx, fy, cx, cy, width, height = self.lens[k]
        step = max(width, height) / _GRID
        columns, rows = (
            g.ravel() for g in np.meshgrid(np.arange(step / 2, width, step), np.arange(step / 2, height, step))
        )
        nearest = np.argmin((columns[:, None] - x) ** 2 + (rows[:, None] - y) ** 2, axis=1)
        rays = np.stack([(columns - cx) / fx, (rows - cy) / fy, np.ones_like(rows)], axis=-1)
        return rays * z[nearest, None] @ self.rotation[k].T + self.centre[k]

    def depth_range(self, view: int) -> tuple[float, float] | None:
        """Least and largest inverse depth to search; None where too few points are seen to tell."""
        seen = self.visible(view)
        if len(seen) < 12:
            return None
        k = self.position[view]
        inverse = 1 / ((seen - self.centre[k]) @ self.rotation[k][:, 2])
        low, high = np.percentile(inverse, (1, 99))
        spread = high - low
        # Far things often have no sparse points (sky line, fog, small parallax), near floor neither.
        return float(np.clip(low - 0.15 * spread, 0.3 * low, 0.5 * low)), float(high + 0.2 * spread)

    def measure(self, view: int, others: np.ndarray) -> PairMeasures:
        """others: (m,) view indices."""
        k, j = self.position[view], [self.position[int(o)] for o in others]
        seen = self.samples(view)
        rotation, centre, lens = self.rotation[j], self.centre[j][:, None], self.lens[j][:, None]
        x, y, z = _project(seen, rotation, centre, lens)
        inside = _inside(x, y, z, lens)
        step = 0.02
        further = self.centre[k] + (seen - self.centre[k]) * (1 + step)
        x2, y2, _ = _project(further, rotation, centre, lens)
        own = (seen - self.centre[k]) @ self.rotation[k][:, 2]
        focal_ratio = lens[..., 0] / self.lens[k][0]
        return PairMeasures(
            inside,
            np.where(inside, np.hypot(x2 - x, y2 - y) / step, 0.0),
            np.where(inside, np.log(focal_ratio * own / np.where(inside, z, 1.0)), 0.0),
        )

    def candidates(self, view: int) -> np.ndarray:
        """Views worth measuring against: near in time for a video, near in space and direction for photos."""
        k = self.position[view]
        if self.is_video:
            steps = np.array(_VIDEO_OFFSETS)
            places = np.concatenate([k - steps, k + steps])
            places = places[(places >= 0) & (places < len(self.solved))]
            return self.solved[places[np.abs(self.solved[places] - view) <= VIDEO_REACH * 4]]
        facing = self.rotation[:, :, 2] @ self.rotation[k][:, 2]
        distance = np.linalg.norm(self.centre - self.centre[k], axis=1)
        places = np.argsort(distance, kind="stable")
        places = places[(places != k) & (facing[places] > 0.3)]
        return self.solved[places[:_PHOTO_CANDIDATES]]

    def sources(self, view: int, count: int) -> list[int]:
        """Up to count views to match with, best first. Views without a baseline are never among them."""
        return self.partners(view, self.candidates(view), count)

    def partners(self, view: int, others: Sequence[int], count: int) -> list[int]:
        """Up to count of others that together see this view's points best, best first.

        Greedy: each choice adds most to what is still badly seen, and makes views close to it less wanted, so that
        all parts of the picture, both sides and several distances come in.
        """
        pool = np.array([o for o in others if o != view], dtype=int)
        chosen: list[int] = []
        if len(pool) == 0:
            return chosen
        pair = self.measure(view, pool)
        useful = pair.usefulness * (pair.overlap >= MIN_OVERLAP)[:, None]
        place = self.centre[[self.position[int(o)] for o in pool]]
        own = self.centre[self.position[view]]
        wanted = np.ones(len(pool))
        covered = np.zeros(useful.shape[1])
        first_gain = None
        while len(chosen) < count and useful.shape[1]:
            gain = wanted * (np.exp(-covered) * (1 - np.exp(-useful))).mean(axis=1)
            best = int(gain.argmax())
            first_gain = first_gain or gain[best]
            if gain[best] <= max(WORST_SHARE * first_gain, 1e-3):
                break
            chosen.append(int(pool[best]))
            covered += useful[best]
            reach = NEAR_SHARE * np.linalg.norm(place[best] - own)
            wanted *= 1 - np.exp(-((np.linalg.norm(place - place[best], axis=1) / reach) ** 2))
            wanted[best] = 0
        return chosen

    def processing_order(self, views: Sequence[int]) -> list[int]:
        """The solved ones of views so that views that show the same follow one another: by time, or as a chain."""
        rest = sorted({int(v) for v in views if int(v) in self.position})
        if self.is_video or len(rest) < 3:
            return rest
        size = np.linalg.norm(self.centre - self.centre.mean(axis=0), axis=1).mean() or 1.0
        place = {
            v: np.append(self.centre[self.position[v]] / size, self.rotation[self.position[v]][:, 2]) for v in rest
        }
        order = [rest.pop(0)]
        while rest:
            distance = [np.linalg.norm(place[v] - place[order[-1]]) for v in rest]
            order.append(rest.pop(int(np.argmin(distance))))
        return order


def choose_views(reconstruction: Reconstruction, budget: int, sparse_points: np.ndarray | None = None) -> list[int]:
    """At most budget (>= 1) solved views that together cover the scene, ascending.

    Of a video every n-th frame, n from 1 2 5 10 20 50 ...; with sparse_points (m, 3) n also grows until frames that
    follow one another differ. Of photos all, or the set that lies furthest apart. None for a tripod shot: rotation
    alone shows no depth.
    """
    solved = reconstruction.solved
    if reconstruction.motion == "tripod" or len(solved) < 2:
        return []
    if reconstruction.kind == "video":
        fitting = [[i for i in solved if i % n == 0] or solved[:1] for n in _STEPS]
        fitting = [views for views in fitting if len(views) <= budget] or [solved[:1]]
        if sparse_points is None or len(sparse_points) == 0:
            return fitting[0]
        scene = Scene(reconstruction, sparse_points, 512)
        return next((views for views in fitting if len(views) <= 12 or not _repeat(scene, views)), fitting[0])
    return solved if len(solved) <= budget else _spread(reconstruction, budget)


def _repeat(scene: Scene, views: list[int]) -> bool:
    """Whether views in a row show nearly the same: little parallax and nearly full overlap."""
    steps = list(pairwise(views))[:: max(1, len(views) // 30)]
    pairs = [scene.measure(a, np.array([b])) for a, b in steps]
    parallax = np.median([np.median(pair.parallax) for pair in pairs])
    return bool(parallax < 8 and np.median([pair.overlap for pair in pairs]) > 0.93)


def _spread(reconstruction: Reconstruction, budget: int) -> list[int]:
    """Furthest-point choice over positions and viewing directions."""
    solved = reconstruction.solved
    poses = np.array([reconstruction.views[i].world_from_camera for i in solved])
    centre = poses[:, :3, 3] - poses[:, :3, 3].mean(axis=0)
    size = np.sqrt((centre**2).sum(axis=1).mean()) or 1.0
    place = np.concatenate([centre / size, poses[:, :3, 2]], axis=1)
    chosen = [int(np.linalg.norm(place - place.mean(axis=0), axis=1).argmin())]
    distance = np.linalg.norm(place - place[chosen[0]], axis=1)
    while len(chosen) < budget:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(place - place[chosen[-1]], axis=1))
    return sorted(solved[k] for k in chosen)


def _project(
    points: np.ndarray, rotation: np.ndarray, centre: np.ndarray, lens: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pinhole pixels x, y and depth z of world points in one camera or in m of them (leading axis m, 1)."""
    camera = (points - centre) @ rotation
    z = camera[..., 2]
    safe = np.where(z > 0, z, np.nan)
    x = camera[..., 0] / safe * lens[..., 0] + lens[..., 2]
    y = camera[..., 1] / safe * lens[..., 1] + lens[..., 3]
    return x, y, z


def _inside(x: np.ndarray, y: np.ndarray, z: np.ndarray, lens: np.ndarray) -> np.ndarray:
    return (z > 0) & (x >= 0) & (y >= 0) & (x < lens[..., 4]) & (y < lens[..., 5])

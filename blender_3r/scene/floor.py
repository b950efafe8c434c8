"""The floor of a shot, and a good place on it for a test object. NumPy only, in the engine's world."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..engine.reconstruction import View
from .jobdata import JobData
from .upright import find_floor, near

_VIEWS = 9  # that a place should be seen in
_ACROSS, _DOWN = np.linspace(0.25, 0.75, 11), np.linspace(0.45, 0.88, 10)  # of the picture: where a place is sought
_BEST = np.array([0.5, 0.7])
_SHARE = 0.2  # of the picture's height that a test object takes


@dataclass(frozen=True)
class ShotFloor:
    """The points x with normal . x = height, normal (3,) up. is_fitted: found in the points, else where z = 0 is.

    place: (3,) on it, well in view. side: of an object that looks right there. ahead: (3,) unit, on the floor, away
    from the camera. reach: how far around place the floor matters.
    """

    normal: np.ndarray
    height: float
    is_fitted: bool
    place: np.ndarray
    side: float
    ahead: np.ndarray
    reach: float

    @property
    def frame(self) -> np.ndarray:
        """4x4: x right and y ahead on the floor, z up, origin at place."""
        matrix = np.eye(4)
        matrix[:3, 0] = np.cross(self.ahead, self.normal)
        matrix[:3, 1], matrix[:3, 2], matrix[:3, 3] = self.ahead, self.normal, self.place
        return matrix


def find_shot_floor(
    data: JobData, points: np.ndarray | None, world_from_engine: np.ndarray, has_floor: bool, view: View | None = None
) -> ShotFloor:
    """Where the floor is and what can stand on it.

    points: (n, 3) of the engine's world, or None. world_from_engine: 4x4, how the root stands. has_floor: the artist
    has said that the floor is at z = 0; else it is sought among the points, near level. view: in which the place
    should look right; default: the middle one.
    """
    up, height = _level_plane(world_from_engine)
    depth = data.depth or _far_enough(data)
    is_fitted = False
    if points is not None and len(points) >= 30 and not has_floor:
        centres = np.array([item.world_from_camera[:3, 3] for item in data.solved_views])
        found = find_floor(points.astype(np.float64), centres, near(up), 0.01 * depth)
        if found is not None:
            (up, height), is_fitted = found, True
    views = data.solved_views
    middle = view or views[len(views) // 2]
    place, distance = _choose_place(views, middle, points, up, height, depth)
    ahead = middle.world_from_camera[:3, 2]
    ahead = ahead - (ahead @ up) * up
    if np.linalg.norm(ahead) < 0.1:  # it looks straight down
        ahead = -middle.world_from_camera[:3, 1]
        ahead = ahead - (ahead @ up) * up
    side = _SHARE * distance * middle.intrinsics.height / middle.intrinsics.fy
    return ShotFloor(up, height, is_fitted, place, side, ahead / np.linalg.norm(ahead), 3 * distance + 10 * side)


def _level_plane(world_from_engine: np.ndarray) -> tuple[np.ndarray, float]:
    """z = 0 of the world in the engine's: (unit normal, height along it)."""
    row = world_from_engine[2]
    length = np.linalg.norm(row[:3])
    return row[:3] / length, float(-row[3] / length)


def _far_enough(data: JobData) -> float:
    centres = np.array([view.world_from_camera[:3, 3] for view in data.solved_views])
    return float(np.linalg.norm(np.ptp(centres, axis=0))) or 1.0


def _choose_place(
    views: list[View], middle: View, points: np.ndarray | None, up: np.ndarray, height: float, depth: float
) -> tuple[np.ndarray, float]:
    """(place on the floor, its depth in the middle view): seen in most views, near the lower middle of the picture,
    with nothing standing there."""
    lens, pose = middle.intrinsics, middle.world_from_camera
    shares = np.array([(x, y) for y in _DOWN for x in _ACROSS])
    rays = lens.rays(shares * (lens.width, lens.height)) @ pose[:3, :3].T
    with np.errstate(divide="ignore", invalid="ignore"):
        along = (height - pose[:3, 3] @ up) / (rays @ up)
    good = np.isfinite(along) & (along > 0) & (along < 20 * depth)
    if not good.any():  # the floor is not in the picture: below what is
        place = pose[:3, 3] + depth * pose[:3, 2] if points is None or not len(points) else np.median(points, axis=0)
        return place + (height - place @ up) * up, depth
    places = pose[:3, 3] + along[good, None] * rays[good]
    score = -np.linalg.norm((shares[good] - _BEST) * (1.5, 1.0), axis=1)
    sample = [views[i] for i in np.unique(np.linspace(0, len(views) - 1, _VIEWS).astype(int))]
    score += 2.0 * np.mean([_is_in_view(view, places) for view in sample], axis=0)
    if points is not None and len(points):
        some = points[:: max(1, len(points) // 2000)]
        above, sides = some @ up - height, _SHARE * lens.height / lens.fy * along[good]
        standing = some[above > 0.15 * np.median(sides)]
        score += _is_free(standing, some[np.abs(above) < 0.1 * np.median(sides)], places, sides)
        score += np.mean([_is_not_hidden(standing, view, places) for view in sample], axis=0)
    best = int(np.argmax(score))
    return places[best], float(along[good][best])


def _is_in_view(view: View, places: np.ndarray) -> np.ndarray:
    """Which places lie well inside the picture."""
    local = (places - view.world_from_camera[:3, 3]) @ view.world_from_camera[:3, :3]
    share = view.intrinsics.project(local) / (view.intrinsics.width, view.intrinsics.height)
    with np.errstate(invalid="ignore"):
        return (np.abs(share - 0.5) < 0.42).all(axis=1)


def _is_free(standing: np.ndarray, lying: np.ndarray, places: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """(n,) 0 at best: less where something stands, and where no point of the floor lies. sides: of the object there."""

    def count(points: np.ndarray, reach: float) -> np.ndarray:
        apart = np.linalg.norm(points[None] - places[:, None], axis=2)
        return np.count_nonzero(apart < reach * sides[:, None], axis=1)

    return -0.05 * np.minimum(count(standing, 1.2), 40) - 0.5 * (count(lying, 1.5) == 0)


def _is_not_hidden(points: np.ndarray, view: View, places: np.ndarray) -> np.ndarray:
    """(n,) 0 at best: less where points lie in front of the object that would stand there."""
    local, foot = (
        (where - view.world_from_camera[:3, 3]) @ view.world_from_camera[:3, :3] for where in (points, places)
    )
    size = np.array([view.intrinsics.width, view.intrinsics.height])
    middles = view.intrinsics.project(foot) - (0.0, 0.4 * _SHARE * size[1])
    with np.errstate(invalid="ignore"):
        apart = np.linalg.norm(view.intrinsics.project(local)[None] - middles[:, None], axis=2)
        hides = (apart < 0.8 * _SHARE * size[1]) & (local[None, :, 2] < 0.9 * foot[:, None, 2])
    return -0.05 * np.minimum(np.count_nonzero(hides, axis=1), 40)

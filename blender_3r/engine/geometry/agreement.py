"""In how many views a depth map's pixels are confirmed: the points that only one view believes in are often wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..reconstruction import View, depth_to_points

TOLERANCE = 0.03  # two views agree when their depths of a point differ by less than this share
PARTNERS = 6
_STRIDE = 2  # every other row and column is asked about and answers for its neighbours
_WIDEST_DEG = 60.0  # between the directions in which two views look


def count_agreeing(view: View, depth: np.ndarray, partners: Sequence[tuple[View, np.ndarray]]) -> np.ndarray:
    """(h, w) uint8: in how many views a pixel's point lies on the surface, its own included; 0 where depth is unknown.

    depth: (h, w) planar z, 0 = unknown; partners: other solved views with theirs, of any size. To a pixel.
    """
    found = np.where(depth > 0, np.float32(depth), np.float32(0))
    points, pixels = depth_to_points(view, found, stride=_STRIDE)
    count = np.ones(len(pixels), np.uint8)
    for other, other_depth in partners:
        pose = other.world_from_camera.astype(np.float32)
        local = (points - pose[:3, 3]) @ pose[:3, :3]
        rows, columns = other_depth.shape
        places = other.intrinsics.scaled_to(columns, rows).project(local)
        with np.errstate(invalid="ignore"):
            inside = ((places >= 0) & (places < (columns, rows))).all(axis=-1)  # false for what lies behind
        column, row = places[inside].astype(np.int64).T
        seen = other_depth[row, column]
        count[inside] += np.abs(seen - local[inside, 2]) < TOLERANCE * seen
    few = np.zeros(depth.shape, np.uint8)
    few.reshape(-1)[pixels] = count
    return np.where(found > 0, _fill(few), 0).astype(np.uint8)


def choose_partners(views: Sequence[View], index: int, candidates: Sequence[int], most: int = PARTNERS) -> list[int]:
    """Those of candidates that look about the same way from the nearest places, every other one of twice as many.

    Neighbours in a movie see nearly the same and make the same mistakes; a little further off is a better witness.
    """
    here = views[index].world_from_camera
    others = [other for other in candidates if other != index]
    if not others:
        return []
    poses = np.array([views[other].world_from_camera for other in others])
    looks_along = poses[:, :3, 2] @ here[:3, 2] > np.cos(np.radians(_WIDEST_DEG))
    distance = np.where(looks_along, np.linalg.norm(poses[:, :3, 3] - here[:3, 3], axis=1), np.inf)
    nearest = [others[i] for i in np.argsort(distance, kind="stable") if np.isfinite(distance[i])]
    return nearest[: 2 * most : 2] if len(nearest) >= 2 * most else nearest[:most]


def _fill(few: np.ndarray) -> np.ndarray:
    """Give the asked pixels' counts to those around them that were not asked."""
    filled = few.copy()
    for axis in (0, 1):
        moved = np.moveaxis(filled, axis, 0)
        before = moved.copy()
        moved[:-1] = np.maximum(moved[:-1], np.where(moved[:-1] == 0, before[1:], 0))
        moved[1:] = np.maximum(moved[1:], np.where(moved[1:] == 0, before[:-1], 0))
    return np.maximum(filled, few.dtype.type(1))

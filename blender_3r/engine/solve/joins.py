"""Tracks that are one point seen twice: lost behind something, or for a blur, and found again later."""

from __future__ import annotations

import numpy as np

from ..geometry.cameras import Cameras, Observations

NEAR_PX = 2.0  # of the images looked at, between where a lost point should be and a new track, and the other way round
DEPTH_FACTOR = 1.1


def join_tracks(
    observations: Observations,
    cameras: Cameras,
    points: np.ndarray,
    alike: np.ndarray,
    least: float,
    pixel: np.ndarray,
) -> np.ndarray:
    """(p,) the number of the track that each becomes: that of the first of those that are one point, or its own.

    observations: sorted by frame. cameras, points (p, 3): a solve of them. alike: (p, k) the tracks' patches so
    weighted that the product of two is their correlation, which must be more than least. pixel: (m,) size of a pixel of
    the images looked at, in original pixels. A track that begins where the
    point of a lost one should be, as far away and looking like it, goes on with that track.
    """
    owner = np.arange(len(points))
    first, last = _ends(observations, len(points))
    place = np.full((len(points), 2), np.nan)
    begins = first[observations.track] == observations.frame
    place[observations.track[begins]] = observations.xy[begins]
    ends = np.full((len(points), 2), np.nan)
    is_last = last[observations.track] == observations.frame
    ends[observations.track[is_last]] = observations.xy[is_last]
    until = last.copy()
    known = np.isfinite(points).all(axis=1) & (last >= 0)
    for frame in range(1, len(cameras)):
        fresh = np.flatnonzero(known & (first == frame))
        lost = np.flatnonzero(known & (owner == np.arange(len(points))) & (until < frame) & (first < frame))
        if len(fresh) == 0 or len(lost) == 0:
            continue
        expected = cameras.project(np.full(len(lost), frame), points[lost])
        pairs = _nearest(expected, place[fresh], NEAR_PX * pixel[frame])
        old, new = lost[pairs[:, 0]], fresh[pairs[:, 1]]
        back = cameras.project(last[old], points[new])
        good = np.linalg.norm(back - ends[old], axis=1) < NEAR_PX * pixel[last[old]]
        depths = [cameras.in_camera(np.full(len(old), frame), points[one])[:, 2] for one in (old, new)]
        good &= np.abs(np.log(np.maximum(depths[0], 1e-9) / np.maximum(depths[1], 1e-9))) < np.log(DEPTH_FACTOR)
        good &= np.sum(alike[old] * alike[new], axis=1) > least
        owner[new[good]] = old[good]
        until[old[good]] = last[new[good]]
    return owner


def _ends(observations: Observations, count: int) -> tuple[np.ndarray, np.ndarray]:
    """((p,) first, (p,) last) frame of each track, -1 for those without."""
    first, last = np.full(count, -1), np.full(count, -1)
    last[observations.track] = observations.frame  # sorted by frame: the last one stays
    first[observations.track[::-1]] = observations.frame[::-1]
    return first, last


def _nearest(expected: np.ndarray, found: np.ndarray, farthest: float) -> np.ndarray:
    """(k, 2) rows of expected (e, 2) and found (f, 2) that are nearest to each other, and nearer than farthest."""
    usable = np.isfinite(expected).all(axis=1)
    rows = np.flatnonzero(usable)
    if len(rows) == 0:
        return np.zeros((0, 2), int)
    apart = np.linalg.norm(expected[rows, None] - found, axis=2)
    by_row, by_column = apart.argmin(axis=1), apart.argmin(axis=0)
    mutual = by_column[by_row] == np.arange(len(rows))
    near = mutual & (apart[np.arange(len(rows)), by_row] < farthest)
    return np.stack([rows[near], by_row[near]], axis=1)

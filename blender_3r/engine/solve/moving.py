"""Which tracks belong to things that move by themselves."""

from __future__ import annotations

import numpy as np

from ..geometry.cameras import Cameras, Observations
from ..geometry.triangulation import mean_directions, triangulate_tracks
from .bundle import residuals
from .tracks import FramePairs

FACTOR = 4.0  # of the usual error, that a track misses its best still point by
NEIGHBOURS = 4
COMPANY = 0.4  # of the neighbours that must do so too: things are larger than a track, slipped tracks are alone
AT_MOST = 1200  # tracks of a frame compared with each other


def moving_tracks(observations: Observations, cameras: Cameras, turns_only: bool = False) -> np.ndarray:
    """(p,) bool for every track: no still point explains it under these cameras, nor some of those beside it.

    turns_only: the cameras only turn, so that still points are directions. What moves along the line of sight, or
    slower than the tracks' own error, is not told from what stands. Measured on the rendered shot with moving things:
    90 % of their tracks are marked, and 3 % of the others, most of which lie on the edge of something near.
    """
    count = int(observations.track.max(initial=-1)) + 1
    observations = observations[cameras.solved[observations.frame]]
    if len(observations) == 0:
        return np.zeros(count, bool)
    if turns_only:
        points = mean_directions(observations, cameras, count)
    else:
        points = triangulate_tracks(observations, cameras, count, max_error_px=np.inf)
    error = np.linalg.norm(residuals(observations, cameras, points), axis=1)
    usual = float(np.nanmedian(error)) if np.isfinite(error).any() else np.inf
    error = np.where(np.isfinite(error), error, np.inf)
    off = _medians(observations.track, error, count) > FACTOR * usual
    return off & (_company(observations, off, len(cameras)) >= COMPANY)


def _medians(group: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """(count,) upper median of the values (n,) of each group, 0 for empty ones."""
    order = np.lexsort((values, group))
    size = np.bincount(group, minlength=count)
    start = np.cumsum(size) - size
    medians = np.zeros(count)
    filled = size > 0
    medians[filled] = values[order][(start + size // 2)[filled]]
    return medians


def _company(observations: Observations, off: np.ndarray, n_frames: int) -> np.ndarray:
    """(p,) mean share of a track's nearest neighbours in the picture that are off."""
    total, times = np.zeros(len(off)), np.zeros(len(off))
    pairs = FramePairs(observations, n_frames)
    for frame in range(n_frames):
        rows = pairs.in_frame(frame)
        track, xy = observations.track[rows], observations.xy[rows]
        if len(track) > AT_MOST:
            some = np.linspace(0, len(track) - 1, AT_MOST).astype(int)
            track, xy = track[some], xy[some]
        if len(track) <= NEIGHBOURS:
            continue
        square = np.sum(xy * xy, axis=1)
        apart = square[:, None] + square - 2 * xy @ xy.T
        np.fill_diagonal(apart, np.inf)
        nearest = np.argpartition(apart, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        total[track] += off[track][nearest].mean(axis=1)
        times[track] += 1
    return total / np.maximum(times, 1)

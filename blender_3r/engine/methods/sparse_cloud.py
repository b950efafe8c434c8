"""The sparse cloud of a solve, coloured from the frames, and its tracks, as a job keeps them."""

from __future__ import annotations

import numpy as np

from ..media.frames import FrameSource
from ..solve.solution import Solution

MAX_SIDE = 640  # colours come from frames of this size


def sparse_cloud(frames: FrameSource, solution: Solution) -> dict[str, np.ndarray]:
    """The arrays of JobFolder.write_sparse: points that took part and stand still, coloured from the frames.

    Each point takes its colour from one frame, the one in the middle of those that see it.
    """
    observations, kept = solution.observations, solution.kept
    seen = np.bincount(observations.track[kept], minlength=len(solution.points))
    stands = np.ones(len(solution.points), bool) if solution.moving is None else ~solution.moving
    placed = np.flatnonzero((seen >= 2) & stands & np.isfinite(solution.points).all(axis=1))
    number = np.full(len(solution.points), -1)
    number[placed] = np.arange(len(placed))
    used = kept & (number[observations.track] >= 0)
    point, frame, xy = number[observations.track[used]], observations.frame[used], observations.xy[used]
    error = np.bincount(point, solution.error_px[used], minlength=len(placed)) / np.bincount(
        point, minlength=len(placed)
    )
    order = np.lexsort((frame, point))
    starts = np.flatnonzero(np.diff(point[order], prepend=-1))
    middle = order[starts + np.diff(starts, append=len(order)) // 2]
    color = np.zeros((len(placed), 3), np.uint8)
    for index in np.unique(frame[middle]):
        rows = middle[frame[middle] == index]
        image = frames.read(int(index), max_side=MAX_SIDE)
        info = frames.infos[int(index)]
        scaled = xy[rows] * (np.array(image.shape[1::-1]) / (info.width, info.height))
        column, row = np.clip(scaled.astype(int), 0, np.array(image.shape[1::-1]) - 1).T
        color[point[rows]] = image[row, column]
    return {
        "points": solution.points[placed].astype(np.float32),
        "color": color,
        "error": error.astype(np.float32),
        "views": seen[placed].astype(np.int32),
    }


def track_arrays(solution: Solution) -> dict[str, np.ndarray]:
    """The arrays of tracks.npz; moving: whether a track is of something that moves by itself. weight: only of tracks
    that count differently.
    """
    observations = solution.observations
    moving = solution.moving
    return {
        "frame": observations.frame.astype(np.int32),
        "track": observations.track.astype(np.int32),
        "xy": observations.xy.astype(np.float32),
        "error_px": solution.error_px.astype(np.float32),
        "kept": solution.kept,
        "points": solution.points.astype(np.float32),
        "moving": np.zeros(len(solution.points), bool) if moving is None else moving,
        **({} if observations.weight is None else {"weight": observations.weight.astype(np.float32)}),
    }

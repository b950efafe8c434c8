"""A solve held to what a network says of depth: its scale does not drift where few points lead on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..geometry.cameras import Observations
from ..geometry.depth_scale import sampled
from .bundle import BundleOptions, refine
from .solution import Solution, take_world

KEEP_PX = 2.5
MIN_ANGLE_DEG = 0.5
MIN_VIEWS = 3


def predicted_depth(
    observations: Observations, maps: Callable[[int], np.ndarray | None], sizes: list[tuple[int, int]]
) -> np.ndarray:
    """(n,) logarithm of the depth that maps have where tracks were seen, nan where they have none.

    maps: of a frame's index the depth (h, w) over the whole frame, 0 for unknown, or None. sizes: (width, height) of
    the frames.
    """
    found = np.full(len(observations), np.nan)
    for frame in np.unique(observations.frame):
        depth = maps(int(frame))
        if depth is None:
            continue
        rows = observations.frame == frame
        values = sampled(depth, observations.xy[rows], sizes[int(frame)]).astype(np.float64)
        good = np.isfinite(values) & (values > 0)
        found[rows] = np.log(np.where(good, values, np.nan))
    return found


def hold_scale(solution: Solution, log_depth: np.ndarray, options: BundleOptions) -> Solution:
    """The solution refined again with predicted depth (n,) of its observations; itself where that leads nowhere."""
    before = solution.cameras.copy()
    try:
        bundle = refine(
            solution.observations,
            solution.cameras,
            solution.points,
            options,
            thresholds_px=(2 * KEEP_PX, KEEP_PX),
            min_angle_deg=MIN_ANGLE_DEG,
            min_views=MIN_VIEWS,
            log_depth=log_depth,
        )
    except ValueError:
        return solution
    held = replace(solution, cameras=bundle.cameras, points=bundle.points, error_px=bundle.errors_px, kept=bundle.kept)
    take_world(held, before)
    return held

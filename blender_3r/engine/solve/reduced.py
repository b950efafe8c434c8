"""Footage solved in the pixels that it was tracked in.

Points are followed in reduced images where the frames are large. Their errors, and so what counts as an outlier, go by
the pixels of those images; in those of 8K frames a good track would look like a bad one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..geometry.cameras import Cameras, Observations
from ..reconstruction import Intrinsics
from .alignment import Aligned
from .key_cameras import VideoSettings
from .mapping import LensModel
from .solution import Solution
from .video import solve_video


def solve_reduced(
    observations: Observations,
    lenses: LensModel,
    settings: VideoSettings,
    given: Cameras | None = None,
    pixel: float = 1.0,
) -> Solution:
    """solve_video() in pixels that are so many original pixels wide; what it takes and returns is in original ones."""
    if pixel == 1.0:
        return solve_video(observations, lenses, settings, given)
    settings.log(f"solved in pixels of the images that were tracked in, {pixel:.2f} times as large")
    align = settings.align

    def align_original(seen: Observations, cameras: Cameras, points: np.ndarray) -> Aligned:
        aligned = align(_observations(seen, pixel), _cameras(cameras, pixel), points)
        return replace(aligned, observations=_observations(aligned.observations, 1 / pixel))

    solution = solve_video(
        _observations(observations, 1 / pixel),
        replace(lenses, start=[_lens(lens, 1 / pixel) for lens in lenses.start]),
        replace(settings, align=None if align is None else align_original),
        None if given is None else _cameras(given, 1 / pixel),
    )
    return replace(
        solution,
        cameras=_cameras(solution.cameras, pixel),
        observations=_observations(solution.observations, pixel),
        error_px=solution.error_px * pixel,
    )


def _observations(observations: Observations, factor: float) -> Observations:
    return replace(observations, xy=observations.xy * factor)


def _cameras(cameras: Cameras, factor: float) -> Cameras:
    return replace(cameras, focal=cameras.focal * factor, center=cameras.center * factor)


def _lens(lens: Intrinsics, factor: float) -> Intrinsics:
    size = {name: round(getattr(lens, name) * factor) for name in ("width", "height")}
    return replace(lens, **size, **{name: getattr(lens, name) * factor for name in ("fx", "fy", "cx", "cy")})

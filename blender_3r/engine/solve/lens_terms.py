"""What a lens has beyond focal length and k1, where the pictures leave no doubt: the principal point, k2.

A term that is freed without need takes up errors of the tracks and drags the poses with it; one that is held against
the truth bends the path. So each is freed for a trial, and kept where the cost falls by far more than chance explains.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..geometry.cameras import Cameras, Observations
from .bundle import BundleOptions, BundleResult, adjust
from .solution import FOCAL_DEVIATION_FACTOR

SIGMAS = 5.0  # of real deviations, which are FOCAL_DEVIATION_FACTOR times the formal ones
FARTHEST_CENTER = 0.25  # of the picture's side; what is found farther out makes up for something else
TRIAL = {"max_iterations": 8, "tolerance": 1e-5}


def needed_terms(
    observations: Observations,
    cameras: Cameras,
    points: np.ndarray,
    options: BundleOptions,
    free_center: bool,
    free_k2: bool,
) -> BundleOptions:
    """The options, with the terms freed that may be freed and that the observations ask for.

    observations: those that took part in a solve, which gave cameras and points. All frames share one lens.
    """
    choices = []
    if free_center and not options.center:
        choices.append({"center": True})
    if free_k2 and options.distortion == 1:
        choices.append({"distortion": 2})
    if not choices or len(observations) == 0:
        return options
    held = adjust(observations, cameras, points, replace(options, **TRIAL), with_deviation=False)
    for choice in choices:
        trial = replace(options, **choice, **TRIAL)
        freed = adjust(observations, held.cameras, held.points, trial, with_deviation=False)
        is_sure = _deviations(held, freed, len(observations)) > SIGMAS * FOCAL_DEVIATION_FACTOR
        if is_sure and _is_center_near(held.cameras, freed.cameras):
            options, held = replace(options, **choice), freed
    return options


def _deviations(held: BundleResult, freed: BundleResult, count: int) -> float:
    """How many formal standard deviations the freed term is away from where it was held: the root of the fall of the
    cost in units of the variance of a coordinate, as a likelihood ratio has it.
    """
    fall = max(0.0, held.cost - freed.cost) / max(freed.cost, 1e-30)
    return float(np.sqrt(2 * count * fall))


def _is_center_near(held: Cameras, freed: Cameras) -> bool:
    """Whether the principal points stay near where they were held: the middle of the picture."""
    moved = np.abs(freed.center - held.center)[held.solved]
    return bool((moved < FARTHEST_CENTER * 2 * held.center[held.solved]).all())

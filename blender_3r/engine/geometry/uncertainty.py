"""How firmly observations hold the focals of a bundle adjustment, and how smooth a zoom they speak of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .bundle_state import State
from .reprojection import Problem


@dataclass(frozen=True)
class FocalUncertainty:
    """log_std: (m,) see BundleResult. smoothness: the weight (px^2) of the smoothness prior under which the bends of
    the focals found are as large as the prior expects them; nan where there is no such prior.
    """

    log_std: np.ndarray
    smoothness: float


def focal_uncertainty(problem: Problem, state: State) -> FocalUncertainty:
    """At the end of an adjustment, with everything else unknown.

    The smoothness is estimated as one of two variance components (Helmert; Koch, "Parameter Estimation and Hypothesis
    Testing in Linear Models", 3.6): observations have noise, focals have bends. One step of the estimate; with the
    weight found the adjustment is to be repeated.
    """
    deviation = np.full(len(problem.columns), np.nan)
    if problem.options.lens == "fixed":
        deviation[problem.used] = 0.0
        return FocalUncertainty(deviation, float("nan"))
    equations, squares = problem.linearize(state)
    information = equations.reduced()[0]
    free = np.bincount(problem.columns[problem.used].reshape(-1), minlength=len(information)) > 0
    free[_gauge_columns(problem, state)] = False
    information = information[np.ix_(free, free)]
    scale = 1.0 / np.sqrt(np.maximum(np.diagonal(information), 1e-12))
    covariance = np.zeros((len(free), len(free)))
    held = np.linalg.pinv(information * scale * scale[:, None], rcond=1e-13, hermitian=True)
    covariance[np.ix_(free, free)] = held * scale * scale[:, None]
    unknowns = int(free.sum()) + 3 * len(state.nearness)
    noise = squares / max(1, 2 * len(problem.frame) - unknowns)
    focal = problem.focal_column[problem.used]
    deviation[problem.used] = np.sqrt(np.diagonal(covariance)[focal] * noise)
    rows = problem.smooth_rows
    if len(rows) == 0:
        return FocalUncertainty(deviation, float("nan"))
    bends = rows @ state.log_focal[problem.used]
    told = float(np.sum((rows @ covariance[np.ix_(problem.smooth_columns, problem.smooth_columns)]) * rows))
    # What the observations alone could not tell of the bends is the prior's own doing, and no evidence for it.
    expected = max(len(rows) - told, 1e-9) * noise
    smoothness = problem.options.smoothness * expected / max(float(bends @ bends), 1e-12)
    return FocalUncertainty(deviation, float(smoothness))


def _gauge_columns(problem: Problem, state: State) -> np.ndarray:
    """Columns to hold so that the world can neither move nor turn nor grow."""
    first = problem.used[0]
    if problem.options.rotation_only:
        return problem.columns[first, :3]
    rotation, translation = state.rotation[problem.used], state.translation[problem.used]
    start = -rotation[0].T @ translation[0]
    # Growing the world about the first camera moves the others along these vectors (in their own axes).
    growth = translation + rotation @ start
    camera, axis = np.unravel_index(np.argmax(np.abs(growth)), growth.shape)
    return np.append(problem.columns[first, :6], problem.columns[problem.used[camera], 3 + axis])

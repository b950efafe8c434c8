"""By what predicted depth has to be multiplied so that it agrees with solved points: per view, and over time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LEAST_POINTS = 20  # of a view, from which its depth is set to them
_SPREAD = 1.4826  # standard deviation of normal errors, from their median magnitude
_MEDIAN_COST = np.pi / 2  # variance of a median over that of a mean


class LogScale(NamedTuple):
    """value: logarithm of the factor. variance: of that, as the points' own spread tells it."""

    value: float
    variance: float


def measure_scale(found: np.ndarray, predicted: np.ndarray) -> LogScale | None:
    """From the depths (n,) of solved points and those predicted there, 0 or not finite where there is none.

    The median, so that less than half of the points may lie on edges, or move. None for fewer than LEAST_POINTS.
    """
    good = np.isfinite(predicted) & np.isfinite(found) & (predicted > 0) & (found > 0)
    count = int(np.count_nonzero(good))
    if count < LEAST_POINTS:
        return None
    ratio = np.log(found[good] / predicted[good])
    middle = float(np.median(ratio))
    spread = _SPREAD * float(np.median(np.abs(ratio - middle)))
    return LogScale(middle, _MEDIAN_COST * spread**2 / count)


def sampled(values: np.ndarray, xy: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map's (h, w) values at pixels xy (n, 2) of a frame of that size (width, height)."""
    rows, columns = values.shape
    place = np.floor(xy * (columns / size[0], rows / size[1])).astype(int)
    column, row = np.clip(place, 0, (columns - 1, rows - 1)).T
    return values[row, column]


def smooth_scales(frames: np.ndarray, measured: list[LogScale | None]) -> np.ndarray:
    """(n,) log scales of views at ascending frames (n,), of which some may not be measured; zeros if none is.

    The likeliest ones of a random walk that was measured with the given variances. How far the walk goes per frame is
    asked of the measurements: what they differ by beyond their own uncertainty is in the depth, and is kept.
    """
    known = np.array([k for k, scale in enumerate(measured) if scale is not None], dtype=int)
    if len(known) == 0:
        return np.zeros(len(measured))
    value = np.array([measured[k].value for k in known])
    variance = np.array([max(measured[k].variance, 1e-12) for k in known])
    gap = np.diff(np.asarray(frames, dtype=np.float64)[known])
    smooth = value
    if len(known) > 1:
        walks = np.median(variance) * 4.0 ** np.arange(-10, 9)
        walk = max(walks, key=lambda walk: _likelihood(value, variance, walk * gap))
        smooth = _walked(value, 1 / variance, 1 / (walk * gap))
    return np.interp(np.asarray(frames, dtype=np.float64), np.asarray(frames)[known], smooth)


def _likelihood(value: np.ndarray, variance: np.ndarray, steps: np.ndarray) -> float:
    """Log likelihood, but for a constant, of a random walk with steps of these variances being measured so (Kalman)."""
    state, doubt, total = value[0], variance[0], 0.0
    for k in range(1, len(value)):
        doubt += steps[k - 1]
        whole = doubt + variance[k]
        off = value[k] - state
        total -= off * off / whole + np.log(whole)
        state, doubt = state + doubt / whole * off, doubt * variance[k] / whole
    return float(total)


def _walked(value: np.ndarray, weight: np.ndarray, tie: np.ndarray) -> np.ndarray:
    """The minimum of sum weight (x - value)^2 + sum tie (difference of neighbours)^2: a tridiagonal system."""
    diagonal = weight + np.append(tie, 0.0) + np.append(0.0, tie)
    right = weight * value
    for k in range(1, len(value)):
        factor = tie[k - 1] / diagonal[k - 1]
        diagonal[k] -= factor * tie[k - 1]
        right[k] += factor * right[k - 1]
    found = right / diagonal
    for k in range(len(value) - 2, -1, -1):
        found[k] += tie[k] / diagonal[k] * found[k + 1]
    return found

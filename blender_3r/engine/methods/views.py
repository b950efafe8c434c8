"""What the views of all networks have in common: confidence in 0..1, cameras that can be."""

from __future__ import annotations

import numpy as np

from ..reconstruction import Intrinsics

UNKNOWN_FOCAL = 1.2  # of the long side: stated for a view of which nothing is known
# Focals, in units of the long side, of fields of view of 150 and 1 degrees: a camera beyond is none.
FOCAL_RANGE = (0.13, 57.0)


def unit_confidence(confidence: np.ndarray) -> np.ndarray:
    """The networks' confidence c, from 1 upwards, as 1 - 1/c in 0..1; what is below 1 was cleaned away: 0."""
    return (1.0 - 1.0 / np.maximum(confidence, 1.0)).astype(np.float32)


def guessed_lens(width: int, height: int, focal: float | None = None) -> Intrinsics:
    """A pinhole for a frame without a camera. focal: in units of the long side, such as the median of the others."""
    focal_px = float(focal or UNKNOWN_FOCAL) * max(width, height)
    return Intrinsics(width, height, focal_px, focal_px, width / 2, height / 2)

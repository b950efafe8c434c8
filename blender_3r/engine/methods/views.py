"""What the views of all networks have in common: confidence in 0..1, cameras that can be."""

from __future__ import annotations

import numpy as np

from ..errors import EngineError
from ..reconstruction import Intrinsics
from .pairwise.pictures import Picture

UNKNOWN_FOCAL = 1.2  # of the long side: stated for a view of which nothing is known
# Focals, in units of the long side, of fields of view of 150 and 1 degrees: a camera beyond is none.
FOCAL_RANGE = (0.13, 57.0)
UNBELIEVABLE = "{}: the network's predictions of it give no camera that could be."


def unit_confidence(confidence: np.ndarray) -> np.ndarray:
    """The networks' confidence c, from 1 upwards, as 1 - 1/c in 0..1; what is below 1 was cleaned away: 0."""
    return (1.0 - 1.0 / np.maximum(confidence, 1.0)).astype(np.float32)


def view_arrays(
    picture: Picture, depth: np.ndarray, confidence: np.ndarray, min_confidence: float
) -> dict[str, np.ndarray]:
    """depth, confidence and colour of one view on the grid of the whole scaled frame.

    depth, confidence: (h, w) on the network's pixels, the confidence its own. Depth is 0 (unknown) outside the
    network's cut, and where the confidence is below min_confidence.
    """
    good = (confidence >= min_confidence) & np.isfinite(depth) & (depth > 0)
    return {
        "depth": picture.to_whole(np.where(good, depth, 0).astype(np.float32)),
        "confidence": picture.to_whole(unit_confidence(np.nan_to_num(confidence, nan=0.0))),
        "color": picture.whole,
    }


def guessed_lens(width: int, height: int, focal: float | None = None) -> Intrinsics:
    """A pinhole for a frame without a camera. focal: in units of the long side, such as the median of the others."""
    focal_px = float(focal or UNKNOWN_FOCAL) * max(width, height)
    return Intrinsics(width, height, focal_px, focal_px, width / 2, height / 2)


def no_camera() -> EngineError:
    """The failure of predictions that fit no cameras."""
    return EngineError(
        "unsolved",
        "The network's predictions for these images give no camera that could be.",
        "Check that the images are photos of a scene and that the weights fit the model.",
    )

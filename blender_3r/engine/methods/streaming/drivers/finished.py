"""What a driver says of one frame, and what all drivers need to say it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ....geometry.focal import estimate_focal
from ....models.dust3r import Encoded
from ....models.layers.patches import grid_positions

FOCAL_STRIDE = 3  # pixels; a focal length from every ninth point is the same to a few thousandths


class Finished(NamedTuple):
    """number: of the frame in the stream, from 0. pose: (4, 4) world_from_camera, None where none was found.

    points: (h, w, 3) float32 in the frame's own camera, confidence: (h, w) float32 from 1, both None where earlier ones
    stay. focal: of the points, in network pixels; nan with them.
    """

    number: int
    pose: np.ndarray | None
    points: np.ndarray | None = None
    confidence: np.ndarray | None = None
    focal: float = float("nan")


def to_numpy(values: Tensor) -> np.ndarray:
    """In main memory, float32."""
    return values.detach().float().cpu().numpy()


def focal_of(points: np.ndarray) -> float:
    """The focal length in network pixels that explains points (h, w, 3) of their own camera; nan if none does."""
    usable = np.zeros(points.shape[:2], dtype=bool)
    usable[::FOCAL_STRIDE, ::FOCAL_STRIDE] = True
    usable &= np.isfinite(points).all(axis=-1)
    if not usable.any():
        return float("nan")
    with np.errstate(divide="ignore", invalid="ignore"):
        return estimate_focal(points, usable=usable)


def taken(arrays: dict[str, np.ndarray], name: str, *shape: int | None) -> np.ndarray:
    """An array of a kept state, float32 and finite. shape: each side, None for any. Raises ValueError or KeyError."""
    found = arrays[name]
    fits = found.ndim == len(shape) and all(one in (None, other) for one, other in zip(shape, found.shape))
    if not fits or found.dtype != np.float32 or not np.isfinite(found).all():
        raise ValueError(f"{name} is {found.dtype} {found.shape}, not float32 {shape}, or not finite")
    return found


def taken_count(arrays: dict[str, np.ndarray], name: str) -> int:
    """A whole number of a kept state, not negative. Raises ValueError or KeyError."""
    found = arrays[name]
    if found.shape != () or found.dtype.kind not in "iu" or found < 0:
        raise ValueError(f"{name} is no count")
    return int(found)


def encoded_from(tokens: np.ndarray, grid: tuple[int, int], device: torch.device) -> Encoded:
    """A frame's tokens (1, N, C) of a kept state as what the encoder gave."""
    if tokens.shape[1] != grid[0] * grid[1]:
        raise ValueError(f"{tokens.shape[1]} tokens are no grid of {grid}")
    return Encoded(torch.from_numpy(tokens).to(device), grid_positions(1, *grid, device), grid)

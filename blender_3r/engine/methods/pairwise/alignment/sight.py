"""Which parts of a view's points another camera may see, told from boxes around small patches of pixels.

A patch counts as seen unless its whole box is out of sight, so what is left out is truly not seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PATCH = 16  # pixels along a side
MARGIN = 1.0  # pixels around the image that still count as seen: more than rounding moves a point


@dataclass(frozen=True)
class Patches:
    """Boxes around T patches of a view. of_pixel: (H W,) number of each pixel's patch. middle, half: (T, 3) world, nan
    where a patch holds nothing or something that is not finite; it counts as seen then.
    """

    of_pixel: np.ndarray
    middle: np.ndarray
    half: np.ndarray

    @classmethod
    def around(cls, points: np.ndarray, counted: np.ndarray) -> Patches:
        """Of points (H, W, 3); counted: (H, W) bool, those that the boxes have to hold."""
        height, width = counted.shape
        rows, columns = np.arange(0, height, PATCH), np.arange(0, width, PATCH)
        of_pixel = (np.arange(height) // PATCH)[:, None] * len(columns) + np.arange(width) // PATCH
        low = _reduced(np.minimum, np.where(counted[..., None], points, np.inf), rows, columns)
        high = _reduced(np.maximum, np.where(counted[..., None], points, -np.inf), rows, columns)
        with np.errstate(invalid="ignore"):
            return cls(of_pixel.reshape(-1), (low + high) / 2, (high - low) / 2)

    def seen(
        self, camera_from_world: np.ndarray, lens: np.ndarray, size: tuple[int, int], farthest: float
    ) -> np.ndarray:
        """(T,) bool: patches with anything inside the image, before the camera and nearer than farthest.

        camera_from_world: (4, 4). lens: (3, 3), the first pixel's centre at 0. size: (height, width).
        """
        height, width = size
        reach = 0.5 + MARGIN
        # Planes with what is seen on their positive side: normals in the camera's frame, and how far they lie from it.
        normals = np.stack([
            lens[0] + reach * lens[2],
            (width - 1 + reach) * lens[2] - lens[0],
            lens[1] + reach * lens[2],
            (height - 1 + reach) * lens[2] - lens[1],
            [0.0, 0.0, 1.0],
            [0.0, 0.0, -1.0],
        ])  # fmt: skip
        offsets = normals @ camera_from_world[:3, 3] + np.array([0.0, 0.0, 0.0, 0.0, 0.0, farthest])
        normals = normals @ camera_from_world[:3, :3]
        with np.errstate(invalid="ignore"):
            outside = self.middle @ normals.T + self.half @ np.abs(normals).T + offsets < 0.0
        return ~outside.any(axis=1)


def _reduced(reduction: np.ufunc, points: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(T, 3) float64: minimum or maximum over patches that begin at these rows and columns."""
    with np.errstate(invalid="ignore"):
        found = reduction.reduceat(reduction.reduceat(points, rows, axis=0), columns, axis=1)
    return found.reshape(-1, 3).astype(np.float64)

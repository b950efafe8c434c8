"""Thinning a cloud to one point per cell of a grid, block by block, so that a long shot fits into memory."""

from __future__ import annotations

import numpy as np

_BITS = 21  # of a cell's number along one axis, so that three make one 64-bit number


class VoxelThinner:
    """Keeps the first block's point of every cubic cell of an edge length; within a block the surest one.

    size: edge of a cell in the points' unit. Holds 8 bytes for every cell that is taken.
    """

    def __init__(self, size: float) -> None:
        if not size > 0 or not np.isfinite(size):
            raise ValueError(f"a cell of size {size} holds no points")
        self.size = size
        self._taken = np.empty(0, np.int64)  # sorted

    def keep(self, points: np.ndarray, quality: np.ndarray) -> np.ndarray:
        """Which of points (n, 3) stay, ascending (m,) int64; quality (n,): the highest of a cell stays.

        Raises ValueError when the cells are so small that the points are more than a million of them away from 0.
        """
        cells = np.floor(np.asarray(points, np.float64) / self.size)
        if len(cells) and np.abs(cells).max() >= 1 << (_BITS - 1):
            raise ValueError("the cells are too small for the extent of the points")
        cells = cells.astype(np.int64) + (1 << (_BITS - 1))
        keys = (cells[:, 0] << 2 * _BITS) | (cells[:, 1] << _BITS) | cells[:, 2]
        order = np.lexsort((-np.asarray(quality, np.float64), keys))
        first = np.ones(len(order), dtype=bool)
        first[1:] = keys[order[1:]] != keys[order[:-1]]
        best = order[first]  # of every cell its surest point, by cell
        place = np.searchsorted(self._taken, keys[best])
        known = np.zeros(len(best), dtype=bool)
        inside = place < len(self._taken)
        known[inside] = self._taken[place[inside]] == keys[best][inside]
        new = best[~known]
        self._taken = np.sort(np.concatenate([self._taken, keys[new]]), kind="stable")
        return np.sort(new)

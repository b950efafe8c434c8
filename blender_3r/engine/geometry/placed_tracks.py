"""What the tracks that pass through a frame tell of the places around them: what moves, and what stands."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_FEWEST_TRACKS = 3  # of one thing
_MOST = 2 / 3  # of the tracks around a place must move for it to do so


@dataclass(frozen=True)
class PlacedTracks:
    """xy (n, 2): places of a frame's tracks in pixels of its map; moving, stands (n,) bool: what the solve found of
    them. Neither is true of a track that slipped.
    """

    xy: np.ndarray
    moving: np.ndarray
    stands: np.ndarray

    def region(self, shape: tuple[int, int]) -> np.ndarray:
        """(h, w) bool: where they tell that something moves.

        About a place those tracks are asked that lie within their usual distance from each other; single ones are not
        believed, since tracks that slip along an outline look as if they moved.
        """
        height, width = shape
        if np.count_nonzero(self.moving) < _FEWEST_TRACKS:
            return np.zeros(shape, bool)
        row, column = self._pixels(shape, 1)
        density = np.zeros((2, height, width), np.float32)
        np.add.at(density[0], (row, column), 1)
        np.add.at(density[1], (row, column), self.moving)
        spacing = float(np.sqrt(height * width / len(self.xy)))
        every, those = (cv2.GaussianBlur(tracks, (0, 0), spacing) for tracks in density)
        least = np.exp(-0.5) / (2 * np.pi * spacing**2)  # what a single track amounts to in that distance
        region = ((those > _MOST * every) & (every > least)).astype(np.uint8)
        count, label = cv2.connectedComponents(region, connectivity=4)
        good = np.bincount(label[row, column], self.moving, minlength=count) >= _FEWEST_TRACKS
        good[0] = False
        return good[label]

    def without_standing(self, found: np.ndarray, stride: int) -> np.ndarray:
        """found without its connected parts in which more tracks stand than move. found: (h // stride, w // stride)."""
        row, column = self._pixels(found.shape, stride)
        count, label = cv2.connectedComponents(found.astype(np.uint8), connectivity=4)
        stand, move = (np.bincount(label[row, column], those, minlength=count) for those in (self.stands, self.moving))
        good = stand <= move
        good[0] = False
        return good[label]

    def _pixels(self, shape: tuple[int, int], stride: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns (n,) in a map of that shape, of every so many pixels."""
        column, row = np.clip((self.xy / stride).astype(np.int64), 0, (shape[1] - 1, shape[0] - 1)).T
        return row, column

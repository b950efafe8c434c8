"""Whether two pictures show the same at one place, whatever the light: what a shadow falls on stays what it is.

Looked at are three values of every other pixel that do not change when light grows or fades: how much brighter it is
than what lies around it, and its tint in two directions, as shares of its brightness.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

STRIDE = 2  # every other row and column
_BLUR = 1.0  # px, before every other one is taken
_AROUND = 4.0  # of those, that brightness is compared with
_DARK = 16.0  # grey levels; a picture as dark as that is noise and compression, so that shares of it say little
_STEPS = 1000.0  # per unit of a share
_FINEST = 20.0  # steps; nearer to each other than that, values are taken for equal
_SPREAD = 1.4826  # standard deviation of normal errors, by their median magnitude


@dataclass(frozen=True)
class Appearance:
    """values (h // 2, w // 2, 3) int16 of every other pixel; least, most: the extremes of their 3 x 3 neighbours."""

    values: np.ndarray
    least: np.ndarray
    most: np.ndarray

    @classmethod
    def of(cls, color: np.ndarray) -> Appearance:
        """color: (h, w, 3) uint8 RGB."""
        few = cv2.GaussianBlur(np.asarray(color), (0, 0), _BLUR)[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
        red, green, blue = np.moveaxis(few.astype(np.float32), -1, 0)
        gray = (red + green + blue) / 3
        around = cv2.GaussianBlur(gray, (0, 0), _AROUND)
        shares = [(gray - around) / (around + _DARK), (red - green) / (gray + _DARK), (blue - green) / (gray + _DARK)]
        values = np.rint(_STEPS * np.dstack(shares)).astype(np.int16)  # below 16 times as bright as around it
        window = np.ones((3, 3), np.uint8)
        return cls(values, cv2.erode(values, window), cv2.dilate(values, window))

    @property
    def size_bytes(self) -> int:
        """Memory that it takes."""
        return 3 * self.values.nbytes

    def unlike(
        self, place: np.ndarray, there: Appearance, there_row: np.ndarray, there_column: np.ndarray
    ) -> np.ndarray:
        """(n,) how far n places differ in two pictures, in units of what cannot be noise: above 1 they do.

        place: (n,) in the flattened map of every other pixel; there_row, there_column: (n,) pixels of the other
        picture. Most of them must show the same; a shift of a pixel or two and a common change of tint do not count.
        """
        height, width = there.values.shape[:2]
        row, column = np.minimum(there_row // STRIDE, height - 1), np.minimum(there_column // STRIDE, width - 1)
        mine = self.values.reshape(-1, 3)[place].astype(np.float32)
        change = there.values[row, column] - mine
        shift = np.median(change, axis=0)
        noise = _SPREAD * np.median(np.abs(change - shift), axis=0)
        limit = np.maximum(_FINEST, noise * np.sqrt(2 * np.log(len(place))))  # the largest of so many normal errors
        mine = mine + shift
        off = np.maximum(there.least[row, column] - mine, mine - there.most[row, column])
        return (off / limit).max(axis=1)

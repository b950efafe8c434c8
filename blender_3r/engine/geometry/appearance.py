"""Whether two pictures show the same at one place, whatever the light: what a shadow falls on stays what it is.

Looked at is what does not change when light grows or fades: the tint of every other pixel, in two directions and as
shares of its brightness, and the pattern around it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

STRIDE = 2  # every other row and column
_BLUR = 1.0  # px, before every other one is taken
_WINDOW = 5  # of those, of the pattern
_FLAT = 4.0  # grey levels; patterns weaker than that are noise
_DARK = 16.0  # grey levels; a picture as dark as that is noise and compression, so that shares of it say little
_STEPS = 1000.0  # per unit of a share
_FINEST = 20.0  # steps; nearer to each other than that, values are taken for equal
_COLOR_CAST = 2.0  # times what may be noise: things throw coloured light on each other, and wandering shadows take it
_LEAST_USUAL = 0.5  # correlation that patterns mostly have; where it is less, maps and pictures do not fit together
_SPREAD = 1.4826  # standard deviation of normal errors, by their median magnitude


@dataclass(frozen=True)
class Appearance:
    """Of every other pixel: gray (h // 2, w // 2) uint8, and tint (h // 2, w // 2, 2) int16 with the least and the most
    of their 3 x 3 neighbours.
    """

    gray: np.ndarray
    tint: np.ndarray
    least: np.ndarray
    most: np.ndarray

    @classmethod
    def of(cls, color: np.ndarray) -> Appearance:
        """color: (h, w, 3) uint8 RGB."""
        few = cv2.GaussianBlur(np.asarray(color), (0, 0), _BLUR)[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
        red, green, blue = np.moveaxis(few.astype(np.float32), -1, 0)
        gray = (red + green + blue) / 3
        shares = np.dstack([red - green, blue - green]) / (gray[..., None] + _DARK)
        tint = np.rint(_STEPS * shares).astype(np.int16)
        window = np.ones((3, 3), np.uint8)
        return cls(np.rint(gray).astype(np.uint8), tint, cv2.erode(tint, window), cv2.dilate(tint, window))

    @property
    def size_bytes(self) -> int:
        """Memory that it takes."""
        return self.gray.nbytes + 3 * self.tint.nbytes

    def unlike(
        self, place: np.ndarray, there: Appearance, there_row: np.ndarray, there_column: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """How far n places differ in two pictures, (n,): above 1 they do; and whether they have a pattern, (n,) bool.

        Tints differ by so many times what noise and coloured light may do. A pattern differs by 1 where it has nothing
        in common with the other; where it is the same, tints are not asked.

        place: (n,) in the flattened map of every other pixel; there_row, there_column: (n,) pixels of the other
        picture. Most of them must show the same; a shift of a pixel or two and a common change of tint do not count.
        """
        height, width = there.gray.shape
        row, column = np.minimum(there_row // STRIDE, height - 1), np.minimum(there_column // STRIDE, width - 1)
        mine = self.tint.reshape(-1, 2)[place].astype(np.float32)
        change = there.tint[row, column] - mine
        shift = np.median(change, axis=0)
        noise = _SPREAD * np.median(np.abs(change - shift), axis=0)
        limit = np.maximum(_FINEST, noise * np.sqrt(2 * np.log(len(place))))  # the largest of so many normal errors
        mine += shift
        off = np.maximum(there.least[row, column] - mine, mine - there.most[row, column])
        tinted = (off / (_COLOR_CAST * limit)).max(axis=1)
        alike, has_pattern = self._correlation(place, there.gray[row, column])
        usual = np.median(alike[has_pattern]) if has_pattern.any() else 0.0
        if usual < _LEAST_USUAL:
            return tinted, np.zeros(len(place), bool)
        pattern = np.where(has_pattern, 1 - alike / usual, 0)
        return np.where(has_pattern & (pattern < 0.5), 0, np.maximum(tinted, pattern)), has_pattern

    def _correlation(self, place: np.ndarray, gray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of the patterns around places with that of the greys (n,) another picture has there: (n,), and whether both
        have one: more than noise, and more than half of it known.
        """
        known, other = np.zeros((2, self.gray.size), np.float32)
        known[place], other[place] = 1, gray
        known, other = known.reshape(self.gray.shape), other.reshape(self.gray.shape)
        mine = self.gray * known
        share, mean, other_mean, square, other_square, product = (
            cv2.boxFilter(values, -1, (_WINDOW, _WINDOW)).reshape(-1)[place]
            for values in (known, mine, other, mine * mine, other * other, mine * other)
        )
        mean, other_mean = mean / share, other_mean / share
        variance, other_variance = square / share - mean**2 + _FLAT**2, other_square / share - other_mean**2 + _FLAT**2
        alike = (product / share - mean * other_mean) / np.sqrt(variance * other_variance)
        return alike, (np.minimum(variance, other_variance) > 2 * _FLAT**2) & (share > 0.5)

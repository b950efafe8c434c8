"""What of a picture is probably sky, by colour, smoothness, place and depth; a rule of thumb for hiding points."""

from __future__ import annotations

import cv2
import numpy as np

_BLUR = 5
_SMOOTH = 12.0  # largest change to the neighbouring pixel, in 8-bit steps
_SMALLEST = 0.005  # share of the picture
_FAR = 2.0  # times the median depth of the rest


def find_sky(color: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """(h, w) bool of an upright picture (h, w, 3) uint8 RGB with depth (h, w), 0 = unknown.

    Sky is smooth, blue or bright and pale, reaches the upper border, and lies far behind the rest or nowhere. Pale
    walls at the far end of a room are taken for it, too.
    """
    soft = cv2.GaussianBlur(np.ascontiguousarray(color), (_BLUR, _BLUR), 0)
    red, green, blue = (soft[..., channel].astype(np.float32) for channel in range(3))
    brightest, darkest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    is_blue = (blue >= green) & (green >= red - 8) & (blue > red + 12) & (blue > 70)
    is_pale = (brightest > 170) & (brightest - darkest < 45)
    across = np.abs(cv2.Sobel(brightest, cv2.CV_32F, 1, 0)) / 4
    down = np.abs(cv2.Sobel(brightest, cv2.CV_32F, 0, 1)) / 4
    candidate = (is_blue | is_pale) & (np.maximum(across, down) < _SMOOTH)
    count, labels, facts, _ = cv2.connectedComponentsWithStats(candidate.astype(np.uint8))
    sky = np.zeros(count, dtype=bool)
    at_border = np.unique(labels[: max(1, len(labels) // 50)])
    sky[at_border] = facts[at_border, cv2.CC_STAT_AREA] >= _SMALLEST * labels.size
    sky[0] = False  # what is no candidate
    found = cv2.dilate(sky[labels].astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    rest = depth[(depth > 0) & ~found]
    return found & ~((depth > 0) & (depth <= _FAR * np.median(rest))) if len(rest) else found

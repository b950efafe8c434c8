"""Which points of a picture a network is to follow, and which of the tracks are worth keeping."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

from ..pairwise.pictures import Picture
from .predictions import Followed

CELLS = 8  # across and down: corners are spread over them
QUALITY = 0.005  # of a corner, relative to the best of its cell
DISTANCE = 6  # pixels between corners
# Visibility times confidence from which a point is taken to be seen; VGGT's own export takes 0.2 of visibility.
LEAST_SURE = 0.2
MARGIN = 1.0  # pixels from the frame's edge


def choose_queries(picture: Picture, count: int) -> np.ndarray:
    """About `count` corners spread over a picture, (n, 2) float32 pixels (x, y), the first one's centre at 0."""
    gray = cv2.cvtColor(picture.color, cv2.COLOR_RGB2GRAY)
    left, top, right, bottom = _seen(picture)
    rows = np.linspace(top, bottom + 1, CELLS + 1).astype(int)
    columns = np.linspace(left, right + 1, CELLS + 1).astype(int)
    found = []
    for upper, lower in pairwise(rows):
        for first, last in pairwise(columns):
            cell = gray[upper:lower, first:last]
            if min(cell.shape, default=0) < 3:
                continue
            corners = cv2.goodFeaturesToTrack(cell, max(1, count // CELLS**2), QUALITY, DISTANCE)
            if corners is not None:
                found.append(corners.reshape(-1, 2) + np.float32([first, upper]))
    return np.concatenate(found).astype(np.float32) if found else np.zeros((0, 2), np.float32)


def usable_tracks(
    positions: np.ndarray, sure: np.ndarray, pictures: Sequence[Picture], numbers: Sequence[int]
) -> Followed:
    """What is kept of tracks: (S, N, 2) positions and (S, N) how sure, of S views with these pictures and numbers.

    Positions are pixels of the pictures, the first one's centre at 0; the first view is where the points were asked
    for. Kept are points inside the frame that are LEAST_SURE.
    """
    sure = np.array(sure, dtype=np.float64)
    sure[0] = 1.0  # there they were asked for
    kept = sure >= LEAST_SURE
    for view, picture in enumerate(pictures):
        left, top, right, bottom = _seen(picture)
        x, y = positions[view].T
        inside = (x >= left + MARGIN) & (x <= right - MARGIN) & (y >= top + MARGIN) & (y <= bottom - MARGIN)
        kept[view] &= inside
    view, track = np.nonzero(kept)
    xy = np.stack([frame_pixels(picture, own) for picture, own in zip(pictures, positions, strict=True)])
    return Followed(np.asarray(numbers, np.int64)[view], track, xy[view, track], sure[view, track])


def frame_pixels(picture: Picture, xy: np.ndarray) -> np.ndarray:
    """Pixels (n, 2) of a network's picture, the first one's centre at 0, as pixels of the original frame, whose corner
    is at 0; float64.
    """
    return (xy + 0.5 + np.array(picture.offset)) * _pixels_per_pixel(picture)


def picture_pixels(picture: Picture, xy: np.ndarray) -> np.ndarray:
    """The inverse of frame_pixels()."""
    return xy / _pixels_per_pixel(picture) - 0.5 - np.array(picture.offset)


def _pixels_per_pixel(picture: Picture) -> np.ndarray:
    """Of the frame to one of the picture, in x and y."""
    (height, width), (rows, columns) = picture.original, picture.scaled
    return np.array([width / columns, height / rows])


def _seen(picture: Picture) -> tuple[int, int, int, int]:
    """Left, top, right, bottom (included) of the part of a picture that the frame fills."""
    (height, width), (rows, columns), (left, top) = picture.size, picture.scaled, picture.offset
    return max(0, -left), max(0, -top), min(width, columns - left) - 1, min(height, rows - top) - 1

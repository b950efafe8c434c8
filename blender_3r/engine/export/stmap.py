"""ST-maps: pictures that say for every pixel where its colour is to be found in another picture.

Red and green are the place as shares of the width from the left and of the height from the bottom, as Nuke's STMap
and Blender's Map UV read them: the middle of the first pixel of the lowest row is (0.5 / width, 0.5 / height). Blue
is 1 where that place lies inside the other picture, 0 where there is nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..geometry.cameras import distort, undistort
from ..reconstruction import Intrinsics

_BLOCK = 1 << 20  # pixels worked on at a time: bounds the memory of frames of any size


def undistort_map(lens: Intrinsics) -> np.ndarray:
    """(h, w, 2) float32: for every pixel of the undistorted picture its place in the distorted one, in pixels.

    The undistorted picture has the same size, focal lengths and principal point, without distortion: what a pinhole
    camera renders lies on it. Coordinates count from the corner (0, 0) of the picture; nan where no place of the
    distorted picture belongs to the pixel, because the lens's polynomial turns back there.
    """
    limit = turning_radius(lens)

    def place(ideal: np.ndarray) -> np.ndarray:
        distorted = distort(ideal, np.broadcast_to(lens.distortion, (len(ideal), 4)))
        distorted[np.sum(ideal * ideal, axis=1) > limit * limit] = np.nan
        return distorted

    return _map(lens, place)


def redistort_map(lens: Intrinsics) -> np.ndarray:
    """(h, w, 2) float32: for every pixel of the distorted picture its place in the undistorted one, in pixels.

    The inverse of undistort_map. Places may lie outside the picture; nan where there is none.
    """
    limit = turning_radius(lens)

    def place(distorted: np.ndarray) -> np.ndarray:
        distortion = np.broadcast_to(lens.distortion, (len(distorted), 4))
        ideal = undistort(distorted, distortion)
        missed = np.abs(distort(ideal, distortion) - distorted).max(axis=1) > 1e-6
        ideal[missed | (np.sum(ideal * ideal, axis=1) > limit * limit)] = np.nan
        return ideal

    return _map(lens, place)


def turning_radius(lens: Intrinsics) -> float:
    """The radius, in normalized image coordinates, up to which the radial polynomial grows; inf if it always does."""
    if lens.k1 == 0 and lens.k2 == 0:
        return np.inf
    roots = np.roots([5 * lens.k2, 3 * lens.k1, 1.0])  # of its derivative, in r squared
    real = [root.real for root in roots if abs(root.imag) < 1e-12 and root.real > 0]
    return float(np.sqrt(min(real))) if real else np.inf


def overscan(lens: Intrinsics) -> float:
    """How much larger a picture without distortion must be to fill the whole distorted one: 1.0 or more."""
    across = (np.arange(lens.width + 1), np.arange(lens.height + 1))
    rim = [np.stack([across[0], np.full(lens.width + 1, y)], axis=1) for y in (0, lens.height)]
    rim += [np.stack([np.full(lens.height + 1, x), across[1]], axis=1) for x in (0, lens.width)]
    focal, middle = np.array([lens.fx, lens.fy]), np.array([lens.cx, lens.cy])
    distorted = (np.concatenate(rim) - middle) / focal
    places = undistort(distorted, np.broadcast_to(lens.distortion, (len(distorted), 4))) * focal + middle
    half = np.array([lens.width, lens.height]) / 2
    return float(max(1.0, np.abs(places / half - 1).max()))


def stmap_image(places: np.ndarray) -> np.ndarray:
    """Places (h, w, 2) in pixels of a picture of the same size as (h, w, 3) float32, in OpenCV's order of colours."""
    height, width = places.shape[:2]
    image = np.empty((height, width, 3), np.float32)
    share = places / np.float32([width, height])
    known = np.isfinite(share).all(axis=-1)
    image[..., 2] = np.where(known, share[..., 0], -1)
    image[..., 1] = np.where(known, 1 - share[..., 1], -1)
    image[..., 0] = known & ((share >= 0) & (share <= 1)).all(axis=-1)
    return image


def _map(lens: Intrinsics, place: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """place: normalized points (n, 2) to normalized points; applied to the centres of all pixels."""
    focal, middle = np.array([lens.fx, lens.fy]), np.array([lens.cx, lens.cy])
    places = np.empty((lens.height, lens.width, 2), np.float32)
    rows = max(1, _BLOCK // lens.width)
    for start in range(0, lens.height, rows):
        block = np.indices((min(rows, lens.height - start), lens.width), dtype=np.float64)
        pixels = np.stack([block[1], block[0] + start], axis=-1) + 0.5
        normalized = (pixels.reshape(-1, 2) - middle) / focal
        places[start : start + rows] = (place(normalized) * focal + middle).reshape(pixels.shape)
    return places

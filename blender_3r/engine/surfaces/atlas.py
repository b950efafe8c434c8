"""Patches of pictures packed into one square texture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

PADDING = 3  # texels of picture around a patch, so that its neighbours do not show when it is seen from afar
_FILLED, _SMALL = 0.55, 32  # a patch that fills less of its box is cut in two, unless the box is so small
_LARGE = 256  # as is one that is longer: shelves of like boxes lose less room, and frames go on beyond a cut
_SMALLER = 0.97  # the step by which pictures shrink until all fits
_LEAST_SCALE = 0.02


@dataclass(frozen=True)
class Patches:
    """low, high: (k, 2) float32, the boxes in pixels of their own frames. patch: (m,) which one a face belongs to."""

    low: np.ndarray
    high: np.ndarray
    patch: np.ndarray


def cut_patches(corners: np.ndarray, part: np.ndarray) -> Patches:
    """Boxes around connected faces of one picture; of sprawling ones in pieces, so that little room is lost.

    corners: (m, 3, 2) pixels. part: (m,) equal for the faces of one connected patch.
    """
    low, high = corners.min(axis=1), corners.max(axis=1)
    edge, other = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = np.abs(edge[:, 0] * other[:, 1] - edge[:, 1] * other[:, 0]) / 2
    order = np.argsort(part, kind="stable")
    stack = np.split(order, np.flatnonzero(np.diff(part[order])) + 1) if len(order) else []
    lows, highs, patch = [], [], np.empty(len(part), np.int32)
    while stack:
        faces = stack.pop()
        start, end = low[faces].min(axis=0), high[faces].max(axis=0)
        side = end - start
        axis = int(side[1] > side[0])
        if side[axis] > _LARGE or (side[axis] > _SMALL and area[faces].sum() < _FILLED * side.prod()):
            first = low[faces, axis] + high[faces, axis] < start[axis] + end[axis]
            if first.any() and not first.all():
                stack += [faces[first], faces[~first]]
                continue
        patch[faces] = len(lows)
        lows.append(start)
        highs.append(end)
    return Patches(np.array(lows, np.float32).reshape(-1, 2), np.array(highs, np.float32).reshape(-1, 2), patch)


def fit(sizes: Callable[[float], np.ndarray], side: int) -> tuple[float, np.ndarray] | None:
    """(the largest scale up to 1 at which boxes fit into a square; their upper left corners (k, 2) int32), or None.

    sizes: the boxes (k, 2) in texels, width and height, at a scale. None when they do not fit however small.
    """
    scale = 1.0
    while (area := sizes(scale).prod(axis=1).sum()) > side * side:
        scale *= min(_SMALLER, float(np.sqrt(side * side / area)))
        if scale < _LEAST_SCALE:
            return None
    while scale >= _LEAST_SCALE:
        places = _on_shelves(sizes(scale), side)
        if places is not None:
            return scale, places
        scale *= _SMALLER
    return None


def _on_shelves(sizes: np.ndarray, side: int) -> np.ndarray | None:
    """Boxes beside each other in rows, the tall ones first; None when they do not fit."""
    places = np.empty((len(sizes), 2), np.int32)
    x = y = height = 0
    order = np.lexsort((-sizes[:, 0], -sizes[:, 1]))
    for index, (wide, tall) in zip(order.tolist(), sizes[order].tolist(), strict=True):
        if x + wide > side:
            x, y, height = 0, y + height, 0
        if wide > side or y + tall > side:
            return None
        places[index] = x, y
        x, height = x + wide, max(height, tall)
    return places

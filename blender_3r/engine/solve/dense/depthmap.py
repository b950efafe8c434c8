"""Depth of one view from its sources: plane sweep, semi-global aggregation, the best plane and between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from .pictures import Picture
from .semiglobal import aggregate
from .sweep import MIN_DEPTH_RATIO, Projector, cost_volume

SMALL_JUMP = 14
LARGE_JUMP = 95
PLANE_STEP = 0.9  # pixels a typical source moves from plane to plane
# Grey levels per pixel at which the penalty of a depth edge has halved.
EDGE_GRADIENT = 16.0


@dataclass(frozen=True)
class RawDepth:
    """What one view's own sweep says, before other views are asked.

    inverse: (h, w) float32 inverse depth, > 0 also where nothing was found. found: (h, w) bool, false where the best
    match is the furthest plane: sky, or whatever lies beyond the range.
    parallax: (h, w) float32 pixels of movement per relative change of depth in the source that moves most.
    """

    inverse: np.ndarray
    found: np.ndarray
    parallax: np.ndarray


def sweep_depth(
    reference: Picture,
    sources: list[Picture],
    depth_range: tuple[float, float],
    max_planes: int,
    check_cancelled: Callable[[], None] = lambda: None,
) -> RawDepth:
    """depth_range: least and largest inverse depth; both > 0."""
    low, high = depth_range
    planes = np.linspace(low, high, plane_count(reference, sources, depth_range, max_planes), dtype=np.float32)
    volume = cost_volume(reference, sources, planes, check_cancelled)
    total = aggregate(volume, SMALL_JUMP, edge_penalty(reference.gray), check_cancelled)
    label = np.stack([row.argmin(axis=0) for row in total])
    inverse = low + (label + _between(total, label)) * np.float32((high - low) / (len(planes) - 1))
    inverse = cv2.medianBlur(inverse.astype(np.float32), 5)
    found = inverse > (planes[0] + planes[1]) / 2
    return RawDepth(inverse, found, _parallax(reference, sources, inverse))


def plane_count(reference: Picture, sources: list[Picture], depth_range: tuple[float, float], most: int) -> int:
    """Planes so that a typical source moves by PLANE_STEP pixels from one to the next, between 32 and most."""
    moved = []
    for source in sources:
        projector = Projector(reference, source)
        (x0, y0, z0), (x1, y1, z1) = (projector(np.float32(inverse)) for inverse in depth_range)
        seen = (z0 > 0) & (z1 > 0)
        if seen.any():
            moved.append(np.percentile(np.hypot(x1 - x0, y1 - y0)[seen], 75))
    return int(np.clip(np.ceil(np.median(moved) / PLANE_STEP) if moved else 0, 32, most))


def _parallax(reference: Picture, sources: list[Picture], inverse: np.ndarray) -> np.ndarray:
    """(h, w) float32 largest movement in pixels per relative change of depth, of the sources that see the point."""
    step = np.float32(0.01)
    most = np.zeros(reference.shape, dtype=np.float32)
    for source in sources:
        projector = Projector(reference, source)
        (x0, y0, z0), (x1, y1, _) = projector(inverse), projector(inverse * (1 + step))
        height, width = source.flat.shape
        seen = (z0 > MIN_DEPTH_RATIO) & (x0 >= 0) & (y0 >= 0) & (x0 <= width - 1) & (y0 <= height - 1)
        np.maximum(most, np.where(seen, np.hypot(x1 - x0, y1 - y0) / step, 0), out=most)
    return most


def edge_penalty(gray: np.ndarray) -> np.ndarray:
    """(h, w) uint8 penalty of a jump in depth: less where the picture has an edge."""
    smooth = cv2.GaussianBlur(gray, (0, 0), 1.0)
    slope = np.maximum(np.abs(cv2.Sobel(smooth, cv2.CV_32F, 1, 0)), np.abs(cv2.Sobel(smooth, cv2.CV_32F, 0, 1))) / 8
    return np.clip(LARGE_JUMP / (1 + slope / EDGE_GRADIENT), 2 * SMALL_JUMP, LARGE_JUMP).astype(np.uint8)


def _between(total: np.ndarray, label: np.ndarray) -> np.ndarray:
    """(h, w) position of the minimum between planes, -0.5..0.5, by a parabola."""
    middle = np.clip(label, 1, total.shape[1] - 2)
    before, at, after = (
        np.take_along_axis(total, (middle + k)[:, None], axis=1)[:, 0].astype(np.float32) for k in (-1, 0, 1)
    )
    offset = (before - after) / np.maximum(2 * (before + after - 2 * at), 1)
    return np.where(middle == label, np.clip(offset, -0.5, 0.5), 0)

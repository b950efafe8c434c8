"""A view's picture made ready for matching: grey, small, and for sources without lens distortion."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from ...reconstruction import Intrinsics, View

# An undistorted barrel picture needs a larger canvas; beyond this factor the stretched corners are not worth it.
CANVAS_LIMIT = 1.6


@dataclass(frozen=True)
class Picture:
    """One view at working size.

    color: (h, w, 3) uint8 RGB on the view's own grid. lens: intrinsics at that size.
    flat: (h', w') uint8 grey without distortion, 1..255, 0 where the camera saw nothing; flat_matrix: its pinhole
    matrix. world_from_camera: 4x4.
    """

    color: np.ndarray
    lens: Intrinsics
    flat: np.ndarray
    flat_matrix: np.ndarray
    world_from_camera: np.ndarray

    @classmethod
    def prepare(cls, view: View, color: np.ndarray) -> Picture:
        """color: (h, w, 3) uint8 RGB of a solved view, at any size."""
        height, width = color.shape[:2]
        lens = view.intrinsics.scaled_to(width, height)
        gray = cv2.cvtColor(color, cv2.COLOR_RGB2GRAY)
        flat, matrix = _flatten(gray, lens)
        return cls(color, lens, flat, matrix, view.world_from_camera)

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w) of the view's own grid."""
        return self.color.shape[:2]

    @property
    def gray(self) -> np.ndarray:
        """(h, w) float32 grey levels on the view's own grid."""
        return cv2.cvtColor(self.color, cv2.COLOR_RGB2GRAY).astype(np.float32)

    @property
    def rays(self) -> np.ndarray:
        """(h, w, 3) float32 camera rays with z = 1 through the centres of the view's own pixels; read only."""
        return _pixel_rays(self.lens)


@lru_cache(maxsize=8)
def _pixel_rays(lens: Intrinsics) -> np.ndarray:
    """(h, w, 3) float32 camera rays with z = 1 through the centres of all pixels."""
    columns, rows = np.meshgrid(np.arange(lens.width) + 0.5, np.arange(lens.height) + 0.5)
    return lens.rays(np.stack([columns, rows], axis=-1)).astype(np.float32)


def _flatten(gray: np.ndarray, lens: Intrinsics) -> tuple[np.ndarray, np.ndarray]:
    """Undistort onto a pinhole canvas that holds the whole picture; returns it with its matrix."""
    gray = np.maximum(gray, 1)
    if not lens.is_distorted:
        return gray, lens.matrix
    matrix, x, y, inside = _canvas(lens)
    flat = cv2.remap(gray, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.where(inside, np.maximum(flat, 1), 0), matrix


@lru_cache(maxsize=8)
def _canvas(lens: Intrinsics) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pinhole matrix of the undistorted canvas, x and y (h', w') for cv2.remap into the picture, and its outline."""
    left, top, right, bottom = _flat_bounds(lens)
    matrix = lens.matrix
    matrix[0, 2] -= left
    matrix[1, 2] -= top
    columns, rows = np.meshgrid(np.arange(round(right - left)) + 0.5, np.arange(round(bottom - top)) + 0.5)
    rays = np.stack(
        [(columns - matrix[0, 2]) / matrix[0, 0], (rows - matrix[1, 2]) / matrix[1, 1], np.ones_like(rows)], axis=-1
    )
    pixels = lens.project(rays)
    inside = ((pixels >= 0) & (pixels <= (lens.width, lens.height))).all(axis=-1)
    x, y = np.moveaxis(pixels - 0.5, -1, 0).astype(np.float32)
    return matrix, x, y, inside


def _flat_bounds(lens: Intrinsics) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of the undistorted border in pixels of the same focal length."""
    x = np.linspace(0, lens.width, 33)
    y = np.linspace(0, lens.height, 33)
    border = np.concatenate(
        [
            np.stack([x, np.zeros_like(x)], axis=-1),
            np.stack([x, np.full_like(x, lens.height)], axis=-1),
            np.stack([np.zeros_like(y), y], axis=-1),
            np.stack([np.full_like(y, lens.width), y], axis=-1),
        ]
    )
    rays = lens.rays(border)
    flat = rays[:, :2] * (lens.fx, lens.fy) + (lens.cx, lens.cy)
    spare = (CANVAS_LIMIT - 1) / 2
    low = np.maximum(flat.min(axis=0), (-spare * lens.width, -spare * lens.height))
    high = np.minimum(flat.max(axis=0), ((1 + spare) * lens.width, (1 + spare) * lens.height))
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])

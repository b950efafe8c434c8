"""Similarity transforms between clouds of matching points, and between sets of cameras."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .rotations import nearest_rotation

# How far along its optical axis each camera gets a second point, as a share of the median distance between cameras.
AXIS_SHARE = 0.01


class Similarity(NamedTuple):
    """x -> scale * rotation @ x + translation. scale: (...,), rotation: (..., 3, 3), translation: (..., 3)."""

    scale: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) moved by a single similarity; the type of floats is kept."""
        moved = points @ (self.scale * self.rotation.T).astype(points.dtype)
        return moved + self.translation.astype(points.dtype)

    @property
    def matrix(self) -> np.ndarray:
        """(..., 4, 4); its upper left block holds the scale too."""
        matrix = np.zeros((*np.shape(self.scale), 4, 4))
        matrix[..., :3, :3] = np.asarray(self.scale)[..., None, None] * self.rotation
        matrix[..., :3, 3] = self.translation
        matrix[..., 3, 3] = 1.0
        return matrix

    def move_cameras(self, world_from_camera: np.ndarray) -> np.ndarray:
        """Poses (..., 4, 4) after the world was moved by a single similarity; their rotations stay rotations."""
        moved = np.array(world_from_camera, dtype=np.float64)
        moved[..., :3, :3] = self.rotation @ moved[..., :3, :3]
        moved[..., :3, 3] = self.apply(moved[..., :3, 3])
        return moved


def fit_similarity(
    source: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None, rigid: bool = False
) -> Similarity:
    """The similarity that takes source to target with the least weighted sum of squares. rigid: one of scale 1.

    source, target: (..., n, 3). weights: (..., n), not negative; all the same when None or when all are 0. Points that
    are not finite in source or target take no part. A source without extent gets scale 1. In float64.
    Source: Umeyama, Least-squares estimation of transformation parameters between two point patterns, 1991.
    """
    source = np.asarray(source, dtype=np.float64)
    target = np.asarray(target, dtype=np.float64)
    usable = np.isfinite(source).all(axis=-1) & np.isfinite(target).all(axis=-1)
    weights = usable.astype(np.float64) if weights is None else np.where(usable, weights, 0.0).astype(np.float64)
    if not usable.all():
        source = np.where(usable[..., None], source, 0.0)
        target = np.where(usable[..., None], target, 0.0)
    total = weights.sum(axis=-1, keepdims=True)
    weights = np.where(total > 0, weights / np.where(total > 0, total, 1.0), 1.0 / weights.shape[-1])
    from_mean = np.einsum("...n,...nk->...k", weights, source)
    to_mean = np.einsum("...n,...nk->...k", weights, target)
    source = source - from_mean[..., None, :]
    weighted = (target - to_mean[..., None, :]) * weights[..., None]
    covariance = np.swapaxes(weighted, -1, -2) @ source
    rotation = nearest_rotation(covariance)
    variance = np.einsum("...n,...nk->...", weights, source * source)
    gain = np.einsum("...ij,...ij->...", rotation, covariance)
    scale = np.where(variance > 0, gain / np.where(variance > 0, variance, 1.0), 1.0)
    scale = np.ones_like(scale) if rigid else scale
    translation = to_mean - scale[..., None] * np.einsum("...ij,...j->...i", rotation, from_mean)
    return Similarity(scale, rotation, translation)


def fit_cameras(source: np.ndarray, target: np.ndarray) -> Similarity:
    """The similarity that takes cameras (n, 4, 4) world_from_camera to others, n at least 2.

    Fits the centres and a second point of each camera a little along its optical axis, which settles the rotation
    where the centres lie on a line. Source: DUSt3R, specs/dust3r.md section 5.6.
    """
    return fit_similarity(_centers_and_axes(source), _centers_and_axes(target))


def _centers_and_axes(poses: np.ndarray) -> np.ndarray:
    centers = poses[:, :3, 3]
    first, second = np.triu_indices(len(centers), 1)
    step = AXIS_SHARE * np.median(np.linalg.norm(centers[first] - centers[second], axis=1))
    return np.concatenate([centers, centers + step * poses[:, :3, 2]])

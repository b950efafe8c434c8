"""Rotations as 3x3 matrices and rotation vectors (axis times angle, radians), in batches."""

from __future__ import annotations

import numpy as np


def rotation_from_vector(vector: np.ndarray) -> np.ndarray:
    """Rotation vectors (..., 3) to matrices (..., 3, 3)."""
    vector = np.asarray(vector, dtype=np.float64)
    angle2 = np.sum(vector * vector, axis=-1)[..., None, None]
    angle = np.sqrt(angle2)
    small = angle2 < 1e-12
    safe = np.where(small, 1.0, angle)
    # Below 1e-6 rad the first terms of the series are exact to the last bit.
    first = np.where(small, 1.0 - angle2 / 6.0, np.sin(safe) / safe)
    second = np.where(small, 0.5 - angle2 / 24.0, (1.0 - np.cos(safe)) / (safe * safe))
    cross = cross_matrix(vector)
    return np.eye(3) + first * cross + second * (cross @ cross)


def cross_matrix(vector: np.ndarray) -> np.ndarray:
    """The matrices [v]x (..., 3, 3) with [v]x w = v x w."""
    x, y, z = vector[..., 0], vector[..., 1], vector[..., 2]
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*x.shape, 3, 3)


def rotation_angle(rotation: np.ndarray) -> np.ndarray:
    """Angles (...,) in radians of rotation matrices (..., 3, 3); exact for small angles too."""
    sine = np.stack(
        [
            rotation[..., 2, 1] - rotation[..., 1, 2],
            rotation[..., 0, 2] - rotation[..., 2, 0],
            rotation[..., 1, 0] - rotation[..., 0, 1],
        ],
        axis=-1,
    )
    return np.arctan2(np.linalg.norm(sine, axis=-1), np.trace(rotation, axis1=-2, axis2=-1) - 1.0)


def nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """The rotations closest (Frobenius) to matrices (..., 3, 3)."""
    u, _, vt = np.linalg.svd(matrix)
    sign = np.sign(np.linalg.det(u @ vt))
    u = u.copy()
    u[..., :, 2] *= sign[..., None]
    return u @ vt

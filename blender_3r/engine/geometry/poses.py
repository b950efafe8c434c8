"""Rigid motions of cameras and points."""

from __future__ import annotations

import numpy as np

from .quaternions import conjugate_quaternion, multiply_quaternions, rotation_from_quaternion


def move_points(pose: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (..., 3) by one pose (4, 4), such as from a camera's frame to the world's; the type of floats is kept."""
    return points @ pose[:3, :3].T.astype(points.dtype) + pose[:3, 3].astype(points.dtype)


def poses_from_encoding(encoding: np.ndarray, order: str = "wxyz") -> np.ndarray:
    """Poses (..., 4, 4) float64 of (..., 7): translation, then a quaternion of any length."""
    encoding = np.asarray(encoding, dtype=np.float64)
    poses = np.zeros((*encoding.shape[:-1], 4, 4))
    poses[..., :3, :3] = rotation_from_quaternion(encoding[..., 3:], order)
    poses[..., :3, 3] = encoding[..., :3]
    poses[..., 3, 3] = 1.0
    return poses


def relative_encodings(encodings: np.ndarray, reference: np.ndarray, order: str = "xyzw") -> np.ndarray:
    """Encodings (..., 7) of poses in the frame of another (7,), which becomes the identity.

    The quaternion keeps the product of both lengths. Source: WinT3R, specification section 4.
    """
    encodings, reference = np.asarray(encodings, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    moved = (encodings[..., :3] - reference[:3]) @ rotation_from_quaternion(reference[3:], order)
    turned = multiply_quaternions(conjugate_quaternion(reference[3:], order), encodings[..., 3:], order)
    return np.concatenate([moved, turned], axis=-1)

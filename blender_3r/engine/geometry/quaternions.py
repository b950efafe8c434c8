"""Rotations as quaternions (w, x, y, z), in batches. Networks that keep w last are served by the order "xyzw"."""

from __future__ import annotations

import numpy as np

ORDERS = ("wxyz", "xyzw")


def rotation_from_quaternion(quaternion: np.ndarray, order: str = "wxyz") -> np.ndarray:
    """Matrices (..., 3, 3) float64 of quaternions (..., 4) of any length but 0. Raises ValueError for another order."""
    w, x, y, z = _parts(quaternion, order)
    factor = 2.0 / (w * w + x * x + y * y + z * z)
    rows = [
        1 - factor * (y * y + z * z),
        factor * (x * y - z * w),
        factor * (x * z + y * w),
        factor * (x * y + z * w),
        1 - factor * (x * x + z * z),
        factor * (y * z - x * w),
        factor * (x * z - y * w),
        factor * (y * z + x * w),
        1 - factor * (x * x + y * y),
    ]
    return np.stack(rows, axis=-1).reshape(*w.shape, 3, 3)


def multiply_quaternions(first: np.ndarray, second: np.ndarray, order: str = "wxyz") -> np.ndarray:
    """Hamilton products (..., 4): the turn of second, then that of first."""
    aw, ax, ay, az = _parts(first, order)
    bw, bx, by, bz = _parts(second, order)
    product = {
        "w": aw * bw - ax * bx - ay * by - az * bz,
        "x": aw * bx + ax * bw + ay * bz - az * by,
        "y": aw * by - ax * bz + ay * bw + az * bx,
        "z": aw * bz + ax * by - ay * bx + az * bw,
    }
    return np.stack([product[name] for name in order], axis=-1)


def conjugate_quaternion(quaternion: np.ndarray, order: str = "wxyz") -> np.ndarray:
    """The opposite turn of unit quaternions (..., 4)."""
    _parts(quaternion, order)
    return np.asarray(quaternion, dtype=np.float64) * [1.0 if name == "w" else -1.0 for name in order]


def _parts(quaternion: np.ndarray, order: str) -> list[np.ndarray]:
    """w, x, y, z."""
    if order not in ORDERS:
        raise ValueError(f"unknown order {order!r}")
    quaternion = np.asarray(quaternion, dtype=np.float64)
    return [quaternion[..., order.index(name)] for name in "wxyz"]

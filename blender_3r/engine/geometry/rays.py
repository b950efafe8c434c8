"""A camera told to a network as a picture of its rays."""

from __future__ import annotations

import numpy as np


def ray_map(
    intrinsics: np.ndarray, world_from_camera: np.ndarray, world_from_first: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """(H, W, 6) float32: for every pixel the camera's centre and a unit vector, in the first camera's frame.

    intrinsics: (3, 3), the centre of the first pixel at 0. Poses: (4, 4). size: (H, W).
    The unit vector is not the ray's direction but that of the point one unit in front of the camera, seen from the
    first camera's centre: so the network was trained. Source: CUT3R, specification section 2.
    """
    height, width = size
    rows, columns = np.indices((height, width), dtype=np.float64)
    pixels = np.stack([columns, rows, np.ones_like(rows)], axis=-1)
    first_from_camera = np.linalg.inv(world_from_first) @ np.asarray(world_from_camera, dtype=np.float64)
    points = pixels @ np.linalg.inv(intrinsics).T @ first_from_camera[:3, :3].T + first_from_camera[:3, 3]
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    centers = np.broadcast_to(first_from_camera[:3, 3], points.shape)
    return np.concatenate([centers, points], axis=-1).astype(np.float32)

"""A depth map as a surface: the grid of its pixels, cut at depth edges."""

from __future__ import annotations

import math

import numpy as np

from ..reconstruction import View, depth_to_points


def grid_mesh(
    view: View,
    depth: np.ndarray,
    confidence: np.ndarray,
    min_confidence: float = 0.0,
    stride: int = 1,
    edge_angle: float = 3.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices at the pixels (every stride-th in both directions), triangles between neighbours.

    A triangle that the camera would see at a flatter angle than edge_angle (degrees) is left out: it bridges a depth
    edge. Unlike a limit on the depths' ratio, that does not depend on resolution or stride.
    depth: (h, w) planar z, 0 = unknown; confidence: (h, w); view must be solved.
    Returns points (n, 3) float32 in world axes, pixel (n,) index into the flattened map, triangles (m, 3) uint32,
    counter-clockwise as the camera sees them; only vertices that triangles use.
    """
    points, pixels = depth_to_points(view, depth, confidence, min_confidence, stride)
    finite = np.isfinite(points).all(axis=1)
    points, pixels = points[finite], pixels[finite]
    first = stride // 2
    shape = tuple(len(range(first, side, stride)) for side in depth.shape)
    number = np.full(shape, -1, dtype=np.int64)
    rows, columns = np.divmod(pixels, depth.shape[1])
    number[(rows - first) // stride, (columns - first) // stride] = np.arange(len(pixels))

    triangles = _triangles(number, depth.reshape(-1)[pixels])
    triangles = triangles[_faces_camera(points, triangles, view.world_from_camera[:3, 3], edge_angle)]
    used = np.zeros(len(points), dtype=bool)
    used[triangles] = True
    renumbered = (np.cumsum(used) - 1)[triangles].astype(np.uint32)
    return points[used], pixels[used], renumbered


def _triangles(number: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Two triangles per square of four neighbours, split where depth changes less; one where a corner is unknown.

    number: (rows, columns) of vertices, -1 = none. z: their depths.
    """
    corners = [number[:-1, :-1], number[:-1, 1:], number[1:, :-1], number[1:, 1:]]
    upper_left, upper_right, lower_left, lower_right = (corner.ravel() for corner in corners)
    z = np.append(z, np.inf)  # what number -1 finds
    with np.errstate(invalid="ignore"):
        falling = np.abs(z[upper_left] - z[lower_right]) <= np.abs(z[upper_right] - z[lower_left])
    halves = [
        np.stack([upper_left, lower_left, np.where(falling, lower_right, upper_right)], axis=1),
        np.stack([lower_right, upper_right, np.where(falling, upper_left, lower_left)], axis=1),
    ]
    triangles = np.concatenate(halves)
    return triangles[(triangles >= 0).all(axis=1)]


def _faces_camera(points: np.ndarray, triangles: np.ndarray, centre: np.ndarray, edge_angle: float) -> np.ndarray:
    a, b, c = (points[triangles[:, corner]].astype(np.float64) for corner in range(3))
    normal = np.cross(b - a, c - a)
    sight = (a + b + c) / 3 - centre
    flatness = np.linalg.norm(normal, axis=1) * np.linalg.norm(sight, axis=1)
    facing = np.abs((normal * sight).sum(axis=1))
    return (flatness > 0) & (facing >= math.sin(math.radians(edge_angle)) * flatness)

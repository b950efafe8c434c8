"""Planes through points. NumPy only; Blender reads it, too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_ROBUST_FROM = 6  # points: fewer leave no majority to trust
_TRIALS = 300  # enough for one clean trio among 40 % strays with a chance of 1e-30
_FLAT = 1e-3  # width over length below which points count as a line


@dataclass(frozen=True)
class Plane:
    """The points x with normal . x = height. normal: (3,) unit. error: root mean square distance of those it is of."""

    normal: np.ndarray
    height: float
    error: float

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Signed distances of points (..., 3)."""
        return points @ self.normal - self.height

    def facing(self, direction: np.ndarray) -> Plane:
        """The same plane with its normal on the side of direction (3,)."""
        return self if self.normal @ direction >= 0 else Plane(-self.normal, -self.height, self.error)


def fit_plane(points: np.ndarray) -> Plane:
    """The plane of points (n, 3), n >= 3: least squares; of many points that of their larger part.

    From six points on the plane with the least median distance is sought first (Rousseeuw 1984), so that up to half
    of the points may lie anywhere. Raises ValueError when the points are fewer than three or lie on a line.
    """
    points = np.asarray(points, dtype=np.float64)
    if len(points) < 3:
        raise ValueError("a plane needs three points")
    plane = _least_squares(points)
    if len(points) < _ROBUST_FROM:
        return plane
    trios = points[np.random.default_rng(0).integers(0, len(points), (_TRIALS, 3))]
    normals = np.cross(trios[:, 1] - trios[:, 0], trios[:, 2] - trios[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    normals, trios = normals[lengths > 0] / lengths[lengths > 0, None], trios[lengths > 0]
    sample = points[:: max(1, len(points) // 2000)]
    distances = np.abs(np.einsum("ij,kj->ki", normals, sample) - np.einsum("ij,ij->i", normals, trios[:, 0]))
    middle = np.median(distances, axis=0)
    best = int(np.argmin(middle))
    own = np.abs((points - trios[best, 0]) @ normals[best])
    members = points[own <= max(2.5 * 1.4826 * middle[best], 1e-9 * np.ptp(points))]
    try:
        return _least_squares(members)
    except ValueError:  # the majority is a line: all points together are not
        return plane


def rotation_between(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The smallest rotation (3, 3) that turns unit vector start (3,) to unit vector end (3,)."""
    axis, cosine = np.cross(start, end), float(start @ end)
    if cosine < -1 + 1e-12:  # half a turn, about any axis that is square to both
        axis = np.linalg.svd(start[None])[2][2]
        return 2 * np.outer(axis, axis) - np.eye(3)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + cross + cross @ cross / (1 + cosine)


def _least_squares(points: np.ndarray) -> Plane:
    if len(points) < 3:
        raise ValueError("a plane needs three points")
    middle = points.mean(axis=0)
    _, spread, axes = np.linalg.svd(points - middle, full_matrices=False)
    if spread[1] <= _FLAT * spread[0]:
        raise ValueError("the points lie on a line")
    normal = axes[2]
    error = float(np.sqrt(np.mean(((points - middle) @ normal) ** 2)))
    return Plane(normal, float(normal @ middle), error)

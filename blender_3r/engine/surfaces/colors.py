"""Colours of a surface's vertices, from the pictures that see them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .mesh import Mesh
from .views import FLATTEST, ViewMap

_GRAY = 128.0
_ROUNDS = 30  # vertices that no picture sees take over the colour of neighbours, so many edges far


def paint(mesh: Mesh, normals: np.ndarray, views: Iterable[ViewMap], tolerance: float) -> Mesh:
    """The mesh with color (n, 3) uint8: the mean of what the views see there, those near and square to it foremost.

    normals: (n, 3). tolerance: how far in front of or behind a view's depth a vertex still is what it sees.
    """
    total = np.zeros((len(mesh.vertices), 3), np.float32)
    weights = np.zeros(len(mesh.vertices), np.float32)
    for view in views:
        index, pixel, cosine, z = visible(mesh.vertices, normals, view, tolerance)
        weight = (cosine / (z * z)) ** 2
        total[index] += weight[:, None] * view.color[pixel]
        weights[index] += weight
    seen = weights > 0
    color = np.where(seen[:, None], total / np.where(seen, weights, 1)[:, None], _GRAY).astype(np.float32)
    color = _spread(color, seen, mesh.faces)
    return Mesh(mesh.vertices, mesh.faces, np.rint(color).astype(np.uint8))


def visible(
    points: np.ndarray, normals: np.ndarray, view: ViewMap, tolerance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(index of the points that a view sees, pixel, cosine of the angle to the ray, planar depth), each (m,)."""
    pixel, z = view.locate(points)
    index = np.flatnonzero(pixel >= 0)
    pixel, z = pixel[index], z[index]
    depth = view.depth[pixel]
    sight = view.centre - points[index]
    cosine = np.einsum("ij,ij->i", sight, normals[index]) / np.linalg.norm(sight, axis=1)
    good = (depth > 0) & (np.abs(depth - z) < tolerance) & (cosine > FLATTEST)
    return index[good], pixel[good], cosine[good], z[good]


def _spread(color: np.ndarray, seen: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Colours of vertices that are not seen, from those around them."""
    seen = seen.copy()
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    for _ in range(_ROUNDS):
        edges = edges[~seen[edges].all(axis=1)]
        if not len(edges):
            break
        ends = np.concatenate([edges, edges[:, ::-1]])
        ends = ends[seen[ends[:, 0]] & ~seen[ends[:, 1]]]
        count = np.bincount(ends[:, 1], minlength=len(color))
        new = count > 0
        for channel in range(3):
            sums = np.bincount(ends[:, 1], color[ends[:, 0], channel], len(color))
            color[new, channel] = sums[new] / count[new]
        seen |= new
    return color

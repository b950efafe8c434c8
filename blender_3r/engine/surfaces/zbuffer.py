"""What of a mesh a camera sees first."""

from __future__ import annotations

import numpy as np

_CELLS = 2_000_000  # pixels of faces that are looked at together
_ON_EDGE = -1e-4  # share of a face by which a pixel may lie beside it, so that no pixel falls between two


def nearest_depth(places: np.ndarray, z: np.ndarray, faces: np.ndarray, height: int, width: int) -> np.ndarray:
    """(height, width) float32: planar depth of the nearest face at the centre of every pixel, inf where there is none.

    places: (n, 2) pixels of the vertices, nan where the camera cannot see; faces with such a corner are left out.
    z: (n,) their planar depth.
    """
    buffer = np.full(height * width, np.inf, np.float32)
    faces = faces[np.isfinite(places).all(axis=1)[faces].all(axis=1)]
    corners = places[faces].astype(np.float32)
    last = np.array([width - 1, height - 1])
    low = np.ceil(np.clip(corners.min(axis=1) - 0.5, 0, last + 1)).astype(np.int64)
    high = np.floor(np.clip(corners.max(axis=1) - 0.5, -1, last)).astype(np.int64)
    size = np.maximum(high - low + 1, 0)
    count = size.prod(axis=1)
    use = count > 0
    faces, corners, low, size, count = faces[use], corners[use], low[use], size[use], count[use]
    ends = np.cumsum(count)
    start = 0
    while start < len(faces):
        before = ends[start] - count[start]
        end = max(start + 1, int(np.searchsorted(ends, before + _CELLS, "right")))
        part = slice(start, end)
        _draw(buffer, width, corners[part], z[faces[part]], low[part], size[part], count[part])
        start = end
    return buffer.reshape(height, width)


def _draw(
    buffer: np.ndarray,
    width: int,
    corners: np.ndarray,
    z: np.ndarray,
    low: np.ndarray,
    size: np.ndarray,
    count: np.ndarray,
) -> None:
    """Faces into buffer: each is tried at every pixel of its box, low and size (k, 2)."""
    face = np.repeat(np.arange(len(count)), count)
    number = np.arange(len(face)) - np.repeat(np.cumsum(count) - count, count)
    row, column = np.divmod(number, size[face, 0])
    column, row = column + low[face, 0], row + low[face, 1]
    first = corners[:, 0]
    (ux, uy), (vx, vy) = (corners[:, 1] - first).T, (corners[:, 2] - first).T
    area = ux * vy - uy * vx
    area = np.where(area == 0, np.nan, area)
    x, y = column + np.float32(0.5) - first[face, 0], row + np.float32(0.5) - first[face, 1]
    with np.errstate(invalid="ignore"):
        second = (x * vy[face] - y * vx[face]) / area[face]
        third = (ux[face] * y - uy[face] * x) / area[face]
        inside = (second >= _ON_EDGE) & (third >= _ON_EDGE) & (second + third <= 1 - _ON_EDGE)
    face, second, third = face[inside], second[inside], third[inside]
    nearness = 1 / z  # linear over the picture
    nearness = nearness[face, 0] * (1 - second - third) + nearness[face, 1] * second + nearness[face, 2] * third
    np.minimum.at(buffer, row[inside] * width + column[inside], (1 / nearness).astype(np.float32))

"""The crop box of points: an empty drawn as a cube, whose space from -1 to 1 is what shows."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix

_MOST = 200_000  # points that are looked at for the box's size
_OUTSIDE = 1.0  # per cent of them on each side that may lie outside of the box at first: strays


def fit_crop_box(points: bpy.types.Object) -> bpy.types.Object:
    """A new box around most of the points, level in the world, in their collection, and moving with their parent."""
    center, half = _extent(points)
    box = bpy.data.objects.new(f"{points.name} Crop", None)
    box.empty_display_type, box.empty_display_size = "CUBE", 1.0
    for collection in points.users_collection:
        collection.objects.link(box)
    if points.parent is not None:
        box.parent = points.parent
        box.matrix_parent_inverse = points.parent.matrix_world.inverted_safe()
    box.matrix_basis = Matrix.Translation(center) @ Matrix.Diagonal((*half, 1.0))
    return box


def _extent(points: bpy.types.Object) -> tuple[np.ndarray, np.ndarray]:
    """Centre and half size (3,) in the world."""
    data = points.data.attributes["position"].data
    positions = np.empty(3 * len(data), np.float32)
    data.foreach_get("vector", positions)
    positions = positions.reshape(-1, 3)[:: max(1, len(data) // _MOST)].astype(np.float64)
    if len(positions) == 0:
        return np.zeros(3), np.ones(3)
    matrix = np.array(points.matrix_world)
    positions = positions @ matrix[:3, :3].T + matrix[:3, 3]
    low, high = np.percentile(positions, (_OUTSIDE, 100 - _OUTSIDE), axis=0)
    half = np.maximum((high - low) / 2, 1e-3 * max(float(np.max(high - low)), 1e-3))
    return (low + high) / 2, half * 1.02

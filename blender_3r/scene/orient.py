"""Where a reconstruction stands in the world: floor, origin, axis and size, all by its root empty.

Every function gives a 4x4 float64 that moves the world: new = matrix @ old. The engine's numbers never change, and an
import leaves a root that was moved as it is (job.py).
"""

from __future__ import annotations

from collections.abc import Iterable

import bpy
import numpy as np
from mathutils import Matrix

from ..engine.errors import EngineError
from ..engine.geometry.planes import Plane, fit_plane, rotation_between
from . import tags

PLACEMENT = "threer_placement"  # the guess that an import wrote
HAS_FLOOR = "threer_has_floor"  # the artist has said where the floor is: at z = 0
_UP = np.array([0.0, 0.0, 1.0])


def level(points: np.ndarray, cameras: np.ndarray) -> tuple[np.ndarray, Plane]:
    """Turn and shift so that the plane of points (n, 3) becomes z = 0, with most of cameras (m, 3) above it.

    The turn is the smallest there is, about the middle of the points, which keep x and y. Returns the plane, too.
    Raises EngineError("usage") when the points lie on a line.
    """
    try:
        plane = fit_plane(points).facing(_UP)
    except ValueError as error:
        raise EngineError(
            "usage", "The selected points lie on a line.", "Select points that are spread over the floor."
        ) from error
    heights = plane.distance(cameras)
    if np.count_nonzero(heights < 0) > np.count_nonzero(heights > 0):
        plane = plane.facing(-plane.normal)
    middle = points.mean(axis=0)
    middle -= plane.distance(middle) * plane.normal
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_between(plane.normal, _UP)
    matrix[:3, 3] = np.array([middle[0], middle[1], 0.0]) - matrix[:3, :3] @ middle
    return matrix, plane


def shift_origin(points: np.ndarray) -> np.ndarray:
    """Shift so that the middle of points (n, 3) comes to the world's origin."""
    matrix = np.eye(4)
    matrix[:3, 3] = -points.mean(axis=0)
    return matrix


def turn_to_axis(start: np.ndarray, end: np.ndarray, axis: str) -> np.ndarray:
    """Turn about the vertical through the origin so that the way from start to end (3,), seen from above, is +axis.

    axis: "X" or "Y". Raises EngineError("usage") when one point lies above the other.
    """
    way = end - start
    if np.hypot(way[0], way[1]) <= 1e-3 * np.linalg.norm(way) or not np.any(way):
        raise EngineError(
            "usage", "One of the two points lies above the other.", "Select two points that differ along the floor."
        )
    angle = (np.pi / 2 if axis == "Y" else 0.0) - np.arctan2(way[1], way[0])
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return matrix


def scale_to(measured: float, wanted: float) -> np.ndarray:
    """Scale about the world's origin so that a length of measured becomes wanted. Floor and origin stay.

    Raises EngineError("usage") when measured is nothing.
    """
    if not measured > 1e-9:
        raise EngineError("usage", "The selected points lie in one place.", "Select points that are apart.")
    return np.diag([*(3 * [wanted / measured]), 1.0])


def cameras_of(scene: bpy.types.Scene, root: bpy.types.Object) -> list[bpy.types.Object]:
    """The cameras of the root's reconstruction."""
    there = tags.objects_of(scene, root[tags.JOB]).items()
    return [item for (role, _), item in there if role in ("camera", "slideshow")]


def camera_places(scene: bpy.types.Scene, root: bpy.types.Object) -> np.ndarray:
    """(m, 3) world places of the cameras now."""
    places = [item.matrix_world.translation for item in cameras_of(scene, root)]
    return np.array(places, dtype=np.float64).reshape(-1, 3)


def move_world(
    scene: bpy.types.Scene, root: bpy.types.Object, matrix: np.ndarray, along: Iterable[bpy.types.Object] = ()
) -> None:
    """Move root, and what is along but does not hang on it, by matrix; a scale also reaches what the cameras clip.

    Raises EngineError("usage") when the root is animated, since its keys would take it back.
    """
    if root.animation_data is not None and (root.animation_data.action or root.animation_data.drivers):
        raise EngineError("usage", f"{root.name} is animated.", "Remove its keys and drivers, or move it yourself.")
    factor = float(np.cbrt(np.linalg.det(matrix[:3, :3])))
    for item in (root, *along):
        item.matrix_world = Matrix((matrix @ np.array(item.matrix_world, dtype=np.float64)).tolist())
    if abs(factor - 1.0) > 1e-9:
        root.empty_display_size /= factor
        for lens in {item.data for item in cameras_of(scene, root)}:
            lens.clip_start *= factor
            lens.clip_end *= factor


def reset(scene: bpy.types.Scene, root: bpy.types.Object) -> None:
    """Let the root stand as the import guessed. Raises EngineError("usage") when it does not know any more."""
    if PLACEMENT not in root:
        raise EngineError("usage", f"{root.name} does not know how it stood first.", "Import the reconstruction again.")
    guess = np.array(root[PLACEMENT]).reshape(4, 4)
    move_world(scene, root, guess @ np.linalg.inv(np.array(root.matrix_world, dtype=np.float64)))
    root.matrix_basis = Matrix(guess.tolist())  # to the last bit, so that an import may improve it again
    root.pop(HAS_FLOOR, None)

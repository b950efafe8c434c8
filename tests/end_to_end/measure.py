"""How well an imported camera sticks to its plate, in pixels. Runs inside Blender (bpy and numpy)."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

from .alignment import similarity, true_depths, true_pixels

REACH = 10  # frames before and after the one in which a thing is put in its place
EVERY = 6  # it is put in its place in every such frame


def slide(scene: bpy.types.Scene, reference: dict[str, Any], frames: list[int]) -> np.ndarray:
    """Pixel distances by which things slide that sit right in one frame, in the frames around it.

    Every true scene point is put where the scene's camera sees it in one frame, at its true depth, and looked at from
    the other frames: there it must be where the true camera sees it. frames: movie frames counted from 0; Blender
    shows frame n at n + 1.
    """
    images = {image["frame"]: image for image in reference["images"]}
    points = np.array(reference["points"])
    poses = np.array([_pose(scene, frame) for frame in frames])
    scale, *_ = similarity(np.array([images[frame]["c2w"] for frame in frames]), poses)
    errors = []
    for base in frames[::EVERY]:
        pixels = true_pixels(images[base], points)
        seen = np.isfinite(pixels).all(axis=1)
        placed = _place(scene, base, pixels[seen], scale * true_depths(images[base], points[seen]))
        for frame in frames:
            if 0 < abs(frame - base) <= REACH:
                errors.append(
                    np.linalg.norm(_look(scene, frame, placed) - true_pixels(images[frame], points[seen]), axis=1)
                )
    errors = np.concatenate(errors)
    return errors[np.isfinite(errors)]


def _pose(scene: bpy.types.Scene, frame: int) -> np.ndarray:
    """Camera to world with OpenCV's axes; Blender ignores a camera's scale, and so does this."""
    scene.frame_set(frame + 1)
    return np.array(scene.camera.matrix_world.normalized()) @ np.diag([1, -1, -1, 1])


def _size(scene: bpy.types.Scene) -> np.ndarray:
    return np.array([scene.render.resolution_x, scene.render.resolution_y])


def _place(scene: bpy.types.Scene, frame: int, pixels: np.ndarray, depths: np.ndarray) -> list[Vector]:
    """World points at pixels (n, 2) and planar depths (n,) of the camera, by the frame that Blender draws for it."""
    scene.frame_set(frame + 1)
    top_right, _, bottom_left, top_left = (np.array(corner) for corner in scene.camera.data.view_frame(scene=scene))
    share = pixels / _size(scene)
    rays = top_left + share[:, :1] * (top_right - top_left) + share[:, 1:] * (bottom_left - top_left)
    local = rays / -rays[:, 2:] * depths[:, None]
    matrix = scene.camera.matrix_world.normalized()
    return [matrix @ Vector(point) for point in local]


def _look(scene: bpy.types.Scene, frame: int, points: list[Vector]) -> np.ndarray:
    """Pixels (n, 2), rows from the top."""
    scene.frame_set(frame + 1)
    seen = np.array([world_to_camera_view(scene, scene.camera, point)[:2] for point in points])
    return (seen * (1, -1) + (0, 1)) * _size(scene)

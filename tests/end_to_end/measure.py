"""How far an imported camera is from the truth, in pixels. Runs inside Blender (bpy and numpy)."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

from .alignment import similarity, true_pixels


def camera_errors(scene: bpy.types.Scene, reference: dict[str, Any], frames: list[int]) -> np.ndarray:
    """Pixel distances between the scene's camera and the truth, for all true scene points in view, over all frames.

    frames: movie frames counted from 0; Blender shows frame n at n + 1. The two worlds are brought together by the
    camera poses alone, so an error anywhere in the solve or the import shows.
    """
    images = {image["frame"]: image for image in reference["images"]}
    truth = np.array([images[frame]["c2w"] for frame in frames])
    poses = []
    for frame in frames:
        scene.frame_set(frame + 1)
        poses.append(np.array(scene.camera.matrix_world.normalized()) @ np.diag([1, -1, -1, 1]))
    scale, rotation, shift = similarity(truth, np.array(poses))
    points = np.array(reference["points"])
    placed = [Vector(point) for point in scale * points @ rotation.T + shift]
    size = np.array([scene.render.resolution_x, scene.render.resolution_y])
    errors = []
    for frame in frames:
        scene.frame_set(frame + 1)
        seen = np.array([world_to_camera_view(scene, scene.camera, point)[:2] for point in placed])
        seen = (seen * (1, -1) + (0, 1)) * size
        errors.append(np.linalg.norm(seen - true_pixels(images[frame], points), axis=1))
    errors = np.concatenate(errors)
    return errors[np.isfinite(errors)]

"""How far an imported camera is from the truth, in pixels. Runs inside Blender (bpy and numpy)."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector


def similarity(source: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Scale, rotation (3, 3) and shift (3,) that take the source poses (n, 4, 4) onto the target poses.

    The rotation comes from the orientations: the centres of a sideways move lie almost on a line, and a line leaves
    the turn about itself open.
    """
    u, _, vt = np.linalg.svd(sum(b[:3, :3] @ a[:3, :3].T for a, b in zip(source, target)))
    rotation = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    centres, wanted = source[:, :3, 3] @ rotation.T, target[:, :3, 3]
    a, b = centres - centres.mean(axis=0), wanted - wanted.mean(axis=0)
    scale = float((a * b).sum() / (a * a).sum())
    return scale, rotation, wanted.mean(axis=0) - scale * centres.mean(axis=0)


def true_pixels(image: dict[str, Any], points: np.ndarray) -> np.ndarray:
    """Where the true camera sees points (n, 3): (n, 2), nan where not in the picture."""
    pose = np.array(image["c2w"])
    local = (points - pose[:3, 3]) @ pose[:3, :3]
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = local[:, :2] / local[:, 2:] * (image["fx"], image["fy"]) + (image["cx"], image["cy"])
    inside = (local[:, 2] > 0) & (pixels >= 0).all(axis=1) & (pixels < (image["width"], image["height"])).all(axis=1)
    return np.where(inside[:, None], pixels, np.nan)


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

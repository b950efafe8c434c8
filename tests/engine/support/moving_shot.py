"""A made shot in which two boxes move through a room that stands, a pillar in it, with true cameras, depth and masks.

As a method ("moving_shot"): a network that knows the shot but for some noise. The variable MOVING_SHOT may say
{"frames", "noise", "smooth", "still"}: see film and MovingShot.predicted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from blender_3r.engine.methods.base import CamerasSolved, MethodInfo, Progress, ViewReady
from blender_3r.engine.reconstruction import Intrinsics, Reconstruction, View

INFO = MethodInfo("moving_shot", "Moving Shot", "Knows a made shot.", True)
SIZE = (192, 144)
ROOM = np.array([[-3.0, -1.5, -1.0], [3.0, 1.5, 7.0]])  # two corners; y down
PILLAR = np.array([[-1.5, -1.5, 3.2], [-0.9, 1.5, 3.8]])
# A box's two corners at the middle of the shot, its way from the first to the last frame, and its colour.
WALKERS = (
    (np.array([[-0.4, 0.3, 3.6], [0.5, 1.5, 4.4]]), np.array([4.2, 0.0, 0.0]), (210, 60, 40)),
    (np.array([[1.3, 0.6, 3.0], [1.9, 1.5, 3.6]]), np.array([-0.5, 0.0, -3.0]), (50, 90, 220)),
)
_COLORS = ((150, 140, 130), (110, 120, 100), (160, 150, 110), (120, 130, 150))  # walls by axis, the pillar


@dataclass
class MovingShot:
    """views: true cameras. depth (h, w) float32 planar z, moving (h, w) bool, color (h, w, 3) uint8 of each frame."""

    views: list[View]
    depth: list[np.ndarray]
    moving: list[np.ndarray]
    color: list[np.ndarray]

    def predicted(self, index: int, noise: float = 0.01, smooth: float = 0.0) -> np.ndarray:
        """A frame's depth with errors, as shares of it: of each pixel alone, and in waves over the picture."""
        random, depth = np.random.default_rng(index), self.depth[index]
        waves = cv2.resize(random.standard_normal((7, 9)), depth.shape[::-1], interpolation=cv2.INTER_CUBIC)
        error = noise * random.standard_normal(depth.shape) + smooth * waves / waves.std()
        return (depth * np.exp(error)).astype(np.float32)


def film(frames: int = 40, size: tuple[int, int] = SIZE, still: bool = False, without: bool = False) -> MovingShot:
    """The shot at that size (width, height). still: the boxes stand; without: they are not there."""
    lens = Intrinsics(*size, *([0.9 * size[0]] * 2), size[0] / 2, size[1] / 2)
    shot = MovingShot([], [], [], [])
    for index, t in enumerate(np.linspace(-0.5, 0.5, frames)):
        pose = np.eye(4)
        angle = -0.25 * t
        pose[0, 0] = pose[2, 2] = np.cos(angle)
        pose[0, 2], pose[2, 0] = np.sin(angle), -np.sin(angle)
        pose[:3, 3] = 1.4 * t, 0.1 * np.sin(6 * t), 0.3 * t
        depth, moving, color = seen(pose, lens, 0.0 if still else t, () if without else WALKERS)
        shot.views.append(View(f"frame_{index:04d}", index, lens, pose))
        shot.depth.append(depth)
        shot.moving.append(moving)
        shot.color.append(color)
    return shot


def run(frames, settings, context):
    """The method: as many frames as the footage has, whatever it shows."""
    how = json.loads(os.environ.get("MOVING_SHOT") or "{}")
    shot = film(len(frames), still=how.get("still", False))
    for view, info in zip(shot.views, frames.infos, strict=True):
        view.file, view.frame = info.file, info.frame
    result = Reconstruction(shot.views, frames.kind, "moving_shot", fps=frames.fps, source=frames.source.name)
    yield CamerasSolved(result)
    for index, depth in enumerate(shot.depth):
        yield Progress("Looking at frames", index, len(frames), index / len(frames))
        predicted = shot.predicted(index, how.get("noise", 0.01), how.get("smooth", 0.0))
        confidence = np.full(depth.shape, 0.9, np.float32)
        yield ViewReady(index, {"depth": predicted, "confidence": confidence, "color": shot.color[index]})


def seen(
    pose: np.ndarray, lens: Intrinsics, t: float, walkers: Sequence[tuple] = WALKERS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a camera sees at a time: depth, which of it moves, colours with a check pattern that sticks to things."""
    rows, columns = np.mgrid[: lens.height, : lens.width] + 0.5
    boxes = [(PILLAR, np.zeros(3)), *((box, t * way) for box, way, _ in walkers)]
    depth, thing, places = cast(pose, lens, np.stack([columns, rows], axis=-1), boxes)
    light = 0.75 + 0.25 * ((np.floor(places * 3 + 1e-6).sum(axis=-1) % 2) > 0)
    palette = np.array([*_COLORS, *(color for _, _, color in WALKERS)], float)
    return depth, thing > 3, (palette[thing] * light[..., None]).astype(np.uint8)


def cast(
    pose: np.ndarray, lens: Intrinsics, pixels: np.ndarray, boxes: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What pixels (..., 2) of a camera hit in the room with boxes in it: (their two corners, by how much moved) each.

    Returns depth (...) float32, the number of the thing (...): 0 to 2 the room's walls by axis, then the boxes; and
    where on it (..., 3), in world axes before it was moved.
    """
    rays, eye = lens.rays(pixels) @ pose[:3, :3].T, pose[:3, 3]
    with np.errstate(divide="ignore"):
        walls = np.where(rays > 0, (ROOM[1] - eye) / rays, (ROOM[0] - eye) / rays)
    depth, thing = walls.min(axis=-1), walls.argmin(axis=-1)
    offset = np.zeros((*depth.shape, 3))
    for number, (box, shift) in enumerate(boxes):
        near = _entry(box + shift, eye, rays)
        hit = near < depth
        depth, thing = np.where(hit, near, depth), np.where(hit, 3 + number, thing)
        offset[hit] = shift
    return depth.astype(np.float32), thing, eye + rays * depth[..., None] - offset


def _entry(box: np.ndarray, eye: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Depth (h, w) at which rays enter a box, infinite where they miss it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = (box[0] - eye) / rays, (box[1] - eye) / rays
    enter, leave = np.minimum(first, second).max(axis=-1), np.maximum(first, second).min(axis=-1)
    return np.where((enter < leave) & (enter > 0.05), enter, np.inf)

"""A made-up shot: points in a room, a camera that walks through it, tracks with known truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from blender_3r.engine.geometry.cameras import Cameras, Observations
from blender_3r.engine.geometry.rotations import rotation_from_vector
from blender_3r.engine.reconstruction import Intrinsics
from blender_3r.engine.solve.mapping import LensModel

SIZE = (640, 360)
FOCAL = 520.0


@dataclass
class Walk:
    """The truth and what is seen of it."""

    cameras: Cameras
    points: np.ndarray
    observations: Observations

    def lenses(self, focal: float | None = None) -> LensModel:
        """What a user would know: nothing, or the focal."""
        start = focal or 1.2 * SIZE[0]
        lens = Intrinsics(*SIZE, start, start, SIZE[0] / 2, SIZE[1] / 2)
        count = len(self.cameras)
        return LensModel([lens] * count, np.zeros(count, dtype=int), focal is not None)


def walk(
    frames: int = 24,
    count: int = 900,
    noise: float = 0.2,
    zoom: float = 1.0,
    sideways: float = 1.0,
    forward: float = 0.6,
    k1: float = 0.0,
    seed: int = 3,
) -> Walk:
    """zoom: last focal / first focal. sideways, forward: how far the camera goes in units of a 6 x 4 x 7 room."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0.0, 1.0, frames)
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[:, :3, 3] = np.stack([sideways * (t - 0.5), 0.08 * np.sin(5 * t), forward * t], axis=1)
    turn = np.stack([0.03 * np.sin(4 * t), -0.25 * sideways * (t - 0.5), 0.02 * np.cos(3 * t)], axis=1)
    poses[:, :3, :3] = rotation_from_vector(turn)
    points = rng.uniform((-3, -2, 2.5), (3, 2, 9), (count, 3))
    focal = FOCAL * zoom ** (0.5 - 0.5 * np.cos(np.pi * t))
    cameras = Cameras.simple(poses, focal, SIZE, k1)
    frame = np.repeat(np.arange(frames), count)
    track = np.tile(np.arange(count), frames)
    xy = cameras.project(frame, points[track])
    seen = np.isfinite(xy).all(axis=1) & (xy > 0).all(axis=1) & (xy < SIZE).all(axis=1)
    xy = xy + noise * rng.normal(size=xy.shape)
    long_enough = np.bincount(track[seen], minlength=count) >= 3
    seen &= long_enough[track]
    number = np.cumsum(long_enough) - 1
    return Walk(cameras, points[long_enough], Observations(frame[seen], number[track[seen]], xy[seen]))


def path_error(found: Cameras, truth: Cameras) -> float:
    """Mean distance of the solved centres from the true ones after a similarity, per length of the path."""
    solved = found.solved
    a, b = found.centers[solved], truth.centers[solved]
    a0, b0 = a - a.mean(axis=0), b - b.mean(axis=0)
    u, d, vt = np.linalg.svd(b0.T @ a0)
    sign = np.diag([1.0, 1.0, np.linalg.det(u @ vt)])
    scale = np.trace(np.diag(d) @ sign) / np.sum(a0 * a0)
    off = b0 - scale * a0 @ (u @ sign @ vt).T
    length = np.linalg.norm(np.diff(truth.centers, axis=0), axis=1).sum()
    return float(np.linalg.norm(off, axis=1).mean() / length)

"""A made walk along a wall: in its middle few points can be followed, so that its scale hangs on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from blender_3r.engine.geometry.bundle_state import BundleOptions
from blender_3r.engine.geometry.cameras import Cameras, Observations
from blender_3r.engine.geometry.rotations import rotation_from_vector
from blender_3r.engine.solve.bundle import refine
from blender_3r.engine.solve.solution import Solution

SIZE = (640, 360)
FRAMES = 40
BARE = (18, 23)  # frames of a plain wall: few points lead from one to the other
OPTIONS = BundleOptions(lens="fixed", distortion=0, loss="cauchy", scale_px=0.5, tolerance=1e-4)


@dataclass
class Corridor:
    """A walk along a wall. log_depth: (n,) the true one of every observation."""

    cameras: Cameras
    points: np.ndarray
    observations: Observations
    log_depth: np.ndarray

    def predicted(self, noise=0.05, jitter=0.02, seed=5):
        """As a network says it: errors of things, and of frames, in a unit of its own."""
        rng = np.random.default_rng(seed)
        thing = noise * rng.normal(size=len(self.points))[self.observations.track]
        frame = jitter * rng.normal(size=FRAMES)[self.observations.frame]
        return self.log_depth + np.log(2.5) + thing + frame + 0.2 * noise * rng.normal(size=len(thing))

    def drifted(self, factor):
        """Cameras and points that grow from the bare frames on."""
        middle = sum(BARE) // 2
        eye = self.cameras.centers[middle]
        cameras, points = self.cameras.copy(), self.points.copy()
        cameras.world_from_camera[middle:, :3, 3] = eye + factor * (cameras.world_from_camera[middle:, :3, 3] - eye)
        later = points[:, 0] > eye[0]
        points[later] = eye + factor * (points[later] - eye)
        return cameras, points


def make_corridor(lone: int = 20) -> Corridor:
    """lone: points that lead through the bare frames."""
    rng = np.random.default_rng(3)
    poses = np.tile(np.eye(4), (FRAMES, 1, 1))
    poses[:, 0, 3] = 0.25 * np.arange(FRAMES)
    poses[:, :3, :3] = rotation_from_vector(0.02 * np.sin(np.outer(np.arange(FRAMES), [0.3, 0.4, 0.2])))
    cameras = Cameras.simple(poses, 520.0, SIZE)
    points = rng.uniform((-3, -1.2, 2.5), (14, 1.2, 5.0), (1500, 3))
    frame, track = np.repeat(np.arange(FRAMES), len(points)), np.tile(np.arange(len(points)), FRAMES)
    xy = cameras.project(frame, points[track])
    seen = np.isfinite(xy).all(axis=1) & (xy > 0).all(axis=1) & (xy < SIZE).all(axis=1)
    bare = (frame >= BARE[0]) & (frame < BARE[1])
    is_lone = np.isin(np.arange(len(points)), rng.choice(len(points), lone, replace=False))  # seen there too
    seen &= ~bare | is_lone[track]
    crosses = np.zeros(len(points), bool)  # others end before or begin after
    np.logical_or.at(crosses, track[seen & (frame < BARE[0])], True)
    after = np.zeros(len(points), bool)
    np.logical_or.at(after, track[seen & (frame >= BARE[1])], True)
    both = crosses & after & ~is_lone
    seen &= ~(both[track] & (frame >= BARE[1]))
    used = np.unique(track[seen])
    number = np.full(len(points), -1)
    number[used] = np.arange(len(used))
    frame, track, xy = frame[seen], track[seen], xy[seen]
    depth = cameras.in_camera(frame, points[track])[:, 2]
    noise = np.where((frame >= BARE[0]) & (frame < BARE[1]), 2.0, 0.3)[:, None]
    xy = xy + noise * rng.normal(size=xy.shape)
    return Corridor(cameras, points[used], Observations(frame, number[track], xy), np.log(depth))


def growth(cameras: Cameras) -> float:
    """Length of the way behind the bare frames over that before them, in a walk at even pace."""
    step = np.linalg.norm(np.diff(cameras.centers, axis=0), axis=1)
    return step[BARE[1] :].mean() / step[: BARE[0] - 1].mean()


def solved(corridor: Corridor, factor: float) -> Solution:
    """Without depth, from a start that is off by a factor behind the bare frames."""
    cameras, points = corridor.drifted(factor)
    bundle = refine(corridor.observations, cameras, points, OPTIONS)
    return Solution.from_bundle(bundle, corridor.observations, "shared")

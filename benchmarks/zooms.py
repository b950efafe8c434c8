"""Focals of made zooms, with the smoothness estimated and with a constant one: python -m benchmarks.zooms [SHAPE...].

Tracks of random points in a room with 0.2 px of noise, started from disturbed cameras.
"""

from __future__ import annotations

import sys

import numpy as np

from blender_3r.engine.geometry.cameras import Cameras, Observations
from blender_3r.engine.geometry.rotations import rotation_from_vector
from blender_3r.engine.solve import video
from tests.engine.support.walk import FOCAL, SIZE, path_error, walk

FRAMES, NOISE_PX = 30, 0.2
TIME = np.linspace(0.0, 1.0, FRAMES)
EASE = np.clip((TIME - 0.25) / 0.5, 0.0, 1.0)
SHAPES = {
    "slow": 1.15**TIME,
    "ease": 1.8 ** (EASE**2 * (3 - 2 * EASE)),
    "snap": np.where(TIME < 0.5, 1.0, 1.5),
    "late": 1.5 ** np.maximum(0.0, 2 * TIME - 1),
}


def zooming(shape: str) -> tuple[Cameras, Observations]:
    """The true cameras and what they see."""
    shot, rng = walk(frames=FRAMES, count=300, forward=1.2), np.random.default_rng(5)
    cameras, seen = shot.cameras.copy(), shot.observations
    cameras.focal = FOCAL * SHAPES[shape]
    xy = cameras.project(seen.frame, shot.points[seen.track]) + NOISE_PX * rng.normal(size=seen.xy.shape)
    inside = np.isfinite(xy).all(axis=1) & (xy > 0).all(axis=1) & (xy < SIZE).all(axis=1)
    track = np.unique(seen.track[inside], return_inverse=True)[1]
    return cameras, Observations(seen.frame[inside], track, xy[inside])


def disturbed(cameras: Cameras) -> Cameras:
    """2 % of the path, a degree and 5 % of the focal in every frame."""
    rng, given, count = np.random.default_rng(0), cameras.copy(), len(cameras)
    extent = np.linalg.norm(np.ptp(given.centers, axis=0))
    given.world_from_camera[:, :3, 3] += 0.02 * extent * rng.normal(size=(count, 3)) / np.sqrt(3)
    axes = rng.normal(size=(count, 3))
    turn = rotation_from_vector(np.radians(1.0) * axes / np.linalg.norm(axes, axis=1, keepdims=True))
    given.world_from_camera[:, :3, :3] = given.world_from_camera[:, :3, :3] @ turn
    given.focal = given.focal * (1 + 0.05 * rng.normal(size=count))
    return given


def main(shapes: list[str]) -> None:
    lenses, estimates = walk(frames=FRAMES, count=300).lenses(), video.SMOOTHINGS
    print("| zoom | smoothness | focal error % | jitter % | path error % |\n|---|---|---|---|---|")
    for shape in shapes or list(SHAPES):
        truth, observations = zooming(shape)
        for name, video.SMOOTHINGS in (("estimated", estimates), ("constant", 0)):
            settings = video.VideoSettings(threads=1, lens="zoom")
            found = video.solve_video(observations, lenses, settings, disturbed(truth)).cameras
            off = np.log(found.focal / truth.focal)
            figures = np.abs(off).mean(), np.sqrt(np.mean(np.diff(off, 2) ** 2)), path_error(found, truth)
            print(f"| {shape} | {name} | " + " | ".join(f"{100 * one:.3f}" for one in figures) + " |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

"""How an engine's world first stands in Blender: upright, floor at zero, of a handy size."""

from __future__ import annotations

import jobs
import numpy as np
import pytest

from blender_3r.engine.reconstruction import Reconstruction, View
from blender_3r.scene.placement import TYPICAL_DEPTH, guess_placement


def room(tilt_deg: float, pitch_deg: float, count: int = 12) -> tuple[Reconstruction, np.ndarray]:
    """Cameras 1.6 above a floor, pitched, in a world (y down) that was then tilted: (reconstruction, points)."""
    random = np.random.default_rng(3)
    floor = np.column_stack([random.uniform(-2, 2, 400), np.full(400, 1.6), random.uniform(1, 6, 400)])
    wall = np.column_stack([random.uniform(-2, 2, 300), random.uniform(-1, 1.6, 300), np.full(300, 6.0)])
    points = np.concatenate([floor, wall])
    turn = jobs.pose(5.0, -2.0, 1.0, 25.0, tilt_deg)
    views = [
        View(
            f"frame_{i:04d}", i, jobs.lens(), turn @ jobs.pose(0, 0, 0.1 * i, yaw_deg=2.0 * i - 10, pitch_deg=pitch_deg)
        )
        for i in range(count)
    ]
    return Reconstruction(views), points @ turn[:3, :3].T + turn[:3, 3]


@pytest.mark.parametrize("tilt_deg", [0, 35, 120])
def test_floor_becomes_level_at_zero(tilt_deg):
    reconstruction, points = room(tilt_deg, pitch_deg=-15)
    placed = points @ (placement := guess_placement(reconstruction, points))[:3, :3].T + placement[:3, 3]
    assert np.abs(placed[:400, 2]).max() < 0.02
    assert placed[400:, 2].max() > 1
    forward = placement[:3, :3] @ reconstruction.views[0].world_from_camera[:3, 2]
    assert forward[1] > 0
    assert abs(forward[0]) < 1e-6


def test_size_is_handy_unless_the_world_is_metric():
    reconstruction, points = room(20, -5)
    for factor in (0.001, 1.0, 500.0):
        views = [
            View(
                v.file,
                v.frame,
                v.intrinsics,
                np.block([[v.world_from_camera[:3, :3], factor * v.world_from_camera[:3, 3:]], [np.eye(4)[3:]]]),
            )
            for v in reconstruction.views
        ]
        placement = guess_placement(Reconstruction(views), factor * points)
        depths = [((factor * points - v.world_from_camera[:3, 3]) @ v.world_from_camera[:3, 2]) for v in views]
        assert 0.6 * TYPICAL_DEPTH < np.cbrt(np.linalg.det(placement[:3, :3])) * np.median(depths) < 1.6 * TYPICAL_DEPTH
    metric = guess_placement(Reconstruction(reconstruction.views, metric=True), points)
    assert np.linalg.det(metric[:3, :3]) == pytest.approx(1.0)


def test_rotation_is_proper_and_scale_uniform():
    reconstruction, points = room(70, 10)
    part = guess_placement(reconstruction, points)[:3, :3]
    scale = np.cbrt(np.linalg.det(part))
    assert scale > 0
    assert part @ part.T / scale**2 == pytest.approx(np.eye(3), abs=1e-9)


def test_a_camera_looking_straight_down_still_stands():
    views = [View("frame_0000", 0, jobs.lens(), jobs.pose(0, 0, 0, pitch_deg=-90))]
    placement = guess_placement(Reconstruction(views), None)
    assert np.isfinite(placement).all()
    assert np.linalg.det(placement[:3, :3]) == pytest.approx(1.0)

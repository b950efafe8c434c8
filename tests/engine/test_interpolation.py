"""Cameras between cameras."""

from __future__ import annotations

import numpy as np
import pytest

from blender_3r.engine.geometry.interpolation import interpolate_poses
from blender_3r.engine.geometry.rotations import rotation_angle, rotation_from_vector


def path(times):
    """A camera on a smooth way that turns as it goes."""
    times = np.asarray(times, dtype=float)
    poses = np.tile(np.eye(4), (len(times), 1, 1))
    poses[:, :3, :3] = rotation_from_vector(times[:, None] * np.array([0.02, -0.05, 0.01]))
    poses[:, :3, 3] = np.stack([np.sin(times / 8), 0.1 * times, np.cos(times / 8)], axis=-1)
    return poses


def test_the_known_cameras_stay():
    times = [0, 3, 4, 9]
    assert np.allclose(interpolate_poses(times, path(times), times), path(times), atol=1e-12)


def test_between_cameras_of_a_smooth_way_the_error_is_small_and_falls_with_the_fourth_power_of_the_gap():
    errors = []
    for gap in (4, 2):
        times = np.arange(0, 33, gap)
        wanted = np.arange(8, 25)
        found = interpolate_poses(times, path(times), wanted)
        errors.append(np.linalg.norm(found[:, :3, 3] - path(wanted)[:, :3, 3], axis=1).max())
        assert np.allclose(found[:, :3, :3], path(wanted)[:, :3, :3], atol=1e-9), "it turns at even speed"
    assert errors[0] < 0.005
    assert errors[1] < errors[0] / 6


def test_uneven_times_on_a_line_stay_on_it():
    times = np.array([0.0, 1.0, 5.0, 6.0])
    poses = np.tile(np.eye(4), (4, 1, 1))
    poses[:, 0, 3] = 2 * times
    wanted = np.linspace(0, 6, 25)
    assert np.allclose(interpolate_poses(times, poses, wanted)[:, 0, 3], 2 * wanted, atol=1e-12)


def test_the_shorter_way_round_and_rotations_all_along():
    random = np.random.default_rng(4)
    times = np.arange(12) * 3
    poses = np.tile(np.eye(4), (12, 1, 1))
    poses[:, :3, :3] = rotation_from_vector(random.normal(size=(12, 3)) * 2)
    found = interpolate_poses(times, poses, np.arange(34))
    turns = found[:, :3, :3]
    assert np.allclose(turns @ turns.transpose(0, 2, 1), np.eye(3), atol=1e-12)
    assert np.linalg.det(turns).min() > 0
    steps = rotation_angle(np.linalg.inv(turns[:-1]) @ turns[1:]).reshape(11, 3)
    whole = rotation_angle(np.linalg.inv(poses[:-1, :3, :3]) @ poses[1:, :3, :3])
    assert np.allclose(steps, whole[:, None] / 3, atol=1e-9)


def test_one_camera_and_none_outside():
    assert np.allclose(interpolate_poses([5], path([5]), [5, 5]), path([5, 5]))
    assert interpolate_poses([0, 4], path([0, 4]), []).shape == (0, 4, 4)
    with pytest.raises(ValueError, match="outside"):
        interpolate_poses([0, 4], path([0, 4]), [5])

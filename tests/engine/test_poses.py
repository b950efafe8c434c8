import numpy as np
import pytest

from blender_3r.engine.geometry.poses import move_points, poses_from_encoding, relative_encodings
from blender_3r.engine.geometry.quaternions import conjugate_quaternion, multiply_quaternions, rotation_from_quaternion
from blender_3r.engine.geometry.rays import ray_map
from blender_3r.engine.geometry.rotations import rotation_from_vector
from blender_3r.engine.geometry.similarity import fit_similarity


def quaternion(vector, order):
    angle = np.linalg.norm(vector)
    parts = dict(zip("wxyz", [np.cos(angle / 2), *(np.sin(angle / 2) * np.asarray(vector) / angle)], strict=True))
    return np.array([parts[name] for name in order])


@pytest.mark.parametrize("order", ["wxyz", "xyzw"])
def test_quaternions_turn_as_their_axis_and_angle_say(order):
    vectors = np.array([[0.3, -0.2, 0.9], [-2.0, 1.0, 0.1]])
    quaternions = np.stack([quaternion(vector, order) for vector in vectors])
    np.testing.assert_allclose(
        rotation_from_quaternion(3 * quaternions, order), rotation_from_vector(vectors), atol=1e-12
    )
    first, second = rotation_from_vector(vectors)
    product = multiply_quaternions(quaternions[0], quaternions[1], order)
    np.testing.assert_allclose(rotation_from_quaternion(product, order), first @ second, atol=1e-12)
    back = conjugate_quaternion(quaternions[0], order)
    np.testing.assert_allclose(rotation_from_quaternion(back, order), first.T, atol=1e-12)


def test_an_unknown_order_is_refused():
    with pytest.raises(ValueError, match="wxzy"):
        rotation_from_quaternion(np.ones(4), "wxzy")


def test_points_move_by_the_pose_of_an_encoding():
    half = np.sqrt(0.5)
    pose = poses_from_encoding(np.array([1.0, 2.0, 3.0, half, 0.0, 0.0, half]))  # a quarter turn about z
    moved = move_points(pose, np.array([[1, 0, 0], [0, 0, 2]], dtype=np.float32))
    np.testing.assert_allclose(moved, [[1, 3, 3], [1, 2, 5]], atol=1e-6)
    assert moved.dtype == np.float32


def test_rays_of_the_first_camera_are_directions():
    intrinsics = np.array([[10.0, 0, 4], [0, 10, 3], [0, 0, 1]])
    pose = poses_from_encoding(np.array([1.0, 2, 3, 0.9, 0.1, 0.2, -0.3]))
    rays = ray_map(intrinsics, pose, pose, (7, 9))
    np.testing.assert_allclose(rays[3, 4], [0, 0, 0, 0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(rays[0, 8, 3] / rays[0, 8, 5], 0.4, atol=1e-6)


def test_a_rigid_fit_keeps_the_scale():
    generator = np.random.default_rng(1)
    source = generator.normal(size=(30, 3))
    rotation = rotation_from_vector(np.array([0.2, -0.5, 1.0]))
    target = 3 * source @ rotation.T + [1, 2, 3]
    fitted = fit_similarity(source, target, rigid=True)
    assert fitted.scale == 1
    np.testing.assert_allclose(fitted.rotation, rotation, atol=1e-12)
    np.testing.assert_allclose(fitted.apply(source).mean(axis=0), target.mean(axis=0), atol=1e-12)


@pytest.mark.parametrize("order", ["wxyz", "xyzw"])
def test_relative_poses_undo_the_reference(order):
    encodings = np.random.default_rng(2).normal(size=(4, 7))
    poses = poses_from_encoding(encodings, order)
    relative = poses_from_encoding(relative_encodings(encodings, encodings[1], order), order)
    np.testing.assert_allclose(relative, np.linalg.inv(poses[1]) @ poses, atol=1e-12)

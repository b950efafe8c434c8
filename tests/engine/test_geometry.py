"""Cameras, rotations, triangulation and resection against independent formulas and OpenCV."""

import cv2
import numpy as np
import pytest

from blender_3r.engine.geometry.alignment import align_rays
from blender_3r.engine.geometry.cameras import Cameras, Observations, distort, distort_jacobian, undistort
from blender_3r.engine.geometry.resection import resect, resect_missing
from blender_3r.engine.geometry.rotations import cross_matrix, nearest_rotation, rotation_angle, rotation_from_vector
from blender_3r.engine.geometry.triangulation import mean_directions, triangulate_tracks, triangulation_angles
from blender_3r.engine.reconstruction import Intrinsics, View

LENS = Intrinsics(800, 600, 700.0, 690.0, 395.0, 310.0, -0.12, 0.03, 0.002, -0.001)


def cloud(count=50, seed=0):
    return np.random.default_rng(seed).uniform((-2, -1.5, 4), (2, 1.5, 9), (count, 3))


def ring(count=8):
    """Poses on a line, looking at the cloud."""
    poses = np.tile(np.eye(4), (count, 1, 1))
    s = np.linspace(-1, 1, count)
    poses[:, :3, :3] = rotation_from_vector(np.stack([0.05 * s, -0.2 * s, 0.1 * s], axis=1))
    poses[:, :3, 3] = np.stack([1.2 * s, 0.1 * s, 0.3 * s * s], axis=1)
    return poses


def everything(cameras, points):
    frame, track = (g.ravel() for g in np.meshgrid(np.arange(len(cameras)), np.arange(len(points)), indexing="ij"))
    return Observations(frame, track, cameras.project(frame, points[track]))


def test_rotation_vectors_agree_with_opencv_down_to_zero():
    rng = np.random.default_rng(0)
    for scale in (1.0, 1e-3, 1e-8, 0.0):
        vectors = rng.normal(size=(5, 3)) * scale
        expected = np.array([cv2.Rodrigues(v)[0] for v in vectors])
        assert rotation_from_vector(vectors) == pytest.approx(expected, abs=1e-12)
        angles = np.linalg.norm(vectors, axis=1)
        assert rotation_angle(rotation_from_vector(vectors)) == pytest.approx(angles, rel=1e-6, abs=1e-15)
    assert rotation_angle(rotation_from_vector(np.array([np.pi, 0, 0]))) == pytest.approx(np.pi)


def test_cross_matrix_and_nearest_rotation():
    rng = np.random.default_rng(1)
    v, w = rng.normal(size=(2, 4, 3))
    assert np.einsum("nij,nj->ni", cross_matrix(v), w) == pytest.approx(np.cross(v, w))
    rotation = rotation_from_vector(v)
    assert nearest_rotation(1.7 * rotation) == pytest.approx(rotation)
    assert np.linalg.det(nearest_rotation(np.diag([1.0, 1.0, -0.1]))) == pytest.approx(1.0)


def test_projection_agrees_with_opencv_and_intrinsics():
    cameras = Cameras.from_intrinsics([LENS] * 8, ring())
    points = cloud()
    for index in range(8):
        inverse = np.linalg.inv(cameras.world_from_camera[index])
        expected = cv2.projectPoints(
            points, cv2.Rodrigues(inverse[:3, :3])[0], inverse[:3, 3], LENS.matrix, LENS.distortion
        )[0][:, 0]
        frame = np.full(len(points), index)
        assert cameras.project(frame, points) == pytest.approx(expected, abs=1e-8)
        rays = cameras.rays(frame, expected)
        assert rays == pytest.approx(LENS.rays(expected), abs=1e-7)
        sight = points - cameras.centers[index]
        sight /= np.linalg.norm(sight, axis=1, keepdims=True)
        assert cameras.world_rays(frame, expected) == pytest.approx(sight, abs=1e-9)
    assert cameras.intrinsics(3, 800, 600) == LENS
    assert np.isnan(cameras.project(np.zeros(1, int), np.array([[0.0, 0.0, -5.0]]))).all()


def test_distortion_jacobian_and_inverse():
    rng = np.random.default_rng(2)
    x = rng.uniform(-0.6, 0.6, (20, 2))
    distortion = np.tile(LENS.distortion, (20, 1))
    step = 1e-6
    numeric = np.stack(
        [(distort(x + d, distortion) - distort(x - d, distortion)) / (2 * step) for d in step * np.eye(2)], axis=2
    )
    assert distort_jacobian(x, distortion) == pytest.approx(numeric, abs=1e-8)
    assert undistort(distort(x, distortion), distortion) == pytest.approx(x, abs=1e-10)


def test_views_and_poses_survive_the_way_through_cameras():
    poses = ring()
    views = [View(str(i), i, LENS, pose if i != 2 else None) for i, pose in enumerate(poses)]
    cameras = Cameras.from_views(views)
    assert list(cameras.solved) == [i != 2 for i in range(8)]
    rotation, translation = cameras.camera_from_world()
    again = cameras.copy()
    again.set_camera_from_world(rotation, translation)
    assert again.world_from_camera[cameras.solved] == pytest.approx(poses[cameras.solved], abs=1e-12)
    assert not again.solved[2]


def test_observations_must_be_parallel():
    with pytest.raises(ValueError, match="parallel"):
        Observations(np.zeros(3), np.zeros(2), np.zeros((3, 2)))


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e4])
def test_triangulation_in_any_unit(scale):
    cameras = Cameras.from_intrinsics([LENS] * 8, ring())
    points = cloud()
    observations = everything(cameras, points)
    cameras.world_from_camera[:, :3, 3] *= scale
    assert triangulate_tracks(observations, cameras, 50) == pytest.approx(points * scale, rel=1e-4)


def test_triangulation_bears_outliers_and_refuses_what_it_cannot_place():
    cameras = Cameras.from_intrinsics([LENS] * 8, ring())
    points = cloud()
    observations = everything(cameras, points)
    cameras.world_from_camera[7] = np.nan
    observations.xy[observations.track == 0] += np.array([[0, 0]] * 3 + [[60, -40]] + [[0, 0]] * 4)
    rng = np.random.default_rng(3)
    observations.xy[observations.track == 1] = rng.uniform(0, 600, (8, 2))
    found = triangulate_tracks(observations[observations.track != 2], cameras, 50, max_error_px=4.0, min_views=4)
    assert found[0] == pytest.approx(points[0], rel=0.02)
    assert np.isnan(found[[1, 2]]).all()
    assert found[3:] == pytest.approx(points[3:], rel=1e-4)


def test_triangulation_angle_of_two_cameras_is_exact():
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[1, 0, 3] = 1.0
    cameras = Cameras.simple(poses, 500.0, (640, 480))
    points = np.array([[0.5, 0.0, 2.0], [0.5, 0.0, 200.0]])
    angles = triangulation_angles(everything(cameras, points), cameras, points)
    assert angles == pytest.approx(2 * np.arctan([0.25, 0.0025]))
    wide = triangulate_tracks(everything(cameras, points), cameras, 2, min_angle_deg=1.0)
    assert np.isfinite(wide[0]).all()
    assert np.isnan(wide[1]).all()


def test_mean_directions_of_a_turning_camera():
    poses = ring()
    poses[:, :3, 3] = 0
    cameras = Cameras.from_intrinsics([LENS] * 8, poses)
    points = cloud()
    directions = mean_directions(everything(cameras, points), cameras, 51)
    assert directions[:50] == pytest.approx(points / np.linalg.norm(points, axis=1, keepdims=True), abs=1e-9)
    assert np.isnan(directions[50]).all()


@pytest.mark.parametrize("scale", [1.0, 1e-4])
def test_resection_with_outliers_in_any_unit(scale):
    cameras = Cameras.from_intrinsics([LENS] * 8, ring())
    points = cloud(120)
    observations = everything(cameras, points)
    observations.xy[::4] += 80.0
    truth = cameras.world_from_camera.copy()
    truth[:, :3, 3] *= scale
    unsolved = cameras.copy()
    unsolved.world_from_camera = truth.copy()
    unsolved.world_from_camera[[2, 5]] = np.nan
    completed = resect_missing(observations, unsolved, points * scale)
    assert completed.solved.all()
    assert completed.world_from_camera[:, :3, :3] == pytest.approx(truth[:, :3, :3], abs=1e-4)
    assert completed.centers == pytest.approx(truth[:, :3, 3], abs=1e-3 * scale)
    assert not unsolved.solved[2]


def test_resection_refuses_what_it_cannot_tell():
    cameras = Cameras.from_intrinsics([LENS], ring(1))
    rng = np.random.default_rng(4)
    chance = rng.uniform(0, 600, (40, 2))
    assert resect(cameras, 0, cloud(40), chance) is None
    assert resect(cameras, 0, cloud(5), chance[:5]) is None
    assert resect(cameras, 0, np.ones((40, 3)), chance) is None
    assert resect(cameras, 0, np.full((40, 3), np.nan), chance) is None


def test_aligning_rays_with_a_third_of_them_wrong():
    rng = np.random.default_rng(5)
    a = rng.normal(size=(90, 3))
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    truth = rotation_from_vector(np.array([0.3, -0.5, 0.2]))
    b = a @ truth.T
    b[:30] = rng.normal(size=(30, 3))
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    rotation, residual = align_rays(a, b, scale=1e-3)
    assert np.degrees(rotation_angle(rotation.T @ truth)) < 0.01
    assert (residual[30:] < 1e-3).all()

"""Cameras: projection and its inverse, depth to points, the form of cameras.json."""

from __future__ import annotations

import json

import numpy as np
import pytest

from blender_3r.engine.reconstruction import Check, Intrinsics, Reconstruction, View, depth_to_points

LENS = Intrinsics(640, 480, 500.0, 510.0, 310.0, 250.0, k1=-0.12, k2=0.03, p1=0.001, p2=-0.002)


def pose(angle=0.4, centre=(1.0, -2.0, 0.5)):
    matrix = np.eye(4)
    matrix[0, 0] = matrix[2, 2] = np.cos(angle)
    matrix[0, 2], matrix[2, 0] = np.sin(angle), -np.sin(angle)
    matrix[:3, 3] = centre
    return matrix


def test_rays_undo_projection():
    pixels = np.random.default_rng(0).uniform((5, 5), (635, 475), (200, 2))
    back = LENS.project(LENS.rays(pixels) * 3.7)
    np.testing.assert_allclose(back, pixels, atol=1e-6)


def test_projection_without_distortion_is_the_matrix():
    lens = Intrinsics(640, 480, 500.0, 510.0, 310.0, 250.0)
    point = np.array([0.3, -0.2, 2.0])
    expected = lens.matrix @ point
    np.testing.assert_allclose(lens.project(point), expected[:2] / expected[2])


def test_points_behind_have_no_pixel():
    assert np.isnan(LENS.project(np.array([[0.0, 0.0, -1.0], [0.0, 0.0, 0.0]]))).all()


def test_scaling_keeps_the_rays():
    half = LENS.scaled_to(320, 240)
    np.testing.assert_allclose(half.rays(np.array([100.0, 50.0])), LENS.rays(np.array([200.0, 100.0])), atol=1e-12)


def test_depth_to_points_projects_back_onto_the_grid():
    view = View("a", 0, LENS, pose())
    depth = np.random.default_rng(1).uniform(1, 5, (24, 32)).astype(np.float32)
    depth[3, 4] = 0
    points, index = depth_to_points(view, depth)
    assert points.shape == (24 * 32 - 1, 3)
    assert 3 * 32 + 4 not in index
    inverse = np.linalg.inv(view.world_from_camera)
    camera = points @ inverse[:3, :3].T + inverse[:3, 3]
    np.testing.assert_allclose(camera[:, 2], depth.reshape(-1)[index], rtol=1e-5)
    pixels = LENS.project(camera.astype(float)) / 20.0
    rows, columns = np.divmod(index, 32)
    np.testing.assert_allclose(pixels, np.stack([columns + 0.5, rows + 0.5], -1), atol=1e-3)


def test_depth_to_points_by_confidence_and_stride():
    view = View("a", 0, LENS, np.eye(4))
    depth = np.ones((6, 9), np.float32)
    confidence = np.zeros((6, 9), np.float32)
    confidence[:, 4] = 0.8
    _, index = depth_to_points(view, depth, confidence, min_confidence=0.5)
    assert (index % 9 == 4).all()
    assert len(index) == 6
    _, index = depth_to_points(view, depth, stride=3)
    assert len(index) == 2 * 3


def test_depth_without_a_pose_is_refused():
    with pytest.raises(ValueError, match="no pose"):
        depth_to_points(View("a", 0, LENS), np.ones((2, 2)))


def example():
    views = [View("frame_0000", 0, LENS, pose(), 0.3), View("frame_0001", 1, LENS, None, None, "too dark")]
    checks = [Check("overlap", False, "Too little overlap.", 0.1, 0.3)]
    return Reconstruction(views, method="classic", lens="zoom", fps=23.976, checks=checks, warnings=["Mind the gap."])


def test_json_round_trip():
    before = example()
    after = Reconstruction.from_json(json.loads(json.dumps(before.to_json(), allow_nan=False)))
    assert after.solved == before.solved == [0]
    np.testing.assert_array_equal(after.views[0].world_from_camera, before.views[0].world_from_camera)
    assert after.to_json() == before.to_json()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.pop("images"),
        lambda data: data["images"][0].pop("fx"),
        lambda data: data["images"][0].update(c2w=[[1, 0], [0, 1]]),
        lambda data: data["images"][0].update(c2w=[[float("nan")] * 4] * 4),
        lambda data: data["images"][0].update(width="wide"),
        lambda data: data.update(images=[3]),
    ],
)
def test_a_wrong_form_is_a_value_error(damage):
    data = example().to_json()
    damage(data)
    with pytest.raises(ValueError, match=r"cameras\.json|c2w is not|invalid literal|ould not be|inhomogeneous"):
        Reconstruction.from_json(data)


def test_unknown_keys_are_ignored():
    data = example().to_json()
    data["future"] = 1
    data["images"][0]["future"] = 2
    assert len(Reconstruction.from_json(data).views) == 2

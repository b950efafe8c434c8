"""The pieces an alignment is made of: similarities, focal lengths, neighbours, cleaning, the sky."""

import numpy as np
import pytest

from blender_3r.engine.errors import Cancelled
from blender_3r.engine.geometry.focal import estimate_focal
from blender_3r.engine.geometry.rotations import rotation_from_vector
from blender_3r.engine.geometry.similarity import fit_cameras, fit_similarity
from blender_3r.engine.methods.pairwise.alignment.clean import clean, remove_sky, sky_mask, trusted
from blender_3r.engine.methods.pairwise.alignment.neighbours import nearest, reciprocal_matches
from blender_3r.engine.methods.pairwise.alignment.pnp import pose_from_points
from blender_3r.engine.methods.pairwise.alignment.scene import Scene


def test_similarity_ignores_points_of_no_weight_and_holes():
    rng = np.random.default_rng(0)
    source = rng.normal(size=(60, 3))
    turn = rotation_from_vector(np.array([0.3, -1.0, 0.5]))
    target = 1.7 * source @ turn.T + [1.0, 2.0, -3.0]
    target[:10] += 5.0
    source[10] = np.nan
    weights = np.where(np.arange(60) < 10, 0.0, rng.uniform(0.5, 2.0, 60))
    found = fit_similarity(source, target, weights)
    assert found.scale == pytest.approx(1.7)
    assert found.rotation == pytest.approx(turn)
    assert found.translation == pytest.approx([1.0, 2.0, -3.0])
    assert found.apply(source[20:]) == pytest.approx(target[20:])


def test_similarities_in_batches_and_without_extent():
    rng = np.random.default_rng(1)
    source = rng.normal(size=(3, 20, 3))
    target = 0.5 * source + 1.0
    found = fit_similarity(source, target)
    assert found.scale == pytest.approx([0.5] * 3)
    assert found.translation == pytest.approx(np.ones((3, 3)))
    point = fit_similarity(np.zeros((5, 3)), np.ones((5, 3)), np.zeros(5))
    assert point.scale == 1.0
    assert point.translation == pytest.approx(np.ones(3))


def test_cameras_on_a_line_settle_the_rotation_by_their_axes():
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, 0, 3] = [0.0, 1.0, 3.0]
    turn = rotation_from_vector(np.array([0.4, 0.2, -0.3]))
    moved = poses.copy()
    moved[:, :3, :3] = turn @ poses[:, :3, :3]
    moved[:, :3, 3] = 2.5 * poses[:, :3, 3] @ turn.T + [4.0, 5.0, 6.0]
    found = fit_cameras(poses, moved)
    assert found.scale == pytest.approx(2.5)
    assert found.move_cameras(poses) == pytest.approx(moved)


def pointmap(focal=40.0, size=(30, 40), center=None):
    rows, columns = np.indices(size, dtype=float)
    x, y = center or (size[1] / 2, size[0] / 2)
    depth = 3.0 + 0.5 * np.sin(rows / 5) + 0.3 * np.cos(columns / 7)
    return np.stack([(columns - x) / focal * depth, (rows - y) / focal * depth, depth], axis=-1)


@pytest.mark.parametrize("mode", ["weiszfeld", "median"])
def test_focal_of_a_pointmap_with_outliers(mode):
    points = pointmap(center=(18.0, 16.0))
    points[:4] *= [3.0, 0.2, 1.0]
    points[10, 10] = np.nan
    points[10, 11, 2] = 0.0
    assert estimate_focal(points, (18.0, 16.0), mode) == pytest.approx(40.0, rel=0.01)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_points_that_tell_nothing_have_no_focal():
    assert np.isnan(estimate_focal(np.full((8, 8, 3), np.nan)))


def test_focal_is_kept_within_limits():
    unit = 40 / (2 * np.tan(np.radians(30)))
    assert estimate_focal(pointmap(), limits=(1.3, 3.5)) == pytest.approx(1.3 * unit)
    assert estimate_focal(pointmap(), limits=(0.1, 0.5)) == pytest.approx(0.5 * unit)
    with pytest.raises(ValueError, match="mode"):
        estimate_focal(pointmap(), mode="mean")


def test_pose_from_points_with_and_without_a_focal():
    pose = np.eye(4)
    pose[:3, :3] = rotation_from_vector(np.array([0.1, 0.4, -0.2]))
    pose[:3, 3] = [1.0, -0.5, 0.3]
    world = pointmap() @ pose[:3, :3].T + pose[:3, 3]
    every = np.ones(world.shape[:2], bool)
    found = pose_from_points(world, every, 40.0)
    assert found.world_from_camera == pytest.approx(pose, abs=1e-3)
    assert found.inliers == every.size
    large = pointmap(400.0, (300, 400))
    assert pose_from_points(large, np.ones((300, 400), bool), None).focal == pytest.approx(400.0, rel=0.1)
    few = np.zeros_like(every)
    few[0, :3] = True
    assert pose_from_points(world, few, 40.0) is None


def test_mutual_neighbours_are_those_of_a_full_comparison():
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(300, 3)) + 50, rng.normal(size=(200, 3)) + 50
    distance = np.linalg.norm(first[:, None] - second[None], axis=-1)
    reciprocal, found = reciprocal_matches(first, second)
    assert np.array_equal(found, distance.argmin(axis=0))
    assert np.array_equal(reciprocal, distance.argmin(axis=1)[distance.argmin(axis=0)] == np.arange(200))
    assert np.array_equal(nearest(first[:5], second[:2]), distance[:5, :2].argmin(axis=1))


def two_views():
    """Both look along z from the same place at a wall at depth 4; a block of the first claims depth 2."""
    depth = [np.full((20, 30), 4.0, np.float32) for _ in range(2)]
    depth[0][5:10, 5:10] = 2.0
    confidence = [np.full((20, 30), level, np.float32) for level in (5.0, 8.0)]
    return Scene(np.tile(np.eye(4), (2, 1, 1)), np.full(2, 25.0), np.full((2, 2), 10.0), depth, confidence)


def test_points_that_float_before_a_surer_surface_are_cleaned_away():
    scene = two_views()
    cleaned = clean(scene)
    assert not cleaned.confidence[0][5:10, 5:10].any()
    assert np.count_nonzero(cleaned.confidence[0] == 0) == 25
    assert np.array_equal(cleaned.confidence[1], scene.confidence[1])
    assert np.all(scene.confidence[0] == 5.0)  # the scene itself stays
    assert np.all(clean(scene, bad_confidence=1.5).confidence[0][5:10, 5:10] == 1.5)
    assert not trusted(cleaned, 3.0)[0][7, 7]


def test_cleaning_leaves_out_only_what_other_views_cannot_see():
    """Views in many directions, beside a comparison of every pixel with every view."""
    rng = np.random.default_rng(5)
    height, width, count = 50, 70, 5
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = [rotation_from_vector(np.array([0.1 * k, 0.5 * k, 0.0])) for k in range(count)]
    poses[:, :3, 3] = 0.5 * rng.normal(size=(count, 3))
    depth = [rng.uniform(0.5, 6.0, (height, width)).astype(np.float32) for _ in range(count)]
    depth[1][:8], depth[2][3, 4] = 0.0, np.nan
    confidence = [rng.uniform(0.0, 9.0, (height, width)).astype(np.float32) for _ in range(count)]
    scene = Scene(poses, np.full(count, 40.0), np.full((count, 2), (35.0, 25.0)), depth, confidence)
    left = [values.copy() for values in confidence]
    for i in range(count):
        points = scene.world_points(i)
        for j in [j for j in range(count) if j != i]:
            local = (points - poses[j, :3, 3]) @ poses[j, :3, :3]
            with np.errstate(divide="ignore", invalid="ignore"):
                x, y = (np.rint(40.0 * local[..., k] / local[..., 2] + (35.0, 25.0)[k]) for k in (0, 1))
            seen = (local[..., 2] > 0) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
            there = y[seen].astype(int), x[seen].astype(int)
            wrong = (local[seen][:, 2] < 0.999 * depth[j][there]) & (left[i][seen] < left[j][there])
            left[i][seen] = np.where(wrong, 0.0, left[i][seen])
    assert 0.1 < np.mean([(after == 0).mean() for after in left]) < 0.9
    for after, before in zip(clean(scene).confidence, left):
        assert np.mean(after != before) < 1e-3  # rounding


def test_surer_points_stay_and_lost_views_take_no_part():
    scene = two_views()
    scene.confidence[0][:] = 9.0
    assert np.all(clean(scene).confidence[0] == 9.0)
    scene = two_views()
    scene.world_from_camera[1] = np.nan
    assert np.all(clean(scene).confidence[0] == 5.0)


def test_cleaning_tells_how_far_it_is_and_can_be_stopped():
    told = []
    clean(two_views(), report=lambda stage, done, total: told.append((done, total)))
    assert told == [(0, 2), (1, 2)]

    def stop():
        raise Cancelled

    with pytest.raises(Cancelled):
        clean(two_views(), check_cancelled=stop)


def test_sky_is_found_by_colour_and_size():
    image = np.full((60, 80, 3), (60, 90, 40), np.uint8)
    image[:25] = (120, 170, 250)
    image[50:53, 70:73] = (120, 170, 250)
    mask = sky_mask(image)
    assert mask[:25].mean() > 0.95
    assert not mask[30:].any()
    scene = two_views()
    without = remove_sky(scene, [np.full((20, 30, 3), (120, 170, 250), np.uint8), np.zeros((20, 30, 3), np.uint8)])
    assert not without.confidence[0].any()
    assert np.array_equal(without.confidence[1], scene.confidence[1])

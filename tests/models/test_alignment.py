"""Pairs of known geometry to a scene: the published alignment, what may be known before, what may go wrong."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from blender_3r.engine.errors import Cancelled, EngineError
from blender_3r.engine.methods.pairwise.alignment import AlignSettings, align_pairs, connected_parts, view_pair
from blender_3r.engine.methods.pairwise.alignment.problem import (
    alignment_loss,
    build_problem,
    encode_poses,
    pair_transforms,
    quaternions,
    rotation_matrices,
)
from blender_3r.engine.methods.pairwise.alignment.reference import align_reference, learning_rate, scene_from
from blender_3r.engine.methods.pairwise.alignment.start import make_start
from blender_3r.engine.methods.pairwise.graph import make_pairs
from tests.models.support.pair_scene import make_scene, shot_scene
from tests.models.support.pose_errors import pose_errors

DATA = Path(os.environ.get("BLENDER_3R_DATA") or Path(__file__).parents[3] / "shared" / "data")
SMALL = (36, 48)
REFERENCE = AlignSettings(algorithm="reference")


def test_eight_noisy_views_give_back_the_cameras():
    truth = make_scene(8, SMALL, noise=0.02)
    steps = []
    settings = replace(REFERENCE, shared_focal=True, iterations=150)
    scene = align_pairs(truth.predictions, settings, report=lambda stage, done, total: steps.append((done, total)))
    path_percent, degrees = pose_errors(scene.world_from_camera, truth.world_from_camera)
    assert path_percent < 1.0
    assert degrees < 0.5
    assert np.abs(scene.focals / truth.focals - 1).max() < 0.02
    assert steps[0] == (0, 150)
    assert steps[-1] == (150, 150)
    assert scene.left_out == []


@pytest.mark.parametrize("shot", ["syn_walk", "syn_zoom"])
def test_a_rendered_shot_gives_back_the_cameras(shot):
    if not (DATA / shot / "depth").is_dir():
        pytest.skip("needs the rendered shots")
    truth = shot_scene(DATA / shot, step=16, noise=0.02)
    scene = align_pairs(truth.predictions, replace(REFERENCE, shared_focal=shot == "syn_walk", iterations=200))
    path_percent, degrees = pose_errors(scene.world_from_camera, truth.world_from_camera)
    assert path_percent < 1.0
    assert degrees < 0.5


def test_mixed_orientations_in_a_windowed_graph():
    edges = make_pairs(6, "swin-2-noncyclic")
    truth = make_scene(6, [SMALL, SMALL[::-1]] * 3, noise=0.0, edges=edges)
    scene = align_pairs(truth.predictions, replace(REFERENCE, iterations=100))
    assert [d.shape for d in scene.depth] == truth.predictions.sizes
    path_percent, degrees = pose_errors(scene.world_from_camera, truth.world_from_camera)
    assert path_percent < 0.5
    assert degrees < 0.3


def test_loss_is_that_of_a_loop_over_pairs():
    truth = make_scene(3, [SMALL, (30, 40), SMALL[::-1]], noise=0.05)
    problem = build_problem(truth.predictions)
    start = make_start(truth.predictions, problem, REFERENCE)
    loss = float(alignment_loss(problem, start.parameters, start.normalized))
    scene = scene_from(problem, start.parameters, loss)
    turned, shifted = (value.numpy() for value in pair_transforms(start.parameters, start.normalized))
    areas = [h * w for h, w in truth.predictions.sizes]
    totals, counted = np.zeros(2), np.zeros(2)
    p = truth.predictions
    for e, edge in enumerate(p.edges):
        views = zip(edge, (p.points_i[e], p.points_j[e]), (p.confidence_i[e], p.confidence_j[e]))
        for side, (image, points, confidence) in enumerate(views):
            moved = points.numpy() @ turned[e].T + shifted[e]
            distance = np.linalg.norm(scene.world_points(image) - moved, axis=-1)
            totals[side] += (distance * np.log(confidence.numpy())).sum()
            counted[side] += areas[image]
    assert loss == pytest.approx((totals / counted).sum(), rel=1e-4)


def test_values_that_are_not_finite_are_passed_over():
    truth = make_scene(4, SMALL, noise=0.005)
    truth.predictions.points_i[0][3:6] = float("nan")
    truth.predictions.points_j[2][0, 0] = float("inf")
    truth.predictions.confidence_j[5][1, 1] = float("nan")
    scene = align_pairs(truth.predictions, replace(REFERENCE, iterations=60))
    assert np.isfinite(scene.loss)
    path_percent, _ = pose_errors(scene.world_from_camera, truth.world_from_camera)
    assert path_percent < 1.0


def test_nothing_finite_at_all_is_told():
    truth = make_scene(3, SMALL)
    for points in truth.predictions.points_i + truth.predictions.points_j:
        points[:] = float("nan")
    with pytest.raises(EngineError) as caught:
        align_reference(truth.predictions, REFERENCE)
    assert caught.value.kind == "unsolved"


def test_a_cancelled_alignment_stops_at_once():
    truth = make_scene(3, SMALL)
    steps = []

    def check():
        if len(steps) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        align_pairs(truth.predictions, REFERENCE, lambda *step: steps.append(step), check)
    assert len(steps) == 3


def test_an_image_without_convincing_pairs_is_left_out():
    truth = make_scene(5, SMALL, noise=0.005)
    p = truth.predictions
    for e, edge in enumerate(p.edges):
        if 2 in edge:
            p.confidence_j[e][:] = 1.0
    assert connected_parts(p, 1.1, 0.02) == [[0, 1, 3, 4], [2]]
    scene = align_pairs(p, replace(REFERENCE, iterations=30))
    assert scene.left_out == [2]
    assert np.isnan(scene.world_from_camera[2]).all()
    assert not scene.depth[2].any()
    kept = [0, 1, 3, 4]
    path_percent, _ = pose_errors(scene.world_from_camera[kept], truth.world_from_camera[kept])
    assert path_percent < 1.0


def test_images_that_nothing_connects_are_refused():
    truth = make_scene(3, SMALL)
    for confidence in truth.predictions.confidence_j:
        confidence[:] = 1.0
    with pytest.raises(EngineError) as caught:
        align_pairs(truth.predictions, REFERENCE)
    assert caught.value.kind == "unsolved"


def test_known_poses_and_focals_stay():
    truth = make_scene(4, SMALL, noise=0.005, relief=2.0)
    poses = np.full((4, 4, 4), np.nan)
    poses[[0, 3]] = truth.world_from_camera[[0, 3]]
    focals = np.array([np.nan, truth.focal, np.nan, np.nan])
    scene = align_pairs(truth.predictions, replace(REFERENCE, known_poses=poses, known_focals=focals, iterations=100))
    assert scene.world_from_camera[[0, 3]] == pytest.approx(poses[[0, 3]], abs=1e-4)
    assert scene.focals[1] == pytest.approx(truth.focal, rel=1e-5)
    shift = np.linalg.norm((scene.world_from_camera - truth.world_from_camera)[1:3, :3, 3], axis=1)
    assert shift.max() < 0.02 * truth.path_length  # in the world of the known poses, without a similarity


def test_all_poses_known_gives_depth_in_their_scale():
    truth = make_scene(3, SMALL, noise=0.005)
    known = replace(REFERENCE, start="known_poses", known_poses=truth.world_from_camera, known_focals=truth.focals)
    scene = align_pairs(truth.predictions, replace(known, iterations=50))
    for found, true in zip(scene.depth, truth.depth):
        assert np.median(np.abs(found / true - 1)) < 0.03


@pytest.mark.parametrize(
    "settings",
    [
        {"known_poses": np.concatenate([np.eye(4)[None], np.full((2, 4, 4), np.nan)])},
        {"known_poses": np.tile(np.eye(4), (2, 1, 1))},
        {"known_focals": np.ones(2)},
        {"known_principal_points": np.ones((3, 3))},
        {"start": "known_poses"},
    ],
)
def test_what_is_known_must_suffice(settings):
    with pytest.raises(EngineError) as caught:
        align_pairs(make_scene(3, SMALL).predictions, replace(REFERENCE, **settings))
    assert caught.value.kind == "usage"


def test_unknown_names_are_told():
    for settings in ({"algorithm": "slow"}, {"schedule": "step"}, {"start": "random"}, {"iterations": -1}):
        with pytest.raises(EngineError):
            AlignSettings(**settings)


def test_one_shared_focal():
    truth = make_scene(4, SMALL, noise=0.02)
    scene = align_pairs(truth.predictions, replace(REFERENCE, shared_focal=True, iterations=60))
    assert np.ptp(scene.focals) == 0
    assert scene.focals[0] == pytest.approx(truth.focal, rel=0.02)


def test_a_tree_with_pairs_that_wait_and_an_image_without_its_own_pair():
    # The strongest pairs do not touch: (1, 0), then (3, 2), which must wait for (2, 1).
    truth = make_scene(4, SMALL, noise=0.0, edges=[(1, 0), (3, 2), (2, 1)])
    for e, level in enumerate((30.0, 20.0, 10.0)):
        truth.predictions.confidence_i[e][:] = level
        truth.predictions.confidence_j[e][:] = level
    problem = build_problem(truth.predictions)
    start = make_start(truth.predictions, problem, REFERENCE)
    assert start.order == [(1, 0), (2, 1), (3, 2)]
    assert start.by_points == [0]  # never the first of a pair: its pose comes from its points
    assert start.searches == 1
    path_percent, degrees = pose_errors(start.poses, truth.world_from_camera)
    assert path_percent < 0.5
    assert degrees < 0.5


def test_the_published_start_takes_a_foreign_focal():
    truth = make_scene(3, SMALL, noise=0.0, edges=[(1, 0), (2, 1), (0, 1)])
    for e, level in enumerate((30.0, 20.0, 1.5)):
        truth.predictions.confidence_i[e][:] = level
        truth.predictions.confidence_j[e][:] = level
    truth.predictions.points_i[0][..., :2] *= 0.5  # the strongest pair pretends twice the focal
    problem = build_problem(truth.predictions)
    focals = []
    for published in (True, False):
        start = make_start(truth.predictions, problem, replace(REFERENCE, published_start=published))
        focals.append(float((start.parameters.focals[2, 0] / 20).exp()))
    assert focals[0] == pytest.approx(2 * truth.focal, rel=1e-3)
    assert focals[1] == pytest.approx(truth.focal, rel=1e-3)


def test_two_images_are_viewed_without_optimisation():
    truth = make_scene(2, SMALL, noise=0.005)
    scene = align_pairs(truth.predictions, AlignSettings())
    _, degrees = pose_errors(scene.world_from_camera, truth.world_from_camera)
    assert degrees < 0.5
    assert np.abs(scene.focals / truth.focal - 1).max() < 0.01
    world = [scene.world_points(image)[18, 24] for image in (0, 1)]
    assert np.isfinite(world).all()
    ratio = scene.depth[0] / truth.depth[0]
    assert np.median(np.abs(ratio / np.median(ratio) - 1)) < 0.02


def test_two_images_seen_one_way_only():
    truth = make_scene(2, SMALL, noise=0.002, edges=[(1, 0)])
    scene = view_pair(truth.predictions)
    _, degrees = pose_errors(scene.world_from_camera, truth.world_from_camera)
    assert degrees < 1.0
    assert np.abs(scene.focals / truth.focal - 1).max() < 0.02


def test_a_single_image_is_its_own_pair():
    truth = make_scene(1, SMALL, noise=0.0, edges=[(0, 0)])
    scene = align_pairs(truth.predictions)
    assert scene.world_from_camera[0] == pytest.approx(np.eye(4))
    assert scene.focals[0] == pytest.approx(truth.focal, rel=1e-3)
    ratio = scene.depth[0] / truth.depth[0]
    assert np.ptp(ratio) < 1e-3 * ratio.mean()


def test_schedules_end_where_they_should():
    for schedule in ("cosine", "linear"):
        settings = replace(REFERENCE, schedule=schedule, iterations=4)
        assert learning_rate(settings, 0) == pytest.approx(0.01)
        assert learning_rate(settings, 2) == pytest.approx(0.005, rel=1e-3)
        assert learning_rate(settings, 4) == pytest.approx(1e-6)


def test_rotations_survive_their_coding():
    angles = torch.tensor(np.random.default_rng(0).normal(size=(50, 4)))
    rotations = rotation_matrices(angles)
    assert torch.allclose(rotation_matrices(quaternions(rotations)), rotations, atol=1e-12)
    half_turns = torch.diag_embed(torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, 1]]).double())
    assert torch.allclose(rotation_matrices(quaternions(half_turns)), half_turns, atol=1e-12)
    pose = torch.eye(4).double()
    pose[:3, 3] = torch.tensor([0.0, -2.0, 5.0])
    assert torch.allclose(encode_poses(pose)[4:], torch.tensor([0.0, -np.log(3.0), np.log(6.0)]).double())

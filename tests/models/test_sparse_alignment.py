"""The sparse alignment on a stand-in predictor: cameras back, parts left out, presets, cancel, a single image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from blender_3r.engine.errors import Cancelled, EngineError
from blender_3r.engine.geometry.rotations import nearest_rotation, rotation_angle
from blender_3r.engine.geometry.similarity import fit_cameras
from blender_3r.engine.methods.pairwise.sparse import SparseCollector, SparseSettings
from blender_3r.engine.methods.pairwise.sparse.canonical import CanonicalSum
from blender_3r.engine.methods.pairwise.sparse.condense import PairMatches
from blender_3r.engine.methods.pairwise.sparse.condensed_pair import CondensedPair
from blender_3r.engine.methods.pairwise.sparse.parameters import Chain
from blender_3r.engine.methods.pairwise.sparse.subpixel import subpixel_shifts
from blender_3r.engine.methods.pairwise.sparse.tree import KinematicTree, build_tree, largest_part
from tests.models.support.described_pairs import collect, view_pairs
from tests.models.support.pair_scene import PairScene, make_scene, shot_scene

SHOTS = Path(__file__).resolve().parents[3] / "shared" / "data"


def camera_errors(found: np.ndarray, scene: PairScene, images: list[int] | None = None) -> tuple[float, float]:
    """(Largest distance of a centre after the best similarity, over the path; largest angle in degrees between
    orientations after the best common rotation).
    """
    images = list(range(len(found))) if images is None else images
    true = scene.world_from_camera[images]
    centers = fit_cameras(found[images], true).apply(found[images][:, :3, 3])
    turns = true[:, :3, :3] @ found[images][:, :3, :3].swapaxes(1, 2)
    angles = np.degrees(rotation_angle(nearest_rotation(turns.sum(axis=0)).T @ turns))
    return np.linalg.norm(centers - true[:, :3, 3], axis=1).max() / scene.path_length, angles.max()


@pytest.fixture(scope="module")
def arc() -> tuple[PairScene, SparseCollector]:
    scene = make_scene(views=8, size=(144, 192))
    colors = [np.full((144, 192, 3), number, np.uint8) for number in range(8)]
    return scene, collect(scene, colors=colors)


def test_cameras_come_back_from_noisy_pairs(arc):
    scene, collector = arc
    seen = []
    result = collector.finish(report=lambda stage, done, total: seen.append((stage, done, total)))
    place, angle = camera_errors(result.world_from_camera, scene)
    assert place < 0.01
    assert angle < 0.5
    assert np.abs(result.focals / scene.focals - 1).max() < 0.01  # 0.02 with matches of whole pixels
    assert [told for told in seen if told[0] == "Aligning cameras"][-1][1:] == (600, 600)
    assert seen[-1] == ("Comparing views", 7, 8)
    assert result.left_out == []
    move = fit_cameras(result.world_from_camera, scene.world_from_camera)
    for depth, true in zip(result.depth, scene.depth):
        assert np.median(np.abs(depth * move.scale / true - 1)) < 0.02
    assert result.sparse["points"].shape == result.sparse["color"].shape
    assert set(np.unique(result.sparse["color"])) == set(range(8))
    assert result.sparse["views"].min() >= 2
    assert np.median(result.sparse["error"]) < 1.0


def descriptor_map(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Unit descriptors (H, W, 24) that change smoothly with the place (H, W)."""
    rng = torch.Generator().manual_seed(4)
    waves, phases = 0.1 * torch.randn(2, 24, generator=rng), 6.0 * torch.rand(24, generator=rng)
    values = torch.cos(torch.stack([x, y], dim=-1) @ waves + phases)
    return values / values.norm(dim=-1, keepdim=True)


def test_matches_are_found_between_pixels():
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(30.0), indexing="ij")
    first, second = descriptor_map(x, y), descriptor_map(x + 0.3, y - 0.2)
    middle = torch.cartesian_prod(torch.arange(3, 27), torch.arange(3, 17))
    found = subpixel_shifts([(first, second), (first, second)], middle, middle)
    assert (found - torch.tensor([-0.3, 0.2])).norm(dim=1).max() < 0.15  # 0.36 for whole pixels
    corners = torch.tensor([[0, 5], [29, 5], [5, 0], [5, 19]])
    assert not subpixel_shifts([(first, second)], corners, corners).any()
    assert not subpixel_shifts([(first, torch.ones_like(second) / 24**0.5)], middle, middle).any()
    rough = torch.randn(20, 30, 24, generator=torch.Generator().manual_seed(0))
    assert subpixel_shifts([(rough, rough.flip(0))], middle, middle).abs().max() < 0.5


def test_one_camera_for_all_views_is_more_exact(arc):
    scene, collector = arc
    result = collector.finish(SparseSettings(shared_intrinsics=True, clean=False))
    place, angle = camera_errors(result.world_from_camera, scene)
    assert place < 0.005
    assert angle < 0.5
    assert np.ptp(result.focals) == 0
    assert np.abs(result.focals / scene.focals - 1).max() < 0.01


def test_sizes_and_orientations_may_differ():
    sizes = [(64, 96), (96, 64), (64, 96), (64, 64)]
    scene = make_scene(views=4, size=sizes)
    result = collect(scene).finish()
    place, angle = camera_errors(result.world_from_camera, scene)
    assert place < 0.015  # from a fifth of the pairs of eight views
    assert angle < 0.6
    assert [depth.shape for depth in result.depth] == sizes


@pytest.mark.skipif(not (SHOTS / "syn_walk").is_dir(), reason="the rendered shots are not here")
def test_cameras_of_a_rendered_shot_come_back():
    scene = shot_scene(SHOTS / "syn_walk")
    result = collect(scene).finish()
    place, angle = camera_errors(result.world_from_camera, scene)
    assert place < 0.01
    assert angle < 0.5


@pytest.mark.parametrize(
    "change",
    [
        {"tree": "mst"},
        {"optimise_depth": False},
        {"optimise_center": True},
        {"matching_threshold": 5.0},
        {"depth_mode": "mul"},
    ],
    ids=lambda change: "-".join(change),
)
def test_other_settings_find_the_cameras_too(arc, change):
    scene, collector = arc
    result = collector.finish(SparseSettings(clean=False, coarse_iterations=150, fine_iterations=80, **change))
    place, angle = camera_errors(result.world_from_camera, scene)
    assert place < 0.03
    assert angle < 0.6


def test_known_cameras_are_kept(arc):
    scene, collector = arc
    settings = SparseSettings(
        coarse_iterations=150,
        fine_iterations=50,
        known_focals=scene.focals,
        known_principal_points=np.array([[95.0, 73.0]] * 8),
        known_poses=scene.world_from_camera,
        clean=False,
    )
    result = collector.finish(settings)
    assert np.allclose(result.world_from_camera, scene.world_from_camera, atol=1e-5)
    assert np.allclose(result.focals, scene.focals, rtol=1e-5)
    assert np.allclose(result.principal_points, (95.0, 73.0), atol=1e-3)
    for depth, true in zip(result.depth, scene.depth):
        assert np.median(np.abs(depth / true - 1)) < 0.02


def test_some_known_cameras_place_the_rest(arc):
    scene, collector = arc
    poses, focals = scene.world_from_camera.copy(), scene.focals.copy()
    poses[2:7], focals[1:] = np.nan, np.nan
    result = collector.finish(SparseSettings(known_poses=poses, known_focals=focals, clean=False))
    off = np.linalg.norm(result.world_from_camera[:, :3, 3] - scene.world_from_camera[:, :3, 3], axis=1)
    assert off.max() < 0.02 * scene.path_length
    assert np.isclose(result.focals[0], scene.focals[0], rtol=1e-5)
    for depth, true in zip(result.depth, scene.depth):
        assert np.median(np.abs(depth / true - 1)) < 0.03


def test_images_that_nothing_connects_are_left_out():
    scene = make_scene(views=5, size=(48, 64))
    apart = {(i, j) for i in range(5) for j in range(i) if (i in (1, 4)) != (j in (1, 4))}
    result = collect(scene, skipped=apart).finish(SparseSettings(coarse_iterations=200, fine_iterations=50))
    assert result.left_out == [1, 4]
    assert np.isnan(result.world_from_camera[[1, 4]]).all()
    assert np.isnan(result.focals[[1, 4]]).all()
    assert not result.depth[1].any()
    assert np.isfinite(result.world_from_camera[[0, 2, 3]]).all()
    assert camera_errors(result.world_from_camera, scene, [0, 2, 3])[1] < 2.0


def test_pairs_that_show_different_things_connect_nothing():
    scene = make_scene(views=3, size=(48, 64))
    collector = SparseCollector(scene.predictions.sizes)
    pairs = view_pairs(scene)
    for i, j in ((1, 0), (2, 0), (2, 1)):
        doubtful = [
            (first._replace(confidence=torch.ones(48, 64)), second._replace(confidence=torch.full((48, 64), 1.01)))
            for first, second in (pairs[i, j], pairs[j, i])
        ]
        collector.add_pair(i, j, *doubtful)
    with pytest.raises(EngineError, match="nothing connects") as caught:
        collector.finish()
    assert caught.value.kind == "unsolved"


def test_a_single_image_has_a_camera_and_depth():
    scene = make_scene(views=1, size=(48, 64), edges=[(0, 0)])
    collector = SparseCollector(scene.predictions.sizes)
    pair = view_pairs(scene)[0, 0]
    collector.add_pair(0, 0, pair, pair)
    result = collector.finish(SparseSettings(coarse_iterations=50, fine_iterations=50))
    assert result.world_from_camera.shape == (1, 4, 4)
    assert np.isfinite(result.world_from_camera).all()
    ratio = result.depth[0] / scene.depth[0]
    assert np.median(np.abs(ratio / np.median(ratio) - 1)) < 0.03


def test_two_images():
    scene = make_scene(views=2, size=(64, 96))
    result = collect(scene).finish()
    relative = [np.linalg.inv(poses[0]) @ poses[1] for poses in (result.world_from_camera, scene.world_from_camera)]
    assert np.degrees(rotation_angle(relative[0][:3, :3].T @ relative[1][:3, :3])) < 1.5
    assert np.allclose(result.focals, scene.focals, rtol=0.01)


def test_pairs_kept_as_arrays_give_the_same_scene():
    scene = make_scene(views=3, size=(48, 64))
    collector, again = SparseCollector(scene.predictions.sizes), SparseCollector(scene.predictions.sizes)
    pairs = view_pairs(scene)
    for i, j in ((1, 0), (2, 0), (2, 1)):
        arrays = collector.add_pair(i, j, pairs[i, j], pairs[j, i]).arrays()
        again.take(CondensedPair.from_arrays((i, j), ((48, 64), (48, 64)), arrays))
    settings = SparseSettings(coarse_iterations=30, fine_iterations=10)
    assert np.array_equal(again.finish(settings).world_from_camera, collector.finish(settings).world_from_camera)
    assert CondensedPair.from_arrays((1, 0), ((48, 64), (64, 48)), arrays) is None
    assert CondensedPair.from_arrays((1, 0), ((48, 64), (48, 64)), {"share": arrays["share"]}) is None


def test_the_user_can_stop_between_iterations(arc):
    calls = []

    def check() -> None:
        calls.append(None)
        if len(calls) == 30:
            raise Cancelled

    with pytest.raises(Cancelled):
        arc[1].finish(check_cancelled=check)
    assert len(calls) == 30


def test_the_user_can_stop_while_a_pair_is_matched():
    def stop() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        collect(make_scene(views=2, size=(32, 32)), check_cancelled=stop)


def test_too_many_matches_are_thinned_to_the_most_trusted(monkeypatch):
    pair = PairMatches(
        0, 1, torch.arange(10).reshape(5, 2), torch.arange(10).reshape(5, 2), torch.tensor([3.0, 1, 5, 4, 2])
    )
    assert pair.strongest(3).confidence.tolist() == [3, 5, 4]
    assert pair.strongest(3).xy_first.tolist() == [[0, 1], [4, 5], [6, 7]]
    assert pair.strongest(9) is pair
    monkeypatch.setattr("blender_3r.engine.methods.pairwise.sparse.collector.MATCHES", 3 * 60)
    collector = collect(make_scene(views=3, size=(96, 128)))
    result = collector.finish(SparseSettings(coarse_iterations=20, fine_iterations=0, clean=False))
    assert 60 < len(result.sparse["points"]) <= 2 * 3 * 60


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_values_that_are_not_numbers_are_told():
    scene = make_scene(views=2, size=(48, 64))
    collector = SparseCollector(scene.predictions.sizes)
    pairs = view_pairs(scene)
    spoiled = [(a._replace(points=a.points * torch.nan), b) for a, b in (pairs[1, 0], pairs[0, 1])]
    collector.add_pair(1, 0, *spoiled)
    with pytest.raises(EngineError, match="not numbers"):
        collector.finish()


def test_wrong_settings_are_told():
    with pytest.raises(EngineError, match="knows no tree 'oak'"):
        SparseSettings(tree="oak")
    with pytest.raises(EngineError, match="negative"):
        SparseSettings(fine_iterations=-1)
    plain = tuple(view._replace(descriptors=None) for view in view_pairs(make_scene(views=2, size=(16, 16)))[1, 0])
    collector = SparseCollector([(16, 16)] * 2)
    with pytest.raises(ValueError, match="no descriptors"):
        collector.add_pair(1, 0, plain, plain)
    with pytest.raises(ValueError, match="blocks of 8"):
        CanonicalSum(20, 16)


def test_what_is_kept_of_a_pair_is_small():
    """Maps and descriptors of a pair take 30 numbers a pixel and view."""
    scene = make_scene(views=4, size=(96, 128))
    collector = collect(scene)
    pixels = 96 * 128
    for pair in collector._pairs.values():
        assert sum(t.nbytes for t in (pair.xy_first, pair.xy_second, pair.confidence)) < 1.5 * pixels
        assert pair.xy_first.untyped_storage().nbytes() == pair.xy_first.nbytes
    for kept in collector._fallbacks.values():
        assert kept.points.untyped_storage().nbytes() == kept.points.nbytes == 12 * pixels // 64


def test_canonical_view_is_the_weighted_mean():
    rng = torch.Generator().manual_seed(3)
    maps = torch.rand(3, 16, 24, 3, generator=rng) + torch.tensor([0.0, 0.0, 2.0])
    confidence = 1.0 + torch.rand(3, 16, 24, generator=rng)
    total = CanonicalSum(16, 24)
    for points, values in zip(maps, confidence):
        total.add(points, values)
    weight = (confidence - 0.999)[..., None]
    assert torch.allclose(total.result().points, (weight * maps).sum(0) / weight.sum(0), atol=1e-6)
    assert torch.allclose(total.result().relative_depth[4::8, 4::8], torch.ones(2, 3))


def test_chain_multiplies_poses_from_the_root_down():
    tree = KinematicTree(2, [(2, 0), (0, 4), (4, 1), (1, 3)])
    relative = torch.randn(5, 4, 4, generator=torch.Generator().manual_seed(1))
    found = Chain(tree, relative.device).absolute(relative)
    expected = {2: relative[2]}
    for parent, child in tree.edges:
        expected[child] = expected[parent] @ relative[child]
    for image, pose in expected.items():
        assert torch.allclose(found[image], pose, rtol=1e-4, atol=1e-4)


def test_tree_of_a_row_of_views_is_rooted_in_the_middle():
    near = np.abs(np.subtract.outer(np.arange(7), np.arange(7)))
    matches = np.where(near > 0, 60 - 9 * near, 0)
    for mode in ("mst", "hclust-ward"):
        tree = build_tree(matches, np.full(7, 20), mode)
        assert sorted(child for _, child in tree.edges) == sorted(set(range(7)) - {tree.root})
    tree = build_tree(matches, np.full(7, 20), "mst")
    assert tree.root == 3
    assert {tuple(sorted(edge)) for edge in tree.edges} == {(i, i + 1) for i in range(6)}
    assert build_tree(np.zeros((1, 1)), np.array([20])) == KinematicTree(0, [])


def test_largest_part_of_a_graph():
    assert largest_part(6, [(0, 1), (2, 3), (3, 5)]).tolist() == [2, 3, 5]
    assert largest_part(4, [(3, 2), (0, 1)]).tolist() == [0, 1]
    assert largest_part(3, []).tolist() == [0]


def test_settings_for_some_of_the_images():
    settings = replace(SparseSettings(), known_focals=np.array([1.0, 2.0, np.nan]))
    assert settings.select([2, 0]).known_focals.tolist()[1] == 1.0
    assert settings.select([0]).known_poses is None

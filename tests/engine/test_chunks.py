"""Joining chunks: ground-truth pointmaps, cut into overlapping chunks, each moved by a similarity of its own."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from blender_3r.engine.geometry.rotations import rotation_from_vector
from blender_3r.engine.geometry.similarity import Similarity, fit_similarity
from blender_3r.engine.methods.multiview.chunks import Chunk, ChunkChain, blend_poses, join, plan

SIZE = (24, 32)
FOCAL = 28.0
ROOM = np.array([9.0, 3.0, 6.0])  # half of its sides


def room_scene(count):
    """A walk through a room: poses (n, 4, 4) and true points (n, h, w, 3) in each camera's frame."""
    part = np.linspace(0, 1, count)
    centers = np.stack([12 * part - 6, 0.3 * np.sin(9 * part), -3 + 1.5 * np.sin(5 * part)], axis=1)
    turns = np.stack([0.15 * np.sin(7 * part), 0.8 * np.sin(4 * part), 0.05 * np.cos(11 * part)], axis=1)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = rotation_from_vector(turns), centers
    rows, columns = np.indices(SIZE)
    rays = np.stack([(columns - SIZE[1] / 2) / FOCAL, (rows - SIZE[0] / 2) / FOCAL, np.ones(SIZE)], axis=-1)
    points = []
    for pose in poses:
        direction = rays @ pose[:3, :3].T
        direction = np.where(np.abs(direction) < 1e-9, 1e-9, direction)
        reach = (np.sign(direction) * ROOM - pose[:3, 3]) / direction
        points.append(rays * reach.min(axis=-1, keepdims=True))
    return poses, np.array(points)


def random_similarity(rng):
    turn = rotation_from_vector(rng.normal(size=3))
    return Similarity(np.float64(np.exp(rng.normal())), turn, 5 * rng.normal(size=3))


def cut(poses, points, views, rng, noise=0.01, outliers=0.0):
    """A chunk as a network would say it: 1 % of the depth wrong in every coordinate, cameras off by 1 % of a step and
    a tenth of a degree, in a world and scale of its own.
    """
    move = random_similarity(rng)
    step = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).mean()
    own = np.array([poses[view] for view in views])
    own[:, :3, 3] += noise * step * rng.normal(size=(len(own), 3))
    own[:, :3, :3] = own[:, :3, :3] @ rotation_from_vector(np.radians(10 * noise) * rng.normal(size=(len(own), 3)))
    local = points[list(views)]
    local = local + noise * local[..., 2:] * rng.normal(size=local.shape)
    wrong = rng.random(local.shape[:-1]) < outliers
    local[wrong] = rng.uniform(-12, 12, (np.count_nonzero(wrong), 3))
    confidence = rng.uniform(0.3, 1.0, local.shape[:-1])
    return Chunk(list(views), move.move_cameras(own), move.scale * local, confidence)


def path_error(found, truth):
    """Largest distance of a centre over the length of the path, after the best similarity."""
    moved = fit_similarity(found[:, :3, 3], truth[:, :3, 3]).apply(found[:, :3, 3])
    path = np.linalg.norm(np.diff(truth[:, :3, 3], axis=0), axis=1).sum()
    return np.linalg.norm(moved - truth[:, :3, 3], axis=1).max() / path


# -- planning


@pytest.mark.parametrize(
    ("count", "size", "overlap", "ends"),
    [
        (1, 4, 2, [(0, 1)]),
        (4, 4, 2, [(0, 4)]),
        (5, 4, 2, [(0, 4), (1, 5)]),
        (8, 4, 2, [(0, 4), (2, 6), (4, 8)]),
        (10, 4, 1, [(0, 4), (3, 7), (6, 10)]),
    ],
)
def test_chunks_cover_all_views_and_overlap(count, size, overlap, ends):
    assert [(part.start, part.stop) for part in plan(count, size, overlap)] == ends


def test_every_plan_covers_and_overlaps():
    for count in range(2, 40):
        for size in range(2, 12):
            for overlap in range(1, size):
                parts = plan(count, size, overlap)
                assert {view for part in parts for view in part} == set(range(count))
                assert all(len(part) == min(size, count) for part in parts)
                assert all(a.stop - b.start >= overlap and b.stop > a.stop for a, b in itertools.pairwise(parts))


@pytest.mark.parametrize("overlap", [0, 4, 5])
def test_chunks_that_add_or_share_nothing_are_refused(overlap):
    with pytest.raises(ValueError, match="cannot overlap"):
        plan(9, 4, overlap)


# -- joining


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("outliers", [0.0, 0.1])
def test_a_path_through_ten_chunks(seed, outliers):
    rng = np.random.default_rng(seed)
    parts = plan(53, 8, 3)
    assert len(parts) == 10
    poses, points = room_scene(53)
    joined = join(cut(poses, points, part, rng, outliers=outliers) for part in parts)
    found = np.array([joined.world_from_camera[view] for view in range(53)])
    assert path_error(found, poses) < 0.005
    assert np.allclose(found[:, :3, :3] @ np.swapaxes(found[:, :3, :3], 1, 2), np.eye(3), atol=1e-9)
    assert len(joined.seams) == 9
    for seam in joined.seams:
        assert seam.holds
        assert 0.005 < seam.error < 0.04
        assert seam.agreeing > 0.8 - outliers * 2


def test_without_noise_the_join_is_exact():
    rng = np.random.default_rng(1)
    poses, points = room_scene(20)
    parts = plan(20, 6, 2)
    joined = join(cut(poses, points, part, rng, noise=0.0) for part in parts)
    found = np.array([joined.world_from_camera[view] for view in range(20)])
    assert path_error(found, poses) < 1e-7
    assert max(seam.error for seam in joined.seams) < 1e-7


def test_a_single_shared_view_is_enough():
    rng = np.random.default_rng(2)
    poses, points = room_scene(17)
    joined = join(cut(poses, points, part, rng) for part in plan(17, 5, 1))
    found = np.array([joined.world_from_camera[view] for view in range(17)])
    assert path_error(found, poses) < 0.005


def test_where_more_than_half_of_a_seam_is_wrong():
    rng = np.random.default_rng(3)
    poses, points = room_scene(13)
    joined = join(cut(poses, points, part, rng, outliers=0.3) for part in plan(13, 8, 3))  # 1 - 0.7^2 of the pairs
    found = np.array([joined.world_from_camera[view] for view in range(13)])
    assert path_error(found, poses) < 0.005


def test_pixels_without_confidence_take_no_part():
    rng = np.random.default_rng(4)
    poses, points = room_scene(12)
    chunks = [cut(poses, points, part, rng, noise=0.0) for part in plan(12, 7, 2)]
    for chunk in chunks:
        chunk.points[:, :, :20] *= rng.uniform(1.5, 2)  # the larger part of every picture agrees on a wrong scale
        chunk.confidence[:, :, :20] = 0.0
    joined = join(chunks)
    found = np.array([joined.world_from_camera[view] for view in range(12)])
    assert path_error(found, poses) < 1e-6


def test_chunks_that_do_not_agree_say_so():
    rng = np.random.default_rng(5)
    poses, points = room_scene(12)
    first, second = (cut(poses, points, part, rng) for part in plan(12, 7, 2))
    broken = second._replace(points=rng.uniform(0.1, 9, second.points.shape))
    seam = join([first, broken]).seams[0]
    assert not seam.holds
    assert (seam.first, seam.last) == (5, 6)
    assert "views 5-6" in str(seam)


def test_without_any_pixel_the_cameras_join():
    rng = np.random.default_rng(6)
    poses, points = room_scene(12)
    chunks = [cut(poses, points, part, rng, noise=0.0) for part in plan(12, 8, 4)]
    blind = [chunk._replace(confidence=np.zeros_like(chunk.confidence)) for chunk in chunks]
    joined = join(blind)
    found = np.array([joined.world_from_camera[view] for view in range(12)])
    assert path_error(found, poses) < 1e-6
    assert not joined.seams[0].holds


def test_a_single_camera_joins_turn_and_place():
    rng = np.random.default_rng(7)
    poses, points = room_scene(5)
    chunks = [cut(poses, points, part, rng, noise=0.0) for part in plan(5, 3, 1)]
    joined = join(chunk._replace(confidence=np.zeros_like(chunk.confidence)) for chunk in chunks)
    assert np.allclose(joined.world_from_camera[2], chunks[0].world_from_camera[2])
    assert joined.seams[0].scale == 1.0
    assert not joined.seams[0].holds


def test_earlier_views_stay_and_shared_ones_go_over_smoothly():
    rng = np.random.default_rng(8)
    poses, points = room_scene(12)
    chain, chunks = ChunkChain(), [cut(poses, points, part, rng) for part in plan(12, 8, 4)]
    first, second = (chain.add(chunk) for chunk in chunks)
    moved = second.move.move_cameras(chunks[1].world_from_camera)
    assert np.array_equal(second.world_from_camera[4:], moved[4:])
    apart = [np.linalg.norm(second.world_from_camera[k] - first.world_from_camera[4 + k]) for k in range(4)]
    whole = [np.linalg.norm(moved[k] - first.world_from_camera[4 + k]) for k in range(4)]
    for k in range(4):
        assert apart[k] == pytest.approx((k + 1) / 5 * whole[k], rel=0.02)
    assert np.allclose(blend_poses(poses[0], poses[5], 0.0), poses[0])
    assert np.allclose(blend_poses(poses[0], poses[5], 1.0), poses[5])


def test_chunks_that_share_nothing_are_refused():
    poses, points = room_scene(6)
    rng = np.random.default_rng(9)
    with pytest.raises(ValueError, match="shares no view"):
        join([cut(poses, points, range(3), rng), cut(poses, points, range(3, 6), rng)])


def test_the_same_chunks_are_joined_the_same_way():
    poses, points = room_scene(12)
    found = [
        join(cut(poses, points, part, rng, outliers=0.1) for part in plan(12, 7, 2)).world_from_camera[11]
        for rng in (np.random.default_rng(10), np.random.default_rng(10))
    ]
    assert np.array_equal(found[0], found[1])

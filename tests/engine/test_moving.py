"""Tracks of things that move by themselves, on made-up shots."""

import numpy as np
import pytest
from walk import walk

from blender_3r.engine.geometry.cameras import Observations
from blender_3r.engine.methods.sparse_cloud import track_arrays
from blender_3r.engine.solve.moving import moving_tracks
from blender_3r.engine.solve.solution import Solution


def with_a_passer_by(shot, speed=0.08):
    """The shot's observations where what is near one place walks sideways and hides the room; which tracks walk."""
    seen = shot.observations
    near = np.linalg.norm(shot.points[:, :2] - (0.8, 0.2), axis=1) < 0.9
    points = shot.points[seen.track] + np.outer(seen.frame * speed * near[seen.track], (0.6, 0.8, 0.0))
    xy = shot.cameras.project(seen.frame, points) + np.random.default_rng(0).normal(size=(len(seen), 2)) * 0.2
    inside = np.isfinite(xy).all(axis=1)
    for frame in range(len(shot.cameras)):
        walker = xy[(seen.frame == frame) & near[seen.track] & inside]
        hidden = ((xy > walker.min(axis=0)) & (xy < walker.max(axis=0))).all(axis=1)
        inside &= ~(hidden & (seen.frame == frame) & ~near[seen.track])
    return Observations(seen.frame[inside], seen.track[inside], xy[inside]), near


def test_a_passer_by_is_marked_and_the_room_is_not():
    shot = walk(frames=24)
    observations, moves = with_a_passer_by(shot)
    length = np.bincount(observations.track, minlength=len(moves))
    marked = moving_tracks(observations, shot.cameras)
    assert moves.sum() > 40
    assert marked[moves & (length > 8)].mean() > 0.9
    assert marked[~moves].mean() < 0.03


def test_single_slipped_tracks_are_not_taken_for_things():
    shot = walk(frames=20)
    seen = shot.observations
    slipped = seen.track % 37 == 0
    xy = seen.xy + np.where(slipped[:, None], seen.frame[:, None] * 1.5, 0.0)
    assert moving_tracks(Observations(seen.frame, seen.track, xy), shot.cameras).mean() < 0.01


def test_a_still_room_has_none_and_frames_without_camera_do_not_count():
    shot = walk(frames=16)
    cameras = shot.cameras.copy()
    cameras.world_from_camera[5:] = np.nan
    assert moving_tracks(shot.observations, shot.cameras).mean() < 0.01
    assert len(moving_tracks(shot.observations, cameras)) == len(shot.points)
    cameras.world_from_camera[:] = np.nan
    assert not moving_tracks(shot.observations, cameras).any()


def test_a_passer_by_before_a_tripod():
    shot = walk(frames=20, sideways=0.0, forward=0.0)
    shot.cameras.world_from_camera[:, :3, 3] = 0
    observations, moves = with_a_passer_by(shot)
    marked = moving_tracks(observations, shot.cameras, turns_only=True)
    assert marked[moves].mean() > 0.9
    assert marked[~moves].mean() < 0.05


@pytest.mark.parametrize("moving", [None, np.array([True, False])])
def test_the_mark_is_kept_with_the_tracks(moving):
    seen = Observations(np.zeros(2), np.arange(2), np.zeros((2, 2)))
    shot = walk(frames=3)
    solution = Solution(shot.cameras, seen, np.zeros((2, 3)), np.zeros(2), np.ones(2, bool), moving=moving)
    kept = track_arrays(solution)["moving"]
    assert kept.dtype == bool
    assert kept.tolist() == ([False, False] if moving is None else [True, False])

"""Points followed through made-up pictures whose motion is known."""

from itertools import pairwise

import numpy as np
import pytest
from pictures import Pictures, shifted, texture
from walk import walk

from blender_3r.engine.errors import Cancelled
from blender_3r.engine.solve.keyframes import MIN_SHARED, choose_keyframes, match_keyframes
from blender_3r.engine.solve.tracks import MIN_LENGTH, FramePairs, track_video


def test_motion_is_followed_to_a_tenth_of_a_pixel():
    plain = texture()
    step = np.array([1.7, -0.6])
    tracks = track_video(Pictures([shifted(plain, *(step * i)) for i in range(8)]))
    pairs = FramePairs(tracks, 8)
    ia, ib = pairs.common(0, 7)
    assert len(ia) > 300
    moved = tracks.xy[pairs.in_frame(7)][ib] - tracks.xy[pairs.in_frame(0)][ia]
    assert np.median(np.linalg.norm(moved - 7 * step, axis=1)) < 0.1
    shared, displacement = pairs.shift(0, 7)
    assert shared == len(ia)
    assert displacement == pytest.approx(7 * np.linalg.norm(step), abs=0.1)


def test_tracks_are_numbered_without_gaps_and_sorted():
    plain = texture()
    tracks = track_video(Pictures([shifted(plain, 9 * i, 0) for i in range(6)]), target=300)
    counts = np.bincount(tracks.track)
    assert counts.min() >= MIN_LENGTH
    order = np.lexsort((tracks.track, tracks.frame))
    assert (order == np.arange(len(tracks))).all()
    for frame in range(6):
        assert len(set(tracks.track[tracks.frame == frame])) == np.sum(tracks.frame == frame)


def test_positions_come_back_in_original_pixels_from_the_corner():
    plain = texture()
    small = track_video(Pictures([plain] * 3))
    large = track_video(Pictures([plain] * 3, scale=2))
    assert np.allclose(large.xy, 2 * small.xy)
    assert small.xy.min() > 0.5


def test_points_are_spread_over_the_frame():
    tracks = track_video(Pictures([texture()] * 3))
    cells = np.unique((tracks.xy // (420 / 8, 300 / 5)).astype(int), axis=0)
    assert len(cells) == 40


def test_nothing_to_follow():
    tracks = track_video(Pictures([np.full((200, 300), 128, np.uint8)] * 5))
    assert len(tracks) == 0


def test_a_cut_ends_every_track():
    before, after = texture(seed=1), texture(seed=2)
    tracks = track_video(Pictures([before] * 4 + [after] * 4))
    pairs = FramePairs(tracks, 8)
    assert len(pairs.common(0, 3)[0]) > 300
    assert len(pairs.common(2, 3)[0]) > 300
    assert len(pairs.common(3, 4)[0]) == 0
    assert set(tracks.frame) == set(range(8))


def test_footage_that_changes_size_starts_anew():
    tracks = track_video(Pictures([texture()] * 3 + [texture(200, 300)] * 3))
    assert set(tracks.frame) == set(range(6))
    assert len(FramePairs(tracks, 6).common(2, 3)[0]) == 0


def test_the_callback_can_stop():
    def stop(index):
        if index == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        track_video(Pictures([texture()] * 5), on_frame=stop)


def test_keyframes_reach_both_ends_and_share_tracks():
    shot = walk(frames=60)
    pairs = FramePairs(shot.observations, 60)
    chosen = choose_keyframes(pairs, 60, 640)
    assert (chosen[0], chosen[-1]) == (0, 59)
    assert 15 <= len(chosen) <= 40
    for a, b in pairwise(chosen):
        assert pairs.shift(a, b)[0] >= MIN_SHARED
    graph = match_keyframes(pairs, chosen)
    assert graph.frames == chosen
    a, b = next(iter(graph.matches))
    matches = graph.matches[(a, b)]
    # The same track stands behind both ends of a match.
    track = shot.observations.track
    assert (track[pairs.in_frame(a)][matches[:, 0]] == track[pairs.in_frame(b)][matches[:, 1]]).all()


def test_fast_motion_makes_more_keyframes():
    slow, fast = (
        choose_keyframes(FramePairs(walk(frames=60, sideways=s).observations, 60), 60, 640, longest_gap=20)
        for s in (0.3, 3.0)
    )
    assert len(fast) > 1.5 * len(slow)

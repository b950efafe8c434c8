"""Cuts, flashes, copies and interlaced frames: found, named, and solved round."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from pictures import Pictures, shifted, texture
from test_classic import SHOT, context

from blender_3r.engine.media.frames import open_source
from blender_3r.engine.media.interlace import is_interlaced
from blender_3r.engine.methods import classic
from blender_3r.engine.methods.base import CamerasSolved
from blender_3r.engine.solve.shots import find_shots, named, only, same_pictures
from blender_3r.engine.solve.tracks import track_video
from blender_3r.engine.source import source_from_path

STEP = np.array([1.7, -0.6])


def moving(count, start=0, seed=0):
    plain = texture(seed=seed)
    return [shifted(plain, *(STEP * (start + i))) for i in range(count)]


def shots_of(images):
    return find_shots(track_video(Pictures(images)), len(images))


def test_a_steady_shot_is_one_piece():
    shots = shots_of(moving(8))
    assert shots.pieces == [(0, 7)]
    assert not shots.blind
    assert not shots.copies


def test_cuts_split_a_shot():
    tracks = track_video(Pictures(moving(5) + moving(9, seed=1) + moving(4, seed=2)))
    shots = find_shots(tracks, 18)
    assert shots.pieces == [(0, 4), (5, 13), (14, 17)]
    assert shots.longest == (5, 13)
    kept = only(tracks, shots.longest)
    assert set(kept.frame) == set(range(5, 14))
    assert set(kept.track) == set(range(kept.track.max() + 1))


@pytest.mark.parametrize("length", [1, 2, 3])
def test_tracks_go_on_behind_a_flash(length):
    images = moving(12)
    for frame in range(5, 5 + length):
        images[frame] = np.full_like(images[frame], 255)
    tracks = track_video(Pictures(images))
    shots = find_shots(tracks, 12)
    assert shots.pieces == [(0, 11)]
    assert shots.blind == list(range(5, 5 + length))
    both = set(tracks.track[tracks.frame == 4]) & set(tracks.track[tracks.frame == 5 + length])
    assert len(both) > 200


def test_a_lamp_that_goes_on_loses_no_frame():
    images = moving(10)
    images[5:] = [np.clip(image * 0.4 + 150, 0, 255).astype(np.uint8) for image in images[5:]]
    shots = shots_of(images)
    assert shots.pieces == [(0, 9)]
    assert not shots.blind


def test_frames_after_the_last_picture_are_no_shot():
    shots = shots_of(moving(6) + [np.full((300, 420), 20, np.uint8)] * 6)
    assert shots.pieces == [(0, 5)]


def test_copies_are_found_and_a_standstill_is_none():
    images = moving(14)
    images[4], images[9] = images[3], images[8]
    shots = shots_of(images)
    assert shots.copies == [4, 9]
    assert same_pictures(Pictures(images), [4, 6, 9]) == [4, 9]
    assert shots_of([texture()] * 10).copies == []
    easing = [shifted(texture(), 4 * np.sqrt(9 - min(i, 9)), 0) for i in range(14)]
    assert shots_of(easing).copies == [] or min(shots_of(easing).copies) >= 10


def test_frame_numbers_are_told_in_words():
    assert named([7]) == "frame 7"
    assert named([1, 2, 5]) == "frames 1, 2 and 5"
    assert named(list(range(20)), most=3) == "frames 0, 1, 2 and 17 more"


def test_interlaced_frames_are_recognised():
    images = [shifted(texture(), 3 * i, 0) for i in range(10)]
    woven = []
    for before, after in pairwise(images):
        frame = before.copy()
        frame[1::2] = after[1::2]
        woven.append(frame)
    assert is_interlaced(Pictures(woven))
    assert not is_interlaced(Pictures(images))
    noisy = [np.random.default_rng(i).integers(0, 255, (200, 300)).astype(np.uint8) for i in range(4)]
    assert not is_interlaced(Pictures(noisy))


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """What is told of the demo shot with a flash, a copy, and another shot behind a cut."""
    folder = tmp_path_factory.mktemp("spoilt")
    movie = cv2.VideoCapture(str(SHOT))
    images = [movie.read()[1] for _ in range(24)]
    images[8] = np.full_like(images[8], 250)
    images[15] = images[14]
    images += [np.ascontiguousarray(image[::-1, ::-1]) for image in images[:4]]
    for number, image in enumerate(images, start=101):
        cv2.imwrite(str(folder / f"shot_{number:04d}.png"), image)
    frames = open_source(source_from_path(folder, kind="sequence"))
    events = classic.run(frames, {"quality": "draft", "dense": False}, context(tmp_path_factory.mktemp("job")))
    return next(event for event in events if isinstance(event, CamerasSolved)).reconstruction


def test_every_oddity_of_a_shot_is_named(spoilt):
    told = " ".join(spoilt.warnings)
    assert "frame 125: the footage is cut there" in told
    assert "Frames 101 to 124" in told
    assert "followed in frame 109" in told
    assert "1 of 28 frames repeat the one before: frame 116" in told


def test_the_longest_part_is_solved_and_the_flash_filled(spoilt):
    assert [view.is_solved for view in spoilt.views] == [True] * 24 + [False] * 4
    assert [index for index, view in enumerate(spoilt.views) if view.interpolated] == [8]
    assert all("another shot" in view.note for view in spoilt.views[24:])
    centres = np.array([view.world_from_camera[:3, 3] for view in spoilt.views[:24]])
    step = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    assert step[14] < 0.1 * np.median(step)
    assert 0.5 < step[7] / np.median(step) < 2

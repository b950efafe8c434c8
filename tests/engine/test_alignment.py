"""Tracked points moved to where the pictures say they are, and what else the lens shows."""

from contextlib import closing
from dataclasses import replace

import cv2
import numpy as np
import pytest
from room_shot import FOCAL, film
from walk import SIZE, path_error, walk

from blender_3r.engine.geometry.cameras import Observations
from blender_3r.engine.media.frames import open_source
from blender_3r.engine.methods import footage
from blender_3r.engine.methods.base import Context
from blender_3r.engine.reconstruction import Intrinsics
from blender_3r.engine.solve import key_cameras, video
from blender_3r.engine.solve.alignment import Aligned, align_tracks
from blender_3r.engine.solve.bundle import BundleOptions
from blender_3r.engine.solve.lens_terms import needed_terms
from blender_3r.engine.solve.mapping import LensModel
from blender_3r.engine.solve.posed import hold_given
from blender_3r.engine.solve.tracks import track_video
from blender_3r.engine.solve.video import VideoSettings, solve_video
from blender_3r.engine.source import source_from_path

FRAMES = 10
OTHER = 4  # the frame that is spoiled


@pytest.fixture(scope="module")
def shot(tmp_path_factory):
    return film(FRAMES), tmp_path_factory.mktemp("alignment")


def seen_points(shot):
    """Points of a grid over the middle frame that are far from any edge of a surface, in 3D."""
    middle = FRAMES // 2
    depth = shot.depth[middle]
    row, column = (part.ravel() for part in np.mgrid[56:216:12, 96:390:12])
    spread = cv2.dilate(depth, np.ones((21, 21))) / cv2.erode(depth, np.ones((21, 21)))
    good = spread[row, column] < 1.3
    xy = np.stack([column, row], axis=1)[good] + 0.5
    rays = shot.cameras.world_rays(np.full(len(xy), middle), xy)
    local = shot.cameras.rays(np.full(len(xy), middle), xy)
    z = depth[row[good], column[good]] / (local[:, 2] / np.linalg.norm(local, axis=1))
    return shot.cameras.centers[middle] + z[:, None] * rays / np.linalg.norm(rays, axis=1, keepdims=True)


def observed(shot, noise, seed=0):
    """(true observations, the same with noise that is a random walk along each track, points)."""
    points = seen_points(shot)
    frame, track = (part.ravel() for part in np.mgrid[:FRAMES, : len(points)])
    true = shot.cameras.project(frame, points[track])
    walk_off = np.cumsum(np.random.default_rng(seed).normal(size=(FRAMES, len(points), 2)), axis=0).reshape(-1, 2)
    return Observations(frame, track, true), Observations(frame, track, true + noise * walk_off), points


def errors(observations, true, chosen=slice(None)):
    return np.linalg.norm(observations.xy - true.xy, axis=1)[chosen]


def test_tracks_that_drift_come_back(shot):
    film_of, folder = shot
    true, drifted, points = observed(film_of, noise=0.15)
    with closing(open_source(source_from_path(film_of.write(folder / "as_it_is")))) as frames:
        reports = []
        aligned = align_tracks(frames, drifted, film_of.cameras, points, 480, on_frame=reports.append)
    assert len(points) > 50
    assert aligned.trusted.mean() > 0.9
    assert np.median(errors(drifted, true)) > 0.3
    assert np.median(errors(aligned.observations, true, aligned.trusted)) < 0.05
    assert reports == list(range(1, 2 * FRAMES + 1))


def test_frames_larger_than_what_is_looked_at(shot):
    """Errors of two pixels of the reduced images are eight of the frames."""
    film_of, folder = shot
    true, drifted, points = observed(film_of, noise=0.3)
    images = [cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC) for image in film_of.images]
    cameras = replace(film_of.cameras, focal=4 * film_of.cameras.focal, center=4 * film_of.cameras.center)
    large = replace(drifted, xy=4 * drifted.xy)
    path = type(film_of)(cameras, film_of.depth, images).write(folder / "large")
    with closing(open_source(source_from_path(path))) as frames:
        aligned = align_tracks(frames, large, cameras, points, 480)
    assert (errors(drifted, true) < 2.0).mean() > 0.9  # eight pixels here
    assert aligned.trusted.mean() > 0.85
    assert np.median(errors(aligned.observations, replace(true, xy=4 * true.xy), aligned.trusted)) < 0.2


def test_cameras_that_are_a_little_wrong_do_not_draw_the_points_along(shot):
    film_of, folder = shot
    true, drifted, points = observed(film_of, noise=0.05)
    wrong = film_of.cameras.copy()
    wrong.focal *= 1.004
    with closing(open_source(source_from_path(film_of.write(folder / "wrong")))) as frames:
        aligned = align_tracks(frames, drifted, wrong, points, 480)
    start = np.linalg.norm(wrong.project(true.frame, points[true.track]) - true.xy, axis=1)
    # What all patches of a track share is a shift of its point, which no camera sees.
    shift = aligned.observations.xy - true.xy
    shared = np.stack([np.bincount(true.track, column) / FRAMES for column in shift.T], axis=1)[true.track]
    assert np.median(start) > 0.2
    assert np.median(np.linalg.norm(shift - shared, axis=1)[aligned.trusted]) < 0.07


def test_what_does_not_look_like_the_track_is_not_trusted(shot):
    film_of, folder = shot
    true, drifted, points = observed(film_of, noise=0.05)
    away = (drifted.frame == OTHER) & (drifted.track < 10)
    drifted.xy[away] += 8.0
    hidden = film_of.images[6].copy()
    hidden[:, :190] = np.random.default_rng(0).integers(0, 255, (270, 190, 3))
    spoiled = type(film_of)(film_of.cameras, film_of.depth, [*film_of.images[:6], hidden, *film_of.images[7:]])
    with closing(open_source(source_from_path(spoiled.write(folder / "hidden")))) as frames:
        aligned = align_tracks(frames, drifted, film_of.cameras, points, 480)
    assert not aligned.trusted[away].any()
    assert np.array_equal(aligned.observations.xy[away], drifted.xy[away])
    behind = (true.frame == 6) & (true.xy[:, 0] < 180)
    in_sight = (true.frame == 6) & (true.xy[:, 0] > 200)
    assert 5 < behind.sum() < 0.6 * in_sight.sum()  # else the whole frame counts as different
    assert aligned.trusted[behind].mean() < 0.1
    assert aligned.trusted[in_sight].mean() > 0.9


def test_a_frame_that_looks_different_keeps_its_tracked_places(shot):
    film_of, folder = shot
    _, drifted, points = observed(film_of, noise=0.05)
    smeared = cv2.blur(film_of.images[OTHER], (41, 1))
    images = [*film_of.images[:OTHER], smeared, *film_of.images[OTHER + 1 :]]
    spoiled = type(film_of)(film_of.cameras, film_of.depth, images)
    with closing(open_source(source_from_path(spoiled.write(folder / "smeared")))) as frames:
        aligned = align_tracks(frames, drifted, film_of.cameras, points, 480)
    there = drifted.frame == OTHER
    assert np.array_equal(aligned.observations.xy[there], drifted.xy[there])
    assert aligned.trusted[there].all()
    assert not np.array_equal(aligned.observations.xy[~there], drifted.xy[~there])


def test_unknown_points_and_cameras_are_left_alone(shot):
    film_of, folder = shot
    _, drifted, points = observed(film_of, noise=0.05)
    points = points.copy()
    points[3] = np.nan
    cameras = film_of.cameras.copy()
    cameras.world_from_camera[OTHER] = np.nan
    with closing(open_source(source_from_path(film_of.write(folder / "unknown")))) as frames:
        aligned = align_tracks(frames, drifted, cameras, points, 480)
        nothing = align_tracks(frames, drifted, cameras, np.full_like(points, np.nan), 480)
    unknown = (drifted.track == 3) | (drifted.frame == OTHER)
    assert not aligned.trusted[unknown].any()
    assert np.array_equal(aligned.observations.xy[unknown], drifted.xy[unknown])
    assert not nothing.trusted.any()


def test_the_solve_is_nearer_to_the_truth_with_it(tmp_path):
    made = film(16)
    rng = np.random.default_rng(0)
    made.images = [np.uint8(np.clip(image + rng.normal(0, 6, image.shape), 0, 255)) for image in made.images]
    frames = open_source(source_from_path(made.write(tmp_path)))
    observations = track_video(frames)
    lenses = LensModel([Intrinsics(480, 270, 576.0, 576.0, 240.0, 135.0)] * 16, np.zeros(16, int))

    def align(seen, cameras, points):
        return align_tracks(frames, seen, cameras, points, 480)

    without = solve_video(observations, lenses, VideoSettings(threads=1), made.cameras)
    with_it = solve_video(observations, lenses, VideoSettings(threads=1, align=align), made.cameras)
    assert with_it.cameras.solved.all()
    assert with_it.mean_error_px < without.mean_error_px
    assert path_error(with_it.cameras, made.cameras) < path_error(without.cameras, made.cameras)


@pytest.mark.parametrize(
    ("center", "k2"), [((0.0, 0.0), 0.0), ((14.0, -8.0), 0.0), ((90.0, 40.0), 0.0), ((0.0, 0.0), 0.03)]
)
def test_terms_of_the_lens_are_freed_where_they_are_there(center, k2):
    shot = walk(frames=24, noise=0.1)
    truth = shot.cameras.copy()
    truth.center += center
    truth.distortion[:, :2] = (-0.05, k2)
    observations = shot.observations
    points = shot.points
    exact = truth.project(observations.frame, points[observations.track])
    noise = 0.1 * np.random.default_rng(5).normal(size=exact.shape)
    seen = Observations(observations.frame, observations.track, exact + noise)
    start = truth.copy()
    start.center[:] = np.array(SIZE) / 2
    start.distortion[:, 1] = 0.0
    options = BundleOptions(lens="shared", distortion=1, loss="cauchy", scale_px=0.5)
    found = needed_terms(seen, start, points, options, free_center=True, free_k2=True)
    assert found.center == bool(np.any(center))
    assert found.distortion == (2 if k2 else 1)
    assert needed_terms(seen, start, points, options, free_center=False, free_k2=False) == options


@pytest.mark.parametrize("start", [1.0, 1e7])
def test_the_smoothness_of_a_zoom_is_estimated(start, monkeypatch):
    """From far too loose and far too stiff to the true focals."""
    monkeypatch.setattr(key_cameras, "SMOOTHNESS", start)
    shot = walk(frames=30, zoom=1.5, forward=1.5)
    settings = VideoSettings(lens="zoom", threads=1)
    solution = solve_video(shot.observations, shot.lenses(), settings, shot.cameras)
    relative = np.log(solution.cameras.focal / shot.cameras.focal)
    assert np.abs(relative).max() < 0.02
    assert np.sqrt(np.mean(np.diff(relative, 2) ** 2)) < 0.0006


def test_tracks_that_were_lost_and_found_again_are_joined(shot):
    """Ten tracks vanish for two frames, and go on under numbers of their own, beside points of their own."""
    film_of, folder = shot
    true, drifted, points = observed(film_of, noise=0.03)
    count, again = len(points), np.arange(0, 50, 5)
    seen = ~(np.isin(drifted.track, again) & np.isin(drifted.frame, (4, 5)))
    track = drifted.track.copy()
    later = np.isin(track, again) & (drifted.frame > 5)
    track[later] = count + track[later] // 5
    cut = Observations(drifted.frame[seen], track[seen], drifted.xy[seen])
    offset = 0.002 * np.random.default_rng(1).normal(size=(len(again), 3))
    with closing(open_source(source_from_path(film_of.write(folder / "joined")))) as frames:
        aligned = align_tracks(frames, cut, film_of.cameras, np.concatenate([points, points[again] + offset]), 480)
    assert np.isin(track, count + np.arange(len(again))).any()
    assert np.array_equal(aligned.observations.track, drifted.track[seen])
    joined = np.isin(aligned.observations.track, again) & (aligned.observations.frame > 5)
    assert aligned.trusted[joined].mean() > 0.9
    assert np.median(np.linalg.norm(aligned.observations.xy - true.xy[seen], axis=1)[joined]) < 0.1


def test_what_moves_is_told_of_the_tracks_that_are_left(shot, monkeypatch):
    """The last track is joined to the first: there is a point less than there were tracks."""
    film_of, folder = shot
    _, seen, points = observed(film_of, noise=0.02)
    lenses = LensModel([Intrinsics(480, 270, FOCAL, FOCAL, 240.0, 135.0)] * FRAMES, np.zeros(FRAMES, int), True)

    def joined(observations, lenses, settings, given, pixel):
        keep = observations.track < len(points) - 1
        return hold_given(observations[keep], film_of.cameras, lenses)

    monkeypatch.setattr(footage, "solve_reduced", joined)
    with closing(open_source(source_from_path(film_of.write(folder / "left")))) as frames:
        reporter = footage.Reporter(Context(None), lambda event: None, 1.0)
        solution = footage.solve_footage(frames, lenses, footage.Footage(480, 300, observations=seen), reporter)
    assert len(solution.moving) == len(solution.points) == len(points) - 1


def test_a_long_shot_finds_its_principal_point_too(monkeypatch):
    """Where key frames alone are refined together."""
    monkeypatch.setattr(video, "MAX_JOINT_FRAMES", 20)
    shot = walk(frames=30, noise=0.1)
    truth = shot.cameras.copy()
    truth.center += (24.0, -12.0)
    seen = shot.observations
    shift = truth.project(seen.frame, shot.points[seen.track]) - shot.cameras.project(
        seen.frame, shot.points[seen.track]
    )
    moved = Observations(seen.frame, seen.track, seen.xy + shift)

    def align(observations, cameras, points):
        return Aligned(observations, np.ones(len(observations), bool), np.arange(len(observations)))

    settings = VideoSettings(threads=1, align=align)
    solution = solve_video(moved, shot.lenses(), settings, shot.cameras)
    held = solve_video(moved, shot.lenses(), replace(settings, center=False), shot.cameras)
    assert np.abs(solution.cameras.center[0] - truth.center[0]).max() < 3.0
    assert held.cameras.center[0] == pytest.approx(np.array(SIZE) / 2)
    assert path_error(solution.cameras, truth) < 0.004

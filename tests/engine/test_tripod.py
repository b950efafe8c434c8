"""Telling a tripod shot from a moving camera, and solving it, on made-up tracks and on real footage."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from blender_3r.engine.geometry.cameras import Cameras, Observations
from blender_3r.engine.geometry.rotations import rotation_angle, rotation_from_vector
from blender_3r.engine.solve.tripod import classify_motion, solve_tripod

SIZE = (640, 360)
FRAMES = 30
DATA = Path(os.environ.get("BLENDER_3R_DATA") or Path(__file__).parents[3] / "shared" / "data")


def tracks(path, focal=500.0, k1=0.0, noise=0.2, movers=0.0, degrees=(40.0, 10.0), seed=0):
    """(true cameras, observations) of a pan over a cloud of points; path: how far the camera moves meanwhile."""
    rng = np.random.default_rng(seed)
    s = np.linspace(-0.5, 0.5, FRAMES)
    poses = np.tile(np.eye(4), (FRAMES, 1, 1))
    pitch, yaw = np.radians(degrees[1]) * np.sin(4 * s), np.radians(degrees[0]) * s
    poses[:, :3, :3] = rotation_from_vector(np.stack([pitch, yaw, 0.05 * np.cos(5 * s)], axis=1))
    poses[:, :3, 3] = np.outer(s, path)
    truth = Cameras.simple(poses, focal, SIZE, k1)
    directions = rotation_from_vector(rng.uniform((-0.5, -1.0, 0), (0.5, 1.0, 0), (1500, 3)))[:, :, 2]
    points = directions * rng.uniform(3, 12, (1500, 1))
    frame, track = (grid.ravel() for grid in np.meshgrid(np.arange(FRAMES), np.arange(1500), indexing="ij"))
    moving = np.where(track < movers * 1500, 1.0, 0.0)[:, None] * np.outer(s[frame], (1.5, 0.3, 0.0))
    xy = truth.project(frame, points[track] + moving)
    inside = ((xy > 0) & (xy < SIZE)).all(axis=1)
    xy = xy + rng.normal(size=xy.shape) * noise
    return truth, Observations(frame[inside], track[inside], xy[inside])


def guess(count=FRAMES, size=SIZE, focal=None):
    return Cameras.simple(np.full((count, 4, 4), np.nan), focal or 1.2 * max(size), size)


def turn_error_deg(a, b):
    steps = [c.world_from_camera[:-1, :3, :3].transpose(0, 2, 1) @ c.world_from_camera[1:, :3, :3] for c in (a, b)]
    return np.degrees(rotation_angle(steps[0].transpose(0, 2, 1) @ steps[1])).max()


@pytest.mark.parametrize("movers", [0.0, 0.3])
def test_a_pan_is_recognised_and_solved(movers):
    truth, observations = tracks(path=(0, 0, 0), movers=movers)
    motion = classify_motion(observations, guess())
    assert motion.kind == "tripod", motion.text
    result = solve_tripod(observations, guess(), motion)
    assert result.cameras.focal == pytest.approx(truth.focal, rel=0.005)
    assert np.ptp(result.cameras.focal) == 0
    assert turn_error_deg(result.cameras, truth) < 0.02
    assert np.all(result.cameras.centers == 0)
    assert np.all(result.cameras.distortion == 0)
    assert result.kept.mean() > 0.95 * (1 - movers)


def test_distortion_of_a_pan_is_found():
    truth, observations = tracks(path=(0, 0, 0), k1=-0.1)
    result = solve_tripod(observations, guess(), classify_motion(observations, guess()))
    assert result.cameras.distortion[0, 0] == pytest.approx(-0.1, abs=0.01)
    assert result.cameras.focal == pytest.approx(truth.focal, rel=0.01)


def test_a_zooming_tripod_gets_one_focal_per_frame():
    truth, observations = tracks(path=(0, 0, 0), focal=np.geomspace(450, 700, FRAMES))
    motion = classify_motion(observations, guess())
    assert motion.kind == "tripod", motion.text
    result = solve_tripod(observations, guess(), motion)
    assert result.cameras.focal == pytest.approx(truth.focal, rel=0.02)
    assert turn_error_deg(result.cameras, truth) < 0.05


def test_a_known_focal_is_kept():
    truth, observations = tracks(path=(0, 0, 0))
    motion = classify_motion(observations, guess(focal=500.0), focal_known=True)
    assert motion.kind == "tripod"
    result = solve_tripod(observations, guess(focal=500.0), motion, lens="fixed")
    assert np.all(result.cameras.focal == 500.0)
    assert turn_error_deg(result.cameras, truth) < 0.02


@pytest.mark.parametrize("path", [(1.0, 0, 0), (0, 0, 2.0), (0.4, 0, 0.2)], ids=["sideways", "forward", "slow"])
@pytest.mark.parametrize("degrees", [(40.0, 10.0), (5.0, 2.0)], ids=["panning", "straight"])
def test_a_moving_camera_is_not_taken_for_a_tripod(path, degrees):
    _, observations = tracks(path, degrees=degrees)
    motion = classify_motion(observations, guess())
    assert motion.kind == "free", motion.text


def test_a_moving_camera_before_a_flat_wall_is_not_taken_for_a_tripod():
    rng = np.random.default_rng(0)
    wall = np.concatenate([rng.uniform(-4, 4, (600, 2)), np.full((600, 1), 5.0)], axis=1)
    poses = np.tile(np.eye(4), (FRAMES, 1, 1))
    s = np.linspace(-1, 1, FRAMES)
    poses[:, :3, :3] = rotation_from_vector(np.stack([0.1 * s, -0.3 * s, 0 * s], axis=1))
    poses[:, 0, 3], poses[:, 2, 3] = 1.5 * s, 0.5 * s * s
    truth = Cameras.simple(poses, 500.0, SIZE)
    frame, track = (grid.ravel() for grid in np.meshgrid(np.arange(FRAMES), np.arange(600), indexing="ij"))
    xy = truth.project(frame, wall[track]) + rng.normal(size=(len(frame), 2)) * 0.2
    inside = ((xy > 0) & (xy < SIZE)).all(axis=1)
    observations = Observations(frame[inside], track[inside], xy[inside])
    assert classify_motion(observations, guess()).kind == "free"


def test_a_locked_off_camera_is_static():
    _, observations = tracks(path=(0, 0, 0), degrees=(0.0, 0.0))
    still = observations[observations.frame == 0]
    rng = np.random.default_rng(3)
    frames = np.repeat(np.arange(FRAMES), len(still))
    xy = np.tile(still.xy, (FRAMES, 1)) + rng.normal(size=(len(frames), 2)) * 0.05
    everywhere = Observations(frames, np.tile(still.track, FRAMES), xy)
    motion = classify_motion(everywhere, guess())
    assert motion.kind == "static"
    result = solve_tripod(everywhere, guess(), motion)
    assert np.array_equal(result.cameras.world_from_camera, np.tile(np.eye(4), (FRAMES, 1, 1)))
    assert np.isinf(result.focal_log_std).all()
    assert result.kept.all()


def test_too_few_tracks_are_not_a_tripod():
    nothing = Observations(np.zeros(0), np.zeros(0), np.zeros((0, 2)))
    motion = classify_motion(nothing, guess())
    assert not motion.is_tripod
    assert "Too few" in motion.text


def followed(scene):
    """(observations, size) of a movie of the data folder, by a minimal tracker."""
    capture = cv2.VideoCapture(str(DATA / scene / f"{scene}.mp4"))
    frame, track, xy = [], [], []
    last, points, ids, size = None, None, None, None
    for index in range(200):
        ok, image = capture.read()
        if not ok:
            break
        gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        size = gray.shape[::-1]
        if last is not None:
            moved, found, _ = cv2.calcOpticalFlowPyrLK(last, gray, points, None)
            back, _, _ = cv2.calcOpticalFlowPyrLK(gray, last, moved, None)
            good = (found[:, 0] > 0) & (np.linalg.norm(back - points, axis=1) < 0.5)
            points, ids = moved[good], ids[good]
        if index % 5 == 0:
            fresh = cv2.goodFeaturesToTrack(gray, 500, 0.01, 10)[:, 0]
            start = 1000 * index
            points = fresh if points is None else np.concatenate([points, fresh])
            numbers = start + np.arange(len(fresh))
            ids = numbers if ids is None else np.concatenate([ids, numbers])
        frame.append(np.full(len(ids), index))
        track.append(ids)
        xy.append(points + 0.5)
        last = gray
    track = np.unique(np.concatenate(track), return_inverse=True)[1]
    order = np.lexsort((track, np.concatenate(frame)))
    return Observations(np.concatenate(frame)[order], track[order], np.concatenate(xy)[order]), size


@pytest.mark.skipif(not (DATA / "pano_rotation").is_dir(), reason=f"no test footage in {DATA} (set BLENDER_3R_DATA)")
@pytest.mark.parametrize(
    ("scene", "kind"), [("pano_rotation", "tripod"), ("syn_walk", "free"), ("lady_running", "free")]
)
def test_real_footage(scene, kind):
    observations, size = followed(scene)
    cameras = guess(int(observations.frame.max()) + 1, size)
    motion = classify_motion(observations, cameras)
    assert motion.kind == kind, motion.text
    if kind == "tripod":
        result = solve_tripod(observations, cameras, motion)
        assert result.cameras.focal[0] == pytest.approx(340.0, rel=0.02)

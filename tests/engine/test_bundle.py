"""Bundle adjustment on scenes made up with numpy, whose truth is known."""

import numpy as np
import pytest
from walk import walk

from blender_3r.engine.geometry.cameras import Cameras, Observations
from blender_3r.engine.geometry.rotations import rotation_angle, rotation_from_vector
from blender_3r.engine.geometry.triangulation import triangulate_tracks
from blender_3r.engine.solve.bundle import BundleOptions, adjust, needs_distortion, refine, spread_tracks, zoom_evidence

SIZE = (640, 360)


def arc(count=12, focal=500.0, k1=0.0, seed=0):
    """Cameras on an arc round points, with their exact observations."""
    rng = np.random.default_rng(seed)
    points = rng.uniform((-2, -1, 4), (2, 1, 8), size=(300, 3))
    poses = np.tile(np.eye(4), (count, 1, 1))
    for pose, s in zip(poses, np.linspace(-1, 1, count)):
        pose[:3, :3] = rotation_from_vector(np.array([0.05 * s, -0.3 * s, 0.02 * np.sin(3 * s)]))
        pose[:3, 3] = (1.5 * s, 0.2 * s * s, 0.4 * s)
    cameras = Cameras.simple(poses, focal, SIZE, k1)
    return cameras, points, observe(cameras, points)


def observe(cameras, points, noise=0.0, seed=1):
    frame, track = (
        grid.ravel() for grid in np.meshgrid(np.arange(len(cameras)), np.arange(len(points)), indexing="ij")
    )
    xy = cameras.project(frame, points[track])
    inside = ((xy > 0) & (xy < SIZE)).all(axis=1)
    xy = xy + np.random.default_rng(seed).normal(size=xy.shape) * noise
    return Observations(frame[inside], track[inside], xy[inside])


def disturbed(cameras, focal_factor=1.05, seed=2):
    rng = np.random.default_rng(seed)
    moved = cameras.copy()
    moved.world_from_camera[:, :3, 3] += rng.normal(size=(len(cameras), 3)) * 0.02
    turns = rotation_from_vector(rng.normal(size=(len(cameras), 3)) * np.radians(0.5))
    moved.world_from_camera[:, :3, :3] = moved.world_from_camera[:, :3, :3] @ turns
    moved.focal *= focal_factor
    moved.distortion[:] = 0
    return moved


def relative_turns(cameras):
    rotation = cameras.world_from_camera[:, :3, :3]
    return rotation[:-1].transpose(0, 2, 1) @ rotation[1:]


def turn_error_deg(a, b):
    return np.degrees(rotation_angle(relative_turns(a).transpose(0, 2, 1) @ relative_turns(b))).max()


def solve(observations, start, n_points, function=adjust, **options):
    points = triangulate_tracks(observations, start, n_points, max_error_px=200)
    return function(observations, start, points, BundleOptions(**options))


def test_exact_data_give_back_the_exact_cameras_focal_and_distortion():
    truth, points, observations = arc(k1=-0.1)
    result = solve(observations, disturbed(truth), len(points), tolerance=1e-12, max_iterations=60)
    assert result.rms_px < 1e-4
    assert result.cameras.focal == pytest.approx(truth.focal, rel=1e-5)
    assert result.cameras.distortion == pytest.approx(truth.distortion, abs=1e-5)
    assert turn_error_deg(result.cameras, truth) < 1e-4


def test_the_gauge_of_the_start_is_kept():
    truth, points, observations = arc()
    start = disturbed(truth)
    result = solve(observations, start, len(points))
    assert result.cameras.world_from_camera[0] == pytest.approx(start.world_from_camera[0], abs=1e-9)
    before, after = (np.linalg.norm(c.centers - c.centers[0], axis=1).mean() for c in (start, result.cameras))
    assert after == pytest.approx(before, rel=1e-9)
    seen = np.unique(observations.track)
    again = result.cameras.project(observations.frame, result.points[observations.track])
    assert np.isfinite(result.points[seen]).all()
    assert again == pytest.approx(observations.xy, abs=0.1)


def test_zoom_finds_one_focal_per_frame():
    truth, points, _ = arc(focal=np.linspace(450, 620, 12))
    observations = observe(truth, points, noise=0.1)
    start = disturbed(truth)
    start.focal[:] = 520
    result = solve(observations, start, len(points), lens="zoom", smoothness=1e2)
    assert result.cameras.focal == pytest.approx(truth.focal, rel=0.01)
    shared = solve(observations, start, len(points), lens="shared")
    assert shared.rms_px > 3 * result.rms_px


def test_fixed_focals_and_lens_groups():
    truth, points, _ = arc()
    truth.focal[6:] = 650
    observations = observe(truth, points, noise=0.1)
    fixed = solve(observations, truth, len(points), lens="fixed", distortion=0)
    assert np.array_equal(fixed.cameras.focal, truth.focal)
    assert np.all(fixed.focal_log_std == 0)
    groups = np.repeat([3, 7], 6)
    start = disturbed(truth)
    points_start = triangulate_tracks(observations, start, len(points), max_error_px=200)
    result = adjust(observations, start, points_start, BundleOptions(), lens_of_frame=groups)
    assert np.ptp(result.cameras.focal[:6]) == 0
    assert result.cameras.focal[[0, -1]] == pytest.approx([500, 650], rel=0.01)


def test_focal_deviation_matches_the_scatter_over_noise():
    truth, points, _ = arc(count=6)
    found, told = [], []
    for seed in range(12):
        observations = observe(truth, points, noise=0.5, seed=seed)
        result = solve(observations, truth, len(points), loss="squared", distortion=0)
        found.append(np.log(result.cameras.focal[0] / 500))
        told.append(result.focal_log_std[0])
    assert np.std(found) == pytest.approx(np.mean(told), rel=0.6)


def test_focal_of_a_sideways_slide_past_a_wall_is_told_uncertain():
    rng = np.random.default_rng(0)
    wall = np.concatenate([rng.uniform(-3, 3, (200, 2)), np.full((200, 1), 5.0)], axis=1)
    poses = np.tile(np.eye(4), (10, 1, 1))
    poses[:, 0, 3] = np.linspace(-1, 1, 10)
    slide = Cameras.simple(poses, 500.0, SIZE)
    unsure = solve(observe(slide, wall, noise=0.2), slide, len(wall), distortion=0)
    truth, points, _ = arc(count=10)
    sure = solve(observe(truth, points, noise=0.2), truth, len(points), distortion=0)
    assert unsure.focal_log_std[0] > 20 * sure.focal_log_std[0]


def test_refine_drops_outliers_and_keeps_the_rest():
    truth, points, _ = arc()
    observations = observe(truth, points, noise=0.2)
    rng = np.random.default_rng(5)
    wrong = rng.random(len(observations)) < 0.1
    observations.xy[wrong] += rng.normal(size=(int(wrong.sum()), 2)) * 40
    result = solve(observations, disturbed(truth), len(points), function=refine)
    far = wrong & (
        np.linalg.norm(truth.project(observations.frame, points[observations.track]) - observations.xy, axis=1) > 5
    )
    assert not result.kept[far].any()
    assert result.kept[~wrong].mean() > 0.98
    assert result.rms_px < 0.5
    assert result.cameras.focal[0] == pytest.approx(500, rel=0.005)


def test_what_is_less_sure_counts_less():
    truth, points, _ = arc()
    observations = observe(truth, points, noise=0.2)
    unsure = np.random.default_rng(5).random(len(observations)) < 0.5
    observations.xy[unsure] += (1.5, 0.0)
    observations.weight = np.where(unsure, 1e-3, 1.0)
    start = triangulate_tracks(observations, truth, len(points))
    alike = Observations(observations.frame, observations.track, observations.xy)
    error = [
        np.median(adjust(seen, truth, start, BundleOptions(lens="fixed", distortion=0)).errors_px[~unsure])
        for seen in (alike, observations)
    ]
    assert error[1] < 0.3
    assert error[1] < 0.5 * error[0]
    assert observations[unsure].weight.max() == 1e-3


def test_unsolved_cameras_and_unknown_points_are_left_alone():
    truth, points, observations = arc()
    start = disturbed(truth, focal_factor=1.0)
    start.world_from_camera[4] = np.nan
    known = points.copy()
    known[:10] = np.nan
    result = adjust(observations, start, known, BundleOptions(tolerance=1e-10))
    assert not result.cameras.solved[4]
    assert np.isnan(result.points[:10]).all()
    assert not result.kept[(observations.frame == 4) | (observations.track < 10)].any()
    assert result.rms_px < 0.01


def test_nothing_to_adjust_is_an_error():
    truth, points, observations = arc()
    with pytest.raises(ValueError, match="in front of the camera"):
        adjust(observations, truth, np.full_like(points, np.nan))
    with pytest.raises(ValueError, match="lens model"):
        BundleOptions(lens="rubber")


@pytest.mark.parametrize("k1", [0.0, -0.05])
def test_distortion_is_kept_only_where_it_pays(k1):
    truth, points, _ = arc(k1=k1)
    observations = observe(truth, points, noise=0.2)
    options = BundleOptions(loss="cauchy", scale_px=0.5)
    result = refine(observations, truth, points, options)
    assert needs_distortion(observations, result, options) == (k1 != 0)


@pytest.mark.parametrize(("last", "zooms"), [(500.0, False), (560.0, True)])
def test_zoom_shows_when_the_focals_are_let_go(last, zooms):
    truth, points, _ = arc(focal=np.linspace(500.0, last, 12))
    observations = observe(truth, points, noise=0.2)
    start = truth.copy()
    start.focal[:] = 530.0
    options = BundleOptions()
    evidence = zoom_evidence(observations, refine(observations, start, points, options), options)
    assert evidence.is_zoom == zooms
    if zooms:
        assert evidence.span == pytest.approx(last / 500 - 1, rel=0.3)
    else:
        assert evidence.span < 0.01
        assert evidence.gain < 0.03


def test_a_forward_drive_finds_its_focal_from_twice_too_long():
    rng = np.random.default_rng(0)
    points = np.concatenate(
        [rng.uniform((-6, -2, 2), (-2, 2, 40), (300, 3)), rng.uniform((2, -2, 2), (6, 2, 40), (300, 3))]
    )
    poses = np.tile(np.eye(4), (20, 1, 1))
    s = np.linspace(0, 1, 20)
    poses[:, 2, 3] = 12 * s
    poses[:, :3, :3] = rotation_from_vector(np.stack([0.01 * np.sin(9 * s), 0.05 * s, 0 * s], axis=1))
    truth = Cameras.simple(poses, 500.0, SIZE)
    observations = observe(truth, points, noise=0.1)
    start = truth.copy()
    start.focal *= 2
    start_points = triangulate_tracks(observations, start, len(points), max_error_px=100)
    options = BundleOptions(distortion=0, loss="cauchy", scale_px=0.5, max_iterations=60)
    result = refine(observations, start, start_points, options)
    assert result.cameras.focal[0] == pytest.approx(500.0, rel=0.02)


def test_spread_tracks_keeps_long_tracks_of_every_stretch():
    frame, track = [], []
    for number in range(120):
        length = 3 + number % 10
        frame.extend(range(number // 2, number // 2 + length))
        track.extend([number] * length)
    observations = Observations(np.array(frame), np.array(track), np.zeros((len(frame), 2)))
    kept = observations[spread_tracks(observations, 72, 48)]
    assert len(np.unique(kept.track)) == 48
    assert np.bincount(kept.track)[np.unique(kept.track)].mean() > 9
    assert np.ptp(kept.frame) > 60
    assert spread_tracks(observations, 72, 500).all()


def test_all_of_the_lens_can_be_refined():
    shot = walk(frames=20, k1=-0.12)
    truth = shot.cameras.copy()
    truth.distortion[:] = (-0.12, 0.04, 0.003, -0.002)
    truth.center += (6.0, -4.0)
    seen = shot.observations
    xy = truth.project(seen.frame, shot.points[seen.track])
    start = shot.cameras.copy()
    start.distortion[:] = 0.0
    start.focal *= 1.04
    exact = Observations(seen.frame, seen.track, xy)
    options = BundleOptions(distortion=4, center=True, max_iterations=60, tolerance=1e-9)
    result = adjust(exact, start, shot.points, options)
    assert result.rms_px < 1e-3
    assert result.cameras.distortion[0] == pytest.approx(truth.distortion[0], abs=1e-4)
    assert result.cameras.center[0] == pytest.approx(truth.center[0], abs=0.02)
    assert np.ptp(result.cameras.center, axis=0) == pytest.approx(0)
    held = adjust(exact, start, shot.points, BundleOptions(distortion=2))
    assert (held.cameras.center == start.center).all()
    assert (held.cameras.distortion[:, 2:] == 0).all()
    assert held.rms_px > 10 * result.rms_px

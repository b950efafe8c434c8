"""A solve that starts from the cameras, or the tracks, of another one."""

import json
from dataclasses import replace

import numpy as np
import pytest
from test_classic import ROOT, SHOT, context
from walk import FOCAL, path_error, walk

from blender_3r.engine.errors import EngineError
from blender_3r.engine.geometry.cameras import Observations
from blender_3r.engine.geometry.rotations import rotation_from_vector
from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.media.frames import open_source
from blender_3r.engine.methods import classic
from blender_3r.engine.methods.results import read_cameras, read_tracks
from blender_3r.engine.reconstruction import Reconstruction, View
from blender_3r.engine.solve.alignment import Aligned
from blender_3r.engine.solve.checks import given_focal
from blender_3r.engine.solve.key_cameras import KeyframeSolver
from blender_3r.engine.solve.reduced import solve_reduced
from blender_3r.engine.solve.video import VideoSettings, bundle_options, solve_video
from blender_3r.engine.source import source_from_path


def disturbed(cameras, seed=0):
    """2 % of the path, a degree and 5 % of the focal in every frame; the world somewhere else, and larger."""
    rng = np.random.default_rng(seed)
    given, count = cameras.copy(), len(cameras)
    extent = np.linalg.norm(np.ptp(given.centers, axis=0))
    given.world_from_camera[:, :3, 3] += 0.02 * extent * rng.normal(size=(count, 3)) / np.sqrt(3)
    axes = rng.normal(size=(count, 3))
    turn = rotation_from_vector(np.radians(1.0) * axes / np.linalg.norm(axes, axis=1, keepdims=True))
    given.world_from_camera[:, :3, :3] = given.world_from_camera[:, :3, :3] @ turn
    given.focal = given.focal * (1 + 0.05 * rng.normal(size=count))
    given.world_from_camera[:, :3, 3] = 3.0 * given.world_from_camera[:, :3, 3] + (10.0, 0.0, -4.0)
    return given


@pytest.fixture
def no_mapping(monkeypatch):
    monkeypatch.setattr(KeyframeSolver, "solve", lambda self: pytest.fail("mapped from scratch"))


@pytest.mark.parametrize(("zoom", "noise"), [(1.0, 0.2), (1.5, 0.2), (4.0, 0.05)])
def test_disturbed_cameras_come_back(zoom, noise, no_mapping):
    shot = walk(frames=24, zoom=zoom, noise=noise)
    given = disturbed(shot.cameras)
    solution = solve_video(shot.observations, shot.lenses(), VideoSettings(threads=1), given)
    assert solution.cameras.solved.all()
    assert solution.lens == ("shared" if zoom == 1.0 else "zoom")
    assert path_error(solution.cameras, shot.cameras) < 0.004
    assert solution.cameras.focal == pytest.approx(shot.cameras.focal, rel=0.02)
    away = np.linalg.norm(solution.cameras.centers - given.centers, axis=1)
    assert away.max() < 0.15 * np.linalg.norm(np.ptp(given.centers, axis=0))
    error = solution.cameras.project(shot.observations.frame, solution.points[shot.observations.track])
    assert np.nanmedian(np.linalg.norm(error - shot.observations.xy, axis=1)) < 0.4


def test_footage_of_any_size_is_solved_alike(no_mapping):
    """In frames ten times as large, tracked in at the old size, every error is ten times as large."""
    small = walk(frames=24)
    settings, lenses = VideoSettings(threads=1, align=trust_all), small.lenses()
    one = solve_reduced(small.observations, lenses, settings, disturbed(small.cameras))
    large = Observations(small.observations.frame, small.observations.track, 10 * small.observations.xy)
    given = disturbed(small.cameras)
    given.focal, given.center = 10 * given.focal, 10 * given.center
    lenses = replace(lenses, start=[lens.scaled_to(6400, 3600) for lens in lenses.start])
    ten = solve_reduced(large, lenses, settings, given, 10.0)
    assert ten.cameras.world_from_camera == pytest.approx(one.cameras.world_from_camera, abs=1e-4)
    assert ten.cameras.intrinsics(0, 6400, 3600).fx == pytest.approx(10 * one.cameras.focal[0], rel=1e-5)
    assert ten.cameras.center[0] == pytest.approx((3200.0, 1800.0))
    assert ten.mean_error_px == pytest.approx(10 * one.mean_error_px, rel=1e-3)
    assert ten.observations.xy == pytest.approx(10 * one.observations.xy, abs=0.01)


def trust_all(observations, cameras, points):
    """An alignment that finds everything where it should be; it is told of original pixels."""
    there = cameras.project(observations.frame, points[observations.track])
    xy = 0.5 * (observations.xy + np.where(np.isfinite(there), there, observations.xy))
    everything = np.ones(len(observations), bool)
    return Aligned(replace(observations, xy=xy), everything, np.arange(len(observations)))


def test_missing_cameras_are_filled_in(no_mapping):
    shot = walk(frames=24)
    given = disturbed(shot.cameras, seed=1)
    given.world_from_camera[[3, 4, 17, 23]] = np.nan
    solution = solve_video(shot.observations, shot.lenses(FOCAL), VideoSettings(threads=1), given)
    assert solution.cameras.solved.all()
    assert path_error(solution.cameras, shot.cameras) < 0.004


def test_cameras_of_another_shot_are_refused_and_it_is_said():
    shot = walk(frames=24)
    given = shot.cameras.copy()
    rng = np.random.default_rng(0)
    given.world_from_camera[:, :3, 3] = rng.normal(size=(24, 3))
    given.world_from_camera[:, :3, :3] = rotation_from_vector(rng.normal(size=(24, 3)))
    solution = solve_video(shot.observations, shot.lenses(FOCAL), VideoSettings(threads=1), given)
    assert path_error(solution.cameras, shot.cameras) < 0.004
    assert solution.warnings == ["The given cameras do not fit the footage; it was solved without them."]


def test_the_principal_point_and_all_of_the_distortion(no_mapping):
    shot = walk(frames=24, noise=0.0)
    truth = shot.cameras.copy()
    truth.distortion[:] = (-0.1, 0.02, 0.002, -0.002)
    truth.center += (5.0, -3.0)
    shot.observations.xy[:] = truth.project(shot.observations.frame, shot.points[shot.observations.track])
    settings = VideoSettings(lens="shared", distortion=4, center=True, threads=1)
    solution = solve_video(shot.observations, shot.lenses(), settings, disturbed(shot.cameras))
    assert solution.cameras.center[0] == pytest.approx(truth.center[0], abs=0.5)
    assert solution.cameras.distortion[0] == pytest.approx(truth.distortion[0], abs=0.005)


@pytest.fixture
def frames():
    source = open_source(source_from_path(SHOT, step=5))
    yield source
    source.close()


def write_job(folder, frames, shift=0):
    """A job folder with the true cameras of the frames, and two tracks."""
    truth = {image["frame"]: image for image in json.loads((ROOT / "demo" / "reference.json").read_text())["images"]}
    job = JobFolder.create(folder)
    views = []
    for info in frames.infos[shift:]:
        lens = Reconstruction.from_json({"images": [truth[info.frame]]}).views[0].intrinsics
        views.append(View(info.file, info.frame, lens, np.array(truth[info.frame]["c2w"])))
    views[-1].world_from_camera = None
    job.write_cameras(Reconstruction(views))
    xy = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    weight = np.array([0.5, 1.0, 0.25])
    job.write_npz("tracks", frame=np.array([1, 0, 0]), track=np.array([7, 7, 3]), xy=xy, weight=weight)
    return job


def test_cameras_and_tracks_of_a_job_folder(tmp_path, frames):
    job = write_job(tmp_path / "job", frames, shift=2)
    cameras = read_cameras(job.path / "cameras.json", write_short(frames, 2))
    assert cameras.solved.tolist() == [True] * (len(frames) - 3) + [False]
    tracks = read_tracks(job.path, frames)
    assert tracks.frame.tolist() == [2, 2, 3]
    assert tracks.track.tolist() == [0, 1, 1]
    assert tracks.xy.tolist() == [[5, 6], [3, 4], [1, 2]]
    assert tracks.weight.tolist() == [0.25, 1.0, 0.5]


def write_short(frames, shift):
    """The frames without the first ones, as much of a FrameSource as reading cameras asks for."""
    return type("Short", (), {"infos": frames.infos[shift:]})()


def test_what_does_not_belong_is_named(tmp_path, frames):
    with pytest.raises(EngineError, match="no tracks"):
        read_tracks(tmp_path, frames)
    job = write_job(tmp_path / "job", frames)
    cameras = job.read_cameras()
    for view in cameras.views:
        view.file = "other_" + view.file
    job.write_cameras(cameras)
    with pytest.raises(EngineError, match="not of this footage"):
        read_tracks(job.path, frames)
    with pytest.raises(EngineError, match=r"cameras\.json"):
        read_cameras(job.path, frames)


def test_the_method_takes_poses_of_a_job(tmp_path, frames, monkeypatch, no_mapping):
    job = write_job(tmp_path / "given", frames)
    settings = {"poses": str(job.path), "dense": False, "quality": "draft"}
    events = list(classic.run(frames, settings, context(tmp_path / "job")))
    result = next(event.reconstruction for event in events if hasattr(event, "reconstruction"))
    assert len(result.solved) == len(frames)
    truth = job.read_cameras().views[0].world_from_camera
    assert np.abs(result.views[0].world_from_camera[:3, 3] - truth[:3, 3]).max() < 0.05


@pytest.mark.parametrize(("given", "agrees"), [(FOCAL, True), (1.01 * FOCAL, True), (1.15 * FOCAL, False)])
def test_a_wrong_focal_is_kept_and_told(given, agrees, no_mapping):
    shot = walk(frames=24)
    start = disturbed(shot.cameras)
    solution = solve_video(shot.observations, shot.lenses(given), VideoSettings(threads=1), start)
    assert solution.cameras.focal == pytest.approx(given)
    check = given_focal(solution, bundle_options("fixed", int(np.any(solution.cameras.distortion))))
    assert check.passed is agrees
    if not agrees:
        assert f"given ({given:.0f} px) is kept" in check.text
        told = float(check.text.split("about ")[1].split(" px")[0])
        assert told == pytest.approx(FOCAL, rel=0.03)

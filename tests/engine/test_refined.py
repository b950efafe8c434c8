"""The step that makes a network's cameras stick: a made shot, cameras and depth that are nearly right."""

import sys

import numpy as np
import pytest
from room_shot import FOCAL, NearlyRight, film
from walk import path_error

from blender_3r.engine import methods
from blender_3r.engine.errors import Cancelled
from blender_3r.engine.geometry.cameras import Cameras
from blender_3r.engine.geometry.depth_scale import LogScale, measure_scale, smooth_scales
from blender_3r.engine.geometry.similarity import fit_cameras
from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.service.runner import run_job
from blender_3r.engine.service.settings import make_request
from blender_3r.engine.source import source_from_path

FRAMES = 14


@pytest.fixture(scope="module")
def shot():
    return film(FRAMES)


class Job:
    """Runs a made shot through a stand-in for a network, and the step behind it."""

    def __init__(self, shot, network, folder, monkeypatch, kind=None):
        self.shot, self.network, self.kind = shot, network, kind
        self.first = shot.write(folder / "shot")
        self.job = JobFolder(folder / "job")
        self.reports = []
        monkeypatch.setitem(methods.METHODS, "nearly", "nearly_right_method")
        monkeypatch.setitem(sys.modules, "nearly_right_method", network)

    def run(self, is_cancelled=lambda: False, **settings):
        source = source_from_path(self.first if self.kind is None else self.first.parent, kind=self.kind)
        values = {"quality": "draft", "threads": 1, "refine": True, **settings}
        return run_job(make_request("nearly", source, values), self.job.path, self._take, is_cancelled)

    def _take(self, type_, **fields):
        self.reports.append((type_, fields))

    @property
    def cameras(self):
        return Cameras.from_views(self.job.read_cameras().views)

    def depth_errors(self):
        """(median relative error of each dense view's depth, at the scale of the solved cameras)."""
        both = self.cameras.solved
        truth = self.shot.cameras.world_from_camera
        scale = fit_cameras(truth[both], self.cameras.world_from_camera[both]).scale
        found = []
        for index in self.job.view_indices():
            depth = np.asarray(self.job.read_view(index)["depth"])
            found.append(float(np.median(depth / self.shot.depth[index][::2, ::2])) / scale - 1)
        return np.array(found)


@pytest.fixture
def job(tmp_path, monkeypatch):
    return lambda shot, network=None, **more: Job(shot, network or NearlyRight(shot), tmp_path, monkeypatch, **more)


@pytest.fixture(scope="module")
def done(shot, tmp_path_factory):
    """(a job that ran to its end, its summary)."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        made = Job(shot, NearlyRight(shot), tmp_path_factory.mktemp("done"), monkeypatch)
        yield made, made.run()


def test_cameras_stick_and_depth_fits_them(shot, done):
    made, summary = done
    found, network = made.cameras, made.network.cameras
    assert found.solved.all()
    assert path_error(network, shot.cameras) > 0.01
    assert path_error(found, shot.cameras) < 0.0015
    assert np.ptp(found.focal) == 0
    assert found.focal[0] == pytest.approx(FOCAL, rel=0.005)
    away = np.linalg.norm(found.centers - network.centers, axis=1)
    assert away.max() < 0.1 * np.linalg.norm(np.ptp(network.centers, axis=0)), "world and size are the network's"
    assert np.abs(made.depth_errors()).max() < 0.01
    assert np.abs(np.log(made.network.scales / 3)).max() > 0.05
    result = made.job.read_cameras()
    assert (result.method, result.metric, result.lens) == ("nearly", True, "shared")
    assert "of the network" in result.warnings
    check = next(check for check in summary["checks"] if check["name"] == "adjustment")
    assert check["passed"]
    assert check["value"] < 0.2 * check["limit"]
    assert len(made.job.read_sparse()["points"]) > 200
    assert made.job.read_npz("tracks")["frame"].max() == len(found) - 1
    before = Cameras.from_views(type(result).from_json(made.job.read_json("predicted")).views)
    assert np.array_equal(before.world_from_camera, network.world_from_camera)


def test_progress_and_corrections_are_told(done):
    made = done[0]
    fractions = [fields["fraction"] for type_, fields in made.reports if type_ == "progress"]
    assert fractions == sorted(fractions)
    cameras = [fields for type_, fields in made.reports if type_ == "cameras"]
    assert [fields["corrected"] for fields in cameras] == [[], list(range(FRAMES))]
    assert [fields["index"] for type_, fields in made.reports if type_ == "view"] == 2 * list(range(FRAMES))


@pytest.mark.parametrize("stage", ["Refining all cameras", "Scaling depth"])
def test_a_stopped_step_goes_on_without_the_network(shot, job, stage):
    made = job(shot)
    steps = []

    def is_cancelled():
        seen = [fields["stage"] for type_, fields in made.reports if type_ == "progress"]
        steps.append(seen[-1] if seen else "")
        return steps[-1] == stage and steps.count(stage) > 6

    with pytest.raises(Cancelled):
        made.run(is_cancelled)
    summary = made.run()
    assert summary["solved"] == FRAMES
    assert made.network.runs == 1
    assert np.abs(made.depth_errors()).max() < 0.01, "nothing is scaled twice"
    assert path_error(made.cameras, shot.cameras) < 0.0015


def test_missing_and_blank_frames(job):
    shot = film(FRAMES, blank=(9,))
    made = job(shot, NearlyRight(shot, missing=(4, 5)))
    made.run()
    found = made.job.read_cameras()
    assert len(found.solved) == FRAMES
    assert [view.interpolated for view in found.views].index(True) == 9
    assert not found.views[4].interpolated
    assert path_error(made.cameras, shot.cameras) < 0.002


def test_without_texture_the_networks_cameras_stay(job):
    shot = film(8, blank=tuple(range(8)))
    made = job(shot)
    summary = made.run()
    assert np.array_equal(made.cameras.world_from_camera, made.network.cameras.world_from_camera)
    assert any("are as the network gave them, not refined" in warning for warning in summary["warnings"])
    assert np.array_equal(made.job.read_view(3)["depth"], made.network.view(3)["depth"])


def test_a_tripod_stands_in_one_place_and_keeps_its_depth(job):
    shot = film(FRAMES, turns_only=True)
    made = job(shot, NearlyRight(shot, scale=0.0))
    summary = made.run()
    found = made.cameras
    assert np.ptp(found.centers, axis=0).max() == 0
    turned = found.world_from_camera[0, :3, :3].T @ found.world_from_camera[:, :3, :3]
    true = shot.cameras.world_from_camera[0, :3, :3].T @ shot.cameras.world_from_camera[:, :3, :3]
    assert np.abs(turned - true).max() < 0.004
    assert made.job.read_cameras().motion == "free"
    assert any("only turns" in warning for warning in summary["warnings"])
    assert np.array_equal(made.job.read_view(3)["depth"], made.network.view(3)["depth"])


def test_photos_are_matched_and_refined_too(job):
    shot = film(7)
    made = job(shot, NearlyRight(shot, focal=0.0), kind="photos")
    summary = made.run()
    assert path_error(made.network.cameras, shot.cameras) > 0.01
    assert path_error(made.cameras, shot.cameras) < 0.003
    assert np.abs(made.depth_errors()).max() < 0.015
    check = next(check for check in summary["checks"] if check["name"] == "adjustment")
    assert "matched in the photos" in check["text"]
    assert len(made.job.read_npz("tracks")["frame"]) > 200


def test_two_pictures_are_left_as_they_are(job):
    made = job(film(2))
    assert not any("refined" in warning for warning in made.run()["warnings"])
    assert np.array_equal(made.cameras.world_from_camera, made.network.cameras.world_from_camera)


def test_a_known_focal_is_kept(shot, job):
    made = job(shot)
    made.run(focal_px=FOCAL)
    assert made.cameras.focal == pytest.approx(FOCAL, rel=1e-9)
    assert path_error(made.cameras, shot.cameras) < 0.0015


def test_without_the_setting_nothing_changes(shot, job):
    made = job(shot)
    made.run(refine=False)
    assert np.array_equal(made.cameras.world_from_camera, made.network.cameras.world_from_camera)
    assert made.job.read_json("predicted") is None


def test_a_scale_is_the_median_and_knows_how_sure_it_is():
    rng = np.random.default_rng(0)
    predicted = rng.uniform(1, 5, 400)
    found = 1.3 * predicted * np.exp(0.05 * rng.normal(size=400))
    found[:120] *= 3
    scale = measure_scale(found, predicted)
    assert scale.value == pytest.approx(np.log(1.3), abs=0.05)
    assert measure_scale(found[:100], predicted[:100] * 0) is None
    few = measure_scale(found[-40:], predicted[-40:])
    assert few.variance > 3 * measure_scale(found[-280:], predicted[-280:]).variance


def test_scales_are_smoothed_as_far_as_they_are_unsure():
    rng = np.random.default_rng(1)
    frames = np.arange(200)
    true = 0.1 * np.sin(frames / 30)
    noisy = [LogScale(value, 0.02**2) for value in true + 0.02 * rng.normal(size=200)]
    assert np.std(smooth_scales(frames, noisy) - true) < 0.5 * 0.02
    jumps = 0.05 * rng.normal(size=200)
    sure = [LogScale(value, 0.002**2) for value in jumps]
    assert np.abs(smooth_scales(frames, sure) - jumps).max() < 0.002
    holes = [None if k % 3 else scale for k, scale in enumerate(noisy)]
    assert np.std(smooth_scales(frames, holes) - true) < 0.02
    assert not smooth_scales(frames[:3], [None] * 3).any()

"""The multi-view method through the whole service, with a network that knows the answer but for some noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blender_3r.engine import zoo
from blender_3r.engine.geometry.similarity import fit_similarity
from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.methods.multiview import solve
from blender_3r.engine.methods.networks import Weights
from blender_3r.engine.service.runner import run_job
from blender_3r.engine.service.settings import make_request
from blender_3r.engine.source import source_from_path
from tests.models.support.pair_scene import make_scene
from tests.models.support.pose_errors import pose_errors
from tests.models.support.true_network import as_loaded, write_photos
from tests.models.support.true_vggt import ENLARGED, TrueVggt, textured_photos

SIZE = (84, 112)


class Shot:
    """Photos of a made-up scene in a folder, and the network that knows it."""

    def __init__(self, folder, monkeypatch, views, **noise):
        self.scene = make_scene(views, SIZE, noise=0.0, edges=[(0, 0)], relief=2.0)
        self.photos = textured_photos(self.scene)
        self.folder = write_photos(folder / "photos", self.photos, "shot.{:04d}.png")
        self.job = JobFolder(folder / "job")
        self.network = TrueVggt(self.scene, self.photos, **noise)
        record = replace(zoo.find_record("vggt-1b"), memory_bytes=0)
        monkeypatch.setattr(solve, "loaded", lambda *arguments: as_loaded(self.network))
        monkeypatch.setattr(solve, "choose_weights", lambda *arguments, **more: Weights(record, SIZE[1]))

    def run(self, **settings):
        asked = {"model": "vggt-1b", "device": "cpu", "threads": 1, **settings}
        source = source_from_path(self.folder / "shot.0000.png")
        return run_job(make_request("multiview", source, asked), self.job.path, lambda type_, **fields: None)

    @property
    def poses(self):
        return np.array([view.world_from_camera for view in self.job.read_cameras().views])

    def errors(self):
        """(largest distance in per cent of the path, largest angle in degrees)."""
        return pose_errors(self.poses, self.scene.world_from_camera)

    def depth_errors(self):
        """Median relative error of every view's depth, after the cameras' scale."""
        scale = fit_similarity(self.poses[:, :3, 3], self.scene.world_from_camera[:, :3, 3]).scale
        found = []
        for k, true in enumerate(self.scene.depth):
            depth = np.asarray(self.job.read_view(k)["depth"])
            good = depth > 0
            found.append(float(np.median(np.abs(scale * depth[good] / true[good] - 1))))
        return np.array(found)


@pytest.fixture
def shot(tmp_path, monkeypatch):
    return lambda views, **noise: Shot(tmp_path, monkeypatch, views, **noise)


@pytest.mark.parametrize("settings", [{}, {"chunk_size": 5, "overlap": 2}])
def test_cameras_lens_and_depth_come_back(shot, settings):
    made = shot(14)
    summary = made.run(**settings)
    assert summary["solved"] == 14
    distance, angle = made.errors()
    assert distance < 0.5  # per cent of the path
    assert angle < 0.1  # degrees
    assert made.depth_errors().max() < 0.015
    cameras = made.job.read_cameras()
    assert (cameras.kind, cameras.lens, cameras.metric) == ("video", "shared", False)
    for view in cameras.views:
        lens = view.intrinsics
        assert (lens.width, lens.height) == (ENLARGED * SIZE[1], ENLARGED * SIZE[0])
        assert lens.fx == lens.fy == pytest.approx(ENLARGED * made.scene.focal, rel=1e-3)
        # the network's middle is half a pixel from ours
        assert lens.cx == pytest.approx(ENLARGED * (SIZE[1] / 2 + 0.5))
    passes = [[0, 1, 2, 3, 4], [3, 4, 5, 6, 7], [6, 7, 8, 9, 10], [9, 10, 11, 12, 13]]
    assert made.network.passes == (passes if settings else [list(range(14))])
    assert all(check["passed"] for check in summary["checks"])


def test_a_known_lens_poses_the_cameras_anew(shot):
    made = shot(6, turn=1.0, shift=0.05)
    made.run()
    before = made.errors()
    made.run(focal_px=ENLARGED * made.scene.focal)
    lens = made.job.read_cameras().views[0].intrinsics
    assert lens.fx == ENLARGED * made.scene.focal
    assert made.errors()[1] < 1.5 * before[1]
    assert made.job.read_cameras().focal_is_certain


@pytest.mark.parametrize("settings", [{}, {"chunk_size": 6, "overlap": 2}])
def test_refined_cameras_are_closer_to_the_truth(shot, settings):
    made = shot(10, turn=0.5, shift=0.03, tracks=0.2)
    made.run(**settings)
    predicted, depth_before = made.errors(), made.depth_errors()
    summary = made.run(learned_tracks=True, **settings)
    refined, depth_after = made.errors(), made.depth_errors()
    assert refined[0] < 0.4 * predicted[0]
    assert refined[1] < 0.4 * predicted[1]
    assert depth_after.max() < max(0.02, depth_before.max())
    check = next(check for check in summary["checks"] if check["name"] == "adjustment")
    assert check["passed"]
    assert check["value"] < 0.5 * check["limit"]
    assert summary["reproj_error_px"] == pytest.approx(check["value"])
    tracks = made.job.read_npz("tracks")
    assert set(tracks) == {"frame", "track", "xy", "error_px", "kept", "points", "moving", "weight"}
    assert np.bincount(tracks["frame"][tracks["kept"]], minlength=10).min() > 20
    error = tracks["error_px"][tracks["kept"]]
    assert np.median(error) < 1.0
    assert len(made.job.read_sparse()["points"]) > 50


def test_where_points_cannot_be_followed_cameras_stay_as_predicted(shot, monkeypatch):
    made = shot(5)
    original = made.network._follow

    def blind(views, queries):
        tracks = original(views, queries)
        return tracks._replace(visibility=0 * tracks.visibility)

    monkeypatch.setattr(made.network, "_follow", blind)
    summary = made.run(learned_tracks=True)
    assert summary["solved"] == 5
    assert any("they are as predicted" in warning for warning in summary["warnings"])
    assert made.errors()[0] < 0.5
    assert list(made.job.view_indices()) == list(range(5))

"""The streaming method with networks that know the answer: cameras, lenses and depth come out as they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blender_3r.engine import zoo
from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.methods.streaming import pipeline
from blender_3r.engine.methods.streaming.network import Model
from blender_3r.engine.reconstruction import depth_to_points
from blender_3r.engine.service.runner import run_job
from blender_3r.engine.service.settings import make_request
from blender_3r.engine.source import source_from_path
from tests.models.support.pair_scene import make_scene
from tests.models.support.true_network import ENLARGED, MARGIN, as_loaded, make_photos, world_points, write_photos
from tests.models.support.true_streams import TRUE

# Spann3R takes its poses from OpenCV's RANSAC as it comes, which lets pixels be 8 off: much in pictures of 64.
ROUGH = 0.1
IDS = {"cut3r": "cut3r-512-dpt", "point3r": "point3r-512-dpt", "spann3r": "spann3r-224", "wint3r": "wint3r-512"}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """(scene, job folder) after a job over 7 views."""

    def run(architecture, kind="sequence", **settings):
        size = (64, 64) if architecture == "spann3r" else (48, 64)
        scene = make_scene(7, size, noise=0.0, edges=[(0, 0)], relief=3.0)
        photos = make_photos(scene)
        folder = write_photos(tmp_path / "shot", photos)
        network = TRUE[architecture](architecture, scene, photos, 64)
        record = replace(zoo.find_record(IDS[architecture]), memory_bytes=0)
        monkeypatch.setattr(pipeline, "loaded", lambda *arguments: as_loaded(network))
        monkeypatch.setattr(pipeline, "choose_model", lambda options: Model(record, 64))
        asked = {"model": IDS[architecture], "device": "cpu", "threads": 1, **settings}
        request = make_request("streaming", source_from_path(folder, kind=kind), asked)
        summary = run_job(request, tmp_path / "job", lambda *_, **__: None)
        assert summary["solved"] == 7
        return scene, JobFolder.open(tmp_path / "job")

    return run


def check(scene, job, tolerance=1e-3, views=range(7)):
    """Poses, lenses, and points in the world of the first camera."""
    cameras = job.read_cameras()
    to_first = np.linalg.inv(scene.world_from_camera[0])
    for k, view in enumerate(cameras.views):
        assert view.intrinsics.fx == pytest.approx(ENLARGED * scene.focals[k], rel=5e-3)
        if k not in views:
            continue
        assert np.allclose(view.world_from_camera, to_first @ scene.world_from_camera[k], atol=tolerance), k
        arrays = job.read_view(k)
        height, width = scene.depth[k].shape
        assert not arrays["depth"][:MARGIN].any(), "beyond what the network saw nothing is known"
        assert arrays["depth"].shape == (height + 2 * MARGIN, width)
        inner = arrays["depth"][MARGIN : MARGIN + height]
        assert np.allclose(inner, scene.depth[k], atol=5 * tolerance)
        points, index = depth_to_points(view, np.array(arrays["depth"]))
        true = world_points(scene, k) @ to_first[:3, :3].T + to_first[:3, 3]
        assert np.allclose(points, true.reshape(-1, 3)[index - MARGIN * width], atol=0.02 + 3 * tolerance)


@pytest.mark.parametrize("architecture", TRUE)
def test_what_the_network_knows_comes_out(run, architecture):
    scene, job = run(architecture)
    check(scene, job, ROUGH if architecture == "spann3r" else 1e-3)
    assert job.read_cameras().lens == "shared"


@pytest.mark.parametrize("architecture", ["cut3r", "wint3r"])
def test_each_frame_may_have_its_own_lens(run, architecture):
    scene, job = run(architecture, kind="photos")
    check(scene, job)
    assert job.read_cameras().lens == "groups"


def test_cameras_from_points_are_those_of_the_head(run):
    check(*run("point3r", camera_from="points"))


def test_worlds_and_scales_of_new_states_are_joined(run):
    check(*run("cut3r", reset_every=2), tolerance=5e-3)


def test_frames_between(run):
    scene, job = run("cut3r", every=2)
    check(scene, job, views=range(0, 7, 2))
    assert [view.interpolated for view in job.read_cameras().views] == [False, True] * 3 + [False]


def test_a_known_lens_places_spann3rs_cameras(run):
    scene, job = run("spann3r", focal_px=float(ENLARGED * make_scene(1, (64, 64), edges=[(0, 0)]).focal))
    check(scene, job, ROUGH)

"""Jobs of the streaming method on frames of the demo shot, with tiny networks, and what their results must be."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.service.runner import run_job
from blender_3r.engine.service.settings import make_request
from blender_3r.engine.source import source_from_path
from scripts.environments import ROOT
from tests.models.support.tiny_streaming import CONFIGS

SHOT = ROOT / "demo" / "courtyard.mp4"


class Job:
    """Runs of one request. heard: what was reported, in order, by the newest run."""

    def __init__(self, folder, model, source=None, count=9, **settings):
        self.folder = folder
        source = source or source_from_path(SHOT, first=0, last=count - 1)
        asked = {"model": f"tiny-{model}" if model in CONFIGS else model, "device": "cpu", "threads": 1, **settings}
        self.request = make_request("streaming", source, asked)
        self.heard = []

    def run(self, is_cancelled=lambda heard: False):
        self.heard = []
        return run_job(
            self.request,
            self.folder,
            lambda type_, **fields: self.heard.append((type_, fields)),
            lambda: is_cancelled(self.heard),
        )

    def of(self, type_):
        return [fields for heard, fields in self.heard if heard == type_]

    @property
    def views(self):
        return [fields["index"] for fields in self.of("view")]

    @property
    def cameras(self):
        return JobFolder.open(self.folder).read_cameras()

    @property
    def log(self):
        return (self.folder / "log.txt").read_text()

    def results(self):
        """Cameras and arrays, to compare."""
        folder = JobFolder.open(self.folder)
        arrays = {index: folder.read_view(index) for index in folder.view_indices()}
        return folder.read_json("cameras")["images"], {
            (index, name): np.array(array) for index, view in arrays.items() for name, array in view.items()
        }


def check_form(job, count, shape=(36, 64)):
    """Whatever the weights say, the form is right."""
    folder, cameras = JobFolder.open(job.folder), job.cameras
    assert len(cameras.views) == count
    frames = [view.frame for view in cameras.views]
    assert frames == sorted(frames)
    for index in cameras.solved:
        view = cameras.views[index]
        turn = view.world_from_camera[:3, :3]
        assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-5)
        assert np.linalg.det(turn) == pytest.approx(1, abs=1e-5)
        assert np.allclose(view.world_from_camera[3], [0, 0, 0, 1])
        assert 0.13 <= view.intrinsics.fx / view.intrinsics.width <= 57
    for index in folder.view_indices():
        arrays = folder.read_view(index)
        assert arrays["depth"].shape == arrays["confidence"].shape == shape
        assert arrays["color"].shape == (*shape, 3)
        assert (arrays["depth"].dtype, arrays["color"].dtype) == (np.float32, np.uint8)
        assert np.isfinite(arrays["depth"]).all()
        assert arrays["depth"].min() >= 0 < arrays["depth"].max()
        assert 0 <= arrays["confidence"].min() < arrays["confidence"].max() <= 1
    return cameras


def same(found, wanted):
    for ours, theirs in zip(found[0], wanted[0], strict=True):
        assert np.allclose(ours["c2w"], theirs["c2w"], atol=1e-5)
        assert ours["fx"] == pytest.approx(theirs["fx"], rel=1e-5)
    assert set(found[1]) == set(wanted[1])
    for key, array in found[1].items():
        assert np.allclose(array, wanted[1][key], atol=1e-4), key


def write_frames(folder, sizes, name="frame"):
    """Frames of the demo shot as files, each (height, width)."""
    folder.mkdir()
    movie = cv2.VideoCapture(str(SHOT))
    for number, (height, width) in enumerate(sizes):
        frame = cv2.resize(movie.read()[1], (width, height), interpolation=cv2.INTER_AREA)
        (folder / f"{name}_{number:04d}.png").write_bytes(cv2.imencode(".png", frame)[1].tobytes())
    movie.release()
    return folder

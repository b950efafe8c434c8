"""Only every n-th frame through the network: the cameras between are interpolated and marked."""

from __future__ import annotations

import numpy as np
import pytest

from blender_3r.engine.errors import Cancelled, EngineError
from blender_3r.engine.geometry.interpolation import interpolate_poses
from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.source import source_from_path
from tests.models.support.streaming_jobs import Job, check_form, same, write_frames

pytestmark = pytest.mark.usefixtures("tiny_streaming_zoo")
KEYS = [0, 4, 8, 12, 14]


@pytest.mark.parametrize("model", ["cut3r", "wint3r"])
def test_frames_between_are_interpolated_marked_and_counted(tmp_path, model, encoded):
    job = Job(tmp_path / "job", model, count=15, every=4)
    summary = job.run()
    assert (summary["solved"], summary["total"], summary["interpolated"]) == (15, 15, 10)
    assert "10 of them interpolated" in summary["text"]
    cameras = check_form(job, 15)
    assert [k for k, view in enumerate(cameras.views) if not view.interpolated] == KEYS
    assert list(JobFolder.open(job.folder).view_indices()) == KEYS
    assert sum(encoded.values()) == len(KEYS)
    poses = np.array([view.world_from_camera for view in cameras.views])
    assert np.allclose(poses, interpolate_poses(KEYS, poses[KEYS], np.arange(15)), atol=1e-9)
    assert {view.intrinsics.fx for view in cameras.views} == {cameras.views[0].intrinsics.fx}
    for fields in job.of("cameras"):
        assert fields["solved"] in (1, 5, 9, 13, 15)


def test_of_a_zoom_the_focal_length_is_interpolated_too(tmp_path):
    job = Job(tmp_path / "job", "wint3r", count=9, every=4, lens="zoom")
    job.run()
    focal = [view.intrinsics.fx for view in job.cameras.views]
    assert focal[2] == pytest.approx((focal[0] + focal[4]) / 2)
    assert focal[5] == pytest.approx(0.75 * focal[4] + 0.25 * focal[8])
    assert focal[0] != focal[4]


def test_a_later_frame_bends_the_way_before_it(tmp_path):
    job = Job(tmp_path / "job", "cut3r", count=9, every=4, lens="zoom")
    job.run()
    assert [(fields["solved"], fields["corrected"]) for fields in job.of("cameras")] == [
        (1, []),
        (5, []),
        (9, [1, 2, 3]),
        (9, []),
    ]


def test_a_stopped_job_goes_on(tmp_path):
    whole, job = (Job(tmp_path / name, "wint3r", count=15, every=2) for name in ("whole", "job"))
    whole.run()
    with pytest.raises(Cancelled):
        job.run(lambda heard: sum(type_ == "view" for type_, _ in heard) >= 5)
    assert job.run()["interpolated"] == 7
    same(job.results(), whole.results())


def test_a_frame_that_cannot_be_read_is_a_gap_in_a_way_that_goes_on(tmp_path):
    folder = write_frames(tmp_path / "shot", [(90, 160)] * 9)
    path = sorted(folder.iterdir())[4]
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    path.write_bytes(data)
    job = Job(tmp_path / "job", "cut3r", source_from_path(folder, kind="sequence"), every=4)
    summary = job.run()
    assert (summary["solved"], summary["interpolated"]) == (8, 6)
    assert job.cameras.solved == [0, 1, 2, 3, 5, 6, 7, 8]


def test_photos_have_nothing_between_them(tmp_path):
    folder = write_frames(tmp_path / "photos", [(90, 160)] * 3, "photo")
    with pytest.raises(EngineError, match="Between photos") as caught:
        Job(tmp_path / "job", "cut3r", source_from_path(folder, kind="photos"), every=2).run()
    assert caught.value.kind == "usage"

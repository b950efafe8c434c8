"""The streaming method through the whole service: tiny networks, random weights, frames of the demo shot.

Random weights see nothing, so nothing is asked of the geometry: only that every part is there, in order and of the
right form, and that a job that was stopped ends as one that was not.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from blender_3r.engine.errors import Cancelled, EngineError
from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.methods.streaming import stream
from blender_3r.engine.models import ARCHITECTURES
from blender_3r.engine.source import source_from_path
from tests.models.support.streaming_jobs import Job, check_form, same, write_frames
from tests.models.support.tiny_streaming import CONFIGS, SIZE

pytestmark = pytest.mark.usefixtures("tiny_streaming_zoo")
MODELS = tuple(CONFIGS)


@pytest.mark.parametrize("model", MODELS)
def test_a_shot_through_every_model(tmp_path, model, encoded):
    job = Job(tmp_path / "job", model)
    summary = job.run()
    assert (summary["solved"], summary["total"]) == (9, 9)
    cameras = check_form(job, 9, (64, 113) if model == "spann3r" else (36, 64))
    assert (cameras.kind, cameras.method, cameras.lens, cameras.fps) == ("video", "streaming", "shared", 24.0)
    assert cameras.metric is (model in ("cut3r", "point3r"))
    assert len({view.intrinsics.fx for view in cameras.views}) == 1
    assert len(encoded) == sum(encoded.values()) == 9, "every frame is encoded once"
    assert list(JobFolder.open(job.folder).view_indices()) == list(range(9))
    first_time = list(dict.fromkeys(job.views))
    assert first_time == list(range(9)), "views come in order"
    assert not list(job.folder.glob("*.npz")), "nothing of the state is left"
    fractions = [fields["fraction"] for fields in job.of("progress")]
    assert fractions == sorted(fractions)
    check_announcements(job, windows=model == "wint3r")


def check_announcements(job, windows):
    """A view comes after its camera; before the last frame is read most of the others are there."""
    solved, order = 0, []
    for type_, fields in job.heard:
        if type_ == "cameras":
            assert fields["solved"] >= solved
            assert max(fields["corrected"], default=-1) < max(solved, 1)
            solved = fields["solved"]
            order.append(solved)
        elif type_ == "view":
            assert fields["index"] < solved
    assert order[0] == (4 if windows else 1)
    assert sorted(set(order)) == ([4, 6, 8, 9] if windows else list(range(1, 10)))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Results of a model's job that nobody stopped, computed once."""
    known = {}

    def of(model):
        if model not in known:
            job = Job(tmp_path_factory.mktemp("whole") / "job", model, count=7)
            job.run()
            known[model] = job.results()
        return known[model]

    return of


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stop", ["in the network", "after a view", "after cameras"])
def test_a_stopped_job_is_importable_and_ends_as_if_it_had_not_been_stopped(
    tmp_path, model, stop, encoded, uninterrupted
):
    wanted = uninterrupted(model)
    job = Job(tmp_path / "job", model, count=7)
    views = 4 if stop == "in the network" else 3

    def is_cancelled(heard):
        told = [type_ for type_, _ in heard if type_ in ("view", "cameras")]
        if told.count("view") < views:
            return False
        return stop == "in the network" or told[-1] == {"after a view": "view", "after cameras": "cameras"}[stop]

    encoded.clear()
    with pytest.raises(Cancelled):
        job.run(is_cancelled)
    assert (job.folder / "stream.npz").exists()
    there = list(JobFolder.open(job.folder).view_indices())
    assert set(job.views) <= set(there) <= set(job.cameras.solved)
    done = sum(encoded.values())
    assert done <= 6
    summary = job.run()
    assert (summary["solved"], summary["total"]) == (7, 7)
    assert "an earlier run is gone on with" in job.log
    assert job.of("started")[0]["resumed"]
    assert sum(encoded.values()) <= 8, "at most the frame that was at work is encoded anew"
    assert job.views[: len(there)] == there
    same(job.results(), wanted)
    assert not list(job.folder.glob("*.npz"))


@pytest.mark.parametrize(
    ("model", "damage"),
    [*((model, "other shapes") for model in MODELS), ("cut3r", "cut short"), ("spann3r", "not finite")],
)
def test_a_state_that_cannot_be_used_only_costs_time(tmp_path, model, damage):
    job = Job(tmp_path / "job", model, count=5)
    with pytest.raises(Cancelled):
        job.run(lambda heard: sum(type_ == "view" for type_, _ in heard) >= 3)
    path = job.folder / "stream.npz"
    if damage == "cut short":
        path.write_bytes(path.read_bytes()[:-200])
    else:
        with np.load(path, allow_pickle=False) as data:
            arrays = dict(data)
        name = {"cut3r": "memory", "point3r": "features", "spann3r": "newest", "wint3r": "pool"}[model]
        array = arrays[f"driver.{name}"]
        arrays[f"driver.{name}"] = array[..., :-1] if damage == "other shapes" else np.full_like(array, np.nan)
        np.savez(path, **arrays)
    summary = job.run()
    assert summary["solved"] == 5
    assert "begins anew" in job.log
    assert any("computed anew" in warning for warning in summary["warnings"])
    check_form(job, 5, (64, 113) if model == "spann3r" else (36, 64))


@pytest.mark.parametrize("model", MODELS)
def test_what_is_held_does_not_grow_with_the_shot(tmp_path, model, monkeypatch):
    """Numbers held after each frame, but for the model's own state, and pictures."""
    held = []
    take = stream.Stream._take

    def watched(self, arrival, views):
        yield from take(self, arrival, views)
        growing = sum(array.nbytes for array in self.driver.state().values())
        held.append((len(self._pictures), len(self._undelivered), growing))

    monkeypatch.setattr(stream.Stream, "_take", watched)
    job = Job(tmp_path / "job", model, count=18, dense=False)
    job.run()
    pictures, undelivered, state = zip(*held)
    assert max(pictures) <= {"spann3r": 2, "wint3r": 4}.get(model, 1)
    assert max(undelivered) == 0
    if model in ("cut3r", "spann3r"):
        assert state[-1] <= max(state[:14])
    elif model == "wint3r":  # its pool of camera tokens, 4 for every window of 2 new frames
        grown = state[-1] - state[-3]
        assert grown == 4 * 2 * CONFIGS["wint3r"]["dec_embed_dim"] * 4
    assert list(JobFolder.open(job.folder).view_indices()) == []


def test_tensors_alive_do_not_grow_with_the_shot(tmp_path, monkeypatch):
    import gc

    counts = []
    take = stream.Stream._take

    def watched(self, arrival, views):
        yield from take(self, arrival, views)
        if len(self.numbers) in (6, 16):
            counts.append(sum(isinstance(one, torch.Tensor) for one in gc.get_objects()))

    monkeypatch.setattr(stream.Stream, "_take", watched)
    Job(tmp_path / "job", "wint3r", count=16).run()
    early, late = counts
    assert late <= early


def test_windows_correct_the_cameras_of_the_window_before(tmp_path):
    job = Job(tmp_path / "job", "wint3r", count=8)
    job.run()
    told = [(fields["solved"], fields["corrected"]) for fields in job.of("cameras")]
    assert [solved for solved, _ in told] == [4, 6, 8, 8]
    assert {2, 3} <= set(told[1][1])
    assert {4, 5} <= set(told[2][1])


def test_other_windows(tmp_path):
    job = Job(tmp_path / "job", "wint3r", count=8, window=6, lens="zoom")
    job.run()
    assert [fields["solved"] for fields in job.of("cameras")] == [6, 8, 8]
    assert job.of("cameras")[1]["corrected"] == [3, 4, 5]
    assert job.cameras.lens == "zoom"
    assert len({view.intrinsics.fx for view in job.cameras.views}) > 1


@pytest.mark.parametrize("settings", [{"revisit": 2}, {"revisit": 2, "revisit_update": False}])
def test_revisited_frames_are_corrected(tmp_path, settings):
    job = Job(tmp_path / "job", "cut3r", count=4, lens="zoom", **settings)
    job.run()
    told = [(fields["solved"], fields["corrected"]) for fields in job.of("cameras")]
    assert told == [(1, []), (2, []), (3, []), (4, []), (4, [0]), (4, [1]), (4, [2]), (4, [3]), (4, [])]
    assert job.views == [0, 1, 2, 3] * 2
    once = Job(tmp_path / "once", "cut3r", count=4, lens="zoom")
    once.run()
    before, after = once.cameras.views[2].world_from_camera, job.cameras.views[2].world_from_camera
    assert not np.allclose(before, after)


def test_a_state_that_begins_anew_is_joined_where_both_have_looked(tmp_path, encoded):
    plain, reset = (Job(tmp_path / name, "cut3r", count=9, lens="zoom") for name in ("plain", "reset"))
    reset = Job(tmp_path / "reset", "cut3r", count=9, lens="zoom", reset_every=4)
    plain.run()
    encoded.clear()
    reset.run()
    assert sum(encoded.values()) == 9
    poses = [np.array([view.world_from_camera for view in job.cameras.views]) for job in (plain, reset)]
    assert np.allclose(poses[0][:4], poses[1][:4])
    assert not np.allclose(poses[0][4:], poses[1][4:], atol=1e-3)
    check_form(reset, 9)


def test_cameras_from_points(tmp_path):
    job = Job(tmp_path / "job", "point3r", count=5, camera_from="points", revisit=2)
    assert job.run()["solved"] == 5
    check_form(job, 5)
    other = Job(tmp_path / "other", "point3r", count=5, merge_pointers=False, merge_units=5)
    assert other.run()["solved"] == 5


def test_a_bad_frame_among_many_is_a_gap_with_a_name(tmp_path, encoded):
    folder = write_frames(tmp_path / "shot", [(180, 320)] * 8)
    path = sorted(folder.iterdir())[3]
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)  # the header stays good
    path.write_bytes(data)
    job = Job(tmp_path / "job", "cut3r", source_from_path(folder, kind="sequence"))
    summary = job.run()
    assert (summary["solved"], summary["total"]) == (7, 8)
    assert any("frame_0003.png" in warning for warning in summary["warnings"])
    assert not job.cameras.views[3].is_solved
    assert "frame_0003.png" in job.cameras.views[3].note
    assert sum(encoded.values()) == 7


@pytest.mark.parametrize("model", MODELS)
def test_one_frame(tmp_path, model):
    job = Job(tmp_path / "job", model, count=1)
    assert job.run()["solved"] == 1
    check_form(job, 1, (64, 113) if model == "spann3r" else (36, 64))
    assert not job.cameras.focal_is_certain


@pytest.mark.parametrize("model", ["cut3r", "wint3r"])
def test_photos_of_several_shapes_go_in_order(tmp_path, model):
    sizes = [(180, 320), (320, 180), (180, 320), (200, 200), (180, 320)]
    folder = write_frames(tmp_path / "photos", sizes, "photo")
    job = Job(tmp_path / "job", model, source_from_path(folder, kind="photos"))
    summary = job.run()
    assert summary["solved"] == 5
    assert any("photo_0001.png, photo_0003.png" in warning for warning in summary["warnings"])
    cameras = job.cameras
    assert (cameras.kind, cameras.lens) == ("photos", "groups")
    for view, (height, width) in zip(cameras.views, sizes, strict=True):
        assert (view.intrinsics.width, view.intrinsics.height) == (width, height)
    shapes = [JobFolder.open(job.folder).read_view(index)["depth"].shape for index in range(5)]
    assert [round(a / b, 1) for a, b in shapes] == [round(a / b, 1) for a, b in sizes]


def test_a_known_lens_is_kept(tmp_path):
    for model in ("wint3r", "spann3r"):
        job = Job(tmp_path / model, model, count=4, focal_px=500.0)
        job.run()
        assert [view.intrinsics.fx for view in job.cameras.views] == [500.0] * 4
        assert job.cameras.focal_is_certain


def test_spann3r_with_another_memory(tmp_path):
    plain = Job(tmp_path / "plain", "spann3r", count=8)
    small = Job(tmp_path / "small", "spann3r", count=8, memory_frames=1, memory_tokens=0)
    plain.run()
    small.run()
    poses = [np.array([view.world_from_camera for view in job.cameras.views]) for job in (plain, small)]
    assert np.array_equal(poses[0][:2], poses[1][:2])
    assert not np.array_equal(poses[0][4:], poses[1][4:])


@pytest.mark.parametrize(
    ("model", "settings", "told"),
    [
        ("cut3r", {"window": 6}, "CUT3R knows no setting window"),
        ("wint3r", {"revisit": 2}, "WinT3R knows no setting revisit"),
        ("cut3r", {"revisit": 2, "reset_every": 4}, "cannot be revisited"),
        ("cut3r", {"revisit_update": False}, "in a single pass"),
        ("spann3r", {"memory_tokens": 100}, "does not hold the newest 10 frames"),
        ("dust3r-512-dpt", {}, "does not walk through a sequence"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_computed(tmp_path, model, settings, told, encoded):
    with pytest.raises(EngineError, match=told) as caught:
        Job(tmp_path / "job", model, **settings).run()
    assert caught.value.kind == "usage"
    assert caught.value.hint.endswith(".")
    assert not encoded


def test_without_weights_it_says_how_to_get_them(tmp_path):
    with pytest.raises(EngineError, match="weights of WinT3R 512 are not on this machine") as caught:
        Job(tmp_path / "job", "wint3r-512").run()
    assert "models download wint3r-512" in caught.value.hint


class TestMemory:
    def run_out(self, monkeypatch, network, least):
        """From a picture of so many pixels on, memory runs out at the fourth frame."""
        kind = ARCHITECTURES[network].network_class
        encode, calls = kind.encode, Counter()

        def too_large(self, images):
            calls["all"] += 1
            if images.shape[-1] >= least and calls["all"] > 3:
                raise torch.OutOfMemoryError("out of memory")
            return encode(self, images)

        monkeypatch.setattr(kind, "encode", too_large)

    def test_is_told_with_numbers_and_nothing_is_lost(self, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            self.run_out(patch, "cut3r", 1)
            job = Job(tmp_path / "job", "cut3r", count=6)
            with pytest.raises(EngineError, match="Memory ran out with frame 4 at 64 pixels") as caught:
                job.run()
        assert caught.value.kind == "machine"
        assert "are free now" in caught.value.message
        assert list(JobFolder.open(job.folder).view_indices()) == [0, 1, 2]
        assert job.run()["solved"] == 6
        assert "3 of 6 frames are done" in job.log

    @pytest.mark.parametrize("model", ["cut3r", "wint3r"])
    def test_smaller_images_where_that_is_allowed(self, tmp_path, monkeypatch, model):
        monkeypatch.setattr(stream, "SMALLER_SIZE", 48)
        monkeypatch.setattr("blender_3r.engine.methods.streaming.pipeline.SMALLER_SIZE", 48)
        self.run_out(monkeypatch, model, SIZE)
        job = Job(tmp_path / "job", model, count=6, allow_smaller=True)
        summary = job.run()
        assert summary["solved"] == 6
        assert any("the result is coarser" in warning for warning in summary["warnings"])
        shapes = {JobFolder.open(job.folder).read_view(index)["depth"].shape for index in range(6)}
        assert shapes == {(27, 48)}

    def test_a_disk_too_full_for_the_state_does_not_stop_the_job(self, tmp_path, monkeypatch):
        def full(self, name, **arrays):
            raise EngineError("machine", "Cannot write (No space left on device).")

        monkeypatch.setattr(JobFolder, "write_npz", full)
        job = Job(tmp_path / "job", "cut3r", count=4)
        assert job.run()["solved"] == 4
        assert job.log.count("the state is no longer kept") == 1

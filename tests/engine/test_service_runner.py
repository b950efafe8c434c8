"""A job from request to summary: what is reported, what is on disk, going on after an end of any kind."""

from __future__ import annotations

import errno
import json
import os

import numpy as np
import pytest
from conftest import write_images, write_movie

from blender_3r.engine.errors import Cancelled, EngineError
from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.service import runner
from blender_3r.engine.service.settings import check_request, fingerprint, make_request
from blender_3r.engine.source import source_from_path


class Listener:
    """Collects reports and checks that what is announced can be read at that moment."""

    def __init__(self, folder):
        self.job = JobFolder(folder)
        self.reports = []

    def __call__(self, type_, **fields):
        self.reports.append((type_, fields))
        if type_ == "cameras":
            assert len(self.job.read_cameras().solved) == fields["solved"]
        elif type_ == "view":
            self.job.read_view(fields["index"])
        elif type_ == "started":
            assert self.job.read_json("request") is not None

    def of(self, type_):
        return [fields for name, fields in self.reports if name == type_]


def request_for(path, **settings):
    return make_request("fake", source_from_path(path), settings)


@pytest.fixture
def run(tmp_path, fake_method):
    """run(request, **options) -> (summary, listener), in the folder tmp_path/job."""

    def start(request, **options):
        listener = Listener(tmp_path / "job")
        try:
            return runner.run_job(request, tmp_path / "job", listener, **options), listener
        except EngineError as error:
            error.listener = listener
            raise

    return start


def state_of(tmp_path):
    return json.loads((tmp_path / "job" / "state.json").read_text())


def test_a_job_from_start_to_end(run, movie, tmp_path):
    summary, listener = run(request_for(movie, quality="draft"))
    assert (summary["solved"], summary["total"], summary["motion"], summary["lens"]) == (12, 12, "free", "shared")
    assert summary["points"] == 12 * 11 * 16
    assert summary["checks"][0]["name"] == "overlap"
    assert summary["text"].startswith("All 12 frames solved, mean error 0.42 px, 2112 points in ")
    assert listener.of("started") == [{"job": str(tmp_path / "job"), "total": 12, "resumed": False}]
    assert listener.of("cameras") == [{"solved": 12, "total": 12, "corrected": []}]
    assert [fields["index"] for fields in listener.of("view")] == list(range(12))
    state = state_of(tmp_path)
    assert (state["status"], state["fraction"], state["views_ready"]) == ("done", 1.0, 12)
    assert state["summary"] == summary
    request = json.loads((tmp_path / "job" / "request.json").read_text())
    assert (request["method"], request["settings"]) == ("fake", {"quality": "draft"})
    assert "All 12 frames solved" in (tmp_path / "job" / "log.txt").read_text()


def test_progress_is_throttled_but_every_stage_is_told(run, movie, monkeypatch):
    clock = iter(np.arange(0, 1000, 0.03))
    monkeypatch.setattr(runner.time, "monotonic", lambda: next(clock))
    _, listener = run(request_for(movie))
    stages = [fields["stage"] for fields in listener.of("progress")]
    assert list(dict.fromkeys(stages)) == ["Reading footage", "Solving cameras", "Computing depth", "Comparing views"]
    compared = stages.count("Comparing views")
    assert 3 <= len(stages) - compared <= 8  # of 14 events within half a second
    assert 1 <= compared <= 6  # of another 12
    fractions = [fields["fraction"] for fields in listener.of("progress")]
    assert fractions == sorted(fractions)


def test_time_left_follows_the_pace_since_the_first_progress(tmp_path):
    run = runner._Run(JobFolder(tmp_path), {}, lambda *a, **k: None, lambda: False, runner.JobLog(tmp_path / "log"))
    assert run._eta(100.0, 0.0) is None
    assert run._eta(110.0, 0.5) is None  # a resumed job starts here
    assert run._eta(110.5, 0.6) is None  # too early to tell
    assert run._eta(120.0, 0.75) == pytest.approx(10.0)


def test_partly_solved_says_what_is_missing(run, movie, fake_method):
    fake_method(unsolved=[2, 3, 4, 9])
    summary, _ = run(request_for(movie))
    assert summary["solved"] == 8
    assert summary["text"].startswith("8 of 12 frames solved")
    assert "Missing: 2-4, 9." in summary["text"]


def test_nothing_solved_is_a_failure(run, movie, fake_method):
    fake_method(unsolved=list(range(12)))
    with pytest.raises(EngineError, match="No camera could be solved") as caught:
        run(request_for(movie))
    assert caught.value.kind == "unsolved"


def test_footage_warnings_reach_the_summary(run, tmp_path):
    paths = write_images(tmp_path / "photos", ["a.png", "b.png", "c.png"])
    paths[1].write_bytes(b"broken")
    summary, _ = run(request_for(tmp_path / "photos"))
    assert summary["total"] == 2
    assert any("b.png" in warning for warning in summary["warnings"])
    assert summary["text"].startswith("All 2 photos solved")


def test_a_finished_job_is_not_computed_again(run, movie, fake_method, tmp_path):
    fake_method(runs=str(tmp_path / "runs"))
    first, _ = run(request_for(movie))
    again, listener = run(request_for(movie, threads=1))
    assert again == first
    assert listener.of("started")[0]["resumed"]
    assert listener.of("cameras") == [{"solved": 12, "total": 12, "corrected": []}]
    assert len(listener.of("view")) == 12
    assert (tmp_path / "runs").read_text() == "run\n"
    run(request_for(movie), restart=True)
    assert (tmp_path / "runs").read_text() == "run\nrun\n"


def test_a_finished_job_that_lost_a_view_computes_it_again(run, movie, tmp_path):
    run(request_for(movie))
    lost = tmp_path / "job" / "views" / "000003"
    for file in lost.iterdir():
        file.unlink()
    lost.rmdir()
    _, listener = run(request_for(movie))
    assert [fields["index"] for fields in listener.of("view")].count(3) == 1
    assert state_of(tmp_path)["views_ready"] == 12


def test_an_interrupted_job_goes_on(run, movie, fake_method, tmp_path):
    fake_method(**{"raise": "os"})
    with pytest.raises(EngineError):
        run(request_for(movie))
    stamp = (tmp_path / "job" / "views" / "000005" / "depth.npy").stat().st_mtime_ns
    fake_method()
    _, listener = run(request_for(movie))
    assert listener.of("started")[0]["resumed"]
    assert [fields["index"] for fields in listener.of("view")] == list(range(12))
    assert (tmp_path / "job" / "views" / "000005" / "depth.npy").stat().st_mtime_ns == stamp


@pytest.mark.parametrize("change", ["settings", "range", "footage", "version"])
def test_another_request_replaces_what_is_there(run, movie, tmp_path, monkeypatch, change):
    run(request_for(movie))
    (tmp_path / "job" / "features.npz").write_bytes(b"of the earlier request")
    request = request_for(movie, dense=False)
    if change == "range":
        request = make_request("fake", source_from_path(movie, last=5), {"dense": False})
    elif change == "footage":
        os.utime(movie, (1, 1))
    elif change == "version":
        monkeypatch.setattr("blender_3r.engine.service.settings.__version__", "99.0.0")
    summary, listener = run(request)
    assert not listener.of("started")[0]["resumed"]
    assert listener.of("view") == []
    assert list(JobFolder(tmp_path / "job").view_indices()) == []
    assert not (tmp_path / "job" / "features.npz").exists()
    assert summary["points"] == 50


def test_unreadable_footage_does_not_cost_the_earlier_result(run, movie, tmp_path):
    run(request_for(movie))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"text")
    with pytest.raises(EngineError, match=r"broken\.mp4"):
        run(request_for(broken))
    _, listener = run(request_for(movie))
    assert listener.of("started")[0]["resumed"]


def test_a_damaged_job_starts_over(run, movie, tmp_path):
    run(request_for(movie))
    (tmp_path / "job" / "cameras.json").write_text("{")
    summary, listener = run(request_for(movie))
    assert not listener.of("started")[0]["resumed"]
    assert summary["solved"] == 12


def test_cancel_keeps_what_is_there_and_says_so(run, movie, tmp_path):
    seen = []

    def is_cancelled():
        seen.append(1)
        return len(seen) > 12

    with pytest.raises(Cancelled) as caught:
        run(request_for(movie), is_cancelled=is_cancelled)
    state = state_of(tmp_path)
    assert state["status"] == "cancelled"
    views = list(JobFolder(tmp_path / "job").view_indices())
    assert 0 < len(views) < 12
    assert state["views_ready"] == len(views) == len(caught.value.listener.of("view"))
    _, listener = run(request_for(movie))
    assert listener.of("started")[0]["resumed"]
    assert state_of(tmp_path)["status"] == "done"


@pytest.mark.parametrize(
    ("how", "kind", "says"),
    [
        ("bug", "internal", "RuntimeError"),
        ("memory", "machine", "out of memory"),
        ("os", "machine", "No space left"),
        ("unsolved", "unsolved", "do not overlap"),
    ],
)
def test_every_failure_is_a_sentence_with_a_hint(run, movie, fake_method, tmp_path, how, kind, says):
    fake_method(**{"raise": how})
    with pytest.raises(EngineError, match=says) as caught:
        run(request_for(movie))
    assert caught.value.kind == kind
    assert caught.value.hint
    state = state_of(tmp_path)
    assert state["status"] == "failed"
    assert state["error"] == {"kind": kind, "message": caught.value.message, "hint": caught.value.hint}
    assert "Traceback" not in json.dumps(state)
    log = (tmp_path / "job" / "log.txt").read_text()
    assert ("a wire is loose" in log and "Traceback" in log) == (kind == "internal")


def test_a_full_disk_while_writing_views(run, movie, tmp_path, monkeypatch):
    real = os.rename
    done = []

    def fill(source, target):
        done.append(target)
        if len(done) > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "rename", fill)
    with pytest.raises(EngineError, match="No space left") as caught:
        run(request_for(movie))
    assert caught.value.kind == "machine"
    assert state_of(tmp_path)["status"] == "failed"
    monkeypatch.undo()
    job = JobFolder(tmp_path / "job")
    for index in job.view_indices():
        job.read_view(index)
    assert len(caught.value.listener.of("view")) == len(list(job.view_indices())) == 3


def test_a_folder_that_cannot_be_written(movie, fake_method, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match="is a file") as caught:
        runner.run_job(request_for(movie), tmp_path / "file", lambda *a, **k: None)
    assert caught.value.kind == "usage"
    with pytest.raises(EngineError, match="Cannot write") as caught:
        runner.run_job(request_for(movie), tmp_path / "file" / "job", lambda *a, **k: None)
    assert caught.value.kind == "machine"


def test_a_folder_with_other_files_of_these_names_is_not_touched(movie, fake_method, tmp_path):
    (tmp_path / "mine" / "views").mkdir(parents=True)
    (tmp_path / "mine" / "views" / "holiday.txt").write_text("precious")
    with pytest.raises(EngineError, match="holds other files"):
        runner.run_job(request_for(movie), tmp_path / "mine", lambda *a, **k: None)
    assert (tmp_path / "mine" / "views" / "holiday.txt").read_text() == "precious"
    assert sorted(os.listdir(tmp_path / "mine")) == ["views"]


def test_black_footage_is_refused(run, tmp_path):
    import cv2

    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.full((64, 64, 3), 3, np.uint8))
    with pytest.raises(EngineError, match="black") as caught:
        run(request_for(tmp_path))
    assert caught.value.kind == "input"
    assert state_of(tmp_path)["status"] == "failed"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"quality": "best"}, "draft, normal or fine"),
        ({"focal_px": -3}, "positive"),
        ({"focal_px": float("nan")}, "positive"),
        ({"focal_px": True}, "positive"),
        ({"dense": "no"}, "true or false"),
        ({"points": 2.5}, "whole"),
        ({"focal": 500}, "no setting 'focal'"),
    ],
)
def test_wrong_settings_are_refused_before_the_folder_is_touched(run, movie, tmp_path, settings, says):
    request = request_for(movie)
    request["settings"] = settings
    with pytest.raises(EngineError, match=says) as caught:
        run(request)
    assert caught.value.kind == "usage"
    assert not (tmp_path / "job").exists()


@pytest.mark.parametrize("request_", [None, [], {}, {"source": 3}, {"source": {}, "settings": []}])
def test_what_is_no_request_is_refused(request_):
    with pytest.raises(EngineError) as caught:
        check_request(request_)
    assert caught.value.kind == "usage"


def test_unset_settings_are_as_if_absent(movie):
    plain = request_for(movie)
    assert fingerprint(request_for(movie, quality=None)) == fingerprint(plain)
    assert fingerprint({**plain, "settings": {"quality": None, "threads": 3}}) == fingerprint(plain)
    assert fingerprint(request_for(movie, quality="fine")) != fingerprint(plain)


def test_an_unknown_method_is_told(run, tmp_path):
    write_movie(tmp_path / "a.mp4", 3)
    with pytest.raises(EngineError, match="no method called 'magic'") as caught:
        run(make_request("magic", source_from_path(tmp_path / "a.mp4"), {}))
    assert caught.value.kind == "usage"
    assert "classic" in caught.value.hint

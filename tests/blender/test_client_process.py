"""The engine's process and the job that drives it, against a program that misbehaves in every way it can."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blender_3r.client import job as job_module
from blender_3r.client.job import Job
from blender_3r.client.process import EngineProcess, clean_environment, describe_exit, kill_tree, read_tail
from blender_3r.engine.jobfolder import JobFolder

FAKE = Path(__file__).resolve().parent.parent / "fake_engine.py"
REQUEST = {"method": "classic", "source": {"kind": "movie", "files": ["/nowhere/shot.mp4"]}, "settings": {}}


def fake(mode: str, seconds: float = 0.3) -> list[str]:
    return [sys.executable, str(FAKE), mode, str(seconds)]


def finish(job: Job, until=lambda state: state.is_over) -> list[float]:
    """Pump until the state is as wished; the fractions seen on the way."""
    fractions = []
    deadline = time.monotonic() + 60
    while not until(job.state):
        assert time.monotonic() < deadline, f"stuck: {job.state}"
        job.pump()
        fractions.append(job.state.fraction)
        time.sleep(0.005)
    return fractions


def is_alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.02)


@pytest.fixture
def start(tmp_path):
    jobs = []

    def make(mode: str, seconds: float = 0.3) -> Job:
        jobs.append(Job(fake(mode, seconds), tmp_path / "schöner job", REQUEST))
        return jobs[-1]

    yield make
    for job in jobs:
        job.close()
        wait_gone(job.engine_pid)


def test_a_whole_job(start):
    job = start("work")
    fractions = finish(job)
    assert job.state.status == "done"
    assert fractions == sorted(fractions)
    assert len(set(fractions)) > 10
    assert (job.state.solved, job.state.total) == (19, 20)
    assert job.state.views_ready == 3
    assert job.state.summary["reproj_error_px"] == 0.42
    assert len(JobFolder(job.folder).read_cameras().solved) == 19


def test_the_engine_leaves_after_its_last_word(start):
    job = start("work")
    finish(job)
    wait_gone(job.engine_pid)


def test_time_left_counts_down(start):
    now = [0.0]
    job = start("work", 3.0)
    finish(job, lambda state: state.eta_s is not None)
    job._clock = lambda: now[0]
    job.state.eta_s, job.state.eta_at = 10.0, 0.0
    now[0] = 4.0
    assert job.time_left_s == 6.0
    now[0] = 40.0
    assert job.time_left_s == 0.0


def test_a_failure_is_passed_on_as_a_sentence(start):
    job = start("fail")
    finish(job)
    assert job.state.status == "failed"
    assert job.state.failure.message == "There is no parallax."
    assert job.state.failure.hint == "Move the camera sideways."
    assert job.state.failure.kind == "unsolved"


@pytest.mark.parametrize(
    ("mode", "words"), [("crash", "SIGSEGV"), ("killed", "was killed"), ("exit", "engine ended before")]
)
def test_an_engine_that_dies_twice_is_told_and_keeps_what_it_computed(start, mode, words):
    job = start(mode)
    first = job.engine_pid
    finish(job)
    assert job.state.was_restarted
    assert job.engine_pid != first
    assert job.state.status == "failed"
    assert words in job.state.failure.message
    assert "kept" in job.state.failure.hint
    assert len(JobFolder.open(job.folder).read_cameras().solved) == 19
    assert list(JobFolder(job.folder).view_indices()) == [4]


def test_an_engine_that_dies_once_is_started_again_and_nobody_loses_anything(start):
    job = start("stumble")
    first = job.engine_pid
    elapsed = []
    finish(job, lambda state: elapsed.append(job.elapsed_s) or state.was_restarted)
    assert (job.state.status, job.state.stage) == ("starting", "Starting the engine again")
    assert job.state.views_ready == 0, "the next engine tells of them again"
    finish(job)
    assert job.state.status == "done"
    assert job.state.views_ready == 3
    assert job.elapsed_s > elapsed[-1] > 0
    wait_gone(first)


def test_an_engine_that_got_nowhere_is_not_started_again(start):
    job = start("work", 30.0)
    first = job.engine_pid
    finish(job, lambda state: state.total)
    os.kill(first, signal.SIGKILL)
    finish(job)
    assert job.state.failure.message == "The engine was killed before the job was done."
    assert not job.state.was_restarted
    assert job.engine_pid == first


def test_cancelled_while_it_is_started_again(start):
    job = start("stumble")
    finish(job, lambda state: state.was_restarted)
    job.cancel()
    finish(job)
    assert job.state.status == "cancelled"


def test_an_engine_that_cannot_be_started_again(tmp_path):
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" stumble 0.3\n')
    script.chmod(0o755)
    job = Job([str(script)], tmp_path / "job", REQUEST)
    finish(job, lambda state: state.fraction > 0)
    script.unlink()
    finish(job)
    assert job.state.failure.message == "The engine cannot be started again (No such file or directory)."
    job.close()


def test_the_last_lines_of_the_log_come_with_the_crash(start):
    job = start("crash")
    finish(job)
    assert "Fatal: the solver divided by zero" in job.state.failure.log


def test_what_a_crashed_engine_started_is_ended_too(start, tmp_path, monkeypatch):
    note = tmp_path / "child"
    monkeypatch.setenv("FAKE_ENGINE_CHILD", str(note))
    job = start("family")
    finish(job)
    assert "exit code 7" in job.state.failure.message
    wait_gone(int(note.read_text()))


def test_cancel_is_asked_for_first(start):
    job = start("work", 30.0)
    finish(job, lambda state: state.fraction > 0)
    job.cancel()
    assert job.state.status == "cancelling"
    finish(job)
    assert job.state.status == "cancelled"


def test_a_hanging_engine_is_ended_after_the_grace_period(start, monkeypatch):
    monkeypatch.setattr(job_module, "CANCEL_GRACE_S", 0.2)
    job = start("hang")
    finish(job, lambda state: state.solved is not None)
    job.cancel()
    finish(job)
    assert job.state.status == "cancelled"
    wait_gone(job.engine_pid)
    assert len(JobFolder(job.folder).read_cameras().solved) == 19


def test_cancel_before_the_engine_answers(start):
    job = start("work", 30.0)
    job.cancel()
    finish(job)
    assert job.state.status == "cancelled"


def test_garbage_between_messages_does_no_harm(start):
    job = start("garbage")
    fractions = finish(job)
    assert job.state.status == "done"
    assert max(fractions[:-1]) < 0.99, "a message of another job was taken for ours"
    wait_gone(job.engine_pid)
    log = job.log.read_text(encoding="utf-8")
    assert "not JSON" in log
    assert "line too long" in log
    assert len(log) < 100_000


def test_another_protocol_is_refused(start):
    job = start("version")
    finish(job)
    assert job.state.status == "failed"
    assert "protocol 99" in job.state.failure.message


def test_a_silent_engine_is_given_up(start, monkeypatch):
    monkeypatch.setattr(job_module, "HANDSHAKE_S", 0.3)
    job = start("deaf")
    finish(job)
    assert "did not answer" in job.state.failure.message
    wait_gone(job.engine_pid)


def test_a_flood_of_messages_is_taken_in_small_sips(start):
    job = start("flood", 0.1)
    finish(job)
    assert job.state.status == "done"


def test_one_pump_never_takes_more_than_its_budget(start):
    job = start("flood", 0.1)
    finish(job, lambda state: state.status == "running")
    time.sleep(0.5)  # let messages pile up
    ticks = iter(range(10_000))
    job._clock = lambda: next(ticks) * 0.001  # each message costs a millisecond
    taken = []
    job._take = taken.append
    job.pump(budget_s=0.01)
    assert 1 <= len(taken) <= 10


def test_close_ends_a_running_job(start):
    job = start("work", 30.0)
    finish(job, lambda state: state.fraction > 0)
    job.close()
    assert not is_alive(job.engine_pid)
    assert job.state.status == "cancelled"


def test_close_ends_an_engine_that_does_not_listen(start):
    job = start("hang")
    finish(job, lambda state: state.solved is not None)
    job.close()
    assert not is_alive(job.engine_pid)


def test_sending_to_a_deaf_engine_does_not_wait(tmp_path):
    process = EngineProcess(fake("deaf"), tmp_path, tmp_path / "log.txt")
    try:
        for _ in range(200):
            process.send("reconstruct", ballast="x" * 10_000)  # far more than a pipe holds
    finally:
        process.close()
    assert not is_alive(process.pid)


def test_a_program_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        Job([str(tmp_path / "no python"), "serve"], tmp_path / "job", REQUEST)


def test_the_environment_of_this_python_does_not_leak():
    base = {"PYTHONPATH": "/x", "PYTHONHOME": "/y", "VIRTUAL_ENV": "/z", "PATH": "/bin", "https_proxy": "p"}
    assert clean_environment(base) == {"PATH": "/bin", "https_proxy": "p"}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (3, "ended (exit code 3)"),
        (0, "ended"),
        (-9, "was killed"),
        (-11, "crashed (SIGSEGV)"),
        (-250, "crashed (signal 250)"),
    ],
)
def test_exit_codes_in_words(code, words):
    assert describe_exit(code) == words


def test_tail_of_a_log(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"x" * 20_000 + b"\nfirst\n\nl\xc3\xa4st\n\xff\n")
    assert read_tail(path, 2) == ["läst", "\ufffd"]
    assert read_tail(tmp_path / "none") == []


def test_killing_a_process_twice_is_harmless():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    kill_tree(process)
    assert process.wait() == -signal.SIGKILL
    kill_tree(process)
    assert not is_alive(process.pid)
    assert os.getpid() > 0

"""What goes wrong, done for real to a real engine with the extension's client: what the user is told, that nothing
announced is lost, that the next job works.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blender_3r.client import job as job_module
from blender_3r.engine.errors import EngineError
from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.service.settings import make_request
from blender_3r.engine.source import source_from_path
from blender_3r.scene.jobdata import read_job
from scripts.environments import ENVIRONMENTS
from tests.end_to_end.driving import (
    ROOT,
    Driver,
    Mounts,
    WatchedJob,
    check_done,
    check_kept,
    engines_of,
    finish,
    is_running,
    wait_gone,
    write_movie,
    write_photos,
    zombies_of,
)

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
VIEWS = 8
FAKE = ROOT / "tests" / "fake_engine.py"


@pytest.fixture(scope="module")
def footage(tmp_path_factory) -> Path:
    return write_photos(tmp_path_factory.mktemp("footage") / "Fotos vom Büro", VIEWS)


@pytest.fixture
def driver(tmp_path, footage, monkeypatch):
    monkeypatch.setenv("FAKE_METHOD", f"@{tmp_path / 'behaviour.json'}")
    driver = Driver(tmp_path, footage)
    yield driver
    driver.close()


@pytest.fixture
def mounts():
    mounts = Mounts()
    yield mounts
    mounts.close()


def is_sentence(text: str) -> bool:
    return bool(text) and text[0].isupper() and text.endswith(".") and "Traceback" not in text


# -- the engine is killed


def test_killed_before_the_job(driver):
    job = driver.start()
    os.kill(job.engine_pid, signal.SIGKILL)  # while it starts
    finish(job)
    assert job.state.status == "failed"
    assert job.state.failure.message == "The engine was killed before the job was done."
    assert is_sentence(job.state.failure.hint)
    check_done(driver.run(), VIEWS)


def kill_when_it_has(job: WatchedJob, views: int) -> None:
    """Kill the engine that does the job, as soon as it has told of so many views."""
    finish(job, lambda state: state.views_ready >= views)
    os.kill(job.engine_pid, signal.SIGKILL)


def test_killed_in_the_job_and_started_again(driver):
    driver.behave(sleep=0.15, runs=str(driver.folder / "runs"))
    job = driver.start()
    first = job.engine_pid
    kill_when_it_has(job, 3)
    finish(job)
    assert job.state.was_restarted
    assert job.engine_pid != first
    assert job.state.status == "done", job.state
    assert [message["resumed"] for message in job.of("started")] == [False, True]
    announced = [message["index"] for message in job.of("view")]
    assert announced[-VIEWS:] == list(range(VIEWS)), "what was there was not announced again"
    assert job.state.views_ready == VIEWS
    assert (driver.folder / "runs").read_text().count("run") == 2
    assert "the engine was killed, and was started again" in (job.folder / "log.txt").read_text()
    check_kept(job)
    driver.behave()
    again = driver.run()
    check_done(again, VIEWS, resumed=True)
    assert again.engine_pid == job.engine_pid


def test_killed_twice_in_one_job(driver):
    driver.behave(sleep=0.15)
    job = driver.start()
    kill_when_it_has(job, 2)
    finish(job, lambda state: state.was_restarted)
    kill_when_it_has(job, 4)
    finish(job)
    assert job.state.status == "failed"
    assert job.state.failure.message == "The engine was killed before the job was done."
    assert "What was computed is kept." in job.state.failure.hint
    assert len({message["index"] for message in job.of("view")}) >= 4
    check_kept(job)
    driver.behave()
    check_done(driver.run(), VIEWS, resumed=True)


def test_killed_after_the_job_and_replaced_unnoticed(driver):
    first = driver.run()
    check_done(first, VIEWS)
    assert is_running(first.engine_pid)
    os.kill(first.engine_pid, signal.SIGKILL)
    second = driver.run("another")  # at once: the client may not even know yet
    check_done(second, VIEWS)
    assert second.engine_pid != first.engine_pid


def test_killed_as_it_is_asked_for_the_next_job(driver):
    first = driver.run()
    os.kill(first.engine_pid, signal.SIGSTOP)  # it hears nothing, but lives
    second = driver.start("another")
    assert second.engine_pid == first.engine_pid
    os.kill(first.engine_pid, signal.SIGKILL)
    check_done(finish(second), VIEWS)
    assert second.engine_pid != first.engine_pid


def test_the_same_engine_does_the_next_job(driver):
    first = driver.run()
    second = driver.run("another")
    check_done(second, VIEWS)
    assert second.engine_pid == first.engine_pid
    assert "goes on" not in (second.folder / "log.txt").read_text()


def test_an_idle_engine_leaves_and_the_next_job_works(driver):
    command = [sys.executable, "-c", IDLE, str(ROOT)]
    first = driver.run(command=command)
    check_done(first, VIEWS)
    wait_gone(first.engine_pid)
    check_done(driver.run("another", command=command), VIEWS)


IDLE = """
import sys
sys.argv, root = ["engine"], sys.argv[1]
sys.path[:0] = [root, root + "/tests/engine/support"]
from blender_3r.engine import methods
from blender_3r.engine.service.process import serve
methods.METHODS["fake"] = "fake_method"
serve(idle_s=0.4)
"""


@pytest.mark.parametrize(
    ("wrong", "message", "log"),
    [
        ("bug", "The engine failed unexpectedly (RuntimeError).", "RuntimeError: a wire is loose"),
        ("memory", "The computer ran out of memory.", None),
    ],
)
def test_a_bug_and_too_little_memory(driver, wrong, message, log):
    """Told; and the next job gets a fresh engine, because this one may hold on to what it could not finish."""
    driver.behave(**{"raise": wrong})
    job = driver.run()
    assert job.state.status == "failed"
    assert job.state.failure.message == message
    assert is_sentence(job.state.failure.hint)
    assert (job.state.failure.log[-1] if log else None) == log
    check_kept(job)
    driver.behave()
    again = driver.run()
    check_done(again, VIEWS, resumed=True)
    assert again.engine_pid != job.engine_pid


def test_footage_that_was_moved_does_not_cost_the_engine(driver, tmp_path):
    photos = write_photos(tmp_path / "soon gone", 3)
    job = driver.start("moved", footage=photos)
    shutil.rmtree(photos)
    finish(job)
    if job.state.status == "failed":  # else it was faster than we were
        assert job.state.failure.kind == "input"
        assert is_sentence(job.state.failure.message)
    again = driver.run()
    check_done(again, VIEWS)
    assert again.engine_pid == job.engine_pid


# -- disks


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("small maps", "No space left on device"),
        ("large maps", "No space left on device"),
        ("limit", "File too large"),
    ],
)
def test_disk_full_while_views_are_written(driver, mounts, how, reason):
    large = 10 if how == "large maps" else 1
    driver.behave(large=large, **({"limit": [3, 200]} if how == "limit" else {}))
    if how != "limit" and not mounts.small(driver.folder / "job", "700k" if large > 1 else "80k"):
        pytest.skip("this machine lets its tests mount nothing")
    job = driver.run()
    assert job.state.status == "failed"
    failure = job.state.failure
    assert failure.kind == "machine"
    assert failure.message == f"Cannot write to {job.folder} ({reason})."
    assert failure.hint == "Free disk space or choose another job folder; what is already there stays importable."
    assert 0 < len(job.of("view")) < VIEWS
    check_kept(job)
    driver.behave(large=large)
    if how != "limit":
        mounts.enlarge(job.folder, "20m")
    check_done(driver.run(), VIEWS, resumed=True)
    assert not list(job.folder.rglob(".tmp-*"))


def test_job_folder_that_can_only_be_read(driver, mounts):
    folder = driver.folder / "job"
    if not mounts.own(folder):
        pytest.skip("this machine lets its tests mount nothing")
    mounts.switch(folder, "ro")
    with pytest.raises(EngineError) as caught:
        driver.start()
    assert caught.value.message == f"The job folder {folder} cannot be written (Read-only file system)."
    assert "choose another job folder" in caught.value.hint
    check_done(driver.run("another"), VIEWS)
    mounts.switch(folder, "rw")
    check_done(driver.run(), VIEWS)


def test_views_that_become_read_only_in_mid_job(driver, mounts):
    driver.behave(sleep=0.2)
    job = finish(driver.start(), lambda state: state.views_ready >= 2)
    views = job.folder / "views"
    if not mounts.own(views):
        pytest.skip("this machine lets its tests mount nothing")
    mounts.switch(views, "ro")
    finish(job)
    assert job.state.status == "failed"
    assert job.state.failure.message == f"Cannot write to {job.folder} (Read-only file system)."
    assert 2 <= len(job.of("view")) < VIEWS
    check_kept(job)
    mounts.switch(views, "rw")
    driver.behave()
    check_done(driver.run(), VIEWS, resumed=True)


def test_something_in_the_way_of_the_views(driver):
    (driver.folder / "job").mkdir()
    (driver.folder / "job" / "views").write_text("mine")
    job = driver.run()
    assert job.state.status == "failed"
    assert is_sentence(job.state.failure.message)
    assert str(job.folder) in job.state.failure.message
    assert (job.folder / "views").read_text() == "mine"
    check_done(driver.run("another"), VIEWS)


# -- the pipe


@pytest.mark.parametrize("mode", ["garbage", "huge", "half"])
def test_noise_from_the_engine(driver, mode):
    """Garbage between messages; a line of 100 MB; messages in halves, and half a message at the end."""
    before = memory_peak()
    job = finish(driver.start(command=[sys.executable, str(FAKE), mode]))
    if mode == "half":
        assert job.state.status == "failed"
        assert job.state.failure.message == "The engine ended before the job was done."
    else:
        assert job.state.status == "done", job.state
    assert job.state.views_ready == 3
    assert list(JobFolder(job.folder).view_indices()) == [4, 9, 14]
    assert len(read_job(job.folder).solved_views) == 19
    assert memory_peak() - before < 40 << 20
    assert (job.folder / "log.txt").stat().st_size < 200_000
    check_done(driver.run("another"), VIEWS)


def memory_peak() -> int:
    """The most memory this process has held since the last call, in bytes; counting starts anew."""
    status = Path("/proc/self/status").read_text()
    Path("/proc/self/clear_refs").write_text("5")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


# -- cancel


def test_cancel_at_20_random_moments(driver, monkeypatch):
    monkeypatch.setattr(job_module, "CANCEL_GRACE_S", 20.0)  # none of them needs force
    driver.behave(sleep=0.15)  # longer than the latest of the moments
    rng = random.Random(4)
    cancelled = []
    for number in range(20):
        if number % 5 == 4:
            driver.keeper.rest()  # so that some moments lie before the handshake
        job = driver.start(f"job {number}")
        moment = time.monotonic() + rng.uniform(0, 0.6)
        finish(job, lambda state, moment=moment: time.monotonic() > moment)
        job.cancel()
        finish(job)
        assert job.state.status == "cancelled"
        check_kept(job)
        cancelled.append(job)
        assert zombies_of(os.getpid()) == []
        assert len(engines_of(os.getpid())) <= 2  # the kept one, and one that was sent away and is leaving
    stages = {(len(job.of("cameras")) > 0, len(job.of("view"))) for job in cancelled}
    assert len(stages) >= 4, "the moments were not that different"
    driver.behave()
    for job in cancelled[::4]:
        check_done(driver.run(job.folder.name), VIEWS)


def test_a_job_that_does_not_listen_is_ended_by_force(driver, monkeypatch):
    monkeypatch.setattr(job_module, "CANCEL_GRACE_S", 0.5)
    driver.behave(sleep=600)
    job = finish(driver.start(), lambda state: state.solved)
    job.cancel()
    finish(job)
    assert job.state.status == "cancelled"
    wait_gone(job.engine_pid)
    assert len(read_job(job.folder).solved_views) == VIEWS
    driver.behave()
    check_done(driver.run(), VIEWS, resumed=True)


def test_engines_that_die_leave_no_handles_behind(driver):
    driver.behave(kill_at=1)  # and so does the one that is started in its place
    counts = []
    for _ in range(6):
        job = driver.run()
        assert job.state.failure.message == "The engine was killed before the job was done."
        wait_gone(job.engine_pid)
        time.sleep(0.3)  # threads that close pipes
        counts.append(held(os.getpid()))
    assert counts[-1]["handles"] <= counts[1]["handles"]
    assert counts[-1]["threads"] <= counts[1]["threads"]


# -- twice


def test_the_same_job_started_twice(driver, tmp_path, footage):
    """In two Blenders: the second is told, the first goes on; then the second finds all of it done."""
    driver.behave(sleep=0.15)
    other = Driver(tmp_path, footage)
    driver.behave(sleep=0.15)
    first = finish(driver.start(), lambda state: state.views_ready >= 1)
    second = other.run()
    assert second.state.status == "failed"
    assert second.state.failure.message == f"Another engine is working on the job in {first.folder}."
    assert second.state.failure.hint.startswith("Wait for its end")
    check_done(finish(first), VIEWS, resumed=False)
    check_done(other.run(), VIEWS, resumed=True)
    for job in other.jobs:
        job.close()
    other.keeper.close(0.2)


# -- a thousand


def test_jobs_in_a_row_leave_nothing_behind(driver, tmp_path):
    """BLENDER_3R_TEST_JOBS says how many; 1000 take a minute or two."""
    count = int(os.environ.get("BLENDER_3R_TEST_JOBS") or 150)
    footage = [write_photos(tmp_path / "tiny", 2), write_movie(tmp_path / "tiny.mp4", 2)]
    begun = usage(driver, footage, count // 3)
    ended = usage(driver, footage, count - count // 3)
    print(f"\n{count} jobs: {begun} -> {ended}")
    for who in ("client", "engine"):
        assert ended[who]["handles"] <= begun[who]["handles"]
        assert ended[who]["threads"] <= begun[who]["threads"]
        assert ended[who]["memory"] - begun[who]["memory"] < 6 << 20
    assert len(begun["engines"] | ended["engines"]) == 1


def usage(driver: Driver, footage: list[Path], count: int) -> dict:
    """What both sides hold after so many more jobs."""
    pids = set()
    for number in range(count):
        job = driver.run(f"tiny {number % 7}", footage=footage[number % 2])
        assert job.state.status == "done", job.state
        assert len(job.of("view")) == 2
        pids.add(job.engine_pid)
        driver.jobs.clear()
    pid = driver.run("tiny 0", footage=footage[0]).engine_pid
    return {"client": held(os.getpid()), "engine": held(pid), "engines": pids}


def held(pid: int) -> dict[str, int]:
    status = Path(f"/proc/{pid}/status").read_text()
    value = {name: int(status.partition(f"{name}:")[2].split()[0]) for name in ("VmRSS", "Threads")}
    handles = len(os.listdir(f"/proc/{pid}/fd"))
    return {"memory": value["VmRSS"] * 1024, "threads": value["Threads"], "handles": handles}


# -- a model is taken away


def test_a_model_folder_removed_in_mid_run(driver, tmp_path, monkeypatch):
    """A real pair network with tiny weights: gone while the job runs, and back again."""
    python = ENVIRONMENTS["models"].interpreter
    if not python.exists():
        pytest.skip(f"{python} is not there: `make test` makes it")
    weights, away = tmp_path / "weights", tmp_path / "away"
    away.mkdir()
    subprocess.run([str(python), "-m", "tests.models.support.tiny_weights", str(away)], cwd=ROOT, check=True)
    monkeypatch.setenv("BLENDER_3R_RECORDS", str(weights))
    command = [str(python), str(ROOT / "blender_3r" / "engine"), "serve"]

    def start(name: str) -> job_module.Job:
        settings = {"model": "tiny-dust3r", "alignment": "reference", "iterations": 20, "device": "cpu"}
        request = make_request("pairwise", source_from_path(tmp_path / "photos"), {**settings, "min_confidence": 0})
        driver.jobs.append(job_module.Job(command, tmp_path / name, request, keeper=driver.keeper))
        return driver.jobs[-1]

    write_photos(tmp_path / "photos", 3)
    shutil.copytree(away, weights)
    job = finish(start("one"), lambda state: state.total)
    shutil.rmtree(weights)
    finish(job)
    if job.state.status == "failed":  # it was gone before it had been read
        assert job.state.failure.kind in ("machine", "usage", "input"), job.state.failure
        assert is_sentence(job.state.failure.message)
    else:
        assert job.state.summary["total"] == 3

    shutil.copytree(away, weights)
    job = finish(start("two"))
    assert job.state.status == "done", job.state
    assert read_job(job.folder).solved_views

"""The engine as a child process: handshake, jobs, cancel, garbage, and its end in every way."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import engine_command, fake_environment

from blender_3r.engine import protocol
from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.service.settings import make_request
from blender_3r.engine.source import source_from_path

PATIENCE_S = 40


class Child:
    """The engine process with its messages in a queue."""

    def __init__(self, log, how=None, arguments=()):
        self.log = open(log, "wb")  # noqa: SIM115 - closed with the child
        self.process = subprocess.Popen(
            engine_command("serve", *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=fake_environment(how),
        )
        self.decoder = protocol.Decoder()
        self.inbox = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while data := os.read(self.process.stdout.fileno(), 65536):
            for message in self.decoder.feed(data):
                self.inbox.put(message)

    def send(self, type_, **fields):
        self.write(protocol.encode(type_, **fields))

    def write(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def until(self, *types):
        """All messages up to the first of these types, which comes last."""
        seen = []
        while not seen or seen[-1]["type"] not in types:
            seen.append(self.inbox.get(timeout=PATIENCE_S))
        return seen

    def end(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


@pytest.fixture
def child(tmp_path):
    """Starts engine processes and ends them after the test."""
    children = []

    def start(**options):
        children.append(Child(tmp_path / f"stderr{len(children)}.txt", **options))
        return children[-1]

    yield start
    for one in children:
        one.end()


@pytest.fixture
def ask(movie, tmp_path):
    """The fields of a reconstruct message for the movie."""
    request = make_request("classic", source_from_path(movie), {})
    return {"job": str(tmp_path / "job"), "request": {**request, "method": "fake"}}


def test_handshake_job_and_quit(child, ask, tmp_path):
    engine = child(how={"print": True})
    hello = engine.until("hello")[-1]
    assert hello["protocol"] == protocol.VERSION
    assert hello["pid"] == engine.process.pid
    engine.send("reconstruct", id="j1", **ask)
    seen = engine.until("done", "failed")
    assert seen[-1]["type"] == "done"
    assert seen[-1]["summary"]["solved"] == 12
    assert {message["id"] for message in seen} == {"j1"}
    assert [m["type"] for m in seen if m["type"] in ("started", "cameras")] == ["started", "cameras"]
    assert sum(m["type"] == "view" for m in seen) == 12
    assert engine.decoder.rejected == []
    assert "chatter of a library" in (tmp_path / "stderr0.txt").read_text()
    engine.send("quit")
    assert engine.process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("arguments", [(), ("--step-aside",)])
def test_it_steps_aside_when_told_to(child, arguments):
    engine = child(arguments=arguments)
    assert engine.until("hello")[-1]["pid"] == engine.process.pid
    if hasattr(os, "SCHED_IDLE"):
        policy = os.SCHED_IDLE if arguments else os.SCHED_OTHER
        assert os.sched_getscheduler(engine.process.pid) == policy


def test_garbage_is_survived(child, ask, tmp_path):
    engine = child()
    engine.write(b"\xff\x00 garbage\n{}\n[]\n" + b"x" * (3 * protocol.MAX_LINE) + b"\n")
    engine.send("dance", id=1)
    engine.send("reconstruct", id=2, job=ask["job"], request="please")
    seen = engine.until("failed")
    assert seen[-1]["id"] == 2
    assert seen[-1]["kind"] == "usage"
    assert any(m["type"] == "log" and "dance" in m["text"] for m in seen)
    engine.send("reconstruct", id=3, **ask)
    assert engine.until("done", "failed")[-1]["type"] == "done"
    assert "no message" in (tmp_path / "stderr0.txt").read_text()


def test_methods_and_check(child):
    engine = child()
    engine.send("check", id=5)
    report = engine.until("checked", "failed")[-1]["report"]
    assert report["version"] == engine_version()
    assert report["packages"]["numpy"]
    engine.send("methods", id=6)
    answer = engine.until("methods", "failed")[-1]
    assert answer["id"] == 6


def engine_version():
    from blender_3r.engine import __version__

    return __version__


def test_cancel_ends_the_job_and_the_next_goes_on(child, ask, tmp_path):
    engine = child(how={"sleep": 0.15})
    engine.send("reconstruct", id=1, **ask)
    engine.until("view")
    engine.send("cancel", id=99)  # another job's
    engine.send("cancel", id=1)
    assert engine.until("cancelled", "done", "failed")[-1] == {"type": "cancelled", "id": 1}
    state = json.loads((tmp_path / "job" / "state.json").read_text())
    assert state["status"] == "cancelled"
    assert 1 <= state["views_ready"] < 12
    engine.send("reconstruct", id=2, **ask)
    seen = engine.until("done", "failed")
    assert seen[-1]["type"] == "done"
    assert next(m for m in seen if m["type"] == "started")["resumed"]


def test_a_second_job_meanwhile_is_refused(child, ask, tmp_path):
    engine = child(how={"sleep": 0.1})
    engine.send("reconstruct", id=1, **ask)
    engine.until("started")
    engine.send("reconstruct", id=2, **{**ask, "job": str(tmp_path / "other")})
    refusal = engine.until("failed")[-1]
    assert (refusal["id"], refusal["kind"]) == (2, "usage")
    assert not (tmp_path / "other").exists()
    assert engine.until("done")[-1]["id"] == 1


def test_closed_input_ends_the_process_in_the_middle_of_a_job(child, ask, tmp_path):
    engine = child(how={"sleep": 0.3})
    engine.send("reconstruct", id=1, **ask)
    engine.until("view")
    engine.process.stdin.close()
    assert engine.process.wait(PATIENCE_S) == 0
    assert JobFolder.open(tmp_path / "job").read_cameras().solved


def test_closed_input_ends_a_process_whose_job_does_not_listen(child, ask):
    engine = child(how={"sleep": 600})
    engine.send("reconstruct", id=1, **ask)
    engine.until("cameras")
    engine.process.stdin.close()
    assert engine.process.wait(PATIENCE_S) == 0


def test_a_job_whose_reports_nobody_reads_is_cancelled(ask, tmp_path):
    engine = subprocess.Popen(
        engine_command("serve"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=fake_environment({"sleep": 0.05}),
    )
    assert b"hello" in engine.stdout.readline()
    engine.stdout.close()
    engine.stdin.write(protocol.encode("reconstruct", id=1, **ask))
    engine.stdin.flush()
    state = tmp_path / "job" / "state.json"
    deadline = time.monotonic() + PATIENCE_S
    while not (state.exists() and json.loads(state.read_text())["status"] == "cancelled"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    engine.stdin.close()
    assert engine.wait(PATIENCE_S) == 0


def test_a_killed_engine_leaves_a_job_that_goes_on(child, ask, tmp_path):
    engine = child(how={"kill_at": 5})
    engine.send("reconstruct", id=1, **ask)
    assert engine.process.wait(PATIENCE_S) == -signal.SIGKILL
    job = JobFolder.open(tmp_path / "job")
    assert list(job.view_indices()) == [0, 1, 2, 3, 4]
    assert len(job.read_cameras().solved) == 12
    again = child()
    again.send("reconstruct", id=1, **ask)
    seen = again.until("done", "failed")
    assert seen[-1]["type"] == "done"
    assert [m["index"] for m in seen if m["type"] == "view"] == list(range(12))
    assert next(m for m in seen if m["type"] == "started")["resumed"]


PARENT = """
import subprocess, sys, time
engine = subprocess.Popen(sys.argv[1:], stdin=0)
time.sleep(600)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc to see whether the orphan ended")
def test_a_dead_parent_ends_the_engine_though_its_input_stays_open():
    """The engine inherits an input whose other end this test keeps open, as a sibling process may."""
    read_end, write_end = os.pipe()
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *engine_command("serve")],
        stdin=read_end,
        stdout=subprocess.PIPE,
        env=fake_environment(),
    )
    try:
        pid = json.loads(parent.stdout.readline())["pid"]  # the engine's own hello
        parent.kill()
        parent.wait()
        deadline = time.monotonic() + PATIENCE_S
        while is_running(pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not is_running(pid)
    finally:
        parent.stdout.close()
        os.close(read_end)
        os.close(write_end)


def is_running(pid):
    """Whether the process is there and no zombie that nobody waits for."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform == "win32", reason="process ids of parents are watched on POSIX only")
def test_a_named_parent_that_is_gone_ends_the_engine(child):
    finished = subprocess.Popen([sys.executable, "-c", ""])
    finished.wait()
    engine = child(arguments=("--parent", finished.pid))
    assert engine.process.wait(PATIENCE_S) == 0

"""The extension's client at the wheel of a real engine, without Blender: what the panel would show, and what lies in
the job folder. The engine's method is the one of `tests/engine/support/fake_method.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from blender_3r.client.job import Job, JobState
from blender_3r.client.keeper import Keeper
from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.service.settings import make_request
from blender_3r.engine.source import source_from_path
from blender_3r.scene.jobdata import read_job

ROOT = Path(__file__).parents[2]
ENGINE = [sys.executable, str(ROOT / "tests" / "engine" / "support" / "engine_with_fake.py"), "serve"]
PATIENCE_S = 60


class WatchedJob(Job):
    """A job that remembers what the engine announced."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.heard: list[dict[str, Any]] = []
        super().__init__(*arguments, **options)

    def _take(self, message: dict[str, Any]) -> None:
        if message.get("id") == self.id:
            self.heard.append(message)
        super()._take(message)

    def of(self, type_: str) -> list[dict[str, Any]]:
        return [message for message in self.heard if message["type"] == type_]


class Driver:
    """Starts jobs with one keeper, as one Blender does. behave(...) says how the method does from now on."""

    def __init__(self, folder: Path, footage: Path, keep: bool = True) -> None:
        self.folder, self.footage = folder, footage
        self.keeper = Keeper() if keep else None
        self.jobs: list[WatchedJob] = []
        self.behave()

    def behave(self, **how: Any) -> None:
        (self.folder / "behaviour.json").write_text(json.dumps(how))

    def start(self, name: str = "job", footage: Path | None = None, command: list[str] = ENGINE) -> WatchedJob:
        request = {**make_request("classic", source_from_path(footage or self.footage), {}), "method": "fake"}
        self.jobs.append(WatchedJob(list(command), self.folder / name, request, keeper=self.keeper))
        return self.jobs[-1]

    def run(self, name: str = "job", **options: Any) -> WatchedJob:
        return finish(self.start(name, **options))

    def close(self) -> None:
        for job in self.jobs:
            job.close()
        if self.keeper is not None:
            self.keeper.close(0.2)
        assert engines_of(os.getpid()) == [], "an engine was left behind"


def finish(job: Job, until: Callable[[JobState], object] = lambda state: False) -> Job:
    """Pump as Blender's timer does, until the job is over or its state as wished."""
    deadline = time.monotonic() + PATIENCE_S
    while not (job.state.is_over or until(job.state)):
        assert time.monotonic() < deadline, f"stuck: {job.state}"
        job.pump()
        time.sleep(0.002)
    return job


def check_kept(job: WatchedJob) -> None:
    """Whatever was announced is there, whole, and can be brought into a scene."""
    folder = JobFolder(job.folder)
    for message in job.of("view"):
        arrays = folder.read_view(message["index"])
        assert arrays["depth"][1:].min() == arrays["depth"].max() == 2.0 + message["index"]
    cameras = job.of("cameras")
    if cameras:
        data = read_job(job.folder, 10_000)
        assert len(data.solved_views) == cameras[-1]["solved"]
        assert len(data.cloud) > 0


def check_done(job: WatchedJob, views: int, resumed: bool | None = None) -> None:
    """A job that went well: nothing is missing."""
    assert job.state.status == "done", job.state
    assert [message["index"] for message in job.of("view")] == list(range(views))
    assert list(JobFolder(job.folder).view_indices()) == list(range(views))
    if resumed is not None:
        assert job.of("started")[0]["resumed"] is resumed
    check_kept(job)


def write_photos(folder: Path, count: int, width: int = 64) -> Path:
    """Small pictures of noise, 4:3."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(5)
    for number in range(count):
        picture = rng.integers(20, 255, (width * 3 // 4, width, 3)).astype(np.uint8)
        (folder / f"photo_{number:03d}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    return folder


def write_movie(path: Path, count: int) -> Path:
    """A small movie of noise."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"mp4v"), 25.0, (64, 48))
    rng = np.random.default_rng(6)
    for _ in range(count):
        writer.write(rng.integers(20, 255, (48, 64, 3)).astype(np.uint8))
    writer.release()
    return path


def engines_of(pid: int) -> list[int]:
    """Process ids of the engines that pid started and that have not been waited for."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            command = (status.parent / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has just ended
            continue
        if parent == pid and b"serve" in command:
            found.append(int(status.parent.name))
    return found


def zombies_of(pid: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = status.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == pid and state == "Z":
            found.append(int(status.parent.name))
    return found


def is_running(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_gone(pid: int, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while is_running(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there after {seconds:g} s"
        time.sleep(0.02)


class Mounts:
    """Small and read-only file systems, where this machine lets its tests mount any."""

    def __init__(self) -> None:
        self._folders: list[Path] = []

    def small(self, folder: Path, size: str) -> bool:
        """A file system of its own for folder. Returns whether that is possible here."""
        folder.mkdir(parents=True, exist_ok=True)
        return self._mount(folder, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)

    def enlarge(self, folder: Path, size: str) -> None:
        assert _succeeds("mount", "-o", f"remount,size={size}", folder)

    def own(self, folder: Path) -> bool:
        """Folder as a mount of its own, to be switched to reading only and back."""
        folder.mkdir(parents=True, exist_ok=True)
        return self._mount(folder, "--bind", folder, folder)

    def switch(self, folder: Path, to: str) -> None:
        """to: "ro" or "rw"."""
        assert _succeeds("mount", "-o", f"remount,{to},bind", folder)

    def close(self) -> None:
        for folder in self._folders:
            assert _succeeds("umount", folder), f"something still has a file open in {folder}"

    def _mount(self, folder: Path, *arguments: object) -> bool:
        done = _succeeds("mount", *arguments)
        if done:
            self._folders.append(folder)
        return done


def _succeeds(*command: object) -> bool:
    try:
        return subprocess.run([str(part) for part in command], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False

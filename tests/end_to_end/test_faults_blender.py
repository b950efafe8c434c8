"""Faults of whole Blenders: one is killed with a job running, two use one engine folder, two do the same job."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from blender_3r.client import environment, locks
from blender_3r.engine.jobfolder import JobFolder
from build_addon import build
from scripts.environments import ENVIRONMENTS, ROOT
from scripts.extension import environment_for
from tests.end_to_end.driving import engines_of, is_running, wait_gone

SHOT = ROOT / "demo" / "courtyard.mp4"
LIMIT_S = 300

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists() or not ENVIRONMENTS["blender"].interpreter.exists(),
    reason="looks at processes in /proc, of Blenders in .venv/blender",
)


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("dist"))


@contextmanager
def blender(scenario: str, package: Path, folder: Path, **variables: object) -> Iterator[subprocess.Popen[bytes]]:
    """A Blender that plays the scenario, in a folder of its own; it does not outlive the block."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [ENVIRONMENTS["blender"].interpreter, "-m", "tests.end_to_end.in_blender"]
    arguments = [scenario, package, sys.executable, SHOT, folder]
    known = environment_for(folder / "user") | {name: str(value) for name, value in variables.items()}
    with open(folder / "blender.log", "wb") as log:
        process = subprocess.Popen(
            [str(part) for part in (*command, *arguments)],
            cwd=ROOT,
            env=known,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(condition, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        log = (folder / "blender.log").read_text(errors="replace")[-2000:]
        assert process.poll() is None, f"Blender ended:\n{log}"
        assert time.monotonic() < deadline, f"waited in vain:\n{log}"
        time.sleep(0.05)


def test_blender_killed_with_a_job_running(package, tmp_path):
    jobs = tmp_path / "jobs"
    with blender("long", package, tmp_path) as process:
        wait_for(lambda: any(jobs.glob("*/request.json")), process, tmp_path)
        (engine,) = engines_of(process.pid)
        assert is_running(engine)
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_gone(engine, seconds=5)
    (job,) = jobs.iterdir()
    state = JobFolder(job).read_json("state")
    assert state["status"] in ("running", "cancelled")
    # Whoever comes next can have the folder and goes on: nobody holds it any more.
    command = [sys.executable, ROOT / "blender_3r" / "engine", "reconstruct", SHOT, "--out", job]
    options = ["--quality", "draft", "--no-dense", "--last", "5", "--json"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["solved"] == 6


@pytest.fixture
def engine_folder(tmp_path) -> Path:
    """An engine folder as the installer makes it, with the packages of this environment behind links."""
    if not locks.lock_path("classic").is_file():
        pytest.skip(f"there is no ready-made engine for {locks.platform_id()}")
    folder = tmp_path / "engine"
    made = environment.environment_folder(folder, "classic")
    made.mkdir(parents=True)
    for name in ("bin", "lib"):
        (made / name).symlink_to(Path(sys.prefix) / name, target_is_directory=True)
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", made)
    environment.write_marker(made, {"lock": locks.read_lock(locks.lock_path("classic")).hash})
    return folder


@pytest.mark.parametrize("jobs", ["two jobs", "the same job"])
def test_two_blenders_with_one_engine_folder(package, tmp_path, engine_folder, jobs):
    folders = [tmp_path / "both" / name for name in ("first", "second")]
    with blender_pair(package, folders, engine_folder, tmp_path, jobs == "the same job") as processes:
        for process, folder in zip(processes, folders, strict=True):
            wait_for((folder / "ready").exists, process, folder)
        (tmp_path / "both" / "go").touch()
        for process, folder in zip(processes, folders, strict=True):
            assert process.wait(LIMIT_S) == 0, (folder / "blender.log").read_text(errors="replace")[-3000:]
    found = [json.loads((folder / "found.json").read_text()) for folder in folders]
    well = [one for one in found if one["sentence"] is None]
    told = [one for one in found if one["sentence"] is not None]
    if jobs == "two jobs":
        assert len(well) == 2, found
    else:  # the second is told, unless it came so late that it found all of it done
        assert well, found
        assert all("Another engine is working on the job in" in one["sentence"] for one in told), found
    assert all(one["has_camera"] for one in well)
    for folder in {path for one in (tmp_path / "jobs").glob("*") for path in one.glob("**/cameras.json")}:
        assert len(JobFolder(folder.parent).read_cameras().solved) == 6
    for one in found:
        for engine in one["engine"]:
            wait_gone(engine, seconds=5)


@contextmanager
def blender_pair(package, folders, engine_folder, base, is_same) -> Iterator[list[subprocess.Popen[bytes]]]:
    variables = {"SHARED_ENGINE_FOLDER": engine_folder}
    first, second = (base / "jobs" / ("one" if is_same else folder.name) for folder in folders)
    with (
        blender("shared", package, folders[0], **variables, SHARED_JOBS=first) as one,
        blender("shared", package, folders[1], **variables, SHARED_JOBS=second) as other,
    ):
        yield [one, other]

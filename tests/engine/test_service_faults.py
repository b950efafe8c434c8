"""The engine's process and its job folders among faults and strangers: versions, noise, idleness, locks, links."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from conftest import fake_environment
from export_jobs import make_job
from test_jobfolder import sparse_arrays, view_arrays
from test_service_process import PATIENCE_S, Child

from blender_3r.engine import __version__, protocol
from blender_3r.engine.errors import EngineError
from blender_3r.engine.jobfolder import FolderInUse, JobFolder
from blender_3r.engine.service.runner import run_job
from blender_3r.engine.service.settings import make_request
from blender_3r.engine.source import source_from_path
from blender_3r.scene.jobdata import read_job

ROOT = Path(__file__).parents[2]


@pytest.fixture
def child(tmp_path):
    """Starts engine processes and ends them after the test."""
    children = []

    def start(**options):
        children.append(Child(tmp_path / f"stderr{len(children)}.txt", **options))
        children[-1].until("hello")
        return children[-1]

    yield start
    for one in children:
        one.end()


@pytest.fixture
def ask(movie, tmp_path):
    request = make_request("classic", source_from_path(movie), {})
    return {"job": str(tmp_path / "job"), "request": {**request, "method": "fake"}}


# -- the pipe


@pytest.mark.parametrize(
    ("hello", "words"),
    [
        ({"protocol": protocol.VERSION + 1, "version": __version__}, f"protocol {protocol.VERSION + 1}"),
        ({"protocol": protocol.VERSION, "version": "0.0.7"}, "version 0.0.7"),
        ({}, "protocol None"),
    ],
)
def test_another_version_of_the_extension_is_refused(child, hello, words):
    engine = child()
    engine.send("hello", **hello)
    refusal = engine.until("failed")[-1]
    assert words in refusal["message"]
    assert refusal["hint"].startswith("Restart Blender")
    assert "id" not in refusal
    assert engine.process.wait(PATIENCE_S) == 0


def test_a_hello_of_this_version_is_welcome(child, ask):
    engine = child()
    engine.send("hello", protocol=protocol.VERSION, version=__version__)
    engine.send("reconstruct", id=1, **ask)
    assert engine.until("done", "failed")[-1]["type"] == "done"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc")
def test_a_line_of_100_mb_and_halves_of_messages(child, ask):
    engine = child()
    engine.send("methods", id=0)
    engine.until("methods")
    before = peak_memory(engine.process.pid)
    for _ in range(100):
        engine.write(b"x" * (1 << 20))
    engine.write(b"\n")
    line = protocol.encode("reconstruct", id=1, **ask)
    for part in (line[:10], line[10:300], line[300:]):
        engine.write(part)
    assert engine.until("done", "failed")[-1]["type"] == "done"
    engine.send("methods", id=2)
    engine.until("methods")
    assert peak_memory(engine.process.pid) - before < 60 << 20  # the job itself loads OpenCV
    engine.write(line[:50])  # and then Blender dies
    engine.process.stdin.close()
    assert engine.process.wait(PATIENCE_S) == 0


def peak_memory(pid):
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024


def test_an_idle_engine_leaves_but_not_in_mid_job(ask, tmp_path):
    script = "from blender_3r.engine.service.process import serve; from blender_3r.engine import methods; "
    script += "methods.METHODS['fake'] = 'fake_method'; serve(idle_s=0.3)"
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent / "support")])
    engine = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**fake_environment({"sleep": 0.1}), "PYTHONPATH": path},
    )
    engine.stdin.write(protocol.encode("reconstruct", id=1, **ask))  # a job of 1.2 s
    engine.stdin.flush()
    said = [json.loads(line)["type"] for line in engine.stdout]  # until it leaves, its input still open
    assert said[-1] == "done"
    assert said.count("view") == 12
    assert engine.wait(PATIENCE_S) == 0
    engine.stdin.close()
    engine.stdout.close()


# -- one engine per job folder

HOLDER = """
    import sys
    sys.path.insert(0, {root!r})
    from blender_3r.engine.jobfolder import JobFolder
    with JobFolder.create({job!r}).claimed():
        print("held", flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    script = textwrap.dedent(HOLDER.format(root=str(ROOT), job=str(tmp_path / "job")))
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline().strip() == b"held"
    yield process
    process.kill()
    process.communicate()


def test_a_held_job_folder_is_left_alone(holder, ask, tmp_path, fake_method):
    half_written = tmp_path / "job" / "views" / ".tmp-of-the-other"
    half_written.mkdir()
    (tmp_path / "job" / "request.json").write_text("{}")
    before = sorted(path.name for path in (tmp_path / "job").rglob("*"))
    with pytest.raises(FolderInUse, match="Another engine is working") as caught:
        run_job(ask["request"], ask["job"], lambda *a, **k: None)
    assert caught.value.kind == "usage"
    assert sorted(path.name for path in (tmp_path / "job").rglob("*")) == before
    holder.kill()
    holder.wait()
    assert run_job(ask["request"], ask["job"], lambda *a, **k: None)["solved"] == 12
    assert not half_written.exists()


def test_a_second_claim_in_one_process_is_refused_too(tmp_path):
    job = JobFolder.create(tmp_path / "job")
    with job.claimed(), pytest.raises(FolderInUse), JobFolder(job.path).claimed():
        pass
    with job.claimed():
        pass


# -- nothing leads out of a job folder, nothing in it is executed


@pytest.fixture
def outside(tmp_path):
    """A job of somebody else, and a file that must stay as it is."""
    job = make_job(tmp_path / "outside", views=2)
    (job.path / "precious.txt").write_text("precious")
    yield job.path
    assert (job.path / "precious.txt").read_text() == "precious"
    assert sorted(path.name for path in (job.path / "views").iterdir()) == ["000000", "000001"]


def link(path, target, is_folder=False):
    try:
        path.symlink_to(target, target_is_directory=is_folder)
    except OSError:
        pytest.skip("links cannot be made here")


@pytest.mark.parametrize("name", ["cameras.json", "views", "sparse", "views/000001", "views/000001/depth.npy"])
def test_links_that_lead_out_are_not_read(tmp_path, outside, name):
    job = make_job(tmp_path / "job", views=2)
    path = job.path / name
    if path.is_dir():
        path.rename(tmp_path / "old")
    else:
        path.unlink()
    link(path, outside / name, (outside / name).is_dir())
    with pytest.raises(EngineError, match="leads out of the job folder") as caught:
        read_job(job.path)
    assert caught.value.kind == "input"
    assert str(path) in caught.value.message


def test_a_request_that_is_a_link_is_not_read(tmp_path, outside):
    job = make_job(tmp_path / "job", views=2)
    (outside / "secret.json").write_text("{}")
    link(job.path / "request.json", outside / "secret.json")
    with pytest.raises(EngineError, match="leads out of the job folder"):
        read_job(job.path)


def test_links_within_the_folder_and_to_the_folder_are_followed(tmp_path):
    job = make_job(tmp_path / "job", views=2)
    (job.path / "views").rename(job.path / "kept")
    link(job.path / "views", job.path / "kept", is_folder=True)
    link(tmp_path / "other name", job.path, is_folder=True)
    assert len(read_job(tmp_path / "other name").cloud) > 0


@pytest.mark.parametrize("name", ["views", "sparse"])
def test_nothing_is_written_through_a_link(tmp_path, outside, name):
    job = JobFolder.create(tmp_path / "job")
    if (job.path / name).is_dir():
        (job.path / name).rmdir()
    link(job.path / name, outside / name, is_folder=True)
    writes = {"views": lambda: job.write_view(0, view_arrays(1)), "sparse": lambda: job.write_sparse(sparse_arrays(1))}
    for action in (writes[name], job.clear_results):
        with pytest.raises(EngineError, match="leads out of the job folder"):
            action()
    if name == "views":
        with pytest.raises(EngineError, match="leads out of the job folder"):
            JobFolder.create(job.path)


def test_a_job_into_a_folder_with_links_spares_what_they_lead_to(tmp_path, outside, ask, fake_method):
    folder = tmp_path / "job"
    (folder / "views").mkdir(parents=True)
    for name in ("log.txt", "state.json", "tracks.npz", ".tmp-tracks.npz"):
        link(folder / name, outside / "precious.txt")
    (folder / "request.json").write_text("{}")
    run_job(ask["request"], folder, lambda *a, **k: None)
    assert json.loads((folder / "state.json").read_text())["status"] == "done"
    assert not (folder / "state.json").is_symlink()
    assert (folder / "log.txt").is_symlink()  # left as it was; nothing was appended to what it leads to
    (folder / ".lock").unlink()
    link(folder / ".lock", outside / "precious.txt")
    with pytest.raises(EngineError, match="Cannot write"):
        run_job(ask["request"], folder, lambda *a, **k: None)


@pytest.mark.parametrize("name", ["../../escaped.jpg", "/escaped.jpg"])
def test_names_in_cameras_are_no_ways_out(tmp_path, name):
    from blender_3r.engine.export import export_job

    job = make_job(tmp_path / "job", views=2)
    data = json.loads((job.path / "cameras.json").read_text())
    data["images"][0]["file"] = name
    (job.path / "cameras.json").write_text(json.dumps(data))
    (tmp_path / "out").mkdir()
    with pytest.raises(EngineError, match="is no file name"):
        export_job(job.path, "depth-npy", tmp_path / "out" / "deeper")
    assert not list(tmp_path.rglob("escaped*"))


class Trap:
    """Pickled, it would write a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_pickles_in_a_job_folder_are_not_run(tmp_path):
    job = make_job(tmp_path / "job", views=2)
    trap = np.empty(1, dtype=object)
    trap[0] = Trap(tmp_path / "sprung")
    np.save(job.path / "views" / "000000" / "depth.npy", trap, allow_pickle=True)
    np.savez(job.path / "tracks.npz", xy=trap)
    with pytest.raises(EngineError, match="cannot be read"):
        read_job(job.path)
    assert job.read_npz("tracks") is None
    assert not (tmp_path / "sprung").exists()


FORBIDDEN = {"eval", "exec", "os.system", "os.popen", "pickle.load", "pickle.loads", "subprocess.getoutput"}
SAFE = {"np.load": ("allow_pickle", False), "torch.load": ("weights_only", True)}


def test_no_shell_and_no_execution_of_what_is_read():
    """In all that ships: no shell, no evaluation of text, no reader of arrays or weights that may run something."""
    wrong = []
    for path in sorted((ROOT / "blender_3r").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            options = {option.arg: option.value for option in node.keywords}
            shell = options.get("shell")
            if name in FORBIDDEN or (shell is not None and ast.unparse(shell) != "False"):
                wrong.append(f"{path}:{node.lineno}: {name}")
            if name in SAFE:
                option, value = SAFE[name]
                given = options.get(option)
                if not (isinstance(given, ast.Constant) and given.value is value):
                    wrong.append(f"{path}:{node.lineno}: {name} without {option}={value}")
    assert wrong == []

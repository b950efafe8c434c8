"""A real scene through the four streaming networks, tiny and with random weights: command line, job folder, Blender.

The engine and Blender are processes of their own. The geometry means nothing; that all of it arrives does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from blender_3r.engine.geometry.similarity import fit_cameras
from scripts.environments import ROOT

BLENDER = ROOT / ".venv" / "blender" / "bin" / "python"
ENGINE = ROOT / ".venv" / "models" / "bin" / "python"
FOOTAGE = ROOT / "tests" / "data" / "office" / "office_0000.jpg"
SHOT = ROOT / "demo" / "courtyard.mp4"
MODELS = ("cut3r", "point3r", "spann3r", "wint3r")
PATIENCE_S = 240

pytestmark = [
    pytest.mark.skipif(not (BLENDER.exists() and ENGINE.exists()), reason="needs .venv/blender and .venv/models"),
    pytest.mark.skipif(sys.platform == "win32", reason="the engine's Python is told by a shell script"),
]


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory):
    """(environment of all processes, folder): no weights on this machine but the tiny ones."""
    folder = tmp_path_factory.mktemp("streaming")
    known = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    known |= {"XDG_DATA_HOME": str(folder / "data"), "OMP_NUM_THREADS": "1", "HF_HUB_CACHE": str(folder / "hub")}
    known |= {"BLENDER_3R_RECORDS": str(folder / "records")}
    weights = [ENGINE, "-m", "tests.models.support.tiny_streaming", folder / "records"]
    subprocess.run(weights, check=True, cwd=ROOT, env=known, timeout=PATIENCE_S)
    return known, folder


def arguments(source: Path, job: Path, model: str, *more: str) -> list[str]:
    """Of the engine's command line."""
    asked = ["--method", "streaming", "--model", f"tiny-{model}", "--device", "cpu", "--threads", "1", "--json"]
    return ["reconstruct", str(source), "--out", str(job), *asked, *more]


@pytest.fixture(scope="module")
def jobs(surroundings):
    """The summary of each model's job from the command line; one process does them all, PyTorch takes its time."""
    known, folder = surroundings
    lines = [
        arguments(FOOTAGE, folder / model, model, *(("--every", "2") if model == "cut3r" else ())) for model in MODELS
    ]
    code = "import json, sys; from blender_3r.engine.service.cli import main\n"
    code += "sys.exit(any([main(line) for line in json.loads(sys.argv[1])]))"
    done = subprocess.run(
        [ENGINE, "-c", code, json.dumps(lines)],
        env=known,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(MODELS, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("model", MODELS)
def test_every_model_runs_a_real_scene_from_the_command_line(jobs, surroundings, model):
    summary, folder = jobs[model], surroundings[1] / model
    assert (summary["solved"], summary["total"]) == (9, 9)
    assert summary["interpolated"] == (4 if model == "cut3r" else 0)
    cameras = json.loads((folder / "cameras.json").read_text(encoding="utf-8"))
    poses = np.array([image["c2w"] for image in cameras["images"]])
    turns = poses[:, :3, :3]
    assert np.allclose(turns @ turns.transpose(0, 2, 1), np.eye(3), atol=1e-5)
    assert np.allclose(np.linalg.det(turns), 1, atol=1e-5)
    assert [image["frame"] for image in cameras["images"]] == list(range(9))
    views = sorted(int(path.name) for path in (folder / "views").iterdir())
    assert views == (list(range(0, 9, 2)) if model == "cut3r" else list(range(9)))
    assert not list(folder.glob("*.npz"))


def test_blender_shows_them_and_runs_one_itself(jobs, surroundings):
    known, folder = surroundings
    script = ROOT / "tests" / "end_to_end" / "streaming_in_blender.py"
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "blender")])
    done = subprocess.run(
        [BLENDER, script, folder, ENGINE, FOOTAGE, *(folder / model for model in MODELS)],
        env={**known, "PYTHONPATH": paths},
        cwd=ROOT,
        timeout=PATIENCE_S,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    facts = json.loads((folder / "facts.json").read_text())
    for model in MODELS:
        found = facts[model]
        assert found["cameras"] == 1, "one animated camera of a sequence"
        assert found["frames"] == sorted(found["frames"])
        assert len(found["frames"]) == 9
        assert found["points"] > 1000
    between = ["KEYFRAME" if index % 2 == 0 else "BREAKDOWN" for index in range(9)]
    assert facts["cut3r"]["kinds"] == between
    assert facts["wint3r"]["kinds"] == ["KEYFRAME"] * 9
    assert (facts["summary"]["solved"], facts["summary"]["interpolated"]) == (9, 6), facts["failure"]
    assert facts["live"]["kinds"].count("BREAKDOWN") == 6
    assert facts["live"]["points"] > 1000


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
def test_a_killed_engine_goes_on_from_the_state_it_left(surroundings):
    known, folder = surroundings
    job = folder / "killed"
    line = [ENGINE, ROOT / "blender_3r" / "engine", *arguments(SHOT, job, "wint3r")]
    # The state is kept once a second at most, and so small a job may be done by then.
    code = "import json, sys; from blender_3r.engine.methods.streaming import store; store.EVERY_S = 0.0\n"
    code += "from blender_3r.engine.service.cli import main; sys.exit(main(json.loads(sys.argv[1])))"
    begun = [ENGINE, "-c", code, json.dumps(arguments(SHOT, job, "wint3r"))]
    engine = subprocess.Popen(begun, env=known, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + PATIENCE_S
        while not ((job / "stream.npz").exists() and len(list((job / "views").glob("0*"))) >= 4):
            assert engine.poll() is None, engine.communicate()
            assert time.monotonic() < end
            time.sleep(0.01)
        engine.send_signal(signal.SIGKILL)
    finally:
        engine.kill()
        engine.wait()
    there = {path.name for path in (job / "views").glob("0*")}
    cameras = json.loads((job / "cameras.json").read_text(encoding="utf-8"))
    solved = {index for index, image in enumerate(cameras["images"]) if image["c2w"] is not None}
    assert len(solved) >= 4
    again = subprocess.run(line, env=known, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["solved"] == 40
    assert "an earlier run is gone on with" in (job / "log.txt").read_text()
    assert there <= {path.name for path in (job / "views").glob("0*")}
    assert len(list((job / "views").glob("0*"))) == 40
    assert not (job / "stream.npz").exists()


def test_cameras_are_refined_on_the_footage(surroundings):
    """Two processes, the second goes on with the step that the first was killed in; the truth is the demo's."""
    known, folder = surroundings
    job = folder / "refined"
    line = arguments(SHOT, job, "cut3r", "--every", "4", "--step", "2", "--refine", "--quality", "draft")
    engine = subprocess.Popen(
        [ENGINE, ROOT / "blender_3r" / "engine", *line],
        env=known,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        end = time.monotonic() + PATIENCE_S
        while not (job / "predicted.json").exists():
            assert engine.poll() is None, engine.communicate()
            assert time.monotonic() < end
            time.sleep(0.01)
    finally:
        engine.kill()
        engine.wait()
    done = subprocess.run(
        [ENGINE, ROOT / "blender_3r" / "engine", *line],
        env=known,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["solved"], summary["interpolated"]) == (20, 0)
    assert "what the network found is there from an earlier run" in (job / "log.txt").read_text()
    images = json.loads((job / "cameras.json").read_text(encoding="utf-8"))["images"]
    truth = json.loads((ROOT / "demo" / "reference.json").read_text(encoding="utf-8"))["images"]
    true = {image["frame"]: image for image in truth}
    found, known_poses = (
        np.array([one["c2w"] for one in some]) for some in (images, [true[i["frame"]] for i in images])
    )
    moved = fit_cameras(found, known_poses).move_cameras(found)
    path = np.linalg.norm(np.diff(known_poses[:, :3, 3], axis=0), axis=1).sum()
    assert np.linalg.norm(moved[:, :3, 3] - known_poses[:, :3, 3], axis=1).max() < 0.01 * path
    assert images[0]["fx"] == pytest.approx(true[0]["fx"], rel=0.02)
    assert len(list((job / "views").glob("0*"))) == 6

"""A real scene through the networks that see all views at once, tiny and with random weights: command line, job folder,
Blender.

The engine and Blender are processes of their own. The geometry means nothing; that all of it arrives does.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from scripts.environments import ROOT

BLENDER = ROOT / ".venv" / "blender" / "bin" / "python"
ENGINE = ROOT / ".venv" / "models" / "bin" / "python"
FRAMES = ROOT / "tests" / "data" / "office"
MODELS = ("vggt", "pi3", "pi3x", "fast3r", "mv-dust3r", "mv-dust3r-plus")
COUNT = 5
PATIENCE_S = 240

pytestmark = [
    pytest.mark.skipif(not (BLENDER.exists() and ENGINE.exists()), reason="needs .venv/blender and .venv/models"),
    pytest.mark.skipif(sys.platform == "win32", reason="the engine's Python is told by a shell script"),
]


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory):
    """(environment of all processes, folder): no weights on this machine but the tiny ones."""
    folder = tmp_path_factory.mktemp("multiview")
    known = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    known |= {"XDG_DATA_HOME": str(folder / "data"), "OMP_NUM_THREADS": "1", "HF_HUB_CACHE": str(folder / "hub")}
    known |= {"BLENDER_3R_RECORDS": str(folder / "records")}
    (folder / "photos").mkdir()
    for number, path in enumerate(sorted(FRAMES.glob("*.jpg"))[:COUNT]):
        shutil.copy(path, folder / "photos" / f"photo {number}.jpg")
    weights = [ENGINE, "-m", "tests.models.support.tiny_multiview_weights", folder / "records"]
    subprocess.run(weights, check=True, cwd=ROOT, env=known, timeout=PATIENCE_S)
    return known, folder


@pytest.fixture(scope="module")
def jobs(surroundings):
    """The summary of each model's job from the command line."""
    known, folder = surroundings
    found = {}
    for model in MODELS:
        asked = ["--method", "multiview", "--model", f"tiny-{model}", "--device", "cpu", "--threads", "1", "--json"]
        more = ["--kind", "photos", "--chunk-size", "3", "--overlap", "1", "--focal", "500", "--min-confidence", "0"]
        command = [ENGINE, ROOT / "blender_3r" / "engine", "reconstruct", folder / "photos", "--out", folder / model]
        done = subprocess.run(
            [*command, *asked, *more], env=known, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S
        )
        assert done.returncode == 0, done.stderr
        found[model] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("model", MODELS)
def test_every_model_runs_a_real_scene_from_the_command_line(jobs, surroundings, model):
    summary, folder = jobs[model], surroundings[1] / model
    assert (summary["solved"], summary["total"]) == (COUNT, COUNT)
    cameras = json.loads((folder / "cameras.json").read_text(encoding="utf-8"))
    poses = np.array([image["c2w"] for image in cameras["images"]])
    turns = poses[:, :3, :3]
    assert np.allclose(turns @ turns.transpose(0, 2, 1), np.eye(3), atol=1e-5)
    assert np.allclose(np.linalg.det(turns), 1, atol=1e-5)
    assert np.array_equal(poses[:, 3], np.tile([0, 0, 0, 1], (COUNT, 1)))
    assert [image["file"] for image in cameras["images"]] == [f"photo {number}.jpg" for number in range(COUNT)]
    assert all(image["fx"] == pytest.approx(500) for image in cameras["images"])
    assert cameras["metric"] is (model == "pi3x")
    assert sorted(int(path.name) for path in (folder / "views").iterdir()) == list(range(COUNT))
    assert (folder / "gaussians").exists() is model.startswith("mv")
    assert "seam: views 2-2" in (folder / "log.txt").read_text(encoding="utf-8")
    assert not list(folder.glob("chunk_*"))


def test_blender_shows_them_and_runs_one_itself(jobs, surroundings):
    known, folder = surroundings
    script = ROOT / "tests" / "end_to_end" / "multiview_in_blender.py"
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "blender")])
    done = subprocess.run(
        [BLENDER, script, folder, ENGINE, folder / "photos", *(folder / model for model in MODELS)],
        env={**known, "PYTHONPATH": paths},
        cwd=ROOT,
        timeout=PATIENCE_S,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    facts = json.loads((folder / "facts.json").read_text())
    for model in MODELS:
        assert len(facts[model]["cameras"]) == COUNT, "one camera for each photo"
        assert facts[model]["points"] > 500
    assert facts["estimate"]["text"].startswith("5 images in 2 passes of 4, 2 of them shared")
    assert facts["summary"] is not None, facts["failure"]
    assert facts["summary"]["solved"] == COUNT
    assert len(facts["live"]["cameras"]) == COUNT
    assert facts["live"]["points"] > 500

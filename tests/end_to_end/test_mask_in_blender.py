"""A mask of the Movie Clip Editor, drawn by Blender and respected by the real engine, in two processes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from scripts.environments import ROOT

BLENDER = ROOT / ".venv" / "blender" / "bin" / "python"
ENGINE = ROOT / ".venv" / "engine" / "bin" / "python"

pytestmark = pytest.mark.skipif(not (BLENDER.exists() and ENGINE.exists()), reason="needs .venv/blender, .venv/engine")


def test_nothing_is_followed_under_the_mask(tmp_path):
    movie = ROOT / "demo" / "courtyard.mp4"
    known = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_DATA_HOME": str(tmp_path / "data")}
    known["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "blender")])
    command = [BLENDER, ROOT / "tests" / "end_to_end" / "mask_in_blender.py", tmp_path, movie, ENGINE]
    done = subprocess.run(command, env=known, cwd=ROOT, timeout=240, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["done"] == [True, True]
    assert not facts["solved_again"], "the same mask leaves the job as it is"
    job = Path(facts["job"])
    assert json.loads((job / "request.json").read_text())["settings"]["mask"] == str(job / "mask")
    assert len(list((job / "mask").iterdir())) == 11
    xy = np.load(job / "tracks.npz")["xy"]
    assert len(xy) > 500
    assert xy[:, 0].min() > 0.4 * 640 - 1
    assert (xy[:, 0] < 0.5 * 640).any()

"""Make Surface from Blender with the real engine, in two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from scripts.environments import ROOT

sys.path.insert(0, str(ROOT / "tests" / "engine" / "support"))
import ball_scene

BLENDER = ROOT / ".venv" / "blender" / "bin" / "python"
ENGINE = ROOT / ".venv" / "engine" / "bin" / "python"

pytestmark = pytest.mark.skipif(not (BLENDER.exists() and ENGINE.exists()), reason="needs .venv/blender, .venv/engine")


def test_make_it_make_it_again_be_refused_and_cancel(tmp_path):
    job = (tmp_path / "ball").resolve()
    made = ball_scene.make_job(job, 9)
    for index in range(9):
        ball = np.array(made.read_view(index)["color"][..., 0] == ball_scene.BALL_COLOR[0])
        made.add_to_view(index, {"moving": ball})
    known = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_DATA_HOME": str(tmp_path / "data")}
    known["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "blender")])
    command = [BLENDER, ROOT / "tests" / "end_to_end" / "surface_in_blender.py", tmp_path, job, ENGINE]
    done = subprocess.run(command, env=known, cwd=ROOT, timeout=180, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    facts = json.loads((tmp_path / "facts.json").read_text())
    finished, first = facts["made"]
    assert finished
    assert first["names"] == ["ball Surface"]
    assert 2000 < first["faces"][0] <= 3000
    assert {"ball", "ball Cameras", "ball Points", "ball Surfaces"} <= set(first["collections"])
    assert facts["summary"]["kind"] == "surface"
    again = facts["again"]
    assert (again["names"], again["meshes"]) == (first["names"], first["meshes"]), "in place"
    assert 500 < again["faces"][0] <= 800
    assert facts["same_engine"], "it stays for the next job"
    assert not ball_scene.is_on_ball(np.load(tmp_path / "without.npy")).any(), "what moves"
    assert ball_scene.is_on_ball(np.load(tmp_path / "with.npy")).any(), "it was asked for"
    assert facts["masks"]
    assert len(list((tmp_path / "masks" / "masks").glob("frame_*.png"))) == 9
    assert "finer than the depth maps" in facts["refused"]
    assert facts["cancelled"] == "cancelled"
    assert facts["after"] == again

"""Export and Load Depth from Blender with the real engine, in two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from blender_3r.engine.jobfolder import JobFolder
from scripts.environments import ROOT

sys.path.insert(0, str(ROOT / "tests" / "engine" / "support"))
import export_jobs

BLENDER = ROOT / ".venv" / "blender" / "bin" / "python"
ENGINE = ROOT / ".venv" / "engine" / "bin" / "python"

pytestmark = pytest.mark.skipif(not (BLENDER.exists() and ENGINE.exists()), reason="needs .venv/blender, .venv/engine")


def test_export_be_refused_report_and_load_depth(tmp_path):
    job = (tmp_path / "some photos").resolve()
    export_jobs.make_job(job, 2)
    known = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_DATA_HOME": str(tmp_path / "data")}
    known["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "blender")])
    command = [BLENDER, ROOT / "tests" / "end_to_end" / "export_in_blender.py", tmp_path, job, ENGINE]
    done = subprocess.run(command, env=known, cwd=ROOT, timeout=180, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["jsx"]
    assert facts["ply"]
    assert facts["poses"]
    assert facts["text"] == "Poses as Text written to poses."
    assert (tmp_path / "a.jsx").is_file()
    assert (tmp_path / "cloud.ply").is_file()
    assert (tmp_path / "poses" / "poses.json").is_file()
    assert "no export wrote" in facts["refused"]
    assert facts["report"] == [True, "Report"]
    assert facts["pictures"][1] == ["some photos Plot", [960, 720]]
    assert facts["pictures"][0][0] == "some photos Contact Sheet"
    assert facts["loaded"]
    assert facts["images"] == ["00 Confidence", "00 Depth", "01 Confidence", "01 Depth"]
    for index in range(2):
        arrays = JobFolder.open(job).read_view(index)
        for kind in ("depth", "confidence"):
            values = np.load(tmp_path / f"{kind}-{index:02d}.npy")
            np.testing.assert_array_equal(values, arrays[kind])

"""Models from inside Blender, with the real engine and a hub that stands in for the real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from scripts.environments import ROOT
from tests.models.support.stand_in_hub import Served, StandIn

BLENDER = ROOT / ".venv" / "blender" / "bin" / "python"
ENGINE = ROOT / ".venv" / "models" / "bin" / "python"
DATA = bytes(range(256)) * 8192  # 2 MiB
PATIENCE_S = 120
RECORDS = """
[[models]]
id = "hubbed"
title = "From the Hub"
method = "pairwise"
architecture = "dust3r"
license = "CC BY-NC-SA 4.0"
license_url = "https://licence.invalid/"
download_bytes = 2097152
image_size = 64
files = [{ repo = "somebody/model", file = "model.safetensors" }]
"""

pytestmark = [
    pytest.mark.skipif(not (BLENDER.exists() and ENGINE.exists()), reason="needs .venv/blender and .venv/models"),
    pytest.mark.skipif(sys.platform == "win32", reason="the engine's Python is told by a shell script"),
]


@pytest.fixture
def stand_in():
    server = StandIn()
    server.hub_files["somebody/model/model.safetensors"] = Served(DATA)
    yield server
    server.close()


def test_list_accept_download_pause_resume_remove(stand_in, tmp_path):
    """One step after the other, told to Blender over its standard input; the server holds back what is to be paused."""
    served = stand_in.hub_files["somebody/model/model.safetensors"]
    served.gate = threading.Event()
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "some.toml").write_text(RECORDS)
    known = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    known |= {"HF_ENDPOINT": stand_in.hub_url, "NO_PROXY": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    known["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "blender")])
    known |= {"BLENDER_3R_RECORDS": str(tmp_path / "records"), "XDG_DATA_HOME": str(tmp_path / "data")}
    with open(tmp_path / "blender.log", "wb") as log:
        blender = subprocess.Popen(
            [BLENDER, ROOT / "tests" / "end_to_end" / "models_in_blender.py", tmp_path, ENGINE],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=known,
            cwd=ROOT,
        )
        try:
            facts = follow(blender, served, tmp_path)
        finally:
            blender.kill()
            blender.wait()
    assert (
        facts["refused"] == "The licence of From the Hub (CC BY-NC-SA 4.0) was not accepted, so nothing is downloaded"
    )
    assert facts["listed"] == {"downloaded": False, "begun_bytes": 0, "commercial_use": False, "allowed": True}
    assert facts["progress"]["done"] == 65536
    assert facts["progress"]["total"] == len(DATA)
    assert facts["paused"]["begun_bytes"] == 65536
    assert facts["done"] == {"downloaded": True, "begun_bytes": 0, "commercial_use": False, "allowed": True}
    assert stand_in.bodies()[-1].headers["range"] == "bytes=65536-", "it went on where it had stopped"
    assert facts["removed"]["downloaded"] is False
    assert facts["longest_s"] < 0.2, "the main thread waited"
    assert "is damaged or no checkpoint (its content is not that of one)" in facts["stranger"]
    assert not list((tmp_path / "weights" / "hub").rglob("*.safetensors"))


def follow(blender, served, folder: Path) -> dict:
    """Open the gate once Blender tells that it has paused; its facts in the end."""
    end = time.monotonic() + PATIENCE_S
    facts = folder / "facts.json"
    while not facts.exists():
        assert time.monotonic() < end, (folder / "blender.log").read_text()[-3000:]
        assert blender.poll() is None, (folder / "blender.log").read_text()[-3000:]
        if (folder / "has paused").exists():
            served.gate.set()
        if (folder / "file there").exists() and not (folder / "seen").exists():
            whole = [path.read_bytes() == DATA for path in (folder / "weights" / "hub").rglob("*.safetensors")]
            assert whole == [True]
            (folder / "seen").touch()
        time.sleep(0.02)
    return json.loads(facts.read_text())


def test_a_pairwise_job_from_the_panel(tmp_path):
    """Estimate and job with a tiny network of random weights: cameras come, though they mean nothing."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    known |= {"XDG_DATA_HOME": str(tmp_path / "data"), "OMP_NUM_THREADS": "1"}
    known |= {"HF_HUB_CACHE": str(tmp_path / "hub"), "BLENDER_3R_RECORDS": str(tmp_path / "records")}
    weights = [ENGINE, "-m", "tests.models.support.tiny_weights", tmp_path / "records"]
    (tmp_path / "records").mkdir()
    subprocess.run(weights, check=True, cwd=ROOT, env=known, timeout=PATIENCE_S)
    known["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "blender")])
    script = ROOT / "tests" / "end_to_end" / "pairwise_in_blender.py"
    command = [BLENDER, script, tmp_path, ENGINE, ROOT / "demo" / "courtyard.mp4"]
    done = subprocess.run(command, env=known, cwd=ROOT, timeout=PATIENCE_S, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["missing"] == []
    assert facts["without_weights"][0] is False
    assert "The weights of MASt3R 512, metric are not on this machine" in facts["without_weights"][1]
    estimate = facts["estimate"]
    assert (estimate["images"], estimate["device"], estimate["fits"]) == (4, "cpu", True)
    assert estimate["pairs"] == 12
    assert facts["request"]["model"] == "tiny-mast3r"
    assert facts["summary"]["total"] == 4
    assert facts["cameras"] == 1, "one animated camera of a movie"
    assert facts["zoo_engine_is_gone"]

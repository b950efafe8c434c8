"""The command line with the real method, as a script or a render farm uses it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.environments import ROOT
from tests.end_to_end.alignment import path_error

SHOT = ROOT / "demo" / "courtyard.mp4"
REFERENCE = ROOT / "demo" / "reference.json"


def engine(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "blender_3r" / "engine"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=600)


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> Path:
    """The demo shot, solved without dense points."""
    folder = tmp_path_factory.mktemp("jobs") / "out put ü"
    done = engine("reconstruct", SHOT, "--out", folder, "--no-dense", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["solved"], summary["total"]) == (40, 40)
    return folder


def test_the_method_was_chosen(job):
    request = json.loads((job / "request.json").read_text(encoding="utf-8"))
    assert request["method"] == "classic"
    assert request["auto"]["why"] == "Classic: 40 frames of footage, and it needs no weights."
    assert request["auto"]["why"] in engine("info", job).stdout


def test_cameras_are_right(job):
    cameras = json.loads((job / "cameras.json").read_text(encoding="utf-8"))
    reference = json.loads(REFERENCE.read_text(encoding="utf-8"))
    assert path_error(reference, cameras) < 0.1
    for found, true in zip(cameras["images"], reference["images"]):
        assert found["fx"] == pytest.approx(true["fx"], rel=0.01)


def test_info_tells_what_is_there(job):
    done = engine("info", job, "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["status"], facts["solved"], facts["total"]) == ("done", 40, 40)


def test_finished_job_is_not_computed_again(job):
    before = (job / "cameras.json").stat().st_mtime_ns
    done = engine("reconstruct", SHOT, "--out", job, "--no-dense")
    assert done.returncode == 0, done.stderr
    assert (job / "cameras.json").stat().st_mtime_ns == before


def test_export(job, tmp_path):
    done = engine("export", job, "--format", "ply", "--out", tmp_path / "cloud.ply")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "cloud.ply").read_bytes()[:3] == b"ply"


def test_exit_codes(job, tmp_path):
    assert engine("reconstruct", tmp_path, "--out", tmp_path / "job").returncode == 3
    assert engine("reconstruct", SHOT, "--out", tmp_path / "job", "--method", "magic").returncode == 2
    assert engine("info", tmp_path).returncode == 3
    one = ("reconstruct", SHOT, "--first", 3, "--last", 3, "--out", tmp_path / "one")
    still = engine(*one, "--method", "classic")
    assert still.returncode in (3, 4)
    assert still.stderr.strip().endswith(".")
    still = engine(*one)
    assert still.returncode == 5, "one frame takes a network, which this engine has not"
    assert "Only a network can tell" in still.stderr

"""The whole path as a user goes it: the built zip in a real Blender, a real engine behind it.

Runs in the engine's environment; each scenario has a Blender process and user folder of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest

from build_addon import build
from scripts.environments import ENVIRONMENTS, ROOT
from scripts.extension import environment_for

SHOT = ROOT / "demo" / "courtyard.mp4"
FRAMES = 40
LIMIT_S = 600  # a hanging Blender must not hold up the suite
BLENDERS = [name for name in ENVIRONMENTS if name.startswith("blender")]


@pytest.fixture(scope="session")
def package(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("dist"))


def run_in_blender(scenario: str, blender: str, package: Path, folder: Path) -> dict[str, Any]:
    """What the scenario found. Fails with the end of Blender's output when it does not get through."""
    environment = ENVIRONMENTS[blender]
    if not environment.interpreter.exists():
        pytest.skip(
            f"{environment.folder} is not there: `make test` makes it where Python {environment.python} is found"
        )
    command = [environment.interpreter, "-m", "tests.end_to_end.in_blender"]
    arguments = [scenario, package, sys.executable, SHOT, folder]
    log = folder / "blender.log"
    with open(log, "wb") as file:
        try:
            status = subprocess.run(
                [str(part) for part in (*command, *arguments)],
                cwd=ROOT,
                env=environment_for(folder / "user"),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                timeout=LIMIT_S,
            ).returncode
        except subprocess.TimeoutExpired:
            status = f"nothing after {LIMIT_S} s"
    found = folder / "found.json"
    if status or not found.exists():
        pytest.fail(f"Blender ended with {status}:\n{log.read_text(encoding='utf-8', errors='replace')[-3000:]}")
    return json.loads(found.read_text(encoding="utf-8"))


@pytest.mark.parametrize("blender", BLENDERS)
def test_camera_sticks_to_plate(blender, package, tmp_path):
    found = run_in_blender("whole", blender, package, tmp_path)
    assert found["pairs"] > 10_000
    assert found["median_px"] < 0.15
    assert found["p95_px"] < 0.5
    assert found["chosen"] == f"Classic: {FRAMES} frames of footage, and it needs no weights."
    assert found["focal_ratio"] == pytest.approx(1, abs=0.015)
    first = found["first"]
    assert first["size"] == [640, 360]
    assert first["fps"] == pytest.approx(24)
    assert first["range"] == [1, FRAMES]
    assert first["plate"]
    assert first["points"] > 20_000
    assert found["again"]["datablocks"] == first["datablocks"]


def test_killed_engine_leaves_importable_job(package, tmp_path):
    found = run_in_blender("killed", "blender", package, tmp_path)
    assert "was killed" in found["sentence"]
    assert found["clean"]
    assert found["orphans"] == []
    assert found["import"] is None
    assert found["has_camera"]


def test_an_engine_killed_once_goes_on_from_its_views(package, tmp_path):
    found = run_in_blender("restarted", "blender", package, tmp_path)
    assert found["sentence"] is None
    assert found["was_killed"]
    assert found["went_on"]
    assert found["scene"]["points"] > 20_000
    assert found["engines"] == 1


def test_bad_input_is_refused_in_a_sentence(package, tmp_path):
    found = run_in_blender("refused", "blender", package, tmp_path)
    for name, sentence in found["sentences"].items():
        assert sentence, f"{name}: went through"
        assert sentence.rstrip().endswith("."), f"{name}: {sentence}"
        assert "Traceback" not in sentence, f"{name}: {sentence}"
    assert found["clean"]
    assert found["orphans"] == []


def test_missing_engine_is_told(package, tmp_path):
    found = run_in_blender("missing_engine", "blender", package, tmp_path)
    assert "ngine" in found["sentence"]
    assert found["clean"]


@pytest.fixture(scope="module")
def pairwise_job(tmp_path_factory) -> Path:
    """A job of the pairwise method, made by the engine's command line from three frames of the demo shot with a tiny
    network of random weights: the form is that of any job, there is nothing to see.
    """
    models = ENVIRONMENTS["models"]
    if not models.interpreter.exists():
        pytest.skip(f"{models.folder} is not there: `make test` makes it")
    folder = tmp_path_factory.mktemp("pairwise")
    photos = folder / "drei Fotos"
    photos.mkdir()
    movie = cv2.VideoCapture(str(SHOT))
    for number in range(3):
        movie.set(cv2.CAP_PROP_POS_FRAMES, 10 * number)
        (photos / f"photo {number}.png").write_bytes(cv2.imencode(".png", movie.read()[1])[1].tobytes())
    movie.release()
    records = [str(models.interpreter), "-m", "tests.models.support.tiny_weights", str(folder)]
    subprocess.run(records, cwd=ROOT, check=True, timeout=LIMIT_S)
    engine = [str(models.interpreter), str(ROOT / "blender_3r" / "engine"), "reconstruct", str(photos)]
    options = ["--method", "pairwise", "--model", "tiny-mast3r", "--alignment", "sparse", "--iterations", "20"]
    options += ["--min-confidence", "0", "--no-clean", "--device", "cpu", "--out", str(folder / "job")]
    done = subprocess.run(
        [*engine, *options],
        env={**os.environ, "BLENDER_3R_RECORDS": str(folder)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr
    return folder / "job"


@pytest.mark.parametrize("blender", BLENDERS)
def test_a_pairwise_job_comes_into_the_scene(blender, package, pairwise_job, tmp_path):
    shutil.copytree(pairwise_job, tmp_path / "job")
    found = run_in_blender("imported", blender, package, tmp_path)
    assert found["sentence"] is None
    cameras = json.loads((pairwise_job / "cameras.json").read_text(encoding="utf-8"))["images"]
    assert found["cameras"] == sum(image["c2w"] is not None for image in cameras) == 3
    assert sorted(found["lenses"]) == pytest.approx(sorted(image["fx"] / image["width"] for image in cameras), rel=1e-3)
    assert found["first"]["points"] > 1000
    assert found["first"]["size"] == [640, 360]
    assert found["again"]["datablocks"] == found["first"]["datablocks"]

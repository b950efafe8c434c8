"""A shot in which two boxes move, from the engine's process to a picture rendered in Blender's.

What the network sees is made; what of it moves is found by the engine. Seen from one place, the red box that crosses
the picture is where it is at that time, and nowhere else. (The blue one comes so near that nobody sees past it.)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from scripts.environments import ROOT

SUPPORT = ROOT / "tests" / "engine" / "support"
BLENDER = ROOT / ".venv" / "blender" / "bin" / "python"
ENGINE = ROOT / ".venv" / "engine" / "bin" / "python"
COUNT, FRAMES = 21, (3, 11, 19)
PATIENCE_S = 240

pytestmark = pytest.mark.skipif(
    not (BLENDER.exists() and ENGINE.exists()), reason="needs .venv/blender and .venv/engine"
)


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """(facts, {name: picture (h, w, 3)}) of the job's points in Blender."""
    folder = tmp_path_factory.mktemp("moving")
    (folder / "shot").mkdir()
    for number in range(1, COUNT + 1):
        picture = np.full((96, 128, 3), 10 * (number % 20), np.uint8)
        (folder / "shot" / f"shot.{number:04d}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    known = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    asked = [folder / "shot" / "shot.0001.png", "--out", folder / "job", "--method", "moving_shot", "--threads", "1"]
    for command in (
        [ENGINE, SUPPORT / "engine_with_fake.py", "reconstruct", *asked],
        [BLENDER, ROOT / "tests" / "end_to_end" / "moving_in_blender.py", folder, folder / "job", *FRAMES],
    ):
        done = subprocess.run(
            [str(word) for word in command], env=known, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S
        )
        assert done.returncode == 0, done.stderr
    with np.load(folder / "pictures.npz") as data:
        return json.loads((folder / "facts.json").read_text()), {name: data[name] for name in data.files}


def red(picture):
    """(h, w) bool: the box that crosses the picture."""
    return picture[..., 0].astype(int) - picture[..., 2] > 90


def true_red(frame):
    """The same as it is at a frame of the scene, seen from the middle frame."""
    sys.path.insert(0, str(SUPPORT))
    from moving_shot import film, seen

    view = film(COUNT).views[COUNT // 2]
    return red(seen(view.world_from_camera, view.intrinsics, np.linspace(-0.5, 0.5, COUNT)[frame - 1])[2])


def grown(mask, by):
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * by + 1, 2 * by + 1), np.uint8)) > 0


def test_what_moves_is_at_its_place_in_time_and_nowhere_else(played):
    facts, pictures = played
    assert facts["middle"] == COUNT // 2 + 1
    assert "some of which move" in facts["text"]
    for frame in FRAMES:
        shown, true = red(pictures[f"all_{frame}"]), true_red(frame)
        assert np.count_nonzero(shown & true) > 0.8 * true.sum(), frame
        assert np.count_nonzero(shown & ~grown(true, 2)) < 0.05 * true.size, frame


def test_what_stands_has_hardly_a_ghost_and_does_not_change(played):
    pictures = played[1]
    stands = [pictures[f"static_{frame}"] for frame in FRAMES]
    assert all(np.array_equal(one, stands[0]) for one in stands)
    ever = np.any([true_red(frame) for frame in range(1, COUNT + 1)], axis=0)
    assert np.count_nonzero(red(stands[0])) < 0.15 * np.count_nonzero(ever)

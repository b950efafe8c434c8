"""A shot in which two boxes move, from the engine's process to a picture rendered in Blender's.

What the network sees is made; what of it moves is found by the engine. Seen from one place, the boxes are where they
are at that time, and hardly anything of them is anywhere else.
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


def boxes(picture):
    """(h, w) bool: the red and the blue box; all else of the room is nearly gray."""
    return np.ptp(picture.astype(int), axis=-1) > 75


def true_boxes(frame):
    """The same as they are at a frame of the scene, seen from the middle frame."""
    sys.path.insert(0, str(SUPPORT))
    from moving_shot import film, seen

    view = film(COUNT).views[COUNT // 2]
    return seen(view.world_from_camera, view.intrinsics, np.linspace(-0.5, 0.5, COUNT)[frame - 1])[1]


def grown(mask, by):
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * by + 1, 2 * by + 1), np.uint8)) > 0


def test_what_moves_is_at_its_place_in_time_and_nowhere_else(played):
    facts, pictures = played
    assert facts["middle"] == COUNT // 2 + 1
    assert "some of which move" in facts["text"]
    for frame in FRAMES:
        shown, true = boxes(pictures[f"all_{frame}"]), true_boxes(frame)
        assert np.count_nonzero(shown & true) > 0.8 * true.sum(), frame  # the frame's own camera does not see all of it
        assert np.count_nonzero(shown & ~grown(true, 2)) < 0.02 * true.size, frame


def test_what_stands_has_hardly_a_ghost_and_does_not_change(played):
    pictures = played[1]
    stands = [pictures[f"static_{frame}"] for frame in FRAMES[::2]]
    assert all(np.array_equal(one, stands[0]) for one in stands)
    ever = np.any([true_boxes(frame) for frame in range(1, COUNT + 1)], axis=0)
    assert np.count_nonzero(boxes(stands[0])) < 0.08 * np.count_nonzero(ever)

"""Bad footage, tried in Blender with the real engine: sentences, no traceback, nothing half in the scene."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from scripts.environments import ROOT

BLENDER = ROOT / ".venv" / "blender" / "bin" / "python"
ENGINE = ROOT / ".venv" / "engine" / "bin" / "python"
MOVIE = ROOT / "demo" / "courtyard.mp4"

pytestmark = pytest.mark.skipif(not (BLENDER.exists() and ENGINE.exists()), reason="needs .venv/blender, .venv/engine")


def frames(step: int) -> list[np.ndarray]:
    """Every step-th frame of the demo shot."""
    capture = cv2.VideoCapture(str(MOVIE))
    found = []
    while True:
        good, frame = capture.read()
        if not good:
            return found[::step]
        found.append(frame)


def write_images(folder: Path, pictures: list[np.ndarray]) -> Path:
    """Photos, by names that no video has."""
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures):
        assert cv2.imwrite(str(folder / f"IMG_{number}.png"), picture)
    return folder


def deep_16_bit(picture: np.ndarray) -> np.ndarray:
    """16 bit per channel and an alpha that hides nothing."""
    alpha = np.full((*picture.shape[:2], 1), 255, np.uint8)
    return np.concatenate([picture, alpha], axis=2).astype(np.uint16) * 257


def write_uneven(path: Path, pictures: list[np.ndarray]) -> Path:
    """A movie in which every frame of the second half lasts half as long."""
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 24.0, (width, height))
    for picture in pictures:
        writer.write(picture)
    writer.release()
    data = bytearray(path.read_bytes())
    assert data.rfind(b"moov") > data.find(b"mdat"), "else the offsets in the index would have to move, too"
    place = data.find(b"stts")
    _, count, each = struct.unpack_from(">III", data, place + 8)
    assert count == len(pictures)
    data[place + 8 : place + 20] = struct.pack(">IIIII", 2, count // 2, each, count - count // 2, each // 2)
    for box in (b"stts", b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        place = data.find(box) - 4
        data[place : place + 4] = struct.pack(">I", struct.unpack_from(">I", data, place)[0] + 8)
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def facts(tmp_path_factory) -> dict:
    """What Blender made of each."""
    folder = tmp_path_factory.mktemp("bad")
    footage = folder / "footage"
    shot = frames(5)
    (footage / "empty").mkdir(parents=True)
    (footage / "letter.mp4").write_text("Dear editor, the footage is in the mail.\n" * 50)
    dot = np.full((1, 1, 3), 128, np.uint8)
    sizes = [picture if number % 2 else cv2.resize(picture, (480, 270)) for number, picture in enumerate(shot)]
    deep = footage / "Größe – 日本語 🎬"
    for _ in range(5):
        deep = deep / ("langer Weg " * 9).strip()
    deep.mkdir(parents=True)
    (deep / "schöne Aufnahme.mp4").write_bytes(MOVIE.read_bytes())
    too_deep = footage / "/".join(["x" * 100] * 12)  # longer than any path that Blender knows
    too_deep.mkdir(parents=True)
    (too_deep / "shot.mp4").write_bytes(MOVIE.read_bytes())
    paths = {
        "empty": footage / "empty",
        "one": write_images(footage / "one", shot[:1]),
        "letter": footage / "letter.mp4",
        "dot": write_images(footage / "dot", [dot]),
        "dots": write_images(footage / "dots", [dot] * 5),
        "deep-color": write_images(footage / "deep-color", [deep_16_bit(picture) for picture in shot]),
        "sizes": write_images(footage / "sizes", sizes),
        "uneven": write_uneven(footage / "uneven.mp4", frames(3)),
        "deep": deep / "schöne Aufnahme.mp4",
        "too-deep": too_deep / "shot.mp4",
    }
    assert 500 < len(str(paths["deep"]).encode()) < 1000
    (folder / "paths.json").write_text(json.dumps({name: str(path) for name, path in paths.items()}))
    known = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_DATA_HOME": str(folder / "data")}
    known["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "blender")])
    command = [BLENDER, ROOT / "tests" / "end_to_end" / "bad_footage_in_blender.py", folder, ENGINE]
    done = subprocess.run(command, env=known, cwd=ROOT, timeout=400, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "Traceback" not in done.stdout + done.stderr
    return json.loads((folder / "facts.json").read_text()) | {"data": str(folder / "data")}


def is_sentence(text: str) -> bool:
    """It begins with a capital letter or the name of a file, ends with a full stop, and is no program's output."""
    begins_well = text[:1].isupper() or text.split()[0].endswith((".mp4", ".png"))
    return begins_well and text.rstrip().endswith(".") and "Error:" not in text[6:] and "\n  File" not in text


@pytest.mark.parametrize("name", ["empty", "letter", "too-deep"])
def test_what_cannot_be_picked_is_told_at_once(facts, name):
    assert is_sentence(facts[name]["error"]), facts[name]
    assert not facts[name]["can_start"]
    assert facts[name]["left"] == {}


def test_a_path_too_long_for_blender_is_not_called_damage(facts):
    assert "longer than Blender can open" in facts["too-deep"]["error"]


@pytest.mark.parametrize("name", ["one", "dot", "dots"])
def test_what_cannot_be_solved_is_told_and_leaves_nothing(facts, name):
    found = facts[name]
    assert not found["is_done"]
    assert is_sentence((found["failure"] or found["error"]).removeprefix("Error: ")), found
    assert found["left"] == {}
    assert found["warnings"]


def test_16_bit_images_with_alpha_are_solved(facts):
    found = facts["deep-color"]
    assert found["is_done"], found
    assert found["summary"]["solved"] >= 6
    assert found["background"] == [640, 360]


def test_two_resolutions_are_told_and_solved_or_refused_in_a_sentence(facts):
    found = facts["sizes"]
    assert "and others" in found["text"]
    assert found["is_done"] or (is_sentence(found["failure"].removeprefix("Error: ")) and found["left"] == {}), found


def test_a_variable_frame_rate_is_told(facts):
    found = facts["uneven"]
    assert found["is_done"], found
    assert "variable frame rate" in " ".join(found["summary"]["warnings"])


def test_long_and_foreign_paths_work_in_a_file_that_was_never_saved(facts):
    found = facts["deep"]
    assert found["is_done"], found
    assert found["background"] == [640, 360]
    assert found["job"].startswith(facts["data"])


def test_a_job_folder_that_cannot_be_made(facts):
    found = facts["read-only"]
    assert "cannot be made" in found["failure"]
    assert is_sentence(found["failure"].removeprefix("Error: ").strip()), found
    assert found["left"] == {}

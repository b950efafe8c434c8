"""The benchmark judges others, so it is judged itself: its measuring, its scores, its verdicts."""

from __future__ import annotations

import json
import sys
import time

import cv2
import numpy as np
import pytest

from benchmarks import classic, klt, scores
from benchmarks.measure import run_measured
from benchmarks.page import read_parts, write_part
from benchmarks.report import TABLES, all_reached, write_report
from benchmarks.runs import Row
from benchmarks.scenes import CASES, KLT_GLOB, METHODS, OURS, SIFT_INC, Bar, NoData, data_folder

FACTS = {"command": "x", "machine": "m", "versions": "v", "repeat": 1, "finished": "finished"}
WALK = next(case for case in CASES if case.id == "syn_walk")
GOOD = {"solved": 1.0, "ate_pct": 0.03, "focal_err_pct": 0.4, "slide_px": 0.1, "lens": "shared"}


@pytest.fixture(scope="module")
def data():
    try:
        return data_folder()
    except NoData as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("bar", "measured", "holds"),
    [
        (Bar("ate_pct", 0.05), 0.05, True),
        (Bar("ate_pct", 0.05), 0.051, False),
        (Bar("ate_pct", 0.05), float("nan"), False),
        (Bar("ate_pct", 0.05), None, False),
        (Bar("solved", 1.0, at_least=True), 0.98, False),
        (Bar("motion", "tripod"), "free", False),
        (Bar("focal_is_certain", False), False, True),
        (Bar("focal_is_certain", False), None, False),
    ],
)
def test_bars(bar, measured, holds):
    assert bar.holds(measured) is holds


def test_cases_are_consistent():
    assert len({case.id for case in CASES}) == len(CASES)
    for case in CASES:
        assert case.table in TABLES
        assert set(case.others) <= set(METHODS) - {OURS}


def test_run_is_measured(tmp_path):
    burn = "import time; b = bytearray(200 << 20); e = time.process_time() + 0.3\nwhile time.process_time() < e: pass"
    run = run_measured([sys.executable, "-c", burn + "\nprint('out'); raise SystemExit(7)"], tmp_path, 60, tmp_path)
    assert (run.status, run.timed_out, run.stdout) == (7, False, "out\n")
    assert run.ending == "exit status 7"
    assert run.cpu_s >= 0.3
    assert run.peak_mb > 200


def test_run_that_hangs_is_ended_with_its_children(tmp_path):
    started = tmp_path / "child"
    child = f"open({str(started)!r}, 'w').write(str(__import__('os').getpid())); __import__('time').sleep(600)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    run = run_measured([sys.executable, "-c", parent], tmp_path, 6, tmp_path)
    assert run.timed_out
    assert run.ending.startswith("stopped after")
    deadline = time.monotonic() + 20
    while _is_running(int(started.read_text())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_running(int(started.read_text()))


def _is_running(pid: int) -> bool:
    """Whether it still does something: what nobody waits for stays in the list of processes for a while, dead."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_crash_is_told(tmp_path):
    run = run_measured([sys.executable, "-c", "import os; os.abort()"], tmp_path, 60, tmp_path)
    assert run.ending == "crashed (SIGABRT)"


def test_depth_shares():
    truth = np.array([[1.0, 2.0, 4.0, 5.0, 0.0]], np.float32)
    depth = np.array([[1.01, 2.2, 0.0, 5.0, 3.0]], np.float32)
    shares = scores.depth_shares(depth, truth)
    assert shares == pytest.approx({"filled": 3 / 4, "right_of_all": 2 / 4, "right_of_filled": 2 / 3})


def test_depth_is_sampled_at_pixel_centres():
    columns = np.arange(640) + 0.5
    truth = np.broadcast_to(columns, (360, 640))
    small = scores.sample(truth, (288, 512))
    assert small.shape == (288, 512)
    assert np.abs(small[0] - (np.arange(512) + 0.5) * 640 / 512).max() <= 0.5


def test_truth_scores_as_perfect(data, tmp_path):
    reference = data / "syn_walk" / "reference.json"
    result = scores.score_cameras(data, "syn_walk", reference)
    assert result["solved"] == 1.0
    assert result["ate_pct"] < 1e-6
    assert result["slide_px"] < 1e-6
    assert "problem" in scores.score_cameras(data, "syn_walk", tmp_path / "missing.json")


def test_pair_is_scored_by_angles(data, tmp_path):
    truth = json.loads((data / "motorcycle_stereo" / "reference.json").read_text())
    pose = np.array(truth["images"][1]["c2w"])
    turn = np.radians(1.0)
    pose[:3, :3] = [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]
    pose[:3, 3] = np.array([np.cos(2 * turn), 0, np.sin(2 * turn)]) * np.sign(pose[0, 3]) * 3
    truth["images"][1]["c2w"] = pose.tolist()
    (tmp_path / "cameras.json").write_text(json.dumps(truth))
    score = scores.score_pair(data, "motorcycle_stereo", tmp_path / "cameras.json")
    assert score == pytest.approx({"pair_rotation_deg": 1.0, "pair_direction_deg": 2.0})


def test_report_shows_what_failed():
    rows = [
        Row(WALK, OURS, {**GOOD, "slide_px": 0.3, "wall_s": 20.0, "cpu_s": 30.0}, walls=[20.0]),
        Row(WALK, SIFT_INC, {"wall_s": 60.0, "cpu_s": 60.0}, walls=[60.0]),
        Row(WALK, KLT_GLOB, {"wall_s": 16.0, "cpu_s": 30.0}, walls=[16.0]),
    ]
    page = write_report(rows, FACTS)
    assert "5 of 7 bars reached" in page
    assert "| syn_walk | slide px | 0.3 | <= 0.2 | **FAIL** |" in page
    assert "| syn_walk | ours / klt_glob | 1.25 | 1 | <= 1 | **FAIL** |" in page
    assert "| syn_walk | sift_inc / ours | 3 | 2 | >= 2.5 | pass |" in page
    assert not all_reached(rows)


def test_report_passes_only_what_was_measured():
    good = Row(WALK, OURS, {**GOOD, "wall_s": 20.0, "cpu_s": 30.0}, walls=[20.0])
    assert all_reached([good])
    assert not all_reached([Row(WALK, OURS, {}, "stopped after 900 s")])


def test_missing_scenes_are_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BLENDER_3R_DATA", str(tmp_path))
    assert classic.main(["--scenes", "syn_walk"]) == 2
    assert "BLENDER_3R_DATA" in capsys.readouterr().err


def test_tracker_of_the_comparison_follows_a_moving_texture():
    noise = np.random.default_rng(3).integers(0, 255, (60, 100)).astype(np.uint8)
    texture = cv2.resize(noise, (800, 480), interpolation=cv2.INTER_CUBIC)
    step = np.array([1.7, 0.6])
    images = []
    for frame in range(8):
        shift = np.hstack([np.eye(2), (step * frame - (60, 40))[:, None]])
        images.append(cv2.warpAffine(texture, shift, (320, 200), flags=cv2.INTER_LINEAR))
    tracks = klt.track(images)
    first, last = tracks[0], tracks[-1]
    _, a, b = np.intersect1d(first.ids, last.ids, assume_unique=True, return_indices=True)
    assert len(a) > 100
    moved = last.xy[b] - first.xy[a]
    assert np.median(np.abs(moved - step * 7)) < 0.1


def test_each_benchmark_rewrites_its_own_part_of_the_page(tmp_path):
    path = tmp_path / "RESULTS.md"
    write_part(path, "classic", "# One\n\nfirst\n")
    write_part(path, "pairwise", "# Two")
    write_part(path, "classic", "# One\n\nsecond")
    assert read_parts(path) == {"classic": "# One\n\nsecond", "pairwise": "# Two"}
    assert path.read_text().index("# One") < path.read_text().index("# Two")
    assert "first" not in path.read_text()

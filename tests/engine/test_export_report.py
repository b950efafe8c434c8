"""The report's numbers and pictures of a solve whose tracks are made by hand."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from conftest import write_images
from export_jobs import make_job

from blender_3r.engine.export import export_job
from blender_3r.engine.export.contact_sheet import TILE, draw_contact_sheet
from blender_3r.engine.export.drawing import BLUE, GREEN, RED, nice_step
from blender_3r.engine.export.plot import LOST, draw_plot
from blender_3r.engine.export.report import GRID, measure
from blender_3r.engine.source import Source

SEEN = ((0, 0, 0.2, True), (0, 1, 0.4, True), (0, 2, 9.0, False), (2, 0, 0.6, True), (2, 1, 2.0, True))
POINTS = np.float32([[0.1, 0.0, 4.0], [0.5, 0.2, 4.0], [-0.6, 0.3, 5.0]])


def tracked_job(folder, **result):
    """Views 0 to 2, of which 1 is not solved: two tracks that took part, and one that did not."""
    job = make_job(folder, views=3, unsolved=(1,), kind="video", fps=25.0, reproj_error_px=0.8, **result)
    views = job.read_cameras().views
    xy = []
    for frame, track, *_ in SEEN:
        pose = views[frame].world_from_camera
        xy.append(views[frame].intrinsics.project((POINTS[track] - pose[:3, 3]) @ pose[:3, :3]))
    frames, tracks, errors, kept = zip(*SEEN)
    job.write_npz(
        "tracks",
        frame=np.int32(frames),
        track=np.int32(tracks),
        xy=np.float32(xy),
        error_px=np.float32(errors),
        kept=np.array(kept),
        points=POINTS,
    )
    return job


def test_numbers(tmp_path):
    job = tracked_job(tmp_path / "job")
    out = export_job(job.path, "report", tmp_path / "out")
    said = json.loads((out / "report.json").read_text())
    assert (said["solved"], said["total"], said["reproj_error_px"]) == (2, 3, 0.8)
    assert [frame["error_px"] for frame in said["frames"]] == [0.3, None, 1.3]
    assert [frame["tracks"] for frame in said["frames"]] == [2, 0, 2]
    assert [frame["frame"] for frame in said["frames"]] == [0, 2, 4]
    assert said["frames"][2]["error90_px"] == pytest.approx(0.6 + 0.9 * 1.4, abs=1e-3)
    assert said["worst_frame"] == "frame_0002"
    tracks = said["tracks"]
    assert (tracks["count"], tracks["used"], tracks["mean_length"]) == (3, 2, 2.0)
    assert tracks["median_error_px"] == pytest.approx(0.8)
    assert tracks["worst"][0] == {"track": 1, "error_px": 1.2, "observations": 2, "used": 2}
    assert said["coverage"] == pytest.approx(measure(job, job.read_cameras()).coverage[[0, 2]].mean(), abs=1e-4)
    assert 1 / GRID**2 <= said["coverage"] <= 2 / GRID**2
    assert said["notes"] == ["The footage is not there, so the points have no picture behind them."]


def test_the_plot_shows_errors_and_gaps(tmp_path):
    job = tracked_job(tmp_path / "job")
    result = job.read_cameras()
    plot = draw_plot(result, measure(job, result))

    def rows_of(color, x):
        return np.flatnonzero((plot[:481, x] == color).all(axis=1))

    first, middle, last = (round(70 + (index + 0.5) / 3 * 860) for index in range(3))
    assert len(rows_of(LOST, middle)) > 200, "a frame without a camera has a red ground"
    assert len(rows_of(LOST, first)) == 0
    low, high = rows_of(BLUE, first), rows_of(BLUE, last)
    assert len(low)
    assert len(high)
    scale = 410 / (1.86 * 1.1)  # pixels of the picture for one of error
    assert 480 - low.mean() == pytest.approx(0.3 * scale, abs=3)
    assert 480 - high.mean() == pytest.approx(1.3 * scale, abs=3)


def test_points_lie_where_they_project(tmp_path):
    job = tracked_job(tmp_path / "job")
    paths = write_images(tmp_path / "plate", [f"p_{number:04d}.png" for number in range(5)])
    result = job.read_cameras()
    for view in result.views:
        view.file = f"p_{view.frame:04d}.png"
    job.write_cameras(result)
    source = Source("sequence", tuple(map(str, paths)), tuple(range(5)))
    job.write_json("request", {"source": source.to_json()})
    sheet, notes = draw_contact_sheet(job, result)
    assert notes == []
    for place, (frame, track, error, kept) in zip(job.read_npz("tracks")["xy"], SEEN, strict=True):
        tile = sheet[34:, 8 + (frame // 2) * (TILE + 8) :]
        x, y = place * TILE / 64
        if kept and 0 <= x < TILE and 0 <= y < 360:
            color = GREEN if error < 0.5 else RED if error > 1.5 else None
            found = tile[int(y), int(x)]
            assert color is None or np.abs(found.astype(int) - color).max() < 12, (frame, track)
    corner = sheet[34 + 300 : 34 + 350, 20:40]
    assert corner.std() > 3, "the frame is behind the points"


def test_without_tracks_and_without_points(tmp_path):
    job = make_job(tmp_path / "job")
    said = json.loads((export_job(job.path, "report", tmp_path / "a") / "report.json").read_text())
    assert said["tracks"] is None
    assert said["coverage"] is None
    sheet = cv2.imread(str(tmp_path / "a" / "contact_sheet.png"))
    assert (sheet == GREEN).all(axis=2).any(), "the sparse points"
    bare = make_job(tmp_path / "bare", sparse=False, dense=False)
    said = json.loads((export_job(bare.path, "report", tmp_path / "b") / "report.json").read_text())
    assert "There are no solved points to draw." in said["notes"]
    stated = bare.read_cameras()
    stated.views[1].error_px = 0.5
    assert measure(bare, stated).error[1] == 0.5


@pytest.mark.parametrize(("span", "step"), [(10, 2), (1.0, 0.2), (0.07, 0.02), (480, 100), (7, 2), (0, 5e-13)])
def test_steps_of_an_axis(span, step):
    assert nice_step(span, 5) == pytest.approx(step)

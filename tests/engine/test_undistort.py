"""Undistorted plates and ST-maps: against OpenCV's own undistortion, there and back, and what users may put in."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from export_jobs import files_in

from blender_3r.engine.errors import EngineError
from blender_3r.engine.export import export_job
from blender_3r.engine.export.stmap import overscan, redistort_map, turning_radius, undistort_map
from blender_3r.engine.export.undistort import resample
from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.reconstruction import Intrinsics, Reconstruction, View
from blender_3r.engine.source import Source

LENSES = {
    "barrel": Intrinsics(320, 180, 300.0, 303.0, 155.0, 96.0, k1=-0.15, k2=0.03, p1=0.002, p2=-0.003),
    "pincushion": Intrinsics(320, 180, 280.0, 280.0, 160.0, 90.0, k1=0.12),
    "none": Intrinsics(320, 180, 300.0, 300.0, 160.0, 90.0),
}


def scenery(width: int = 320, height: int = 180) -> np.ndarray:
    """(h, w, 3) uint8: smooth, different everywhere."""
    noise = np.random.default_rng(2).integers(0, 255, (height // 10, width // 10, 3)).astype(np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def make_job(folder, lenses, suffix=".png", images=None) -> JobFolder:
    """A sequence of frames 1001.. with their lenses."""
    folder.mkdir()
    files = []
    for index in range(len(lenses)):
        files.append(folder / f"shot.{1001 + index}{suffix}")
        files[-1].write_bytes(cv2.imencode(suffix, scenery() if images is None else images[index])[1].tobytes())
    job = JobFolder.create(folder / "job")
    numbers = tuple(range(1001, 1001 + len(lenses)))
    job.write_json("request", {"source": Source("sequence", tuple(map(str, files)), numbers).to_json()})
    pose = np.eye(4)
    views = [View(file.name, n, lens, pose) for file, n, lens in zip(files, numbers, lenses, strict=True)]
    job.write_cameras(Reconstruction(views))
    return job


def read(path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def corner_inside(places: np.ndarray) -> np.ndarray:
    """Places whose four neighbouring pixel centres exist."""
    height, width = places.shape[:2]
    with np.errstate(invalid="ignore"):
        return ((places > 1) & (places < np.float32([width - 1, height - 1]))).all(axis=-1)


def sampled(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """values (h, w, k) at places (n, 2), linear; OpenCV would round places to 1/32 pixel."""
    place = places.astype(np.float64) - 0.5
    left = np.floor(place).astype(int)
    x, y = (place - left).T[..., None]
    column, row = left.T
    upper = values[row, column] * (1 - x) + values[row, column + 1] * x
    return upper * (1 - y) + (values[row + 1, column] * (1 - x) + values[row + 1, column + 1] * x) * y


@pytest.mark.parametrize("name", LENSES)
def test_there_and_back(name):
    """Looked up one after the other, the two maps lead back to where one started, within a tenth of a pixel."""
    lens = LENSES[name]
    there, back = undistort_map(lens), redistort_map(lens)
    inside = corner_inside(there)
    again = sampled(back, there[inside])
    columns, rows = np.meshgrid(np.arange(320) + 0.5, np.arange(180) + 0.5)
    error = np.hypot(again[:, 0] - columns[inside], again[:, 1] - rows[inside])
    assert inside.mean() > 0.75
    assert error.max() < 0.01


@pytest.mark.parametrize("name", LENSES)
def test_as_opencv_does_it(name):
    """OpenCV counts from the first pixel's centre, we from its corner."""
    lens = LENSES[name]
    matrix = lens.matrix
    matrix[:2, 2] -= 0.5
    x, y = cv2.initUndistortRectifyMap(matrix, lens.distortion, None, matrix, (320, 180), cv2.CV_32FC1)
    there = undistort_map(lens)
    np.testing.assert_allclose(there[..., 0], x + 0.5, atol=1e-3)
    np.testing.assert_allclose(there[..., 1], y + 0.5, atol=1e-3)


def test_points_land_where_a_pinhole_sees_them():
    """A dot of the footage lies, on the undistorted plate, where the camera without distortion projects its point."""
    lens = LENSES["barrel"]
    pinhole = Intrinsics(320, 180, lens.fx, lens.fy, lens.cx, lens.cy)
    points = np.array([(x, y, 2.0) for x in (-0.8, 0.1, 0.7) for y in (-0.4, 0.05, 0.35)])
    columns, rows = np.meshgrid(np.arange(320) + 0.5, np.arange(180) + 0.5)
    image = np.zeros((180, 320), np.float32)
    for x, y in lens.project(points):
        image += np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8).astype(np.float32)
    plate = resample(image[..., None].repeat(3, axis=2), undistort_map(lens))[..., 0]
    for x, y in pinhole.project(points):
        near = np.hypot(columns - x, rows - y) < 8
        weight = np.where(near, np.clip(plate, 0, None), 0)
        found = (weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()
        assert found == pytest.approx((x, y), abs=0.1)


def test_files_of_one_lens(tmp_path):
    job = make_job(tmp_path / "shot", [LENSES["barrel"]] * 2)
    out = export_job(job.path, "undistorted", tmp_path / "out")
    assert files_in(out) == [
        "export.json",
        "plates/shot.1001.png",
        "plates/shot.1002.png",
        "stmaps/redistort.exr",
        "stmaps/undistort.exr",
        "undistorted.json",
    ]
    plate = read(out / "plates" / "shot.1001.png")
    assert plate.shape == (180, 320, 3)
    assert plate.dtype == np.uint8
    stmap = read(out / "stmaps" / "redistort.exr")
    assert stmap.dtype == np.float32
    # Read as Nuke reads it: red from the left, green from below. So the footage comes back.
    height, width = stmap.shape[:2]
    x, y = stmap[..., 2] * width - 0.5, (1 - stmap[..., 1]) * height - 0.5
    back = cv2.remap(plate, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LANCZOS4)
    inside = stmap[..., 0] > 0
    inside[:8], inside[-8:], inside[:, :8], inside[:, -8:] = False, False, False, False
    difference = np.abs(back.astype(int) - scenery())[inside]
    assert np.percentile(difference, 99) <= 3
    said = json.loads((out / "undistorted.json").read_text())
    assert said["one_lens"]
    assert said["overscan"] == pytest.approx(overscan(LENSES["barrel"]))
    assert said["views"][1]["plate"] == "plates/shot.1002.png"


def test_a_zoom_has_maps_per_frame(tmp_path):
    lenses = [Intrinsics(320, 180, f, f, 160, 90, k1=-0.1) for f in (300.0, 300.0, 310.0)]
    out = export_job(make_job(tmp_path / "shot", lenses).path, "undistorted", tmp_path / "out")
    maps = [read(out / "stmaps" / "undistort" / f"shot.{n}.exr") for n in (1001, 1002, 1003)]
    np.testing.assert_array_equal(maps[0], maps[1])
    assert np.abs(maps[0] - maps[2]).max() > 1e-4


def test_without_distortion_nothing_changes(tmp_path):
    out = export_job(make_job(tmp_path / "shot", [LENSES["none"]]).path, "undistorted", tmp_path / "out")
    np.testing.assert_array_equal(read(out / "plates" / "shot.1001.png"), scenery())


@pytest.mark.parametrize(("suffix", "kind", "full"), [(".png", np.uint16, 65535), (".exr", np.float32, 7.5)])
def test_depth_of_colour_is_kept(tmp_path, suffix, kind, full):
    image = (scenery() / 255 * full).astype(kind)
    job = make_job(tmp_path / "shot", [LENSES["none"]], suffix, [image])
    out = export_job(job.path, "undistorted", tmp_path / "out")
    plate = read(out / "plates" / f"shot.1001{suffix}")
    assert plate.dtype == kind
    np.testing.assert_allclose(plate, image, rtol=1e-6)


def test_beyond_the_turning_point_is_black():
    """A strong barrel's polynomial turns back: what lies beyond must not show the picture a second time."""
    lens = Intrinsics(320, 180, 150.0, 150.0, 160.0, 90.0, k1=-0.35)
    assert turning_radius(lens) == pytest.approx(np.sqrt(1 / 1.05))
    there = undistort_map(lens)
    assert np.isnan(there[0, 0]).all()
    plate = resample(np.full((180, 320, 3), 200, np.uint8), there)
    assert (plate[np.isnan(there[..., 0])] == 0).all()
    assert (plate[90, 160] == 200).all()


def test_a_picture_that_fills_the_frame_must_be_larger():
    assert overscan(LENSES["none"]) == 1.0
    assert overscan(LENSES["pincushion"]) == 1.0
    lens = LENSES["barrel"]
    rim = redistort_map(lens)[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert overscan(lens) >= np.abs(rim / (160, 90) - 1).max() > 1.0


def test_footage_that_is_gone_or_another(tmp_path):
    job = make_job(tmp_path / "shot", [LENSES["barrel"]])
    (tmp_path / "shot" / "shot.1001.png").write_bytes(cv2.imencode(".png", scenery(200, 100))[1].tobytes())
    with pytest.raises(EngineError, match="200 x 100 pixels large, the camera was solved for 320 x 180"):
        export_job(job.path, "undistorted", tmp_path / "out")
    (tmp_path / "shot" / "shot.1001.png").unlink()
    with pytest.raises(EngineError) as error:
        export_job(job.path, "undistorted", tmp_path / "out")
    assert error.value.kind == "input"
    assert not (tmp_path / "out").exists()

"""Depth and confidence as images and arrays, poses as text; what may be overwritten."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pycolmap
import pytest
from export_jobs import COLUMNS, FAR, NEAR, ROWS, files_in, make_job

from blender_3r.engine.diskfiles import write_array
from blender_3r.engine.errors import EngineError
from blender_3r.engine.export import FORMATS, export_job
from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.reconstruction import Intrinsics, Reconstruction, View

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [name for name, format_ in FORMATS.items() if format_.is_folder]


def make_film(folder: Path, views: int = 3) -> JobFolder:
    """A job with all that a format may ask for: frames of footage, which are there, and what moves in them."""
    job = make_job(folder, views=views, footage=True, fps=24.0)
    result = job.read_cameras()
    result.kind = "video"
    for index, view in enumerate(result.views):
        view.frame = index
        moving = np.zeros((ROWS, COLUMNS), bool)
        moving[:, :4] = True
        job.add_to_view(index, {"moving": moving})
    job.write_cameras(result)
    return job


def image(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_depth_png_says_its_scale(tmp_path):
    job = make_job(tmp_path / "job")
    out = export_job(job.path, "depth-png", tmp_path / "out")
    steps = image(out / "depth" / "01.png")
    said = json.loads((out / "depth.json").read_text())
    assert steps.dtype == np.uint16
    assert said["unit"] == "scene unit"
    depth = job.read_view(1)["depth"]
    np.testing.assert_allclose(steps / said["steps_per_unit"], depth, atol=FAR / 65534)
    np.testing.assert_array_equal(steps == 0, depth == 0)
    assert steps.max() == 65534


def test_depth_png_in_millimetres_and_by_hand(tmp_path):
    metric = make_job(tmp_path / "metric", metric=True)
    out = export_job(metric.path, "depth-png", tmp_path / "a")
    assert json.loads((out / "depth.json").read_text())["unit"] == "metre"
    assert set(np.unique(image(out / "depth" / "00.png"))) == {0, 2000, 6000}
    out = export_job(metric.path, "depth-png", tmp_path / "b", depth_scale=20000)
    assert json.loads((out / "depth.json").read_text())["steps_per_unit"] == 20000
    assert set(np.unique(image(out / "depth" / "00.png"))) == {0, 40000, 65535}  # farther than 16 bits reach


def test_far_outliers_do_not_spoil_the_depth_png(tmp_path):
    job = make_job(tmp_path / "job")
    arrays = {name: np.array(values) for name, values in job.read_view(0).items()}
    arrays["depth"][5, 5] = 1e6
    arrays["depth"][5, 6] = np.inf
    arrays["depth"][5, 7] = 1e-9
    job.write_view(0, arrays)
    out = export_job(job.path, "depth-png", tmp_path / "out")
    steps = image(out / "depth" / "00.png")
    scale = json.loads((out / "depth.json").read_text())["steps_per_unit"]
    assert list(steps[5, 5:8]) == [65535, 65535, 1]  # known, however far or near
    assert steps[5, 1] / scale == pytest.approx(NEAR, rel=1e-3)


def test_arrays_are_the_jobs(tmp_path):
    job = make_job(tmp_path / "job", unsolved=(0,))
    out = export_job(job.path, "depth-npy", tmp_path / "out")
    assert files_in(out) == ["confidence/00.npy", "confidence/01.npy", "confidence/02.npy"] + [
        "depth/00.npy",
        "depth/01.npy",
        "depth/02.npy",
        "export.json",
    ]
    for kind in ("depth", "confidence"):
        values = np.load(out / kind / "02.npy")
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, job.read_view(2)[kind])


@pytest.mark.parametrize(("bits", "full", "kind"), [(8, 255, np.uint8), (16, 65535, np.uint16)])
@pytest.mark.parametrize("format_", ["depth", "depth-png"])
def test_confidence_images(tmp_path, format_, bits, full, kind):
    job = make_job(tmp_path / "job")
    out = export_job(job.path, format_, tmp_path / "out", confidence_bits=bits)
    confidence = image(out / "confidence" / "01.png")
    assert confidence.dtype == kind
    np.testing.assert_allclose(confidence / full, job.read_view(1)["confidence"], atol=0.51 / full)


def test_exr_depth_and_confidence_say_what_they_are(tmp_path):
    job = make_job(tmp_path / "job", metric=True)
    out = export_job(job.path, "depth", tmp_path / "out", confidence_bits=32)
    for kind in ("depth", "confidence"):
        values = image(out / kind / "02.exr")
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, job.read_view(2)[kind])
    said = json.loads((out / "depth_exr.json").read_text())
    assert (said["unit"], said["confidence"]) == ("metre", "0 to 1")


@pytest.mark.parametrize(("format_", "suffix"), [("depth", "exr"), ("depth-png", "png"), ("depth-npy", "npy")])
def test_unsure_depth_is_left_out(tmp_path, format_, suffix):
    job = make_job(tmp_path / "job")
    out = export_job(job.path, format_, tmp_path / "out", min_confidence=0.5)
    path = out / "depth" / f"01.{suffix}"
    depth = np.load(path) if suffix == "npy" else image(path)
    arrays = job.read_view(1)
    np.testing.assert_array_equal(depth > 0, (arrays["confidence"] >= 0.5) & (arrays["depth"] > 0))


def test_poses_as_text(tmp_path):
    job = make_job(tmp_path / "job", views=4, unsolved=(1,), kind="video", fps=25.0)
    out = export_job(job.path, "poses", tmp_path / "out")
    result = job.read_cameras()
    poses = np.array([result.views[i].world_from_camera for i in (0, 2, 3)])
    np.testing.assert_allclose(np.loadtxt(out / "poses.txt").reshape(-1, 4, 4), poses, atol=1e-11)
    tum = np.loadtxt(out / "poses_tum.txt")
    np.testing.assert_allclose(tum[:, 0], np.array([0, 4, 6]) / 25)
    np.testing.assert_allclose(tum[:, 1:4], poses[:, :3, 3], atol=1e-11)
    for row, pose in zip(tum, poses):
        np.testing.assert_allclose(pycolmap.Rotation3d(row[4:]).matrix(), pose[:3, :3], atol=1e-9)
    np.testing.assert_allclose(np.loadtxt(out / "focals.txt"), [[50, 52]] * 3)
    lens = result.views[0].intrinsics
    np.testing.assert_allclose(np.loadtxt(out / "intrinsics.txt").reshape(-1, 3, 3), [lens.matrix] * 3)
    assert (out / "names.txt").read_text().split() == ["frame_0000.png", "frame_0002.png", "frame_0003.png"]
    views = json.loads((out / "poses.json").read_text())["views"]
    assert [view["frame"] for view in views] == [0, 4, 6]
    np.testing.assert_array_equal([view["world_from_camera"] for view in views], poses)
    assert views[0]["distortion"]["k1"] == -0.02


def test_photos_are_numbered_in_poses(tmp_path):
    job = make_job(tmp_path / "job", views=3, unsolved=(0,))
    out = export_job(job.path, "poses", tmp_path / "out")
    assert list(np.loadtxt(out / "poses_tum.txt")[:, 0]) == [1, 2]


def test_images_of_one_name_do_not_overwrite_each_other(tmp_path):
    job = make_job(tmp_path / "job", views=3)
    result = job.read_cameras()
    for view, name in zip(result.views, ("a/one.jpg", "a/ONE.png", "a/two.jpg")):
        view.file = name
    job.write_cameras(result)
    out = export_job(job.path, "depth-npy", tmp_path / "out")
    names = [file for file in files_in(out) if file.startswith("depth")]
    assert sorted(names) == ["depth/a/ONE.png.npy", "depth/a/one.jpg.npy", "depth/a/two.npy"]


@pytest.mark.parametrize("name", ["../../escaped.jpg", "/escaped.jpg", ""])
def test_a_damaged_job_writes_nowhere_else(tmp_path, name):
    job = make_job(tmp_path / "job", views=1)
    lens = Intrinsics(64, 48, 50, 50, 32, 24)
    job.write_cameras(Reconstruction([View(name, None, lens, np.eye(4))], kind="photos"))
    for format_ in ("depth-npy", "poses", "glb"):
        with pytest.raises(EngineError, match="no file name"):
            export_job(job.path, format_, tmp_path / "deep" / "out")
    assert not list(tmp_path.glob("**/escaped*"))


@pytest.mark.parametrize("format_", FOLDERS)
def test_a_folder_is_written_again_and_others_files_stay(tmp_path, format_):
    job = make_film(tmp_path / "job")
    out = export_job(job.path, format_, tmp_path / "out")
    first = files_in(out)
    (out / "notes.txt").write_text("mine")
    smaller = make_film(tmp_path / "smaller", views=2)
    export_job(smaller.path, format_, out)
    second = files_in(out)
    assert "notes.txt" in second
    assert len([name for name in second if name != "notes.txt"]) == len(first) - sum("02" in name for name in first)
    assert not any("02" in name for name in second)
    assert list(out.glob(".tmp-*")) == []


@pytest.mark.parametrize("format_", FOLDERS)
def test_others_files_are_not_overwritten(tmp_path, format_):
    job = make_film(tmp_path / "job")
    written = files_in(export_job(job.path, format_, tmp_path / "probe"))
    for name in written:
        out = tmp_path / "out" / name.replace("/", "-")
        (out / name).parent.mkdir(parents=True)
        (out / name).write_text("mine")
        with pytest.raises(EngineError, match="no export wrote") as caught:
            export_job(job.path, format_, out)
        assert caught.value.kind == "usage"
        assert files_in(out) == [name]
        assert (out / name).read_text() == "mine"


def test_formats_share_a_folder(tmp_path):
    job = make_film(tmp_path / "job")
    out = tmp_path / "out"
    for format_ in FOLDERS * 2:
        export_job(job.path, format_, out)
    found = files_in(out)
    for name in ("depth/00.exr", "depth/00.png", "depth/00.npy", "poses.txt", "cameras.txt", "transforms.json"):
        assert name in found
    listed = json.loads((out / "export.json").read_text())["exports"]
    assert set(listed) == set(FOLDERS)
    export_job(make_film(tmp_path / "smaller", views=2).path, "depth", out)
    assert not (out / "depth" / "02.exr").exists()
    assert (out / "confidence" / "02.png").exists()  # depth-png wrote it too


def test_a_failed_export_leaves_the_folder_as_it_was(tmp_path, monkeypatch):
    job = make_job(tmp_path / "job")
    out = export_job(job.path, "depth-npy", tmp_path / "out")
    before = {name: (out / name).read_bytes() for name in files_in(out)}
    saved = write_array

    def refuse_the_third(path, values):
        if "02" in str(path):
            raise OSError(28, "No space left on device")
        saved(path, values)

    monkeypatch.setattr("blender_3r.engine.export.depth.write_array", refuse_the_third)
    for target in (out, tmp_path / "new"):
        with pytest.raises(EngineError, match="No space left"):
            export_job(job.path, "depth-npy", target, min_confidence=0.5)
    assert {name: (out / name).read_bytes() for name in files_in(out)} == before
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "manifest", ["[]", "{", '{"exports": {"depth": 3}}', '{"exports": {"x": {"files": ["../a"]}}}']
)
def test_a_manifest_of_others_is_refused(tmp_path, manifest):
    job = make_job(tmp_path / "job")
    out = tmp_path / "out"
    out.mkdir()
    (out / "export.json").write_text(manifest)
    with pytest.raises(EngineError, match="no export wrote"):
        export_job(job.path, "poses", out)
    assert files_in(out) == ["export.json"]


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_from_the_command_line(tmp_path, format_):
    """In a process of its own, where nothing else has been imported before."""
    job = make_film(tmp_path / "job")
    options = ["--mesh", "--points", "300"] if format_ == "glb" else []
    command = [sys.executable, str(ROOT / "blender_3r" / "engine"), "export", str(job.path), "--format", format_]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out"), *options], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out").is_dir() == FORMATS[format_].is_folder


@pytest.mark.parametrize(
    "options",
    [
        {"min_confidence": 1.5},
        {"min_confidence": float("nan")},
        {"points": 0},
        {"edge_angle": 90.0},
        {"frusta": -1.0},
        {"confidence_bits": 12},
        {"depth_scale": 0.0},
    ],
)
def test_options_out_of_range(tmp_path, options):
    job = make_job(tmp_path / "job")
    with pytest.raises(EngineError) as caught:
        export_job(job.path, "glb", tmp_path / "a.glb", **options)
    assert caught.value.kind == "usage"
    assert not (tmp_path / "a.glb").exists()

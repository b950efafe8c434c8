"""Exports read back: by pycolmap where it can, by their definition elsewhere."""

from __future__ import annotations

import json
import math

import cv2
import numpy as np
import pycolmap
import pytest
from conftest import number_in, write_images

from blender_3r.engine.errors import EngineError
from blender_3r.engine.export import FORMATS, export_job
from blender_3r.engine.export.chan import euler_zxy
from blender_3r.engine.export.colmap import quaternion
from blender_3r.engine.export.stmap import undistort_map
from blender_3r.engine.export.undistort import resample
from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.reconstruction import depth_to_points
from blender_3r.engine.service.runner import run_job
from blender_3r.engine.service.settings import make_request
from blender_3r.engine.source import source_from_path


@pytest.fixture
def job(movie, fake_method, tmp_path):
    """A finished job of 12 frames, frame 3 unsolved."""
    fake_method(unsolved=[3])
    run_job(make_request("fake", source_from_path(movie), {}), tmp_path / "job", lambda *a, **k: None)
    return JobFolder.open(tmp_path / "job")


@pytest.fixture
def sparse_job(movie, fake_method, tmp_path):
    """A finished job without dense views."""
    run_job(make_request("fake", source_from_path(movie), {"dense": False}), tmp_path / "sj", lambda *a, **k: None)
    return JobFolder.open(tmp_path / "sj")


def read_ply(path):
    """Field name to array, by the header alone."""
    data = path.read_bytes()
    end = data.index(b"end_header\n") + 11
    lines = data[:end].decode().split("\n")
    count = int(next(line for line in lines if line.startswith("element vertex")).split()[-1])
    types = {"float": "<f4", "uchar": "u1"}
    fields = [(line.split()[2], types[line.split()[1]]) for line in lines if line.startswith("property")]
    vertices = np.frombuffer(data[end:], dtype=fields)
    assert len(vertices) == count
    return vertices


def rotations(count):
    rng = np.random.default_rng(3)
    for _ in range(count):
        q, r = np.linalg.qr(rng.normal(size=(3, 3)))
        q *= np.sign(np.diag(r))
        yield q * np.sign(np.linalg.det(q))


def test_ply_holds_the_dense_points_of_solved_views(job, tmp_path):
    vertices = read_ply(export_job(job.path, "ply", tmp_path / "new folder" / "a.ply"))
    result = job.read_cameras()
    assert len(vertices) == 11 * 11 * 16
    arrays = job.read_view(5)
    points, index = depth_to_points(result.views[5], np.asarray(arrays["depth"]))
    block = vertices[4 * 176 : 5 * 176]  # view 3 is left out
    np.testing.assert_array_equal(np.stack([block["x"], block["y"], block["z"]], -1), points)
    color = np.asarray(arrays["color"]).reshape(-1, 3)[index]
    np.testing.assert_array_equal(np.stack([block["red"], block["green"], block["blue"]], -1), color)
    np.testing.assert_array_equal(block["confidence"], np.asarray(arrays["confidence"]).reshape(-1)[index])


def test_ply_can_be_limited(job, tmp_path):
    sure = read_ply(export_job(job.path, "ply", tmp_path / "a.ply", min_confidence=0.5))
    assert sure["confidence"].min() >= 0.5
    few = read_ply(export_job(job.path, "ply", tmp_path / "b.ply", points=500))
    assert 480 <= len(few) <= 500
    assert len(np.unique(few["z"])) > 5  # of many views


def test_ply_of_a_job_without_depth_is_the_sparse_cloud(sparse_job, tmp_path):
    vertices = read_ply(export_job(sparse_job.path, "ply", tmp_path / "a.ply"))
    np.testing.assert_array_equal(vertices["x"], sparse_job.read_sparse()["points"][:, 0])
    assert "error" in vertices.dtype.names
    best = read_ply(export_job(sparse_job.path, "ply", tmp_path / "b.ply", points=5))
    assert len(best) == 5
    assert best["error"].max() <= np.sort(sparse_job.read_sparse()["error"])[5]


def test_colmap_reads_the_model(job, tmp_path):
    out = export_job(job.path, "colmap", tmp_path / "model", images=True)
    model = pycolmap.Reconstruction(str(out))
    result = job.read_cameras()
    assert model.num_images() == 11
    assert len(model.cameras) == 1
    assert model.num_points3D() == 50
    by_name = {image.name: image for image in model.images.values()}
    point = np.array([0.2, 0.1, 3.0])
    for view in (result.views[i] for i in result.solved):
        image = by_name[f"{view.file}.png"]
        inverse = np.linalg.inv(view.world_from_camera)
        expected = view.intrinsics.project(inverse[:3, :3] @ point + inverse[:3, 3])
        np.testing.assert_allclose(image.project_point(point), expected, atol=1e-6)
    frame = cv2.cvtColor(cv2.imread(str(out / "images" / "frame_0007.png")), cv2.COLOR_BGR2RGB)
    assert number_in(frame) == 7
    assert not (out / "images" / "frame_0003.png").exists()


@pytest.mark.parametrize("format_", ["colmap", "transforms"])
def test_undistorted_images_and_their_pinhole_cameras(job, tmp_path, format_):
    as_filmed = export_job(job.path, format_, tmp_path / "filmed", images=True)
    out = export_job(job.path, format_, tmp_path / "model", undistorted=True)
    lens = job.read_cameras().views[7].intrinsics
    assert lens.is_distorted
    frame, straight = (cv2.imread(str(folder / "images" / "frame_0007.png")) for folder in (as_filmed, out))
    np.testing.assert_array_equal(straight, resample(frame, undistort_map(lens)))
    if format_ == "colmap":
        (camera,) = pycolmap.Reconstruction(str(out)).cameras.values()
        assert camera.model.name == "PINHOLE"
        np.testing.assert_allclose(camera.params, [lens.fx, lens.fy, lens.cx, lens.cy])
    else:
        entry = json.loads((out / "transforms.json").read_text())["frames"][0]
        assert [entry[name] for name in ("k1", "k2", "p1", "p2")] == [0.0] * 4
        assert entry["fl_x"] == lens.fx


def test_transforms_are_opengl_cameras(job, tmp_path):
    out = export_job(job.path, "transforms", tmp_path / "nerf", images=True)
    data = json.loads((out / "transforms.json").read_text())
    assert len(data["frames"]) == 11
    frame, view = data["frames"][4], job.read_cameras().views[5]
    assert frame["file_path"] == "images/frame_0005.png"
    assert (out / frame["file_path"]).exists()
    matrix = np.array(frame["transform_matrix"])
    np.testing.assert_allclose(matrix[:3, 3], view.world_from_camera[:3, 3])
    np.testing.assert_allclose(matrix[:3, 2], -view.world_from_camera[:3, 2])  # looks along -z
    np.testing.assert_allclose(matrix[:3, 1], -view.world_from_camera[:3, 1])  # y up
    assert (frame["fl_x"], frame["k1"], frame["w"]) == (150.0, -0.05, 160)
    assert len(read_ply(out / data["ply_file_path"])) == 50


def test_chan_gives_back_the_cameras(job, tmp_path):
    lines = export_job(job.path, "chan", tmp_path / "a.chan").read_text().splitlines()
    result = job.read_cameras()
    assert [int(line.split()[0]) for line in lines] == [1, 2, 3, *range(5, 13)]
    _, *numbers = map(float, lines[6].split())
    view = result.views[7]
    rx, ry, rz = np.radians(numbers[3:6])
    flip = np.diag([1.0, -1.0, -1.0])
    expected = flip @ view.world_from_camera[:3, :3] @ flip
    np.testing.assert_allclose(compose_zxy(rx, ry, rz), expected, atol=1e-7)
    np.testing.assert_allclose(numbers[:3], flip @ view.world_from_camera[:3, 3], atol=1e-7)
    assert math.tan(math.radians(numbers[6]) / 2) == pytest.approx(60 / 150)


def compose_zxy(rx, ry, rz):
    """Ry Rx Rz by OpenCV's axis-angle rotations."""
    x, y, z = (cv2.Rodrigues(angle * axis)[0] for angle, axis in zip((rx, ry, rz), np.eye(3)))
    return y @ x @ z


def test_euler_angles_compose_to_the_rotation():
    looking_up = compose_zxy(math.pi / 2, 0.3, 0.7)
    looking_down = compose_zxy(-math.pi / 2, 0.3, 0.7)
    for rotation in [*rotations(50), np.eye(3), looking_up, looking_down]:
        np.testing.assert_allclose(compose_zxy(*euler_zxy(rotation)), rotation, atol=1e-6)


def test_quaternions_agree_with_colmaps():
    half_turns = [np.diag([1.0, -1, -1]), np.diag([-1.0, 1, -1]), np.diag([-1.0, -1, 1]), np.eye(3)]
    for rotation in [*rotations(50), *half_turns]:
        w, x, y, z = quaternion(rotation)
        np.testing.assert_allclose(pycolmap.Rotation3d(np.array([x, y, z, w])).matrix(), rotation, atol=1e-9)
        assert w >= 0


def test_depth_images_hold_the_depth(job, tmp_path):
    out = export_job(job.path, "depth", tmp_path / "depth")
    depth = cv2.imread(str(out / "depth" / "frame_0004.exr"), cv2.IMREAD_UNCHANGED)
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(depth, job.read_view(4)["depth"])
    confidence = cv2.imread(str(out / "confidence" / "frame_0004.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(confidence / 255, job.read_view(4)["confidence"], atol=0.003)


def test_photos_keep_their_names(fake_method, tmp_path):
    write_images(tmp_path / "photos", ["ein Bild.png", "zwei.jpg", "drei.tif"])
    request = make_request("fake", source_from_path(tmp_path / "photos"), {"dense": False})
    run_job(request, tmp_path / "job", lambda *a, **k: None)
    out = export_job(tmp_path / "job", "transforms", tmp_path / "nerf", images=True)
    names = [frame["file_path"] for frame in json.loads((out / "transforms.json").read_text())["frames"]]
    assert sorted(names) == ["images/drei.tif.png", "images/ein Bild.png", "images/zwei.jpg"]
    assert all((out / name).is_file() for name in names)


def test_export_refusals(job, sparse_job, movie, tmp_path):
    with pytest.raises(EngineError, match="no format") as caught:
        export_job(job.path, "usd", tmp_path / "x")
    assert caught.value.kind == "usage"
    with pytest.raises(EngineError, match="no depth"):
        export_job(sparse_job.path, "depth", tmp_path / "x")
    (tmp_path / "file").write_text("")
    for format_ in FORMATS:
        with pytest.raises(EngineError, match="Cannot write") as caught:
            export_job(job.path, format_, tmp_path / "file" / "x")
        assert caught.value.kind == "machine"
    movie.unlink()
    with pytest.raises(EngineError, match="cannot be read"):
        export_job(job.path, "colmap", tmp_path / "model", images=True)


def test_a_failed_export_leaves_the_earlier_file(job, tmp_path, monkeypatch):
    target = export_job(job.path, "ply", tmp_path / "a.ply")
    before = target.read_bytes()

    def refuse(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("blender_3r.engine.export.folder.os.replace", refuse)
    with pytest.raises(EngineError, match="No space left"):
        export_job(job.path, "ply", target)
    assert target.read_bytes() == before
    assert sorted(p.name for p in tmp_path.glob(".tmp-*")) == []

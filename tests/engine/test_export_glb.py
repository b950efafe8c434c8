"""GLB files, read back by the definition of the format."""

from __future__ import annotations

import io
import json
import math
import struct

import numpy as np
import pytest
from export_jobs import COLUMNS, FAR, NEAR, ROWS, make_job

from blender_3r.engine.errors import EngineError
from blender_3r.engine.export import export_job, gltf
from blender_3r.engine.export.gltf import POINTS, GlbWriter
from blender_3r.engine.geometry.grid_mesh import grid_mesh
from blender_3r.engine.reconstruction import Intrinsics, View, depth_to_points

FLIP = np.diag([1.0, -1.0, -1.0])
TYPES = {5126: "<f4", 5123: "<u2", 5125: "<u4"}
COUNTS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}


class Glb:
    """A parsed file; checks what the format demands of every file."""

    def __init__(self, path):
        data = path.read_bytes()
        magic, version, length = struct.unpack_from("<4sII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data))
        json_length, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON"
        assert json_length % 4 == 0
        self.document = json.loads(data[20 : 20 + json_length])
        self.binary = b""
        if len(data) > 20 + json_length:
            length, kind = struct.unpack_from("<I4s", data, 20 + json_length)
            assert kind == b"BIN\0"
            self.binary = data[28 + json_length :]
            assert len(self.binary) == length == self.document["buffers"][0]["byteLength"]
            assert length % 4 == 0

    def array(self, number):
        accessor = self.document["accessors"][number]
        view = self.document["bufferViews"][accessor["bufferView"]]
        assert view["byteOffset"] % 4 == 0
        width = COUNTS[accessor["type"]]
        kind = np.dtype(TYPES[accessor["componentType"]])
        assert view["byteLength"] == accessor["count"] * width * kind.itemsize
        values = np.frombuffer(self.binary, kind, accessor["count"] * width, view["byteOffset"])
        values = values.reshape(-1, width)
        if "min" in accessor:
            np.testing.assert_array_equal(accessor["min"], values.min(0))
            np.testing.assert_array_equal(accessor["max"], values.max(0))
        return values / 65535 if accessor.get("normalized") else values

    def node(self, name):
        return next(node for node in self.document["nodes"] if node["name"] == name)

    def primitive(self, node_name):
        return self.document["meshes"][self.node(node_name)["mesh"]]["primitives"][0]

    def names(self, start):
        return [node["name"] for node in self.document["nodes"] if node["name"].startswith(start)]


def linear(color):
    """sRGB 0..255 to linear 0..1."""
    value = np.asarray(color) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def test_points_of_every_view(tmp_path):
    job = make_job(tmp_path / "job", unsolved=(1,))
    glb = Glb(export_job(job.path, "glb", tmp_path / "new" / "a.glb"))
    assert glb.names("points ") == ["points 00", "points 02"]
    assert glb.document["scenes"][0]["nodes"] == [0, 3, 4]  # points, frusta, cameras: each its own node to hide
    view, arrays = job.read_cameras().views[2], job.read_view(2)
    points, index = depth_to_points(view, np.asarray(arrays["depth"]))
    primitive = glb.primitive("points 02")
    assert primitive["mode"] == POINTS
    np.testing.assert_allclose(glb.array(primitive["attributes"]["POSITION"]), points @ FLIP, rtol=1e-6)
    color = glb.array(primitive["attributes"]["COLOR_0"])
    assert (color[:, 3] == 1).all()
    np.testing.assert_allclose(color[:, :3], linear(arrays["color"].reshape(-1, 3)[index]), atol=1e-5)
    material = glb.document["materials"][primitive["material"]]
    assert "KHR_materials_unlit" in material["extensions"]
    assert "KHR_materials_unlit" in glb.document["extensionsUsed"]


def test_points_can_be_limited(tmp_path):
    job = make_job(tmp_path / "job")

    def exported(**options):
        glb = Glb(export_job(job.path, "glb", tmp_path / "a.glb", **options))
        return [glb.array(glb.primitive(name)["attributes"]["POSITION"]) for name in glb.names("points ")]

    assert sum(map(len, exported())) == 3 * (ROWS - 1) * COLUMNS
    counts = [len(points) for points in exported(points=100)]
    assert sum(counts) == 100
    assert max(counts) - min(counts) <= 1
    assert sum(map(len, exported(points=2))) == 2
    sure = exported(min_confidence=0.6)
    assert sum(map(len, sure)) == 3 * (ROWS - 1) * sum(np.linspace(0, 1, COLUMNS, dtype=np.float32) >= 0.6)


def test_surface_is_cut_at_the_depth_edge(tmp_path):
    job = make_job(tmp_path / "job")
    glb = Glb(export_job(job.path, "glb", tmp_path / "a.glb", mesh=True))
    assert glb.names("surface ") == ["surface 00", "surface 01", "surface 02"]
    primitive = glb.primitive("surface 01")
    points = glb.array(primitive["attributes"]["POSITION"])
    triangles = glb.array(primitive["indices"]).reshape(-1, 3)
    half = 2 * (ROWS - 2) * (COLUMNS // 2 - 1)  # triangles on one side of the step
    assert len(triangles) == 2 * half
    assert len(np.unique(triangles)) == len(points) == (ROWS - 1) * COLUMNS
    view = job.read_cameras().views[1]
    camera = points @ FLIP - view.world_from_camera[:3, 3]
    depth = camera @ view.world_from_camera[:3, 2]
    assert np.ptp(depth[triangles], axis=1).max() < 1e-4  # both sides are flat: none bridges them
    np.testing.assert_allclose(np.unique(depth.round(3)), [NEAR + 0.1, FAR], atol=2e-3)
    a, b, c = camera[triangles].transpose(1, 0, 2)
    outward = (np.cross(b - a, c - a) * a).sum(1)
    assert (outward < 0).all()  # counter-clockwise towards the camera


def test_surface_keeps_to_its_budget(tmp_path):
    job = make_job(tmp_path / "job")
    glb = Glb(export_job(job.path, "glb", tmp_path / "a.glb", mesh=True, points=400))
    vertices = [glb.primitive(name)["attributes"]["POSITION"] for name in glb.names("surface ")]
    assert 100 < sum(len(glb.array(number)) for number in vertices) <= 400
    whole = Glb(export_job(job.path, "glb", tmp_path / "b.glb", mesh=True, edge_angle=0))
    cut = Glb(export_job(job.path, "glb", tmp_path / "c.glb", mesh=True, edge_angle=10))
    counts = [glb.array(glb.primitive("surface 00")["indices"]).size // 3 for glb in (whole, cut)]
    assert counts[0] - counts[1] == 2 * (ROWS - 2)  # the bridge over the step


def test_grid_mesh_of_a_slope_and_of_holes():
    lens = Intrinsics(40, 30, 40.0, 40.0, 20.0, 15.0)
    view = View("a.png", None, lens, np.eye(4))
    rows = np.indices((30, 40))[0]
    floor = (10 / (rows + 0.5 - 5)).astype(np.float32)  # a floor below the camera, unknown above the horizon
    floor[rows < 6] = 0
    sure = np.ones_like(floor)
    full = grid_mesh(view, floor, sure, edge_angle=0)[2]
    assert len(full) == 2 * 23 * 39
    hole = sure.copy()
    hole[20, 20] = 0
    _, pixels, triangles = grid_mesh(view, floor, hole, min_confidence=0.5, edge_angle=0)
    assert 20 * 40 + 20 not in pixels
    assert len(full) - len(triangles) == 4  # the four squares around it keep one half each
    coarse = grid_mesh(view, floor, sure, stride=3, edge_angle=0)
    assert set(coarse[1] // 40 % 3) == {1}
    assert set(coarse[1] % 40 % 3) == {1}
    nothing = grid_mesh(view, np.zeros_like(floor), sure)
    assert [len(part) for part in nothing] == [0, 0, 0]


@pytest.mark.parametrize("scale", [1, 2])
def test_the_cut_is_an_angle_whatever_the_resolution(scale):
    lens = Intrinsics(40, 30, 40.0, 40.0, 20.0, 15.0)
    view = View("a.png", None, lens, np.eye(4))
    rows = np.indices((30 * scale, 40 * scale))[0] + 0.5
    above_horizon = rows / scale - 5
    slope = np.where(above_horizon > 1, 10 / np.maximum(above_horizon, 1), 0).astype(np.float32)  # 40 y + 10 z = 10
    _, pixels, triangles = grid_mesh(view, slope, np.ones_like(slope), edge_angle=5)
    sine = above_horizon / math.hypot(40, 10)  # in the middle column
    kept = np.unique(pixels[triangles] // (40 * scale))
    row = next(row for row in range(30 * scale) if sine[row, 0] > math.sin(math.radians(5)))
    assert abs(kept.min() - row) <= scale
    assert len(grid_mesh(view, slope, np.ones_like(slope), edge_angle=1)[2]) > len(triangles)


def test_cameras_look_along_minus_z(tmp_path):
    job = make_job(tmp_path / "job", kind="video", fps=25.0)
    glb = Glb(export_job(job.path, "glb", tmp_path / "a.glb"))
    view = job.read_cameras().views[2]
    node = glb.node("frame_0002")
    np.testing.assert_allclose(node["translation"], FLIP @ view.world_from_camera[:3, 3])
    x, y, z, w = node["rotation"]
    assert math.hypot(x, y, z, w) == pytest.approx(1)
    turned = 2 * np.array([x, y, z]) * np.dot([x, y, z], [0, 0, -1])
    turned = turned + (w * w - (x * x + y * y + z * z)) * np.array([0, 0, -1])
    turned = turned + 2 * w * np.cross([x, y, z], [0, 0, -1])
    np.testing.assert_allclose(turned, FLIP @ view.world_from_camera[:3, 2], atol=1e-9)
    lens = glb.document["cameras"][node["camera"]]["perspective"]
    assert math.tan(lens["yfov"] / 2) == pytest.approx(24 / 52)
    assert lens["aspectRatio"] == pytest.approx((64 / 50) / (48 / 52))
    assert 0 < lens["znear"] < 0.01
    assert node["extras"]["frame"] == 4
    assert node["extras"]["intrinsics"]["k1"] == -0.02


def test_frusta_touch_the_corners_of_the_picture(tmp_path):
    job = make_job(tmp_path / "job")
    glb = Glb(export_job(job.path, "glb", tmp_path / "a.glb", frusta=0.1))
    primitive = glb.primitive("frusta")
    assert primitive["mode"] == 1
    points = glb.array(primitive["attributes"]["POSITION"]) @ FLIP
    lines = glb.array(primitive["indices"]).reshape(-1, 2)
    assert (len(points), len(lines)) == (3 * 6, 3 * 10)
    assert (lines // 6 == np.repeat(np.arange(3), 10)[:, None]).all()  # each camera's lines are its own
    view = job.read_cameras().views[1]
    rotation, centre = view.world_from_camera[:3, :3], view.world_from_camera[:3, 3]
    local = (points[6:12] - centre) @ rotation
    np.testing.assert_allclose(local[0], 0, atol=1e-6)
    medians = [
        np.median(maps[maps > 0]) for maps in (np.asarray(job.read_view(i)["depth"][::4, ::4]) for i in range(3))
    ]
    np.testing.assert_allclose(local[1:, 2], 0.1 * np.median(medians), rtol=1e-5)
    pixels = local[1:, :2] / local[1:, 2:] * (50, 52) + (33, 23)
    np.testing.assert_allclose(pixels[:4], [[0, 0], [64, 0], [64, 48], [0, 48]], atol=1e-3)
    assert pixels[4, 1] < 0  # the mark is above
    without = Glb(export_job(job.path, "glb", tmp_path / "b.glb", frusta=0))
    assert without.names("frusta") == []


def test_jobs_without_depth(tmp_path):
    sparse = make_job(tmp_path / "sparse", dense=False)
    glb = Glb(export_job(sparse.path, "glb", tmp_path / "a.glb", points=7))
    points = glb.array(glb.primitive("points")["attributes"]["POSITION"])
    best = np.argsort(sparse.read_sparse()["error"], kind="stable")[:7]
    np.testing.assert_allclose(points, sparse.read_sparse()["points"][best] @ FLIP, rtol=1e-6)
    with pytest.raises(EngineError, match="no depth"):
        export_job(sparse.path, "glb", tmp_path / "b.glb", mesh=True)
    tripod = make_job(tmp_path / "tripod", dense=False, sparse=False, motion="tripod")
    glb = Glb(export_job(tripod.path, "glb", tmp_path / "c.glb"))
    assert glb.names("0") == ["00", "01", "02"]
    only = Glb(export_job(tripod.path, "glb", tmp_path / "d.glb", frusta=0))
    assert only.binary == b""
    assert "buffers" not in only.document


def test_a_single_view_and_nothing_left(tmp_path):
    job = make_job(tmp_path / "job", views=1, sparse=False)
    assert Glb(export_job(job.path, "glb", tmp_path / "a.glb")).names("points ") == ["points 00"]
    with pytest.raises(EngineError, match="Nothing is left"):
        export_job(job.path, "glb", tmp_path / "b.glb", mesh=True, points=1)
    assert not (tmp_path / "b.glb").exists()


def test_a_failed_export_leaves_the_earlier_file(tmp_path, monkeypatch):
    job = make_job(tmp_path / "job")
    target = export_job(job.path, "glb", tmp_path / "a.glb")
    before = target.read_bytes()
    monkeypatch.setattr(gltf, "_LARGEST", 1000)
    with pytest.raises(EngineError, match="4 GiB") as caught:
        export_job(job.path, "glb", target)
    assert caught.value.kind == "usage"
    assert target.read_bytes() == before
    assert list(tmp_path.glob(".tmp-*")) == []


def test_writer_without_anything_is_a_file():
    out = io.BytesIO()
    GlbWriter(io.BytesIO()).write(out)
    data = out.getvalue()
    assert struct.unpack_from("<I", data, 8)[0] == len(data)
    assert json.loads(data[20:])["asset"]["version"] == "2.0"

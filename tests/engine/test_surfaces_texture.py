"""The texture of a fused surface against the frames it is composed of; its parts; what the job folder and GLB get."""

from __future__ import annotations

import json
import struct

import ball_scene
import cv2
import numpy as np
import pytest

from blender_3r.engine.errors import EngineError
from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.media.of_job import footage_of
from blender_3r.engine.methods.base import Context
from blender_3r.engine.service.surface import run_surface
from blender_3r.engine.surfaces.atlas import cut_patches, fit
from blender_3r.engine.surfaces.fuse import Surface, fuse
from blender_3r.engine.surfaces.mesh import Mesh
from blender_3r.engine.surfaces.settings import SurfaceSettings
from blender_3r.engine.surfaces.sight import NO_VIEW, best_views, neighbours_of, sight_of
from blender_3r.engine.surfaces.store import write_out
from blender_3r.engine.surfaces.texture import bake
from blender_3r.engine.surfaces.views import read_view
from blender_3r.engine.surfaces.zbuffer import nearest_depth

SIDE = 1024


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> JobFolder:
    return ball_scene.make_filmed_job(tmp_path_factory.mktemp("filmed"))


@pytest.fixture(scope="module")
def surface(job) -> Surface:
    with footage_of(job) as frames:
        wishes = SurfaceSettings(texture=SIDE)
        return fuse(job.read_cameras(), wishes, Context(job), lambda progress: None, frames)


def ignore(type_: str, **fields: object) -> None:
    pass


def at(image: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Colours (n, 3) of a picture at places (n, 2) in pixels, between the centres of pixels."""
    x, y = (places.astype(np.float32) - np.float32(0.5)).T
    return cv2.remap(image, x[None], y[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0].astype(int)


def painted(surface: Surface) -> np.ndarray:
    """Colours of the texture at the middles of all faces."""
    uv = surface.texture.uv.mean(axis=1)
    return at(surface.texture.image, np.stack([uv[:, 0], 1 - uv[:, 1]], axis=1) * SIDE)


# -- the whole


@pytest.mark.parametrize("number", [0, 3, 5])
def test_through_a_camera_the_surface_looks_as_its_frame(job, surface, number):
    """Whatever frames its faces have their colours from."""
    view = job.read_cameras().views[number]
    seen = sight_of(surface.mesh, read_view(view, job.read_view(number), 0.1, 50.0), 8 * surface.voxel, 4.0) > 0
    middles = surface.mesh.vertices[surface.mesh.faces].mean(axis=1)
    camera = np.linalg.inv(view.world_from_camera)
    places = view.intrinsics.project(middles[seen] @ camera[:3, :3].T + camera[:3, 3])
    off = np.abs(painted(surface)[seen] - at(ball_scene.picture(view), places)).max(axis=1)
    assert seen.sum() > 2000
    assert np.median(off) <= 1
    assert (off <= 4).mean() > 0.99


def test_nothing_shines_through_to_what_lies_behind(surface):
    middles = surface.mesh.vertices[surface.mesh.faces].mean(axis=1)
    red, _, blue = painted(surface).T
    on_ball = ball_scene.is_on_ball(middles)
    assert (red > blue)[on_ball].mean() > 0.995
    assert (blue > red)[~on_ball].mean() > 0.995


def test_every_face_has_a_place_and_no_two_the_same(surface):
    texture = surface.texture
    assert texture.uv.shape == (len(surface.mesh.faces), 3, 2)
    assert 0 <= texture.uv.min() <= texture.uv.max() <= 1
    assert texture.unseen < 0.02
    assert texture.views <= 7
    corners = texture.uv.astype(np.float64) * 4 * SIDE
    edge, other = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = np.abs(edge[:, 0] * other[:, 1] - edge[:, 1] * other[:, 0]).sum() / 2
    faces = np.arange(corners.size // 2).reshape(-1, 3)
    flat = corners.reshape(-1, 2)
    covered = np.isfinite(nearest_depth(flat, np.ones(len(flat)), faces, 4 * SIDE, 4 * SIDE)).sum()
    assert covered > 0.98 * area, "they lie on each other"


def test_a_small_texture_has_smaller_pictures(job):
    with footage_of(job) as frames:
        wishes = SurfaceSettings(texture=256, detail="draft")
        small = fuse(job.read_cameras(), wishes, Context(job), lambda progress: None, frames).texture
    assert small.image.shape == (256, 256, 3)
    assert small.scale < 0.9
    assert 0 <= small.uv.min() <= small.uv.max() <= 1


# -- the job folder, and files


def test_the_job_folder_and_glb_have_it_until_the_surface_is_made_again(tmp_path):
    job = ball_scene.make_filmed_job(tmp_path, 3)
    summary = run_surface(job.path, {"faces": 2000, "texture": 512}, ignore)
    assert summary["texture"] == 512
    assert "Texture of 512 x 512 from" in summary["text"]
    uv, path = job.read_texture()
    assert (uv.shape, uv.dtype) == ((summary["faces"], 3, 2), np.float32)
    assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape == (512, 512, 3)
    write_out(job, tmp_path / "out.glb")
    data = (tmp_path / "out.glb").read_bytes()
    length = struct.unpack("<I", data[12:16])[0]
    document = json.loads(data[20 : 20 + length])
    part = document["meshes"][0]["primitives"][0]
    assert set(part["attributes"]) == {"POSITION", "TEXCOORD_0"}
    material = document["materials"][part["material"]]
    image = document["images"][
        document["textures"][material["pbrMetallicRoughness"]["baseColorTexture"]["index"]]["source"]
    ]
    view = document["bufferViews"][image["bufferView"]]
    start = 20 + length + 8 + view["byteOffset"]
    assert data[start : start + view["byteLength"]] == path.read_bytes()

    def array(number: int, dtype: str, width: int) -> np.ndarray:
        accessor = document["accessors"][number]
        at_byte = 20 + length + 8 + document["bufferViews"][accessor["bufferView"]]["byteOffset"]
        return np.frombuffer(data, dtype, accessor["count"] * width, at_byte).reshape(-1, width)

    corners = array(part["indices"], "<u4", 1).reshape(-1)
    assert np.allclose(array(part["attributes"]["TEXCOORD_0"], "<f4", 2)[corners] * (1, -1) + (0, 1), uv.reshape(-1, 2))
    places = array(part["attributes"]["POSITION"], "<f4", 3)[corners] * (1, -1, -1)
    arrays = job.read_surface()
    assert (places == arrays["vertices"][arrays["faces"].reshape(-1)]).all()
    run_surface(job.path, {"faces": 2000}, ignore)
    assert job.read_texture() is None
    assert sorted(file.name for file in (job.path / "surface").iterdir()) == [
        *("color.npy", "faces.npy", "normals.npy", "vertices.npy")
    ]


def test_without_its_footage_it_is_refused_before_anything_is_computed(tmp_path):
    job = ball_scene.make_filmed_job(tmp_path, 3)
    (tmp_path / "photos" / "frame_0001.png").unlink()
    told = []
    with pytest.raises(EngineError) as failure:
        run_surface(job.path, {"texture": 512}, lambda type_, **fields: told.append(type_))
    assert failure.value.kind == "input"
    assert told == ["started"]
    bare = ball_scene.make_job(tmp_path / "bare", 3)
    bare.write_json("request", {})
    with pytest.raises(EngineError, match="does not say where its footage is") as failure:
        run_surface(bare.path, {"texture": 512}, ignore)
    assert "without a texture" in failure.value.hint
    for size in (10, 1 << 20, 512.5):
        with pytest.raises(EngineError, match="texels a side"):
            run_surface(job.path, {"texture": size}, ignore)


# -- its parts


def test_the_nearer_face_is_seen():
    places = np.array([[1, 1], [9, 1], [1, 9], [0, 0], [12, 0], [0, 12], [np.nan, 0]], np.float64)
    z = np.array([2, 2, 2, 1, 10, 10, 1.0])
    depth = nearest_depth(places, z, np.array([[0, 1, 2], [3, 5, 4], [0, 1, 6]]), 12, 12)
    assert depth[5, 3] == 2, "the flat one, which lies before the one that runs away"
    assert depth[0, 0] == pytest.approx(1 / ((1 - 1 / 12) + (1 / 12) / 10)), "linear in 1 / z"
    assert np.isinf(depth[11, 11])
    assert nearest_depth(places, z, np.empty((0, 3), int), 2, 3).shape == (2, 3)


def test_faces_know_their_neighbours():
    mesh = Mesh(np.zeros((5, 3), np.float32), np.int32([[0, 1, 2], [2, 1, 3], [2, 3, 4]]))
    assert neighbours_of(mesh).tolist() == [[-1, 1, -1], [0, -1, 2], [1, -1, -1]]


def test_boxes_fill_a_square_and_share_no_texel():
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 60, (300, 2))
    scale, places = fit(lambda scale: np.ceil(pixels * scale).astype(np.int64) + 2, 300)
    used = np.zeros((300, 300), int)
    for (x, y), (wide, tall) in zip(places, np.ceil(pixels * scale).astype(int) + 2, strict=True):
        used[y : y + tall, x : x + wide] += 1
    assert used.max() == 1
    assert used.mean() > 0.8
    assert fit(lambda scale: pixels + 2, 100) is None
    assert fit(lambda scale: np.ceil(pixels * scale).astype(np.int64) + 2, 5000)[0] == 1.0


def test_a_sprawling_patch_is_cut_in_pieces():
    line = np.arange(200, dtype=np.float64)
    corners = np.stack([np.stack([line, line], 1), np.stack([line + 2, line], 1), np.stack([line, line + 2], 1)], 1)
    patches = cut_patches(corners, np.zeros(200, int))
    sides = patches.high - patches.low
    assert sides.prod(axis=1).sum() < 0.3 * 200 * 200
    for face, patch in enumerate(patches.patch):
        assert (corners[face] >= patches.low[patch]).all()
        assert (corners[face] <= patches.high[patch]).all()


def test_what_no_frame_sees_has_the_colour_of_its_vertices(job):
    view = job.read_cameras().views[0]
    eye = view.world_from_camera[:3, 3]
    vertices = (eye + np.array([[0, -50, 0], [1, -50, 0], [0, -50, 1]])).astype(np.float32)
    mesh = Mesh(vertices, np.int32([[0, 1, 2]]), np.uint8([[10, 200, 30]] * 3))
    seen_by = best_views(mesh, [read_view(view, job.read_view(0), 0.1, 50.0)], 1, 0.1, 4.0)
    assert seen_by.tolist() == [NO_VIEW]
    texture = bake(mesh, seen_by, [view], lambda number: ball_scene.picture(view), 256, lambda: None)
    assert (texture.unseen, texture.views) == (1.0, 0)
    column, row = (texture.uv[0, 0] * (256, -256) + (0, 256)).astype(int)
    assert texture.image[row, column].tolist() == [10, 200, 30]

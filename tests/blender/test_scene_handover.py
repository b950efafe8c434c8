"""The scene's cameras and meshes by Blender's own exporters, imported again: same place, same lens, same time."""

from __future__ import annotations

import dataclasses

import bpy
import jobs
import numpy as np
import pytest
from mathutils import Matrix, Quaternion

from blender_3r.engine.errors import EngineError
from blender_3r.engine.reconstruction import Reconstruction
from blender_3r.scene import tags
from blender_3r.scene.handover import FORMATS, export_scene
from blender_3r.scene.job import ImportOptions, import_job
from blender_3r.scene.surfaces import add_view_surfaces

FPS = 25
FRAMES = range(1, 6)
ROOT = Matrix.LocRotScale((3.0, -1.0, 0.5), Quaternion((0, 0, 1), 0.7), (2.5, 2.5, 2.5))
# Older ones write the animation of a focal length, but do not read it back; glTF has none.
READS_ZOOM = {
    "usd": bpy.app.version >= (4, 5, 0),
    "alembic": bpy.app.version >= (5, 2, 0),
    "fbx": True,
    "gltf": False,
}

IMPORTERS = {
    "usd": lambda path: bpy.ops.wm.usd_import(filepath=path),
    "alembic": lambda path: bpy.ops.wm.alembic_import(filepath=path, as_background_job=False),
    "fbx": lambda path: bpy.ops.import_scene.fbx(filepath=path, anim_offset=0.0),
    "gltf": lambda path: bpy.ops.import_scene.gltf(filepath=path),
}


def enable_exporters():
    for name in ("io_scene_fbx", "io_scene_gltf2"):
        bpy.ops.preferences.addon_enable(module=name)


@pytest.fixture
def job(tmp_path, empty_file):
    """A walk of five frames that zooms, with a gap, points and one view's surface, under a root that was moved."""
    enable_exporters()
    views = jobs.walk(5, missing=(2,))
    for index, view in enumerate(views):
        view.intrinsics = dataclasses.replace(view.intrinsics, fx=60.0 + 3 * index, fy=60.0 + 3 * index, cx=33.0)
    folder = jobs.make_job(tmp_path / "my shot", Reconstruction(views, fps=float(FPS), lens="zoom"))
    jobs.add_plane_view(folder, 1)
    result = import_job(empty_file, folder.path, ImportOptions(plate=False))
    result.root.matrix_basis = ROOT
    add_view_surfaces(empty_file, folder.path, [1])
    empty_file.frame_set(3)
    return str(folder.path.resolve())


def samples(camera, frames=FRAMES):
    """(matrix without scale, angle over the width, shift over the width) of a camera at each frame."""
    found = []
    scene = bpy.context.scene
    for frame in frames:
        scene.frame_set(frame)
        seen = camera.evaluated_get(bpy.context.evaluated_depsgraph_get())
        place, turn, _ = seen.matrix_world.decompose()
        data = seen.data
        tan = data.sensor_width / data.lens
        if data.sensor_fit == "VERTICAL":
            tan = data.sensor_height / data.lens * 64 / 36
        found.append((np.array(Matrix.LocRotScale(place, turn, None)), tan, data.shift_x))
    return found


def corners(item):
    """Bounds of a mesh in the world."""
    places = np.array([item.matrix_world @ vertex.co for vertex in item.data.vertices])
    return np.array([places.min(axis=0), places.max(axis=0)])


@pytest.mark.parametrize("format_", FORMATS)
def test_what_is_exported_comes_back(job, tmp_path, format_):
    scene = bpy.context.scene
    items = tags.objects_of(scene, job)
    camera = items["camera", ""]
    expected = samples(camera)
    meshes = [item for (role, _), item in items.items() if role in ("points", "view surface")]
    bounds = {len(item.data.polygons) > 0: corners(item) for item in meshes}
    counts = {len(item.data.polygons) > 0: len(item.data.vertices) for item in meshes}
    path = tmp_path / "out" / f"shot{FORMATS[format_].suffix}"
    text = export_scene(scene, job, format_, path)
    assert text == f"Wrote {path.name}: 1 camera, 2 meshes."

    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    enable_exporters()
    scene = bpy.context.scene
    scene.render.fps, scene.render.resolution_x, scene.render.resolution_y = FPS, 64, 36
    IMPORTERS[format_](str(path))
    found = next(item for item in bpy.context.scene.objects if item.type == "CAMERA")
    assert found.name.startswith("missing_Camera")
    for (matrix, tan, shift), (wanted, wanted_tan, wanted_shift) in zip(samples(found), expected, strict=True):
        np.testing.assert_allclose(matrix, wanted, atol=2e-5)
        if READS_ZOOM[format_]:
            assert tan == pytest.approx(wanted_tan, rel=1e-4)
        if format_ != "gltf":  # it has no place for it
            assert shift == pytest.approx(wanted_shift, abs=1e-4)
    meshes = [item for item in bpy.context.scene.objects if item.type == "MESH"]
    assert len(meshes) == 2
    for item in meshes:
        np.testing.assert_allclose(corners(item), bounds[len(item.data.polygons) > 0], atol=1e-3)
        assert len(item.data.vertices) == counts[len(item.data.polygons) > 0]


def test_usd_states_rate_unit_and_axis(job, tmp_path):
    path = tmp_path / "shot.usda"
    export_scene(bpy.context.scene, job, "usd", path)
    text = path.read_text()
    assert f"timeCodesPerSecond = {FPS}" in text
    assert "metersPerUnit = 1" in text
    assert 'upAxis = "Z"' in text
    assert "startTimeCode = 1" in text
    assert "endTimeCode = 5" in text


def test_points_are_thinned_and_surfaces_left_out(job, tmp_path):
    path = tmp_path / "shot.usdc"
    text = export_scene(bpy.context.scene, job, "usd", path, max_points=1000, surfaces=False)
    assert text == "Wrote shot.usdc: 1 camera, 1 mesh."
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    bpy.ops.wm.usd_import(filepath=str(path))
    (mesh,) = (item.data for item in bpy.context.scene.objects if item.type == "MESH")
    assert len(mesh.vertices) == 1000


def test_the_artists_file_is_as_before(job, tmp_path):
    scene = bpy.context.scene
    before = (
        tags.census(),
        scene.frame_current,
        sorted(block.name for block in bpy.data.objects),
        len(bpy.data.scenes),
    )
    for format_ in FORMATS:
        export_scene(scene, job, format_, tmp_path / f"a{FORMATS[format_].suffix}")
    after = (tags.census(), scene.frame_current, sorted(block.name for block in bpy.data.objects), len(bpy.data.scenes))
    assert after == before


def test_photos_are_one_camera_each(tmp_path, empty_file):
    folder = jobs.make_job(tmp_path / "job", Reconstruction(jobs.photos(["a.jpg", "b.jpg"]), kind="photos"))
    import_job(empty_file, folder.path, ImportOptions(plate=False))
    job = str(folder.path.resolve())
    bpy.context.view_layer.update()
    expected = {
        view: np.array(item.matrix_world.decompose()[0])
        for (role, view), item in tags.objects_of(empty_file, job).items()
        if role == "camera"
    }
    text = export_scene(empty_file, job, "usd", tmp_path / "a.usdc")
    assert text == "Wrote a.usdc: 2 cameras, 0 meshes."
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    bpy.ops.wm.usd_import(filepath=str(tmp_path / "a.usdc"))
    found = {item.name: item for item in bpy.context.scene.objects if item.type == "CAMERA"}
    assert sorted(found) == ["a_Camera", "b_Camera"]
    for view, place in expected.items():
        np.testing.assert_allclose(found[f"{view[0]}_Camera"].matrix_world.translation, place, atol=1e-5)


def test_an_exporter_that_is_not_there(job, tmp_path, monkeypatch):
    monkeypatch.setitem(FORMATS, "usd", dataclasses.replace(FORMATS["usd"], operator="wm.no_such_exporter"))
    with pytest.raises(EngineError, match="no USD exporter"):
        export_scene(bpy.context.scene, job, "usd", tmp_path / "a.usdc")


def test_what_cannot_be_exported(job, tmp_path, empty_file):
    scene = bpy.context.scene
    with pytest.raises(EngineError, match="No camera"):
        export_scene(scene, "/no/such/job", "usd", tmp_path / "a.usdc")
    (tmp_path / "file").write_text("")
    count = len(bpy.data.scenes)
    with pytest.raises((EngineError, OSError)):
        export_scene(scene, job, "fbx", tmp_path / "file" / "a.fbx")
    assert len(bpy.data.scenes) == count

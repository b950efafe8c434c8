"""Surfaces in the scene: geometry, colours, the frame on it, what a second import does, looks, operators."""

from __future__ import annotations

from pathlib import Path

import bpy
import extension
import jobs
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

from blender_3r.engine.errors import EngineError
from blender_3r.engine.reconstruction import Reconstruction
from blender_3r.engine.source import Source
from blender_3r.scene import tags
from blender_3r.scene.job import ImportOptions, import_job
from blender_3r.scene.surface_data import dense_views, read_fused, read_view_surfaces, spread
from blender_3r.scene.surface_looks import set_look
from blender_3r.scene.surfaces import (
    add_fused_surface,
    add_view_surfaces,
    build_surfaces_in_slices,
    job_of,
    surfaces_of,
)

QUAD = np.float32([[-1, -0.5, 2], [1, -0.5, 2], [1, 0.5, 2], [-1, 0.5, 2]])


def video_job(folder: Path, count: int = 5, dense: int = 3, **lens: float):
    source = Source("movie", (str(folder / "my shot.mp4"),))
    job = jobs.make_job(folder, Reconstruction(jobs.walk(count, jobs.lens(**lens)), fps=24.0), source)
    for index in range(dense):
        jobs.add_plane_view(job, index)
    return job


def add_fused(job, vertices: np.ndarray = QUAD) -> None:
    """Two triangles, facing the cameras."""
    count = len(vertices)
    job.write_surface(
        {
            "vertices": vertices,
            "faces": np.int32([[0, 2, 1], [0, 3, 2]]),
            "normals": np.tile(np.float32([0, 0, -1]), (count, 1)),
            "color": np.uint8([[255, 0, 0], [0, 255, 0], [0, 0, 255], [200, 100, 50]])[:count],
        }
    )


def add_texture(job, color: tuple[float, float, float] = (0.2, 0.5, 0.8)) -> None:
    """The left half of the surface of add_fused shows red, the right one color."""
    image = bpy.data.images.new("texture", 64, 64)
    pixels = np.ones((64, 64, 4), np.float32)
    pixels[:, :32, :3], pixels[:, 32:, :3] = (1, 0, 0), color
    image.pixels.foreach_set(pixels.reshape(-1))
    path = job.path / "made.png"
    image.filepath_raw, image.file_format = str(path), "PNG"
    image.save()
    bpy.data.images.remove(image)
    corner = np.float32([[0, 1], [1, 1], [1, 0], [0, 0]])  # of the vertices: y points down in the job
    job.write_texture(corner[np.int32([[0, 2, 1], [0, 3, 2]])], path.read_bytes())


def photo_job(folder: Path, orientation: int = 1):
    """Two photos of 64 x 36 upright pixels whose files are stored as orientation says, in four colours."""
    names = ["a.jpg", "b.jpg"]
    paths = [folder / name for name in names]
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        write_photo(path, orientation)
    source = Source("photos", tuple(map(str, paths)))
    job = jobs.make_job(folder / "job", Reconstruction(jobs.photos(names), kind="photos"), source)
    for index in range(2):
        jobs.add_plane_view(job, index)
    return job


CORNERS = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 1.0))  # upper left, right, lower left, right


def write_photo(path: Path, orientation: int) -> None:
    """A JPEG with an EXIF header; upright its corners have the colours CORNERS."""
    upright = np.empty((36, 64, 3), np.float32)
    upright[:18, :32], upright[:18, 32:], upright[18:, :32], upright[18:, 32:] = CORNERS
    turn = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: np.rot90(p, 1),
        7: lambda p: np.rot90(p.transpose(1, 0, 2), 2),
        8: lambda p: np.rot90(p, -1),
    }[orientation]
    stored = turn(upright)
    image = bpy.data.images.new("photo", stored.shape[1], stored.shape[0])
    flat = np.ones((*stored.shape[:2], 4), np.float32)
    flat[..., :3] = stored[::-1]
    image.pixels.foreach_set(flat.reshape(-1))
    image.filepath_raw, image.file_format = str(path), "JPEG"
    image.save(quality=100)
    bpy.data.images.remove(image)
    data = path.read_bytes()
    tiff = b"II*\0\x08\0\0\0" + b"\x01\0" + b"\x12\x01\x03\0\x01\0\0\0" + bytes([orientation, 0, 0, 0]) + b"\0\0\0\0"
    header = b"Exif\0\0" + tiff
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(header) + 2).to_bytes(2, "big") + header + data[2:])


def vertices_of(item: bpy.types.Object) -> np.ndarray:
    """(n, 3) in the job's world."""
    flat = np.empty(3 * len(item.data.vertices), np.float32)
    item.data.vertices.foreach_get("co", flat)
    return flat.reshape(-1, 3)


def uv_of(item: bpy.types.Object) -> tuple[np.ndarray, np.ndarray]:
    """Places (m, 2) and vertex numbers (m,) of the corners."""
    mesh = item.data
    uv, vertex = np.empty(2 * len(mesh.loops), np.float32), np.empty(len(mesh.loops), np.int32)
    mesh.uv_layers[0].uv.foreach_get("vector", uv)
    mesh.loops.foreach_get("vertex_index", vertex)
    return uv.reshape(-1, 2), vertex


# -- the fused surface


def test_fused_surface_has_its_faces_and_colours(tmp_path, empty_file):
    add_fused(video_job(tmp_path))
    import_job(empty_file, tmp_path)
    result = add_fused_surface(empty_file, tmp_path)
    item = result.objects[0]
    assert result.text == "Surface with 2 faces."
    assert (item.name, item.parent.name) == ("my shot Surface", "my shot")
    assert [c.name for c in item.users_collection] == ["my shot Surfaces"]
    assert bpy.data.collections["my shot"].children["my shot Surfaces"]
    assert np.array_equal(vertices_of(item), QUAD)
    colors = np.empty(16, np.float32)
    item.data.attributes["Col"].data.foreach_get("color_srgb", colors)
    assert np.allclose(colors.reshape(4, 4)[3, :3] * 255, (200, 100, 50), atol=0.6)
    assert all(polygon.normal.z < -0.99 for polygon in item.data.polygons), "towards the cameras"
    assert not item.data.validate()
    assert item.data.materials[0].name == "my shot Surface"


def test_edges_are_those_that_blender_would_find(tmp_path, empty_file):
    add_fused(video_job(tmp_path))
    item = add_fused_surface(empty_file, tmp_path).objects[0]
    mesh = item.data
    assert sorted(tuple(sorted(edge.vertices)) for edge in mesh.edges) == [(0, 1), (0, 2), (0, 3), (1, 2), (2, 3)]
    for polygon in mesh.polygons:
        for loop in polygon.loop_indices:
            after = loop + 1 if loop + 1 < polygon.loop_start + 3 else polygon.loop_start
            ends = {mesh.loops[loop].vertex_index, mesh.loops[after].vertex_index}
            assert set(mesh.edges[mesh.loops[loop].edge_index].vertices) == ends


def test_a_textured_surface_is_seen_as_its_texture(tmp_path, empty_file):
    """A Cycles still through the job's camera; then the surface is made again with another picture, and without."""
    job = video_job(tmp_path)
    large = 4 * QUAD - np.float32([0, 0, 5])
    add_fused(job, large)
    add_texture(job)
    import_job(empty_file, tmp_path, ImportOptions(point_budget=0, plate=False))
    item = add_fused_surface(empty_file, tmp_path).objects[0]
    assert item.data.uv_layers.active.name == "Texture"
    assert [slot.name for slot in item.data.materials] == ["my shot Texture"]
    empty_file.frame_set(1)
    seen = np.rint(255 * render(empty_file, tmp_path / "seen.png")[..., :3])
    assert (np.abs(seen[:, :24] - (255, 0, 0)).max(axis=-1) <= 2).all()
    assert (np.abs(seen[:, 40:] - (51, 128, 204)).max(axis=-1) <= 2).mean() > 0.99
    set_look(item, "LIT")
    add_fused(job, large)
    add_texture(job, (0.0, 1.0, 0.0))
    assert add_fused_surface(empty_file, tmp_path).objects == [item]
    set_look(item, "FILMED")
    again = render(empty_file, tmp_path / "again.png")
    assert np.abs(again[:, 40:, :3] - (0, 1, 0)).max() < 0.02
    assert len([image for image in bpy.data.images if image.name.startswith("texture")]) == 1
    set_look(item, "LIT")
    add_fused(job, large)
    add_fused_surface(empty_file, tmp_path)
    assert [slot.name for slot in item.data.materials] == ["my shot Surface"]
    assert item.data.materials[0].node_tree.nodes["3R Lit"].outputs[0].default_value == 1.0, "the look stays"
    assert not item.data.uv_layers


def test_a_damaged_texture_is_refused(tmp_path, empty_file):
    job = video_job(tmp_path)
    add_fused(job)
    add_texture(job)
    job.write_texture(np.zeros((5, 3, 2), np.float32), (job.path / "surface" / "texture.png").read_bytes())
    with pytest.raises(EngineError, match=r"texture in .* is damaged"):
        add_fused_surface(empty_file, tmp_path)


def test_a_job_that_is_not_in_the_scene_gets_its_root(tmp_path, empty_file):
    add_fused(video_job(tmp_path))
    item = add_fused_surface(empty_file, tmp_path).objects[0]
    assert item.parent == bpy.data.objects["my shot"]
    assert empty_file.camera is not None


def test_again_is_in_place(tmp_path, empty_file):
    job = video_job(tmp_path)
    add_fused(job)
    item = add_fused_surface(empty_file, tmp_path).objects[0]
    own = bpy.data.materials.new("mine")
    item.data.materials[0] = own
    item.name = "Set"
    add_fused(job, 2 * QUAD)
    again = add_fused_surface(empty_file, tmp_path).objects[0]
    assert (again, again.name) == (item, "Set")
    assert np.array_equal(vertices_of(item), 2 * QUAD)
    assert list(item.data.materials) == [own]
    import_job(empty_file, tmp_path)
    assert surfaces_of(empty_file, item[tags.JOB]) == [item], "an import of the job leaves it"
    assert not [mesh.name for mesh in bpy.data.meshes if ".0" in mesh.name]


def test_it_is_left_alone_in_edit_mode(tmp_path, empty_file):
    add_fused(video_job(tmp_path))
    item = add_fused_surface(empty_file, tmp_path).objects[0]
    bpy.context.view_layer.objects.active = item
    bpy.ops.object.mode_set(mode="EDIT")
    with pytest.raises(EngineError, match="being edited"):
        add_fused_surface(empty_file, tmp_path)
    bpy.ops.object.mode_set(mode="OBJECT")


def test_closed_between_slices_it_leaves_nothing(tmp_path, empty_file):
    add_fused(video_job(tmp_path))
    surfaces = read_fused(tmp_path)
    count = 0
    for _ in build_surfaces_in_slices(empty_file, surfaces):
        count += 1
    assert count >= 3
    for item in list(empty_file.objects):
        bpy.data.objects.remove(item)
    bpy.data.batch_remove(list(bpy.data.meshes) + list(bpy.data.collections))
    for number in range(1, count + 1):
        steps = build_surfaces_in_slices(empty_file, surfaces)
        for _ in range(number):
            next(steps)
        assert len(empty_file.objects) == 0
        steps.close()
        assert len(bpy.data.meshes) == 0


@pytest.mark.parametrize("damage", ["missing", "faces", "color", "nan", "torn"])
def test_damage_is_a_sentence_and_leaves_nothing(damage, tmp_path, empty_file):
    job = video_job(tmp_path)
    if damage != "missing":
        add_fused(job)
        file = tmp_path / "surface" / {"faces": "faces.npy", "color": "color.npy"}.get(damage, "vertices.npy")
        if damage == "faces":
            np.save(file, np.int32([[0, 1, 4]]))
        elif damage == "color":
            np.save(file, np.zeros((3, 3), np.uint8))
        elif damage == "nan":
            np.save(file, QUAD * np.float32(np.nan))
        else:
            file.write_bytes(file.read_bytes()[:140])
    with pytest.raises(EngineError) as failure:
        add_fused_surface(empty_file, tmp_path)
    assert failure.value.hint
    assert len(bpy.data.objects) == len(bpy.data.meshes) == len(bpy.data.materials) == 0


# -- surfaces of views


@pytest.mark.parametrize("lens", [{}, {"k1": -0.1, "p1": 0.01, "cx": 30.0, "cy": 20.0, "fy": 66.0}])
def test_uv_are_places_in_the_original_frame(lens, tmp_path, empty_file):
    """A vertex lands, through its view's lens with distortion, on the pixel that its UV names."""
    job = video_job(tmp_path, **lens)
    result = add_view_surfaces(empty_file, tmp_path)
    assert [item.name for item in result.objects] == [f"my shot frame_000{index}" for index in range(3)]
    view = job.read_cameras().views[1]
    item = result.objects[1]
    world = vertices_of(item).astype(np.float64)
    local = (world - view.world_from_camera[:3, 3]) @ view.world_from_camera[:3, :3]
    pixels = view.intrinsics.project(local)
    uv, vertex = uv_of(item)
    found = uv * (view.intrinsics.width, view.intrinsics.height)
    found[:, 1] = view.intrinsics.height - found[:, 1]
    assert np.abs(found - pixels[vertex]).max() < 0.01
    assert len(item.data.polygons) > 3000
    sight = Vector(world[0] - view.world_from_camera[:3, 3])
    assert all(polygon.normal @ sight < 0 for polygon in item.data.polygons[:50]), "towards the camera"


def test_seen_through_the_camera_uv_is_the_picture(tmp_path, empty_file):
    """With Blender's own camera: where a vertex appears in the picture is its UV."""
    video_job(tmp_path)
    camera = import_job(empty_file, tmp_path).cameras[0]
    item = add_view_surfaces(empty_file, tmp_path, [2]).objects[0]
    empty_file.frame_set(3)
    uv, vertex = uv_of(item)
    for corner in range(0, len(uv), 997):
        place = item.matrix_world @ item.data.vertices[int(vertex[corner])].co
        seen = world_to_camera_view(empty_file, camera, place)
        assert (seen.x, seen.y) == pytest.approx(tuple(uv[corner]), abs=1e-4)


def test_budget_confidence_and_choice_of_views(tmp_path, empty_file):
    job = video_job(tmp_path)
    full = read_view_surfaces(tmp_path, min_confidence=0.0)
    assert [mesh.view for mesh in full.meshes] == [0, 1, 2]
    assert len(full.meshes[0].vertices) == 36 * 64
    thin = read_view_surfaces(tmp_path, budget=1000, min_confidence=0.0)
    assert sum(len(mesh.vertices) for mesh in thin.meshes) <= 1000
    sure = read_view_surfaces(tmp_path, [1], min_confidence=0.5)
    assert 0.4 < len(sure.meshes[0].vertices) / (36 * 64) < 0.6
    assert dense_views(job, full.job) == [0, 1, 2]
    assert spread(list(range(10)), 3) == [1, 5, 8]
    assert spread([4, 5], 7) == [4, 5]


def test_other_views_stay_and_unsolved_ones_go(tmp_path, empty_file):
    job = video_job(tmp_path)
    add_view_surfaces(empty_file, tmp_path, [0])
    add_view_surfaces(empty_file, tmp_path, [1, 2])
    assert len(surfaces_of(empty_file, str(tmp_path.resolve()))) == 3
    job.write_cameras(Reconstruction(jobs.walk(5, missing=(1,)), fps=24.0))
    left = add_view_surfaces(empty_file, tmp_path, [2])
    assert [item.name for item in left.objects] == ["my shot frame_0002"]
    assert len(surfaces_of(empty_file, str(tmp_path.resolve()))) == 2


def test_without_depth_it_says_why(tmp_path, empty_file):
    video_job(tmp_path / "a", dense=0)
    with pytest.raises(EngineError, match="made without dense points"):
        add_view_surfaces(empty_file, tmp_path / "a")
    jobs.make_job(tmp_path / "b", Reconstruction(jobs.walk(3), motion="tripod"))
    with pytest.raises(EngineError, match="its camera only turns"):
        add_view_surfaces(empty_file, tmp_path / "b")
    video_job(tmp_path / "c")
    with pytest.raises(EngineError, match="Nothing of the depth"):
        add_view_surfaces(empty_file, tmp_path / "c", min_confidence=1.0)
    assert len(bpy.data.objects) == 0


def test_missing_footage_is_said_once(tmp_path, empty_file):
    video_job(tmp_path)
    import_job(empty_file, tmp_path)
    result = add_view_surfaces(empty_file, tmp_path, [0])
    assert result.warnings == ["The footage of frame_0000 is not there, so its surface has no picture."]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_lie_on_their_surfaces_upright(orientation, tmp_path, empty_file):
    """The picture, looked up at the UV of a corner of the surface, has the colour of that corner of the photo."""
    photo_job(tmp_path, orientation)
    item = add_view_surfaces(empty_file, tmp_path / "job", [0], min_confidence=0.0).objects[0]
    picture = item.data.materials[0].node_tree.nodes["3R Frame"].image
    assert Path(picture.filepath).name == "a.jpg"
    pixels = np.empty(len(picture.pixels), np.float32)
    picture.pixels.foreach_get(pixels)
    pixels = pixels.reshape(picture.size[1], picture.size[0], 4)
    uv, vertex = uv_of(item)
    columns = np.round((vertices_of(item)[vertex][:, 0] / 2 * 60 + 32) - 0.5)
    rows = np.round((vertices_of(item)[vertex][:, 1] / 2 * 60 + 18) - 0.5)
    for (row, column), color in zip(((6, 10), (6, 50), (28, 10), (28, 50)), CORNERS, strict=True):
        at = uv[np.flatnonzero((columns == column) & (rows == row))[0]]
        found = pixels[int(at[1] * picture.size[1]), int(at[0] * picture.size[0]), :3]
        assert np.allclose(found, color, atol=0.1)


def test_a_movie_shows_the_views_own_frame(tmp_path, empty_file):
    movie = tmp_path / "courtyard.mp4"
    movie.symlink_to(extension.ROOT / "demo" / "courtyard.mp4")
    job = jobs.make_job(tmp_path / "job", Reconstruction(jobs.walk(30), fps=24.0), Source("movie", (str(movie),)))
    jobs.add_plane_view(job, 17)
    item = add_view_surfaces(empty_file, tmp_path / "job").objects[0]
    node = item.data.materials[0].node_tree.nodes["3R Frame"]
    user = node.image_user
    assert node.image.source == "MOVIE"
    assert (user.frame_start, user.frame_duration, user.frame_offset) == (1, 1, 17)


# -- looks


def render(scene: bpy.types.Scene, path: Path, samples: int = 16) -> np.ndarray:
    """(h, w, 4) as stored, by Cycles."""
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising, scene.cycles.device = samples, False, "CPU"
    scene.render.film_transparent = True
    scene.render.resolution_x, scene.render.resolution_y = 64, 36
    scene.render.threads_mode, scene.render.threads = "FIXED", 1
    scene.view_settings.view_transform = "Standard"
    scene.render.image_settings.color_mode = "RGBA"
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(str(path))
    pixels = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(pixels)
    return pixels.reshape(36, 64, 4)


def test_as_filmed_lit_and_shadow_catcher(tmp_path, empty_file):
    """A cube above a plane: colours as filmed; dark without light; and only the shadow with the catcher."""
    add_fused(video_job(tmp_path), 4 * QUAD - np.float32([0, 0, 5]))
    import_job(empty_file, tmp_path, ImportOptions(point_budget=0, plate=False))
    item = add_fused_surface(empty_file, tmp_path).objects[0]
    empty_file.frame_set(3)
    filmed = render(empty_file, tmp_path / "filmed.png")
    assert filmed[..., 3].min() > 0.99
    assert filmed[..., :3].max(axis=-1).min() > 0.2
    set_look(item, "LIT")
    assert render(empty_file, tmp_path / "lit.png")[..., :3].max() < 0.02, "there is no light"

    bpy.ops.mesh.primitive_cube_add(size=0.4)
    cube = bpy.context.object
    cube.parent = item.parent
    cube.location = (0.0, 0.0, 2.0)
    sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
    sun.data.energy = 5
    empty_file.collection.objects.link(sun)
    sun.parent = item.parent
    sun.rotation_euler = (np.pi + 0.35, 0.5, 0.0)  # from behind the camera, to the side
    set_look(item, "CATCHER")
    caught = render(empty_file, tmp_path / "caught.png", 32)
    alpha, light = caught[..., 3], caught[..., :3].max(axis=-1)
    shadow = (alpha > 0.5) & (light < 0.05)
    assert 0.005 < shadow.mean() < 0.4
    assert (alpha < 0.1).mean() > 0.5, "the surface itself is not to be seen"
    set_look(item, "FILMED")
    assert not item.is_shadow_catcher


# -- the operators


@pytest.fixture
def switched_on(empty_file):
    extension.switch_on()
    yield empty_file
    extension.switch_off()


def test_operators(switched_on, tmp_path):
    job = video_job(tmp_path)
    scene = bpy.context.scene
    assert job_of(bpy.context) is None
    assert not bpy.ops.threer.add_view_surfaces.poll()
    import_job(scene, tmp_path)
    folder = str(tmp_path.resolve())
    assert job_of(bpy.context) == folder
    assert not bpy.ops.threer.surface_look.poll(), "there is none"
    scene.frame_set(2)
    scene.threer.surfaces.min_confidence = 0.0
    assert bpy.ops.threer.add_view_surfaces() == {"FINISHED"}
    assert [item.name for item in surfaces_of(scene, folder)] == ["my shot frame_0001"]
    scene.threer.surfaces.which, scene.threer.surfaces.count = "SPREAD", 2
    bpy.ops.threer.add_view_surfaces()
    assert len(surfaces_of(scene, folder)) == 3
    assert bpy.ops.threer.surface_look(look="CATCHER") == {"FINISHED"}
    assert all(item.is_shadow_catcher for item in surfaces_of(scene, folder))
    surfaces_of(scene, folder)[0].select_set(True)
    bpy.ops.threer.surface_look(look="FILMED")
    assert sum(item.is_shadow_catcher for item in surfaces_of(scene, folder)) == 2
    add_fused(job)
    assert bpy.ops.threer.import_surface() == {"FINISHED"}
    assert "my shot Surface" in scene.objects
    job.clear_results()
    job.write_cameras(Reconstruction(jobs.walk(5)))
    with pytest.raises(RuntimeError, match="has no fused surface"):
        bpy.ops.threer.import_surface()
    with pytest.raises(RuntimeError, match="made without dense points"):
        bpy.ops.threer.add_view_surfaces()


def test_view_surfaces_are_one_undo_step(switched_on, tmp_path):
    video_job(tmp_path)
    import_job(bpy.context.scene, tmp_path)
    bpy.ops.ed.undo_push(message="before")
    count = len(bpy.data.objects)
    bpy.ops.threer.add_view_surfaces("EXEC_DEFAULT", True)
    assert len(bpy.data.objects) == count + 1
    bpy.ops.ed.undo()
    assert len(bpy.data.objects) == count


def test_make_surface_says_why_it_cannot_start(switched_on, tmp_path):
    video_job(tmp_path)
    import_job(bpy.context.scene, tmp_path)
    assert not bpy.ops.threer.make_surface.poll(), "there is no engine"
    extension.use_fake_engine(tmp_path / "fake", "work")
    assert bpy.ops.threer.make_surface.poll()

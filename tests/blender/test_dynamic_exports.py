"""What moves by itself on its way out of Blender, and what of the scene it is kept out of."""

from __future__ import annotations

from types import SimpleNamespace

import bpy
import extension
import jobs
import numpy as np
import pytest
from test_scene_handover import IMPORTERS, enable_exporters

from blender_3r.engine.reconstruction import Reconstruction
from blender_3r.operators import export as export_operator
from blender_3r.operators.reconstruct import request_of
from blender_3r.scene import compat, tags
from blender_3r.scene.dynamic import moving_input, moving_modifier
from blender_3r.scene.handover import FORMATS, export_scene
from blender_3r.scene.job import ImportOptions, import_job
from blender_3r.scene.jobdata import read_job
from blender_3r.scene.shot_objects import engine_points
from blender_3r.scene.surface_data import read_view_surfaces

COLUMN = 36  # pixels
COUNTS = [4 * COLUMN * (index + 1) for index in range(5)]  # what moves in each of five frames


@pytest.fixture
def dancer(tmp_path, empty_file):
    """A movie of five frames with depth; in frame i something moves, 4 * (i + 1) columns wide."""
    job = jobs.make_job(tmp_path / "my shot", Reconstruction(jobs.walk(5), fps=25.0))
    for index in range(5):
        jobs.add_plane_view(job, index)
        moving = np.zeros((36, 64), bool)
        moving[:, : 4 * (index + 1)] = True
        job.add_to_view(index, {"moving": moving})
    return job


def played(item, frames):
    """How many vertices an object has at each frame."""
    counts = []
    for frame in frames:
        bpy.context.scene.frame_set(frame)
        counts.append(len(item.evaluated_get(bpy.context.evaluated_depsgraph_get()).data.vertices))
    return counts


def came_back(path, format_):
    """The meshes of a file, in an empty scene of the same rate."""
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    enable_exporters()
    bpy.context.scene.render.fps = 25
    IMPORTERS[format_](str(path))
    return {item.name: item for item in bpy.context.scene.objects if item.type == "MESH"}


@pytest.mark.parametrize("format_", ["usd", "alembic"])
def test_usd_and_alembic_play_what_moves(dancer, tmp_path, empty_file, format_):
    result = import_job(empty_file, dancer.path, ImportOptions(plate=False))
    result.root.location = (1, 2, 3)
    bpy.context.view_layer.update()
    shown = np.array([result.moving.matrix_world @ vertex.co for vertex in result.moving.data.vertices])
    path = tmp_path / f"x{FORMATS[format_].suffix}"
    assert export_scene(empty_file, str(dancer.path.resolve()), format_, path).endswith(": 1 camera, 2 meshes.")
    assert "3R Export" not in bpy.data.scenes
    meshes = came_back(path, format_)
    (moving,) = (item for name, item in meshes.items() if "Moving" in name)
    (stands,) = (item for name, item in meshes.items() if "Points" in name)
    assert played(moving, range(1, 6)) == COUNTS
    assert set(played(stands, (1, 3, 5))) == {5 * 36 * 64 - sum(COUNTS)}
    bpy.context.scene.frame_set(2)
    seen = moving.evaluated_get(bpy.context.evaluated_depsgraph_get())
    places = np.array([seen.matrix_world @ vertex.co for vertex in seen.data.vertices])
    np.testing.assert_allclose(places, shown[COUNTS[0] : COUNTS[0] + COUNTS[1]], atol=1e-4)


def test_a_limit_of_points_is_for_each_frame(dancer, tmp_path, empty_file):
    import_job(empty_file, dancer.path, ImportOptions(plate=False))
    path = tmp_path / "x.abc"
    export_scene(empty_file, str(dancer.path.resolve()), "alembic", path, max_points=COUNTS[4] // 2)
    (moving,) = (item for name, item in came_back(path, "alembic").items() if "Moving" in name)
    assert played(moving, range(1, 6)) == [count // 2 for count in COUNTS]


def test_the_artists_shift_in_time_goes_along(dancer, tmp_path, empty_file):
    result = import_job(empty_file, dancer.path, ImportOptions(plate=False))
    modifier = moving_modifier(result.moving)
    compat.set_modifier_input(modifier, moving_input(modifier, "Frame Offset"), 2)
    path = tmp_path / "x.usdc"
    export_scene(empty_file, str(dancer.path.resolve()), "usd", path)
    (moving,) = (item for name, item in came_back(path, "usd").items() if "Moving" in name)
    assert played(moving, (3, 4, 5)) == COUNTS[:3]


@pytest.mark.parametrize("format_", ["fbx", "gltf"])
def test_formats_that_cannot_play_say_what_they_leave_out(dancer, tmp_path, empty_file, format_):
    enable_exporters()
    import_job(empty_file, dancer.path, ImportOptions(plate=False))
    path = tmp_path / f"x{FORMATS[format_].suffix}"
    text = export_scene(empty_file, str(dancer.path.resolve()), format_, path)
    assert "1 mesh. What moves is left out" in text
    (stands,) = came_back(path, format_).values()
    assert len(stands.data.vertices) == 5 * 36 * 64 - sum(COUNTS)


def test_surfaces_of_several_views_are_of_what_stands(dancer):
    single = read_view_surfaces(dancer.path, [4], min_confidence=0).meshes[0]
    all_views = read_view_surfaces(dancer.path, budget=10**7, min_confidence=0)
    among = {mesh.view: mesh for mesh in all_views.meshes}
    assert len(single.vertices) == 36 * 64
    assert len(among[4].vertices) == 36 * 64 - COUNTS[4]
    assert among[4].uv[:, 0].min() > 20 / 64
    whole = read_view_surfaces(dancer.path, budget=10**7, min_confidence=0, moving=True)
    assert [len(mesh.vertices) for mesh in whole.meshes] == [36 * 64] * 5


def test_the_worlds_stand_is_judged_by_what_stands(dancer):
    """Guide points are the same whatever of the points is to show."""
    far = dancer.read_view(0)
    for index in range(5):
        arrays = {name: np.array(dancer.read_view(index)[name]) for name in far}
        moving = np.array(dancer.read_extra(index, "moving"))
        arrays["depth"][moving] = 40.0
        dancer.write_view(index, arrays)
        dancer.add_to_view(index, {"moving": moving | (np.arange(64) < 40)})
    depths = [read_job(dancer.path, moving=mode).depth for mode in ("known", "none", "frames")]
    assert depths == pytest.approx([depths[0]] * 3, rel=0.02)
    assert depths[0] < 4


def test_the_floor_of_a_shot_is_found_among_what_stands(dancer, empty_file):
    result = import_job(empty_file, dancer.path, ImportOptions(plate=False))
    points = engine_points(empty_file, read_job(dancer.path, 0))
    assert 0 < len(points) <= len(result.points.data.vertices)
    moving = np.array([vertex.co for vertex in result.moving.data.vertices], np.float32)
    assert not np.isin(points.astype(np.float32)[:, 0], moving[:, 0]).any()


# -- settings


@pytest.fixture
def threer():
    extension.switch_on()
    yield bpy.context.scene.threer
    extension.switch_off()


def test_not_to_look_for_it_goes_into_the_request(threer):
    threer.path = str(extension.ROOT / "demo" / "courtyard.mp4")
    assert "moving" not in request_of(threer)["settings"]
    threer.find_moving = False
    assert request_of(threer)["settings"]["moving"] == "off"


@pytest.mark.parametrize(
    ("format_", "wish", "expected"),
    [
        ("ply", {}, "static"),
        ("ply", {"moving": "all"}, "all"),
        ("glb", {"moving": "frame"}, 3),
        ("ply-frames", {}, None),
        ("ply-frames", {"every_point": True}, "all"),
        ("colmap", {"moving": "all"}, None),
    ],
)
def test_the_export_dialog_says_what_of_it(threer, dancer, monkeypatch, format_, wish, expected):
    import_job(bpy.context.scene, dancer.path, ImportOptions(plate=False))
    bpy.context.scene.frame_set(4)  # of a movie, whose first frame is 0 and shows at 1
    heard = {}
    monkeypatch.setattr(export_operator, "start_export", lambda *arguments: heard.update(arguments[5]) or {"FINISHED"})
    assert bpy.ops.threer.export(filepath=str(dancer.path / "x"), format=format_, **wish) == {"FINISHED"}
    assert heard.get("moving") == expected


def test_the_dialog_draws(threer, dancer):
    import_job(bpy.context.scene, dancer.path, ImportOptions(plate=False))
    for format_, name in (("ply", "moving"), ("glb", "moving"), ("ply-frames", "every_point"), ("usd", "surfaces")):
        drawn = []
        layout = SimpleNamespace(prop=lambda data, name, drawn=drawn, **_: drawn.append(name), label=lambda **_: None)
        operator = SimpleNamespace(layout=layout, format=format_, _suffix="x")
        export_operator.THREER_OT_export.draw(operator, bpy.context)
        assert name in drawn
    assert tags.objects_of(bpy.context.scene, str(dancer.path.resolve()))

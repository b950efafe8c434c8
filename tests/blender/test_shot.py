"""Set Up Shot: every step, each left out, done again, undone, and what is said where a step is not possible."""

from __future__ import annotations

import bpy
import jobs
import numpy as np
import pytest
import shots

from blender_3r.engine.reconstruction import Reconstruction
from blender_3r.scene import tags
from blender_3r.scene.floor import find_shot_floor
from blender_3r.scene.job import ImportOptions, import_job
from blender_3r.scene.jobdata import read_job
from blender_3r.scene.shot import ShotOptions, needs_plates, set_up_shot

ALL_OFF = {"match_scene": False, "plate": False, "catcher": "NONE", "test_object": False, "compositor": False}


pytestmark = pytest.mark.usefixtures("threer")


@pytest.fixture
def job(tmp_path):
    folder = shots.make_shot(tmp_path)
    import_job(bpy.context.scene, folder.path, ImportOptions(plate=False, match_scene=False))
    return folder


def ours(job, role: str) -> bpy.types.Object | None:
    return tags.objects_of(bpy.context.scene, str(job.path)).get((role, ""))


def tree_of(scene) -> bpy.types.NodeTree | None:
    if hasattr(scene, "compositing_node_group"):
        return scene.compositing_node_group
    return scene.node_tree if scene.use_nodes else None


def test_one_button(job):
    scene = bpy.context.scene
    assert bpy.ops.threer.setup_shot() == {"FINISHED"}
    assert (scene.render.resolution_x, scene.render.resolution_y) == (shots.WIDTH, shots.HEIGHT)
    assert (scene.frame_start, scene.frame_end) == (101, 103)
    assert scene.render.fps == 24
    assert scene.view_settings.view_transform == "Standard"
    assert scene.render.film_transparent
    assert scene.render.engine == "CYCLES"
    assert scene.camera.get(tags.ROLE) == "camera"
    assert scene.camera.data.background_images[0].clip is not None
    assert ours(job, "floor").is_shadow_catcher
    assert any(item.type == "LIGHT" for item in scene.objects)
    assert {"R_LAYERS", "MOVIECLIP", "ALPHAOVER"} <= {node.type for node in tree_of(scene).nodes}


def test_the_cube_stands_on_the_floor_in_view(job):
    bpy.ops.threer.setup_shot()
    bpy.context.view_layer.update()
    cube, floor = ours(job, "test object"), ours(job, "floor")
    foot = np.array([cube.matrix_world @ vertex.co for vertex in cube.data.vertices])
    assert foot[:, 2].min() == pytest.approx(0, abs=0.01 * float(np.ptp(foot[:, 2])))
    assert abs(floor.matrix_world.translation.z) < 0.01 * np.ptp(foot[:, 2])
    from bpy_extras.object_utils import world_to_camera_view

    for frame in (101, 103):
        bpy.context.scene.frame_set(frame)
        places = [world_to_camera_view(bpy.context.scene, bpy.context.scene.camera, cube.matrix_world.translation)]
        assert all(0.1 < place.x < 0.9 and 0.05 < place.y < 0.9 and place.z > 0 for place in places)


@pytest.mark.parametrize(
    ("on", "check"),
    [
        ({"match_scene": True}, lambda scene: scene.render.resolution_x == shots.WIDTH),
        ({"plate": True}, lambda scene: len(scene.camera.data.background_images) == 1),
        ({"catcher": "FLOOR"}, lambda scene: any(item.is_shadow_catcher for item in scene.objects)),
        ({"test_object": True}, lambda scene: any(item.get(tags.ROLE) == "test object" for item in scene.objects)),
        ({"compositor": True}, lambda scene: tree_of(scene) is not None and len(tree_of(scene).nodes) > 3),
    ],
)
def test_every_step_alone(job, on, check):
    """Nothing but that step: the others' checks do not hold."""
    scene = bpy.context.scene
    assert not check(scene)
    if "compositor" in on:
        bpy.ops.threer.setup_shot(**{**ALL_OFF, "plate": True})
    assert bpy.ops.threer.setup_shot(**{**ALL_OFF, **on}) == {"FINISHED"}
    assert check(scene)
    roles = {item.get(tags.ROLE) for item in scene.objects} & {"floor", "test object", "test light"}
    expected = {"catcher": {"floor"}, "test_object": {"test object", "test light"}}
    assert roles == expected.get(next(iter(on)), set())


def test_again_makes_nothing_twice(job):
    bpy.ops.threer.setup_shot()
    cube = ours(job, "test object")
    cube.name = "My Cube"
    count, images = len(bpy.context.scene.objects), len(bpy.data.images)
    nodes = len(tree_of(bpy.context.scene).nodes)
    bpy.ops.threer.setup_shot()
    assert (len(bpy.context.scene.objects), len(bpy.data.images)) == (count, images)
    assert len(tree_of(bpy.context.scene).nodes) == nodes
    assert ours(job, "test object").name == "My Cube"
    import_job(bpy.context.scene, job.path, ImportOptions(plate=False))
    assert ours(job, "test object").name == "My Cube"


def test_one_undo(job):
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.threer.setup_shot()
    bpy.ops.ed.undo_push(message="shot")
    bpy.ops.ed.undo()
    assert ours(job, "floor") is None
    assert not bpy.context.scene.render.film_transparent
    assert tree_of(bpy.context.scene) is None or len(tree_of(bpy.context.scene).nodes) <= 2


def test_an_artists_light_and_floor_stay(job):
    scene = bpy.context.scene
    lamp = bpy.data.objects.new("key", bpy.data.lights.new("key", "POINT"))
    scene.collection.objects.link(lamp)
    root = ours(job, "root")
    root.location.z += 0.7  # the floor is now said to be where z = 0 was put
    root["threer_has_floor"] = True
    bpy.ops.threer.setup_shot()
    bpy.context.view_layer.update()
    assert [item.name for item in scene.objects if item.type == "LIGHT"] == ["key"]
    assert ours(job, "floor").matrix_world.translation.z == pytest.approx(0, abs=1e-4)


def test_a_built_compositor_is_left_alone(job):
    scene = bpy.context.scene
    if hasattr(scene, "compositing_node_group"):
        scene.compositing_node_group = bpy.data.node_groups.new("mine", "CompositorNodeTree")
    else:
        scene.use_nodes = True
    tree_of(scene).nodes.new("CompositorNodeBlur").name = "my blur"
    data = read_job(job.path, 0)
    result = set_up_shot(scene, bpy.context.view_layer, data)
    assert any("a compositor of its own" in sentence for sentence in result.warnings)
    assert "my blur" in tree_of(scene).nodes
    result = set_up_shot(scene, bpy.context.view_layer, data, ShotOptions(replace=True))
    assert result.warnings == []
    assert "my blur" not in tree_of(scene).nodes
    if hasattr(scene, "compositing_node_group"):
        assert "my blur" in bpy.data.node_groups["mine"].nodes


def test_what_is_not_possible_is_said(tmp_path):
    folder = jobs.make_job(tmp_path / "bare", Reconstruction(jobs.walk(5)))
    import_job(bpy.context.scene, folder.path, ImportOptions(plate=False))
    data = read_job(folder.path, 0)
    options = ShotOptions(catcher="SURFACE", foreground="DEPTH")
    said = " ".join(set_up_shot(bpy.context.scene, bpy.context.view_layer, data, options).warnings)
    assert "no fused surface" in said
    assert "The footage is not there" in said
    said = " ".join(set_up_shot(bpy.context.scene, bpy.context.view_layer, data).warnings)
    assert "select three points of it and press Set Floor" in said


def test_plates_are_wanted_where_the_lens_distorts(tmp_path):
    folder = shots.make_shot(tmp_path, k1=-0.1)
    import_job(bpy.context.scene, folder.path, ImportOptions(plate=False))
    assert needs_plates(read_job(folder.path, 0), ShotOptions())
    assert not needs_plates(read_job(folder.path, 0), ShotOptions(compositor=False))
    with pytest.raises(RuntimeError, match="engine"):
        bpy.ops.threer.setup_shot()
    assert ours(folder, "floor") is None  # nothing half done
    shots.write_plates(folder)
    assert not needs_plates(read_job(folder.path, 0), ShotOptions())
    assert bpy.ops.threer.setup_shot() == {"FINISHED"}
    assert "IMAGE" in {node.type for node in tree_of(bpy.context.scene).nodes}
    shots.edit_lens(folder, jobs.lens(shots.WIDTH, shots.HEIGHT, 81.0, k1=-0.1))
    assert needs_plates(read_job(folder.path, 0), ShotOptions())  # solved anew since


def test_a_floor_is_found_where_there_is_one(job):
    data = read_job(job.path, 0)
    points = np.array(job.read_sparse()["points"], np.float64)
    floor = find_shot_floor(data, points, data.placement, has_floor=False)
    assert floor.is_fitted
    np.testing.assert_allclose(floor.normal, [0, -1, 0], atol=1e-6)
    assert floor.height == pytest.approx(-1.2)
    assert floor.place[1] == pytest.approx(1.2)
    np.testing.assert_allclose(floor.frame[:3, :3] @ floor.frame[:3, :3].T, np.eye(3), atol=1e-9)
    assert np.linalg.det(floor.frame) == pytest.approx(1)


def test_nothing_imported():
    assert not bpy.ops.threer.setup_shot.poll()

"""Floor, origin, axis and size from selected points: on the root alone, to be undone, kept by the next import."""

from __future__ import annotations

import bpy
import jobs
import numpy as np
import pytest
from mathutils import Matrix

from blender_3r.engine.geometry.planes import fit_plane, rotation_between
from blender_3r.engine.reconstruction import Reconstruction
from blender_3r.scene.job import ImportOptions, import_job

RANDOM = np.random.default_rng(5)
FLOOR = np.column_stack([RANDOM.uniform(-2, 2, 60), np.full(60, 1.5), RANDOM.uniform(1, 5, 60)])
ABOVE = np.column_stack([RANDOM.uniform(-2, 2, 20), RANDOM.uniform(-1, 1, 20), RANDOM.uniform(1, 5, 20)])


pytestmark = pytest.mark.usefixtures("threer")


@pytest.fixture
def job(tmp_path):
    """A floor and what is above it, in a world that stands askew and is far too small."""
    folder = jobs.make_job(tmp_path / "shot", Reconstruction(jobs.walk(5)))
    jobs.add_sparse(folder, np.concatenate([FLOOR, ABOVE]))
    imported = import_job(bpy.context.scene, folder.path, ImportOptions(plate=False))
    imported.root.matrix_basis = (
        Matrix.Translation((3, -2, 1)) @ Matrix.Rotation(0.5, 4, (1, 2, 0.5)) @ Matrix.Scale(0.2, 4)
    )
    bpy.context.view_layer.update()
    return folder


def root_of(job) -> bpy.types.Object:
    return next(item for item in bpy.context.scene.objects if item.get("threer_role") == "root")


def world(points) -> np.ndarray:
    """Points of the engine as they lie in the scene now."""
    bpy.context.view_layer.update()
    matrix = np.array(root_of(None).matrix_world)
    return np.asarray(points) @ matrix[:3, :3].T + matrix[:3, 3]


def empties(points) -> list[bpy.types.Object]:
    """Selected empties at engine points, the last one active."""
    bpy.ops.object.select_all(action="DESELECT")
    made = []
    for place in world(points):
        item = bpy.data.objects.new("pick", None)
        item.location = place
        bpy.context.scene.collection.objects.link(item)
        item.select_set(True)
        bpy.context.view_layer.objects.active = item
        made.append(item)
    bpy.context.view_layer.update()
    return made


def test_floor_from_three_empties(job):
    made = empties(FLOOR[[0, 10, 20]])
    assert bpy.ops.threer.set_floor() == {"FINISHED"}
    placed = world(FLOOR)
    np.testing.assert_allclose(placed[:, 2], 0, atol=1e-5)
    assert world(ABOVE)[:, 2].min() > 0.05
    assert root_of(job).scale[0] == pytest.approx(0.2)
    np.testing.assert_allclose([item.matrix_world.translation for item in made], placed[[0, 10, 20]], atol=1e-5)


def test_floor_from_vertices_with_strays(job):
    """Edit Mode of the points themselves: half of what a box catches may be something else."""
    points = next(item for item in bpy.context.scene.objects if item.get("threer_role") == "points")
    if not isinstance(points.data, bpy.types.Mesh):
        pytest.fail("imported points are a mesh")
    places = np.empty(3 * len(points.data.vertices), np.float32)
    points.data.vertices.foreach_get("co", places)
    on_floor = np.abs(places.reshape(-1, 3)[:, 1] - 1.5) < 1e-4
    bpy.context.view_layer.objects.active = points
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    assert bpy.ops.threer.set_floor() == {"FINISHED"}
    assert bpy.context.mode == "OBJECT"
    assert on_floor.sum() == 60
    np.testing.assert_allclose(world(FLOOR)[:, 2], 0, atol=1e-4)


def test_an_axis_runs_from_the_vertex_clicked_first(job):
    """The order of clicks counts, not that of the vertices."""
    import bmesh  # only there once bpy is

    points = next(item for item in bpy.context.scene.objects if item.get("threer_role") == "points")
    bpy.context.view_layer.objects.active = points
    for first, second in ((4, 30), (30, 4)):
        bpy.ops.object.mode_set(mode="EDIT")
        bpy.ops.mesh.select_all(action="DESELECT")
        mesh = bmesh.from_edit_mesh(points.data)
        mesh.verts.ensure_lookup_table()
        for index in (first, second):
            mesh.verts[index].select = True
            mesh.select_history.add(mesh.verts[index])
        bmesh.update_edit_mesh(points.data)
        assert bpy.ops.threer.set_axis(axis="X") == {"FINISHED"}
        bpy.context.view_layer.update()
        start, end = (points.matrix_world @ points.data.vertices[index].co for index in (first, second))
        assert end.x > start.x
        assert end.y == pytest.approx(start.y, abs=1e-5)


def test_origin_axis_and_size_keep_the_floor(job):
    empties(FLOOR[[0, 10, 20]])
    bpy.ops.threer.set_floor()
    empties(FLOOR[[3]])
    assert bpy.ops.threer.set_origin() == {"FINISHED"}
    np.testing.assert_allclose(world(FLOOR[3]), 0, atol=1e-5)
    for axis, flip, column, sign in (("X", False, 0, 1), ("Y", False, 1, 1), ("X", True, 0, -1)):
        empties(FLOOR[[3, 7]])
        assert bpy.ops.threer.set_axis(axis=axis, flip=flip) == {"FINISHED"}
        way = world(FLOOR[7]) - world(FLOOR[3])
        assert way[column] * sign == pytest.approx(np.linalg.norm(way), rel=1e-5)
    empties(FLOOR[[3, 7]])
    assert bpy.ops.threer.set_distance(length=4.2) == {"FINISHED"}
    assert np.linalg.norm(world(FLOOR[7]) - world(FLOOR[3])) == pytest.approx(4.2, rel=1e-5)
    np.testing.assert_allclose(world(FLOOR)[:, 2], 0, atol=1e-4)
    np.testing.assert_allclose(world(FLOOR[3]), 0, atol=1e-5)


def test_an_object_of_known_height(job):
    empties(FLOOR[[0, 10, 20]])
    bpy.ops.threer.set_floor()
    bpy.ops.object.select_all(action="DESELECT")
    bpy.ops.mesh.primitive_cube_add(size=1)
    person = bpy.context.active_object
    person.location, person.scale = (0.5, 0.2, 0.3), (0.1, 0.1, 0.6)
    bpy.context.view_layer.update()
    before = root_of(job).scale[0]
    assert bpy.ops.threer.set_height(length=1.8) == {"FINISHED"}
    bpy.context.view_layer.update()
    assert person.dimensions[2] == pytest.approx(1.8, rel=1e-5)
    assert root_of(job).scale[0] == pytest.approx(before * 3, rel=1e-5)


def test_undo_and_the_next_import(job):
    bpy.ops.ed.undo_push(message="before")
    before = np.array(root_of(job).matrix_basis)
    made = empties(FLOOR[[0, 10, 20]])
    assert len(made) == 3
    bpy.ops.ed.undo_push(message="picked")
    bpy.ops.threer.set_floor()
    after = np.array(root_of(job).matrix_basis)
    bpy.ops.ed.undo_push(message="floor")
    bpy.ops.ed.undo()
    np.testing.assert_allclose(np.array(root_of(job).matrix_basis), before, atol=1e-6)
    bpy.ops.ed.redo()
    np.testing.assert_allclose(np.array(root_of(job).matrix_basis), after, atol=1e-6)
    import_job(bpy.context.scene, job.path, ImportOptions(plate=False))
    np.testing.assert_allclose(np.array(root_of(job).matrix_basis), after, atol=1e-6)
    bpy.ops.threer.reset_orientation()
    guess = np.array(root_of(job)["threer_placement"]).reshape(4, 4)
    np.testing.assert_allclose(root_of(job).matrix_basis, guess, atol=1e-6)


def test_the_size_reaches_what_cameras_clip(job):
    camera = next(item for item in bpy.context.scene.objects if item.get("threer_role") == "camera")
    near, far = camera.data.clip_start, camera.data.clip_end
    empties(FLOOR[[0, 7]])
    bpy.ops.threer.set_distance(length=10 * float(np.linalg.norm(world(FLOOR[0]) - world(FLOOR[7]))))
    assert (camera.data.clip_start, camera.data.clip_end) == pytest.approx((10 * near, 10 * far), rel=1e-4)


@pytest.mark.parametrize(
    ("operator", "picks", "sentence"),
    [
        ("set_floor", FLOOR[:2], "The floor takes at least three points, but 2 are selected"),
        ("set_floor", FLOOR[[0, 0, 0]] + [[0, 0, 0], [1, 0, 1], [2, 0, 2]], "lie on a line"),
        ("set_origin", FLOOR[:0], "at least one point, but none is selected"),
        ("set_axis", FLOOR[:1], "An axis takes two points, but one is selected"),
        ("set_distance", FLOOR[:3], "A distance takes two points, but 3 are selected"),
        ("set_distance", FLOOR[[0, 0]], "lie in one place"),
        ("set_height", FLOOR[:1], "A height takes at least two points"),
    ],
)
def test_wrong_selections(job, operator, picks, sentence):
    empties(picks)
    before = np.array(root_of(job).matrix_basis)
    with pytest.raises(RuntimeError, match=sentence):
        getattr(bpy.ops.threer, operator)()
    np.testing.assert_array_equal(np.array(root_of(job).matrix_basis), before)


def test_one_above_the_other_has_no_axis(job):
    empties(FLOOR[[0, 10, 20]])
    bpy.ops.threer.set_floor()
    upper = empties(FLOOR[[0, 0]])[1]
    upper.location.z += 1
    bpy.context.view_layer.update()
    with pytest.raises(RuntimeError, match="lies above the other"):
        bpy.ops.threer.set_axis()


def test_an_animated_root_is_left_alone(job):
    root_of(job).keyframe_insert("location", frame=1)
    empties(FLOOR[[0, 10, 20]])
    with pytest.raises(RuntimeError, match="is animated"):
        bpy.ops.threer.set_floor()


def test_nothing_imported():
    assert not bpy.ops.threer.set_floor.poll()


def test_plane_of_the_majority():
    random = np.random.default_rng(0)
    normal = np.array([0.2, -0.3, 0.9])
    normal /= np.linalg.norm(normal)
    flat = np.cross(random.normal(size=(60, 3)), normal)
    strays = random.uniform(-3, 3, (40, 3))
    plane = fit_plane(np.concatenate([flat + 0.7 * normal, strays])).facing(normal)
    assert plane.normal @ normal == pytest.approx(1, abs=1e-6)
    assert plane.height == pytest.approx(0.7, abs=0.02)
    with pytest.raises(ValueError, match="line"):
        fit_plane(np.outer(np.arange(8), [1, 2, 3]))


@pytest.mark.parametrize("end", [(0, 0, 1), (0, 0, -1), (0.6, 0, 0.8), (0, 1, 0)])
def test_smallest_rotation(end):
    turn = rotation_between(np.array([0, 0, 1.0]), np.array(end, float))
    np.testing.assert_allclose(turn @ [0, 0, 1], end, atol=1e-12)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)

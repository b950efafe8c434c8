"""A running job in a scene: what comes, what is renewed in place, and what undo makes of it."""

from __future__ import annotations

from types import SimpleNamespace

import bpy
import jobs
import numpy as np
import pytest
from test_import_job import datablocks, video_job
from test_import_slices import photo_job

from blender_3r.engine.reconstruction import Reconstruction
from blender_3r.scene import compat, fast_display, tags
from blender_3r.scene import growth as growth_module
from blender_3r.scene.growth import FAST_POINTS, FEWEST_POINTS, GROWING_POINTS, REDRAW_S, Grown, Growth
from blender_3r.scene.job import ImportOptions, finish, import_job
from blender_3r.scene.jobdata import read_job

PLANE = 36 * 64
IN_PLACE = Grown(is_there=True, is_new=False)
NEW = Grown(is_there=True, is_new=True)
GONE = Grown(is_there=False, is_new=False)


@pytest.fixture
def grow(empty_file, tmp_path):
    """Brings in what the job in tmp_path has by now; takes what else belongs to the scene's undo steps, too."""
    growth = Growth("run 1", ImportOptions())

    def step() -> Grown:
        grown = finish(growth.build_in_slices(bpy.context.scene, read_job(tmp_path)))
        if grown.is_new:
            bpy.ops.ed.undo_push(message="Grown")
        return grown

    return step


def points() -> bpy.types.Object:
    return bpy.data.objects["my shot Points"]


def camera_x(frame: int) -> float:
    curve = compat.fcurves_of(bpy.data.objects["my shot Camera"], "").find("location", index=0)
    return curve.evaluate(frame)


def user_step(value: float) -> None:
    bpy.data.objects["mine"].location.x = value
    bpy.ops.ed.undo_push(message=f"Move {value}")


@pytest.fixture
def mine(empty_file):
    """An object of the artist's, with some undo steps."""
    empty_file.collection.objects.link(bpy.data.objects.new("mine", None))
    bpy.ops.ed.undo_push(message="Add")
    user_step(1)
    user_step(2)


def test_points_grow_in_one_object_without_new_datablocks(grow, tmp_path):
    job = video_job(tmp_path, views=1)
    assert grow() == NEW
    before, mesh = datablocks(), points().data
    for index in range(1, 5):
        jobs.add_plane_view(job, index)
        assert grow() == IN_PLACE
        assert len(points().data.vertices) == (index + 1) * PLANE
    assert points().data == mesh
    assert datablocks() == before
    assert set(np.unique(_views(mesh))) == set(range(5))


def _views(mesh: bpy.types.Mesh) -> np.ndarray:
    values = np.empty(len(mesh.vertices), np.int32)
    mesh.attributes["view"].data.foreach_get("value", values)
    return values


def test_a_correction_moves_camera_and_points(grow, tmp_path):
    job = video_job(tmp_path, views=1)
    grow()
    first = np.array([vertex.co for vertex in points().data.vertices[:50]])
    x = camera_x(3)
    moved = jobs.walk(5)
    for view in moved:
        view.world_from_camera[:3, 3] += (1, 0, 0)
    job.write_cameras(Reconstruction(moved, fps=24.0))
    assert grow() == IN_PLACE
    after = np.array([vertex.co for vertex in points().data.vertices[:50]])
    assert camera_x(3) == pytest.approx(x + 1, abs=1e-5)
    assert np.allclose(after - first, (1, 0, 0), atol=1e-5)


def test_it_brings_as_many_points_as_a_redraw_can_take(monkeypatch, empty_file, tmp_path):
    video_job(tmp_path)
    growth = Growth("run", ImportOptions())
    most = growth.points
    finish(growth.build_in_slices(empty_file, read_job(tmp_path)))
    drawn = len(points().data.vertices)
    growth.redrawn(REDRAW_S / 100)
    assert growth.points == most, "few were drawn, and fast: that is no reason to bring fewer"
    monkeypatch.setattr(growth_module, "FEWEST_POINTS", 100)
    for seconds, expected in (
        (2 * REDRAW_S, drawn // 2),
        (REDRAW_S / 2, 2 * drawn),
        (0.0, 4 * drawn),
        (1000 * REDRAW_S, 100),
        (0.0, 4 * drawn),
    ):
        growth.redrawn(seconds)
        assert growth.points == pytest.approx(expected, abs=1)
    monkeypatch.setattr(growth_module, "GROWING_POINTS", 3 * drawn)
    growth.redrawn(0.0)
    assert growth.points == 3 * drawn


def test_fast_display_needs_no_fewer_points(monkeypatch, empty_file, tmp_path):
    video_job(tmp_path)
    monkeypatch.setattr(fast_display.gpu, "platform", SimpleNamespace(device_type_get=lambda: "SOFTWARE"))
    monkeypatch.setattr(growth_module, "FEWEST_POINTS", 100)
    growth = Growth("run", ImportOptions())
    assert growth.points == 100
    finish(growth.build_in_slices(empty_file, read_job(tmp_path)))
    for raise_, expected in ((4, 4 * len(points().data.vertices)), (10**9, FAST_POINTS), (4, FAST_POINTS)):
        monkeypatch.setattr(growth_module, "RAISE", raise_)
        finish(growth.build_in_slices(empty_file, read_job(tmp_path)))
        growth.redrawn(1000 * REDRAW_S)
        assert growth.points == expected
    fast_display.remove_fast_display(points())
    finish(growth.build_in_slices(empty_file, read_job(tmp_path)))
    growth.redrawn(1000 * REDRAW_S)
    assert growth.points == 100


@pytest.mark.parametrize(("device", "expected"), [("SOFTWARE", FEWEST_POINTS), ("NVIDIA", GROWING_POINTS)])
def test_the_processor_draws_fewer_from_the_start(monkeypatch, device, expected):
    monkeypatch.setattr(fast_display.gpu, "platform", SimpleNamespace(device_type_get=lambda: device))
    assert Growth("run", ImportOptions()).points == expected


def test_first_points_come_as_a_step_of_their_own(grow, tmp_path):
    job = video_job(tmp_path, views=0)
    assert grow() == NEW
    assert "my shot Points" not in bpy.data.objects
    assert grow() == IN_PLACE
    jobs.add_plane_view(job, 0)
    assert grow() == NEW
    jobs.add_plane_view(job, 1)
    assert grow() == IN_PLACE
    assert len(points().data.vertices) == 2 * PLANE


def test_a_zoom_that_is_found_late_is_a_step_of_its_own(grow, tmp_path):
    job = video_job(tmp_path, views=1)
    grow()
    zoom = jobs.walk(5)
    zoom[3].intrinsics = jobs.lens(fx=90.0)
    job.write_cameras(Reconstruction(zoom, lens="zoom", fps=24.0))
    assert grow() == NEW, "a new action without an undo step"
    assert grow() == IN_PLACE


def test_the_scene_stays_as_the_artist_leaves_it(grow, tmp_path, empty_file):
    job = video_job(tmp_path, views=1)
    grow()
    own = bpy.data.objects.new("own", bpy.data.cameras.new("own"))
    empty_file.collection.objects.link(own)
    empty_file.camera, empty_file.frame_end, empty_file.render.resolution_x = own, 77, 1234
    points().modifiers[0].show_viewport = False
    points().parent = None
    root = bpy.data.objects["my shot"]
    place = root.matrix_basis.copy()
    far = jobs.walk(5)
    for view in far:
        view.world_from_camera[:3, 3] += (50, 0, 0)
    job.write_cameras(Reconstruction(far, fps=24.0))
    jobs.add_plane_view(job, 1)
    assert grow() == IN_PLACE
    assert (empty_file.camera, empty_file.frame_end, empty_file.render.resolution_x) == (own, 77, 1234)
    assert not points().modifiers[0].show_viewport
    assert points().parent is None
    assert root.matrix_basis == place, "the world jumps while it grows"


def test_an_earlier_result_stays_until_there_is_something_newer(grow, tmp_path, empty_file):
    video_job(tmp_path, views=3)
    import_job(empty_file, tmp_path)
    job = video_job(tmp_path / "later", views=0)
    (tmp_path / "views").rename(tmp_path / "old views")
    (tmp_path / "views").mkdir()
    assert grow() == NEW
    assert len(points().data.vertices) == 3 * PLANE
    (job.path / "views").rmdir()
    jobs.add_plane_view(type(job)(tmp_path), 0)
    assert grow() == NEW, "the earlier points could not be had back by undo"
    assert len(points().data.vertices) == PLANE
    bpy.ops.ed.undo()
    assert len(points().data.vertices) == 3 * PLANE


def test_photos_come_when_their_number_has_doubled(empty_file, tmp_path):
    job = photo_job(tmp_path)
    growth = Growth("run 1", ImportOptions())
    views = job.read_cameras().views
    poses = [view.world_from_camera for view in views]
    counts = []
    for solved in range(1, 7):
        for index, view in enumerate(views):
            view.world_from_camera = poses[index] if index < solved else None
        job.write_cameras(Reconstruction(views, kind="photos"))
        grown = finish(growth.build_in_slices(empty_file, read_job(job.path)))
        if grown.is_new:
            bpy.ops.ed.undo_push(message="Grown")
        counts.append((len(bpy.data.cameras), grown.is_new))
    assert counts == [(1, True), (2, True), (2, False), (4, True), (4, False), (4, False)]
    assert len(import_job(empty_file, job.path).cameras) == 6


def test_the_final_import_takes_the_place_of_what_grew(grow, tmp_path, empty_file):
    job = video_job(tmp_path, views=1)
    grow()
    names = datablocks()
    root = bpy.data.objects["my shot"]
    assert root[tags.RUN] == "run 1"
    jobs.add_plane_view(job, 1)
    result = import_job(empty_file, tmp_path)
    assert datablocks() == names
    assert len(result.points.data.vertices) == 2 * PLANE
    assert tags.RUN not in root
    assert grow() == GONE, "it grows over the final result"


def test_growing_waits_while_the_points_are_edited(grow, tmp_path):
    job = video_job(tmp_path, views=1)
    grow()
    bpy.context.view_layer.objects.active = points()
    bpy.ops.object.mode_set(mode="EDIT")
    jobs.add_plane_view(job, 1)
    assert grow() == IN_PLACE
    bpy.ops.object.mode_set(mode="OBJECT")
    assert len(points().data.vertices) == PLANE
    assert grow() == IN_PLACE
    assert len(points().data.vertices) == 2 * PLANE


# -- undo


def test_undo_and_redo_while_it_grows(mine, grow, tmp_path):
    """Changes without an undo step survive an undo of something else, and nothing points to what is gone."""
    job = video_job(tmp_path, views=1)
    grow()
    user_step(3)
    user_step(4)
    for index in range(1, 4):
        jobs.add_plane_view(job, index)
        assert grow() == IN_PLACE
    bpy.ops.ed.undo()
    assert bpy.data.objects["mine"].location.x == 3
    assert len(points().data.vertices) == 4 * PLANE
    bpy.context.view_layer.update()
    assert grow() == IN_PLACE
    bpy.ops.ed.undo()
    assert bpy.data.objects["mine"].location.x == 2
    bpy.ops.ed.redo()
    bpy.ops.ed.redo()
    assert bpy.data.objects["mine"].location.x == 4
    bpy.context.view_layer.update()
    assert grow() == IN_PLACE
    assert len(points().data.vertices) == 4 * PLANE
    assert points().data.users == 1


def test_what_was_undone_stays_away_until_the_job_is_done(mine, grow, tmp_path):
    job = video_job(tmp_path, views=1)
    grow()
    jobs.add_plane_view(job, 1)
    grow()
    bpy.ops.ed.undo()
    assert "my shot" not in bpy.data.collections
    jobs.add_plane_view(job, 2)
    assert grow() == GONE
    assert "my shot" not in bpy.data.collections
    bpy.ops.ed.redo()
    bpy.context.view_layer.update()
    assert grow() == IN_PLACE
    assert len(points().data.vertices) == 3 * PLANE
    bpy.ops.ed.undo()
    result = import_job(bpy.context.scene, tmp_path)
    assert not result.updated
    assert not [name for names in datablocks().values() for name in names if ".001" in name]


def test_deleted_while_it_grows(grow, tmp_path):
    job = video_job(tmp_path, views=1)
    grow()
    bpy.data.objects.remove(points())
    bpy.ops.ed.undo_push(message="Delete")
    jobs.add_plane_view(job, 1)
    assert grow() == IN_PLACE
    assert "my shot Points" not in bpy.data.objects
    bpy.data.objects.remove(bpy.data.objects["my shot"])
    assert grow() == GONE
    assert import_job(bpy.context.scene, tmp_path).points is not None


@pytest.mark.parametrize("undos", [1, 2, 3])
def test_undo_between_two_steps_of_an_import(undos, mine, tmp_path):
    """The steps are closed before, as the session does; nothing is left, and the next import is whole."""
    from blender_3r.scene.job import build_job_in_slices

    video_job(tmp_path)
    for stop in (1, 3, 6, 9):
        steps = build_job_in_slices(bpy.context.scene, read_job(tmp_path))
        for _ in range(stop):
            next(steps)
        handler = lambda *_, steps=steps: steps.close()  # noqa: E731
        bpy.app.handlers.undo_pre.append(handler)
        for _ in range(min(undos, 2)):
            bpy.ops.ed.undo()
        bpy.app.handlers.undo_pre.remove(handler)
        assert len(bpy.data.meshes) == len(bpy.data.movieclips) == 0
        for _ in range(min(undos, 2)):
            bpy.ops.ed.redo()
    result = import_job(bpy.context.scene, tmp_path)
    bpy.ops.ed.undo_push(message="Import")
    bpy.context.view_layer.update()
    assert len(result.points.data.vertices) == 2 * PLANE
    for _ in range(undos):
        bpy.ops.ed.undo()
    assert "my shot" not in bpy.data.collections

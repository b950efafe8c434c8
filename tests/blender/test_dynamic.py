"""Points that show at their own frames only: which part of a job, at which frames, and what an artist can do."""

from __future__ import annotations

from types import SimpleNamespace

import bpy
import extension
import jobs
import numpy as np
import pytest
from test_import_job import datablocks, video_job
from test_point_operators import Lines

from blender_3r.engine.errors import EngineError
from blender_3r.engine.reconstruction import Reconstruction
from blender_3r.engine.source import Source
from blender_3r.operators.reconstruct import delivery_of
from blender_3r.panels.points import THREER_PT_point_moving
from blender_3r.scene import compat
from blender_3r.scene.dynamic import moving_input, moving_modifier
from blender_3r.scene.growth import Grown, Growth
from blender_3r.scene.job import ImportOptions, build_job, build_job_in_slices, finish, import_job
from blender_3r.scene.jobdata import read_job
from blender_3r.scene.point_kind import can_be_cloud, other_kind
from blender_3r.scene.point_nodes import find_points, point_input, point_modifier

PLANE = 36 * 64
FRAMES = ImportOptions(moving="frames")


def mark(job, index, columns):
    """What lies in those columns of the view's picture moves."""
    mask = np.zeros((36, 64), bool)
    mask[:, columns] = True
    job.add_to_view(index, {"moving": mask})


@pytest.fixture
def dancer(tmp_path):
    """A shot of five frames with depth in each; in the first three something moves, 4, 8 and 12 columns wide."""
    job = video_job(tmp_path, views=5)
    for index in range(3):
        mark(job, index, slice(0, 4 * (index + 1)))
    return job


def shown_views(item: bpy.types.Object, frame: int) -> dict[int, int]:
    """How many points of which view an object shows at a frame, counted by Blender itself."""
    bpy.context.scene.frame_set(frame)
    item.update_tag()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    depsgraph.update()
    views = []
    for instance in depsgraph.object_instances:
        if instance.object.type == "POINTCLOUD" and instance.object.original == item:
            values = np.empty(len(instance.object.data.points), np.int32)
            instance.object.data.attributes["view"].data.foreach_get("value", values)
            views.append(values)
    numbers, counts = np.unique(np.concatenate(views or [np.zeros(0, np.int32)]), return_counts=True)
    return dict(zip(numbers.tolist(), counts.tolist(), strict=True))


def put(item, name, value) -> None:
    modifier = moving_modifier(item)
    compat.set_modifier_input(modifier, moving_input(modifier, name), value)


# -- which points move


def test_the_static_part_always_shows_and_the_moving_part_at_its_frame(dancer, empty_file):
    result = import_job(empty_file, dancer.path)
    assert result.text == "Imported my shot: an animated camera, 11,520 points, some of which move."
    assert {child.name for child in result.root.children} == {"my shot Camera", "my shot Points", "my shot Moving"}
    assert result.moving.users_collection == result.points.users_collection
    still = {0: PLANE - 36 * 4, 1: PLANE - 36 * 8, 2: PLANE - 36 * 12, 3: PLANE, 4: PLANE}
    for frame in (1, 3, 5):
        assert shown_views(result.points, frame) == still
    assert [shown_views(result.moving, frame) for frame in (1, 2, 3)] == [{0: 144}, {1: 288}, {2: 432}]


def test_without_masks_nothing_moves(tmp_path, empty_file):
    video_job(tmp_path)
    result = import_job(empty_file, tmp_path)
    assert result.moving is None
    assert len(result.points.data.vertices) == 2 * PLANE


def test_masks_without_a_single_moving_pixel_make_no_object(tmp_path, empty_file):
    job = video_job(tmp_path)
    mark(job, 0, slice(0, 0))
    result = import_job(empty_file, tmp_path)
    assert result.moving is None
    assert len(result.points.data.vertices) == 2 * PLANE


def test_what_moves_can_be_kept_with_all_else(dancer, empty_file):
    result = import_job(empty_file, dancer.path, ImportOptions(moving="none"))
    assert result.moving is None
    assert len(result.points.data.vertices) == 5 * PLANE


def test_a_cloud_for_each_frame(dancer, empty_file):
    result = import_job(empty_file, dancer.path, FRAMES)
    assert result.points is None
    assert result.text == "Imported my shot: an animated camera, 11,520 points, each at its frame."
    assert [shown_views(result.moving, frame) for frame in range(7)] == [
        {},
        *({index: PLANE} for index in range(5)),
        {},
    ]


def test_places_and_colours_are_those_of_the_whole_cloud(dancer):
    whole, parted = read_job(dancer.path, moving="none"), read_job(dancer.path)
    names = ("points", "colors", "confidence", "views", "footprint", "depth", "edge")
    for name in names:
        together = np.concatenate([getattr(parted.cloud, name), getattr(parted.moving, name)])
        expected = getattr(whole.cloud, name)
        rows = [np.lexsort(np.reshape(a, (len(a), -1)).T) for a in (together, expected)]
        assert np.array_equal(together[rows[0]], expected[rows[1]]), name


def test_the_budget_holds_for_both_together_and_what_moves_gets_up_to_half(dancer):
    data = read_job(dancer.path, point_budget=1000)
    assert 450 <= len(data.moving) <= 500
    assert 900 <= len(data.cloud) + len(data.moving) <= 1000
    assert data.moving.footprint.mean() < data.cloud.footprint.mean()
    data = read_job(dancer.path, point_budget=6000)
    assert len(data.moving) == 864
    assert 5900 <= len(data.cloud) + 864 <= 6000


def test_photos_have_no_frames(tmp_path, empty_file):
    job = jobs.make_job(tmp_path, Reconstruction(jobs.photos(["a.jpg", "b.jpg"]), kind="photos"))
    for index in (0, 1):
        jobs.add_plane_view(job, index)
        mark(job, index, slice(0, 5))
    for moving in ("known", "frames"):
        result = import_job(empty_file, tmp_path, ImportOptions(moving=moving))
        assert result.moving is None
        assert len(result.points.data.vertices) == 2 * PLANE


def test_sparse_points_always_show(tmp_path, empty_file):
    job = video_job(tmp_path, views=0)
    jobs.add_sparse(job, np.random.default_rng(0).uniform(-1, 1, (80, 3)) + [0, 0, 4])
    result = import_job(empty_file, tmp_path, FRAMES)
    assert result.moving is None
    assert len(result.points.data.vertices) == 80


def test_a_mask_that_does_not_fit_is_a_sentence(dancer, empty_file):
    dancer.add_to_view(1, {"moving": np.zeros((5, 5), bool)})
    before = datablocks()
    with pytest.raises(EngineError, match="do not fit together"):
        import_job(empty_file, dancer.path)
    assert datablocks() == before


# -- at which frames


@pytest.mark.parametrize(("kind", "shift"), [("movie", 1), ("sequence", 0)])
def test_views_show_until_the_next_one_with_points(kind, shift, tmp_path, empty_file):
    source = Source(kind, (str(tmp_path / "a.0000.png"),), numbers=(0,))
    job = jobs.make_job(tmp_path, Reconstruction(jobs.walk(9, missing=(4,))), source)
    for index in (1, 4, 6):
        jobs.add_plane_view(job, index)
    moving = import_job(empty_file, tmp_path, FRAMES).moving
    there = [list(shown_views(moving, frame + shift)) for frame in range(-1, 10)]
    assert there == [[], [1], [1], [1], [1], [1], [1], [6], [6], [6], []]


def test_between_two_frames_the_earlier_one_shows(dancer, empty_file):
    moving = import_job(empty_file, dancer.path).moving
    empty_file.frame_set(2, subframe=0.75)
    instances = (instance.object for instance in bpy.context.evaluated_depsgraph_get().object_instances)
    clouds = [item for item in instances if item.type == "POINTCLOUD" and item.original == moving]
    assert [len(item.data.points) for item in clouds] == [288]


def test_offset_and_trail(dancer, empty_file):
    moving = import_job(empty_file, dancer.path, FRAMES).moving
    put(moving, "Frame Offset", 10)
    assert [list(shown_views(moving, frame)) for frame in (1, 11, 13)] == [[], [0], [2]]
    put(moving, "Frame Offset", 0)
    put(moving, "Trail", 2)
    assert [list(shown_views(moving, frame)) for frame in (1, 2, 4, 6, 8)] == [[0], [0, 1], [1, 2, 3], [3, 4], []]


# -- what belongs to the artist


def test_settings_of_points_act_on_moving_ones_and_survive_an_update(dancer, empty_file):
    moving = import_job(empty_file, dancer.path).moving
    modifier = point_modifier(moving)
    compat.set_modifier_input(modifier, point_input(modifier, "Min Confidence"), 4 / 64)
    put(moving, "Trail", 3)
    before = datablocks()
    again = import_job(empty_file, dancer.path)
    assert (again.moving, datablocks()) == (moving, before)
    assert [m.name for m in moving.modifiers] == ["3R Moving", "3R Points"]
    assert shown_views(moving, 3) == {1: 144, 2: 288}


def test_choosing_otherwise_removes_what_is_no_longer_there(dancer, empty_file):
    import_job(empty_file, dancer.path)
    result = import_job(empty_file, dancer.path, FRAMES)
    assert [item.name for item in result.root.children if "Camera" not in item.name] == ["my shot Moving"]
    result = import_job(empty_file, dancer.path, ImportOptions(moving="none"))
    assert [item.name for item in result.root.children if "Camera" not in item.name] == ["my shot Points"]
    assert len(bpy.data.meshes) == 1
    import_job(empty_file, dancer.path, ImportOptions(point_budget=0))
    assert "my shot Points" in bpy.data.objects


def test_a_job_of_masks_read_without_points_leaves_both_alone(dancer, empty_file):
    result = import_job(empty_file, dancer.path)
    build_job(empty_file, read_job(dancer.path, 0), ImportOptions(point_budget=0))
    assert len(result.moving.data.vertices) == 864
    assert len(result.points.data.vertices) == 5 * PLANE - 864


def test_an_import_that_is_closed_leaves_nothing(dancer, empty_file):
    before = datablocks()
    data = read_job(dancer.path)
    total = sum(1 for _ in build_job_in_slices(empty_file, data))
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    for stop in range(1, total + 1, 3):
        steps = build_job_in_slices(bpy.context.scene, data)
        for _ in range(stop):
            next(steps)
        steps.close()
        assert datablocks() == before


@pytest.mark.skipif(not can_be_cloud(), reason="Python can fill point clouds from Blender 5.1 on")
def test_moving_points_can_be_a_point_cloud(dancer, empty_file):
    moving = import_job(empty_file, dancer.path).moving
    put(moving, "Trail", 1)
    changed = other_kind(moving)
    assert [m.name for m in changed.modifiers] == ["3R Moving", "3R Points"]
    assert [shown_views(changed, frame) for frame in (1, 2, 4)] == [{0: 144}, {0: 144, 1: 288}, {2: 432}]
    again = import_job(empty_file, dancer.path).moving
    assert again == changed
    assert again.type == "POINTCLOUD"
    assert shown_views(again, 2) == {0: 144, 1: 288}


# -- a job that still runs


@pytest.mark.parametrize("moving", ["frames", "known"])
def test_it_grows_in_place(moving, tmp_path, empty_file):
    job = video_job(tmp_path, views=1)
    mark(job, 0, slice(0, 4))
    growth = Growth("run 1", ImportOptions(moving=moving))

    def grow() -> Grown:
        grown = finish(growth.build_in_slices(empty_file, read_job(tmp_path, moving=moving)))
        if grown.is_new:
            bpy.ops.ed.undo_push(message="Grown")
        return grown

    assert grow().is_new
    item = bpy.data.objects["my shot Moving"]
    mesh, before = item.data, datablocks()
    jobs.add_plane_view(job, 3)
    mark(job, 3, slice(0, 2))
    assert not grow().is_new
    assert (item.data, datablocks()) == (mesh, before)
    first, later = (PLANE, PLANE) if moving == "frames" else (144, 72)
    assert [shown_views(item, frame) for frame in (1, 3, 4, 5)] == [{0: first}, {0: first}, {3: later}, {3: later}]
    jobs.add_plane_view(job, 1)
    mark(job, 1, slice(0, 64))
    assert not grow().is_new
    assert shown_views(item, 2) == {1: PLANE}


def test_what_moves_may_come_later_than_the_rest(tmp_path, empty_file):
    job = video_job(tmp_path, views=1)
    growth = Growth("run 1", ImportOptions())
    assert finish(growth.build_in_slices(empty_file, read_job(tmp_path))).is_new
    assert "my shot Moving" not in bpy.data.objects
    jobs.add_plane_view(job, 1)
    mark(job, 1, slice(0, 4))
    assert finish(growth.build_in_slices(empty_file, read_job(tmp_path))).is_new
    assert len(bpy.data.objects["my shot Moving"].data.vertices) == 144


# -- in the panels


@pytest.fixture
def settings(empty_file):
    extension.switch_on()
    yield empty_file.threer
    extension.switch_off()


def test_reconstruct_asks_for_what_was_set_when_it_was_pressed(dancer, settings):
    settings.moving = "frames"
    delivery = delivery_of(settings)
    settings.moving = "none"
    assert len(delivery.read(dancer.path, False).moving) == 5 * PLANE
    assert delivery.read(dancer.path, True).cloud is None
    assert len(delivery_of(settings).read(dancer.path, True).cloud) == 5 * PLANE


def test_the_import_operator_asks_what_moves(dancer, settings):
    for moving, names in (("frames", {"Moving"}), ("known", {"Moving", "Points"}), ("none", {"Points"})):
        bpy.ops.threer.import_job(directory=str(dancer.path), moving=moving)
        assert {item.name.split()[-1] for item in bpy.data.objects if item.type == "MESH"} == names


def test_the_panel_shows_the_points_of_the_only_job_and_what_is_known_of_the_active_ones(dancer, settings):
    result = import_job(bpy.context.scene, dancer.path)
    active = bpy.context.view_layer.objects
    active.active = None
    assert find_points(bpy.context) == result.points
    assert not THREER_PT_point_moving.poll(bpy.context)
    active.active = result.cameras[0]
    assert find_points(bpy.context) == result.points
    active.active = result.moving
    assert find_points(bpy.context) == result.moving
    assert THREER_PT_point_moving.poll(bpy.context)
    layout = Lines()
    THREER_PT_point_moving.draw(SimpleNamespace(layout=layout), bpy.context)
    assert layout.lines == ["<Frame Offset>", "<Trail>"]
    video_job(dancer.path / "other")
    import_job(bpy.context.scene, dancer.path / "other")
    active.active = None
    assert find_points(bpy.context) is None

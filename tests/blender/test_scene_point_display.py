"""What the points' modifier shows: filters, crop box, views, what the colours mean. Counted by Blender itself."""

from __future__ import annotations

import bpy
import jobs
import numpy as np
import pytest

from blender_3r.engine.reconstruction import Reconstruction
from blender_3r.scene import compat
from blender_3r.scene.cloud import Cloud, read_cloud
from blender_3r.scene.point_nodes import INPUTS, add_point_display, point_input, point_modifier, points_group
from blender_3r.scene.point_views import hidden_names, hide_views, list_views, view_names, views_of
from blender_3r.scene.points import write_points

COUNT = 24  # of the made-up cloud: six points of each of the views 0 to 2, six of many


def made_up_cloud() -> Cloud:
    step = np.arange(COUNT, dtype=np.float32)
    return Cloud(
        points=np.stack([step, np.zeros(COUNT), np.zeros(COUNT)], axis=1).astype(np.float32),
        colors=np.tile(np.float32([0.5, 0.25, 0.125, 1.0]), (COUNT, 1)),
        confidence=(step + 1) / COUNT,
        views=np.repeat(np.int32([0, 1, 2, -1]), 6),
        footprint=np.full(COUNT, 0.1, np.float32),
        depth=1 + step,
        edge=step / COUNT,
        seen_by=np.tile(np.int8([0, 1, 2, 3]), 6),
        sky=step < 5,
        names=("a.jpg", "b.jpg", "c.jpg"),
    )


@pytest.fixture
def points(empty_file):
    return shown_object(empty_file, made_up_cloud())


def shown_object(scene, cloud, block=None) -> bpy.types.Object:
    block = block or bpy.data.meshes.new("cloud")
    write_points(block, cloud)
    item = bpy.data.objects.new("points", block)
    scene.collection.objects.link(item)
    add_point_display(item)
    return item


def shown(points) -> bpy.types.PointCloud:
    points.update_tag()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    depsgraph.update()
    clouds = [i.object.data for i in depsgraph.object_instances if i.object.type == "POINTCLOUD"]
    return clouds[0] if clouds else None


def shown_x(points) -> list[int]:
    """Which of the points show: their x is their number."""
    cloud = shown(points)
    values = np.empty(3 * len(cloud.points) if cloud else 0, np.float32)
    if cloud:
        cloud.attributes["position"].data.foreach_get("vector", values)
    return np.round(values[::3]).astype(int).tolist()


def colors(points) -> np.ndarray:
    cloud = shown(points)
    values = np.empty(4 * len(cloud.points), np.float32)
    cloud.attributes["Col"].data.foreach_get("color", values)
    return values.reshape(-1, 4)


def put(points, name, value) -> None:
    modifier = point_modifier(points)
    compat.set_modifier_input(modifier, point_input(modifier, name), value)


def listed(points) -> bpy.types.Mesh:
    modifier = point_modifier(points)
    return list_views(points, modifier, point_input(modifier, "Views"))


def test_all_points_show_at_first(points):
    assert shown_x(points) == list(range(COUNT))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("Min Confidence", 0.5, range(11, COUNT)),
        ("Hide Edges", 0.5, range(13)),
        ("Hide Edges", 1.0, range(1)),
        ("Min Views", 2, [i for i in range(COUNT) if i % 4 in (0, 2, 3)]),  # 0: not known, not hidden
        ("Max Depth", 4.0, range(4)),
        ("Hide Sky", True, range(5, COUNT)),
    ],
)
def test_filters_hide_points_and_give_them_back(points, name, value, expected):
    put(points, name, value)
    assert shown_x(points) == list(expected)
    put(points, name, next(item.default for item in INPUTS if item.name == name) or type(value)(0))
    assert shown_x(points) == list(range(COUNT))
    assert len(points.data.vertices) == COUNT


def test_filters_work_together(points):
    put(points, "Min Confidence", 0.5)
    put(points, "Hide Edges", 0.4)
    put(points, "Min Views", 1)
    assert shown_x(points) == list(range(11, 15))


def test_what_is_not_known_of_points_hides_none(empty_file):
    cloud = made_up_cloud()
    bare = Cloud(cloud.points, cloud.colors, cloud.confidence, cloud.views, cloud.footprint, cloud.depth)
    points = shown_object(empty_file, bare)
    assert "sky" not in points.data.attributes
    for name, value in (("Hide Edges", 1.0), ("Min Views", 5), ("Hide Sky", True)):
        put(points, name, value)
    assert len(shown_x(points)) == COUNT


def test_attributes_that_are_no_longer_known_go(empty_file):
    cloud = made_up_cloud()
    mesh = bpy.data.meshes.new("cloud")
    write_points(mesh, cloud)
    write_points(mesh, Cloud(cloud.points, cloud.colors, cloud.confidence, cloud.views, cloud.footprint, cloud.depth))
    assert {"edge", "seen_by", "sky"}.isdisjoint(mesh.attributes.keys())


def test_fewer_points_are_larger(points):
    def radius() -> float:
        return shown(points).points[0].radius

    whole = radius()
    put(points, "Density", 0.25)
    assert radius() == pytest.approx(2 * whole, rel=1e-3)


def test_the_crop_box_is_an_empty_that_may_move_turn_and_scale(points, empty_file):
    box = bpy.data.objects.new("box", None)
    empty_file.collection.objects.link(box)
    box.location, box.scale, box.rotation_euler = (10, 0, 0), (1, 3, 1), (0, 0, 0)
    put(points, "Crop Box", box)
    assert len(shown_x(points)) == COUNT  # not until Crop is on
    put(points, "Crop", True)
    assert shown_x(points) == [9, 10, 11]
    box.rotation_euler = (0, 0, np.pi / 2)
    assert shown_x(points) == [7, 8, 9, 10, 11, 12, 13]
    put(points, "Invert Crop", True)
    assert shown_x(points) == [*range(7), *range(14, COUNT)]


def test_the_crop_box_is_where_it_looks_when_the_root_is_moved(points, empty_file):
    root, box = (bpy.data.objects.new(name, None) for name in ("root", "box"))
    for item in (root, box):
        empty_file.collection.objects.link(item)
    points.parent = root
    root.location, root.scale = (100, 0, 0), (0.5, 0.5, 0.5)
    box.location = (105, 0, 0)
    put(points, "Crop Box", box)
    put(points, "Crop", True)
    assert shown_x(points) == [8, 9, 10, 11, 12]


def test_views_are_hidden_one_by_one(points):
    views = listed(points)
    assert view_names(views) == ["a.jpg", "b.jpg", "c.jpg"]
    assert [value.value for value in views.attributes["points"].data] == [6, 6, 6]
    hide_views(views, np.array([False, True, False]))
    assert shown_x(points) == [*range(6), *range(12, 24)]
    hide_views(views, np.array([True, True, False]))
    assert shown_x(points) == [*range(12, 24)]
    assert hidden_names(views) == {"a.jpg", "b.jpg"}


def test_the_views_lie_in_no_collection_and_hidden_ones_stay_so(points, empty_file):
    modifier = points.modifiers[0]
    assert views_of(modifier, point_input(modifier, "Views")) is None
    views = listed(points)
    assert [item.name for item in empty_file.objects] == ["points"]
    hide_views(views, np.array([False, True, False]))
    cloud = made_up_cloud()
    write_points(points.data, Cloud(**{**vars(cloud), "names": ("new.jpg", "a.jpg", "b.jpg", "c.jpg")}))
    add_point_display(points)
    assert len(bpy.data.meshes) == 2
    assert hidden_names(views_of(modifier, point_input(modifier, "Views"))) == {"b.jpg"}
    assert shown_x(points) == [*range(12), *range(18, 24)]


def test_display_shows_confidence_views_and_depth_as_colours(points):
    own = colors(points)
    assert own[:, :3] == pytest.approx(np.tile([0.5, 0.25, 0.125], (COUNT, 1)))
    put(points, "Display", "Confidence")
    brightness = colors(points)[:, :3].mean(axis=1)
    assert (np.diff(brightness) > 0).all()
    put(points, "Display", "Depth")
    brightness = colors(points)[:, :3].mean(axis=1)
    assert (np.diff(brightness) < 0).all()
    put(points, "Display", "View")
    per_view = colors(points)[:, :3].reshape(4, 6, 3)
    assert np.ptp(per_view, axis=1).max() < 1e-6
    assert len({tuple(np.round(view[0], 3)) for view in per_view}) == 4
    assert np.ptp(per_view[3, 0]) < 1e-6  # of many views: gray
    put(points, "Display", "Color")
    assert np.array_equal(colors(points), own)


def test_the_menu_reads_as_it_was_set(points):
    modifier = points.modifiers[0]
    assert compat.modifier_input(modifier, point_input(modifier, "Display")) == "Color"
    put(points, "Display", "Depth")
    assert compat.modifier_input(modifier, point_input(modifier, "Display")) == "Depth"


def test_lit_points_have_another_material(points):
    assert [m.name for m in shown(points).materials] == ["3R Points"]
    put(points, "Lit", True)
    assert [m.name for m in shown(points).materials] == ["3R Points Lit"]


def test_a_modifier_of_the_first_version_gets_the_present_group(points, empty_file):
    old = bpy.data.node_groups.new("3R Points v1", "GeometryNodeTree")
    old["threer_builtin"] = "3R Points v1"
    for in_out in ("OUTPUT", "INPUT"):
        old.interface.new_socket("Geometry", in_out=in_out, socket_type="NodeSocketGeometry")
    for name in ("Point Size", "Min Confidence", "Density"):
        old.interface.new_socket(name, in_out="INPUT", socket_type="NodeSocketFloat")
    modifier = points.modifiers[0]
    modifier.node_group = old
    put(points, "Point Size", 2.5)
    put(points, "Density", 0.5)
    assert add_point_display(points) == modifier
    assert modifier.node_group == points_group()
    assert compat.modifier_input(modifier, point_input(modifier, "Point Size")) == 2.5
    assert compat.modifier_input(modifier, point_input(modifier, "Density")) == 0.5
    assert compat.modifier_input(modifier, point_input(modifier, "Hide Edges")) == 0.0


def test_depth_edges_are_known_of_imported_points(tmp_path, empty_file):
    job = jobs.make_job(tmp_path, Reconstruction(jobs.walk(3)))
    jobs.add_plane_view(job, 0)
    arrays = {name: np.array(values) for name, values in job.read_view(0).items()}
    arrays["depth"][:, 32:] = 2.2  # a step of 10 %
    job.write_view(0, arrays)
    cloud = read_cloud(job, job.read_cameras(), 10**6)
    at_step = cloud.edge.reshape(36, 64) > 0.5
    assert at_step[:, 31:33].all()
    assert not at_step[:, :31].any()
    assert not at_step[:, 33:].any()


def test_what_the_engine_found_of_pixels_comes_with_them(tmp_path, empty_file):
    job = jobs.make_job(tmp_path, Reconstruction(jobs.walk(3)))
    for index in (0, 1):
        jobs.add_plane_view(job, index)
    support = np.tile(np.arange(64, dtype=np.uint8) % 5, (36, 1))
    job.add_to_view(0, {"support": support, "sky": support > 3})
    cloud = read_cloud(job, job.read_cameras(), 10**6)
    assert np.array_equal(cloud.seen_by[: 36 * 64], support.ravel())
    assert np.array_equal(cloud.sky[: 36 * 64], support.ravel() > 3)
    assert not cloud.seen_by[36 * 64 :].any()
    assert cloud.names == tuple(f"frame_{i:04d}" for i in range(3))


def test_sparse_points_bring_their_views_and_depth(tmp_path, empty_file):
    job = jobs.make_job(tmp_path, Reconstruction(jobs.walk(5)))
    jobs.add_sparse(job, np.random.default_rng(0).uniform(-1, 1, (80, 3)) + [0, 0, 4])
    cloud = read_cloud(job, job.read_cameras(), 1000)
    assert set(cloud.seen_by) == {3}
    assert cloud.depth == pytest.approx(cloud.footprint / 3 * 60, rel=1e-5)  # 3 pixels of a lens of 60
    assert (cloud.depth > 2).all()

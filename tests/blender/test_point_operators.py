"""The Points panel and what its buttons do."""

from __future__ import annotations

from types import SimpleNamespace

import bpy
import jobs
import numpy as np
import pytest
from test_panel import Layout

from blender_3r.engine.reconstruction import Reconstruction
from blender_3r.panels.points import (
    THREER_PT_point_crop,
    THREER_PT_point_filter,
    THREER_PT_point_views,
    THREER_PT_points,
)
from blender_3r.scene import compat
from blender_3r.scene.cloud import read_cloud
from blender_3r.scene.fast_display import fast_modifier
from blender_3r.scene.point_kind import can_be_cloud, new_points
from blender_3r.scene.point_nodes import add_point_display, find_points, point_input
from blender_3r.scene.points import write_points
from blender_3r.viewport import fast_points


class Lines(Layout):
    """Layouts of the sub-panels know sliders of the modifier, the search for objects and the list, too."""

    def _same(self, **_):
        return Lines(self.lines)

    row = column = box = split = _same

    def prop(self, data, name, text=None, **_):
        self.lines.append(f"<{text}>")

    def prop_search(self, data, name, search, kind, text=""):
        self.lines.append(f"<{text}>")

    def template_list(self, kind, unique, data, name, *_, **__):
        assert hasattr(bpy.types, kind)
        self.lines.append(f"list of {len(getattr(data, name))}")


pytestmark = pytest.mark.usefixtures("threer")


@pytest.fixture
def points(tmp_path, empty_file):
    """Points of three views, on a root that is turned and scaled."""
    job = jobs.make_job(tmp_path, Reconstruction(jobs.walk(5)))
    for index in (0, 2, 3):
        jobs.add_plane_view(job, index)
    root = bpy.data.objects.new("root", None)
    root.scale, root.location = (2, 2, 2), (0, 0, 5)
    mesh = new_points("cloud")
    write_points(mesh, read_cloud(job, job.read_cameras(), 10**6))
    item = bpy.data.objects.new("cloud", mesh)
    item.parent = root
    for added in (root, item):
        empty_file.collection.objects.link(added)
        added["threer_job"] = "this"
    add_point_display(item)
    bpy.context.view_layer.objects.active = item
    bpy.context.view_layer.update()
    return item


def drawn(panel, shading="MATERIAL") -> str:
    layout = Lines()
    area = next(area for area in bpy.context.screen.areas if area.type == "VIEW_3D")
    area.spaces.active.shading.type = shading
    with bpy.context.temp_override(area=area):
        panel.draw(SimpleNamespace(layout=layout), bpy.context)
    return " ".join(layout.lines)


def value(points, name):
    modifier = points.modifiers[0]
    return compat.modifier_input(modifier, point_input(modifier, name))


def shown_count(points) -> int:
    depsgraph = bpy.context.evaluated_depsgraph_get()
    depsgraph.update()
    return sum(len(i.object.data.points) for i in depsgraph.object_instances if i.object.type == "POINTCLOUD")


def test_the_panel_is_there_with_points_only(points, empty_file):
    assert THREER_PT_points.poll(bpy.context)
    other = bpy.data.objects.new("lamp", None)
    empty_file.collection.objects.link(other)
    bpy.context.view_layer.objects.active = other
    assert find_points(bpy.context) == points  # the only ones there are
    second = points.copy()
    empty_file.collection.objects.link(second)
    assert not THREER_PT_points.poll(bpy.context)
    bpy.context.view_layer.objects.active = points.parent
    second["threer_job"] = "another"
    assert find_points(bpy.context) == points
    bpy.context.view_layer.objects.active = second
    assert find_points(bpy.context) == second
    bpy.data.batch_remove([points, second])
    assert not THREER_PT_points.poll(bpy.context)


def test_the_panel_shows_the_sliders_of_the_modifier(points):
    fast = "[threer.toggle_fast_display: Fast Display]"
    assert drawn(THREER_PT_points).startswith(f"cloud 6 912 {fast} <Point Size> <Display> <Lit>")
    assert "gray" not in drawn(THREER_PT_points)
    assert "[threer.show_point_colors: Show Colors]" in drawn(THREER_PT_points, shading="SOLID")
    shown = drawn(THREER_PT_point_filter)
    assert shown == "<Density> <Min Confidence> <Hide Edges> <Max Depth>"  # views that agree and sky are not known


def test_fast_display_goes_on_and_off_and_says_what_the_graphics_card_cannot(points):
    every = shown_count(points)
    failing = "The graphics card does not draw the points: no memory. Blender's own display shows them."
    assert bpy.ops.threer.toggle_fast_display() == {"FINISHED"}
    assert fast_modifier(points) is not None
    assert "gray" not in drawn(THREER_PT_points, shading="SOLID")
    assert failing not in drawn(THREER_PT_points)
    fast_points.fast_points.fail(MemoryError("no memory."))
    fast_points._give_back()
    assert failing in drawn(THREER_PT_points)
    assert shown_count(points) == every
    assert bpy.ops.threer.toggle_fast_display() == {"FINISHED"}
    assert failing not in drawn(THREER_PT_points), "switched on again it is tried again"
    assert bpy.ops.threer.toggle_fast_display() == {"FINISHED"}
    assert fast_modifier(points) is None
    assert shown_count(points) == every


def test_the_panel_says_when_the_processor_draws_a_part(points, monkeypatch):
    part = "Without a graphics card 30 % of them are drawn, each as much larger."
    monkeypatch.setattr(fast_points.fast_points, "share_drawn", lambda points: 0.3)
    assert part not in drawn(THREER_PT_points), "Fast Display is off"
    bpy.ops.threer.toggle_fast_display()
    assert part in drawn(THREER_PT_points)
    monkeypatch.setattr(fast_points.fast_points, "share_drawn", lambda points: 1.0)
    assert part not in drawn(THREER_PT_points)


def test_the_crop_box_surrounds_the_points(points):
    before = shown_count(points)
    assert drawn(THREER_PT_point_crop) == "[threer.add_crop_box: Add Crop Box]"
    assert bpy.ops.threer.add_crop_box() == {"FINISHED"}
    box = value(points, "Crop Box")
    assert bpy.context.view_layer.objects.active == box
    assert value(points, "Crop")
    assert 0.93 * before < shown_count(points) <= before
    assert box.matrix_world.to_euler()[:] == pytest.approx((0, 0, 0), abs=1e-5)
    box.scale = box.scale / 2
    assert 0 < shown_count(points) < 0.6 * before
    assert find_points(bpy.context) == points
    assert "<Crop> <Crop Box> <Invert Crop>" in drawn(THREER_PT_point_crop)
    second = points.copy()
    bpy.context.scene.collection.objects.link(second)
    second["threer_job"] = "another"
    assert find_points(bpy.context) == points  # those that the box hangs beside
    bpy.data.objects.remove(second)
    bpy.ops.threer.add_crop_box()
    assert value(points, "Crop Box") == box
    bpy.data.objects.remove(box)
    bpy.context.view_layer.objects.active = points
    bpy.ops.threer.add_crop_box()
    assert value(points, "Crop Box") is not None


def test_the_crop_box_moves_with_the_root(points):
    bpy.ops.threer.add_crop_box()
    before = shown_count(points)
    points.parent.location, points.parent.scale = (100, -50, 3), (0.1, 0.1, 0.1)
    assert shown_count(points) == before


def test_views_are_listed_shown_and_hidden(points):
    whole = shown_count(points)
    assert drawn(THREER_PT_point_views) == "[threer.list_views: Choose Views]"
    assert bpy.ops.threer.list_views() == {"FINISHED"}
    assert "list of 5" in drawn(THREER_PT_point_views)
    show = bpy.ops.threer.show_views
    show(which="TOGGLE", view="frame_0002")
    assert shown_count(points) == whole * 2 // 3
    show(which="ONLY", view="frame_0002")
    assert shown_count(points) == whole // 3
    show(which="INVERT")
    assert shown_count(points) == whole * 2 // 3
    show(which="NONE")
    assert shown_count(points) == 0
    show(which="ALL")
    assert shown_count(points) == whole
    with pytest.raises(RuntimeError, match="no view 'nothing'"):
        show(which="ONLY", view="nothing")


def test_undo_shows_hidden_views_again(points):
    whole = shown_count(points)
    bpy.ops.threer.list_views()
    bpy.ops.ed.undo_push(message="listed")
    bpy.ops.threer.show_views("EXEC_DEFAULT", True, which="NONE")
    assert shown_count(points) == 0
    bpy.ops.ed.undo()
    assert shown_count(bpy.data.objects["cloud"]) == whole


@pytest.mark.skipif(not can_be_cloud(), reason="Blender fills point clouds from Python from 5.1 on")
def test_points_turn_into_a_point_cloud_and_back(points):
    modifier = points.modifiers[0]
    compat.set_modifier_input(modifier, point_input(modifier, "Min Confidence"), 0.5)
    compat.set_modifier_input(modifier, point_input(modifier, "Display"), "Depth")
    before, names = shown_count(points), (points.name, points.data.name)
    attributes = {a.name: a.data_type for a in points.data.attributes if not a.name.startswith(".")}
    place = points.matrix_world.copy()
    for kind in (bpy.types.PointCloud, bpy.types.Mesh):
        assert bpy.ops.threer.change_points() == {"FINISHED"}
        changed = bpy.context.active_object
        bpy.context.view_layer.update()
        assert isinstance(changed.data, kind)
        assert (changed.name, changed.data.name) == names
        assert changed["threer_job"] == "this"
        assert changed.matrix_world == place
        assert shown_count(changed) == before
        assert value(changed, "Display") == "Depth"
        kept = {a.name: a.data_type for a in changed.data.attributes}
        assert attributes.items() <= kept.items()
    assert len(bpy.data.objects) == 2


@pytest.mark.skipif(can_be_cloud(), reason="Blender before 5.1")
def test_older_blenders_keep_points_as_a_mesh(points):
    assert not bpy.ops.threer.change_points.poll()
    assert isinstance(new_points("cloud", as_cloud=True), bpy.types.Mesh)


@pytest.mark.skipif(not can_be_cloud(), reason="Blender fills point clouds from Python from 5.1 on")
def test_a_point_cloud_is_written_in_slices_too(tmp_path, empty_file):
    job = jobs.make_job(tmp_path, Reconstruction(jobs.walk(5)))
    jobs.add_plane_view(job, 0)
    block = new_points("cloud", as_cloud=True)
    cloud = read_cloud(job, job.read_cameras(), 10**6)
    for _ in range(2):
        write_points(block, cloud)
        positions = np.empty(3 * len(block.points), np.float32)
        block.attributes["position"].data.foreach_get("vector", positions)
        assert np.array_equal(positions.reshape(-1, 3), cloud.points)

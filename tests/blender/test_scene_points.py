"""The point cloud: its numbers, its colours, and how it is shown."""

from __future__ import annotations

from itertools import pairwise

import bpy
import jobs
import numpy as np
import pytest

from blender_3r.engine.errors import EngineError
from blender_3r.engine.reconstruction import Reconstruction
from blender_3r.scene import compat
from blender_3r.scene.cloud import read_cloud
from blender_3r.scene.job import ImportOptions, import_job
from blender_3r.scene.point_nodes import add_point_display, point_input
from blender_3r.scene.points import show_colors, write_points, write_points_in_slices


def dense_job(folder, views=3, size=(36, 64)):
    job = jobs.make_job(folder, Reconstruction(jobs.walk(5)))
    for index in range(views):
        jobs.add_plane_view(job, index, size=size)
    return job


def column(mesh, name, field="value", width=1, kind=np.float32):
    values = np.empty(len(mesh.vertices) * width, kind)
    mesh.attributes[name].data.foreach_get(field, values)
    return values.reshape(-1, width) if width > 1 else values


def shown_count(points) -> int:
    """How many points the modifier lets through, counted by Blender itself."""
    points.update_tag()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    depsgraph.update()
    return sum(len(i.object.data.points) for i in depsgraph.object_instances if i.object.type == "POINTCLOUD")


def shown_radii(points) -> np.ndarray:
    points.update_tag()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    depsgraph.update()
    cloud = next(i.object.data for i in depsgraph.object_instances if i.object.type == "POINTCLOUD")
    radii = np.empty(len(cloud.points), np.float32)
    cloud.attributes["radius"].data.foreach_get("value", radii)
    return radii


def test_every_pixel_becomes_a_vertex_in_its_place_and_colour(tmp_path, empty_file):
    dense_job(tmp_path, views=1)
    result = import_job(empty_file, tmp_path)
    mesh = result.points.data
    assert len(mesh.vertices) == 36 * 64
    view = jobs.walk(5)[0]
    positions = column(mesh, "position", "vector", 3)
    local = (positions - view.world_from_camera[:3, 3]) @ view.world_from_camera[:3, :3]
    rows, columns = np.mgrid[:36, :64]
    assert local[:, 2] == pytest.approx(np.full(36 * 64, 2.0), abs=1e-5)
    assert local[:, 0] / 2 * 60 + 32 == pytest.approx(columns.ravel() + 0.5, abs=1e-3)
    assert local[:, 1] / 2 * 60 + 18 == pytest.approx(rows.ravel() + 0.5, abs=1e-3)
    colors = column(mesh, "Col", "color_srgb", 4)
    assert np.round(colors[:, 0] * 255) == pytest.approx(rows.ravel() * 255 // 36)
    assert np.round(colors[:, 1] * 255) == pytest.approx(columns.ravel() * 255 // 64)
    assert column(mesh, "confidence") == pytest.approx(columns.ravel() / 64)
    assert column(mesh, "pixel_footprint") == pytest.approx(np.full(36 * 64, 2 / 60), rel=1e-5)
    assert set(column(mesh, "view", kind=np.int32)) == {0}
    assert mesh.attributes["Col"].data_type == "FLOAT_COLOR"
    assert mesh.attributes.active_color_name == "Col"


@pytest.mark.parametrize("budget", [500, 1000, 3000, 6911])
def test_the_budget_is_met_but_never_exceeded(budget, tmp_path):
    job = dense_job(tmp_path)
    cloud = read_cloud(job, job.read_cameras(), budget)
    assert 0.93 * budget <= len(cloud) <= budget
    counts = np.bincount(cloud.views, minlength=3)
    assert counts.max() - counts.min() <= 0.1 * counts.max() + 2
    share = budget / (3 * 36 * 64)
    assert cloud.footprint == pytest.approx(np.full(len(cloud), 2 / 60 / np.sqrt(share)), rel=0.01)


def test_thinned_points_still_cover_the_whole_picture(tmp_path):
    job = dense_job(tmp_path, views=1, size=(120, 160))
    cloud = read_cloud(job, job.read_cameras(), 120 * 160 // 9)
    view = jobs.walk(5)[0]
    local = (cloud.points - view.world_from_camera[:3, 3]) @ view.world_from_camera[:3, :3]
    cells = np.floor(np.column_stack([(local[:, 0] / 2 * 60 + 32) / 64 * 20, (local[:, 1] / 2 * 60 + 18) / 36 * 15]))
    per_cell = np.bincount((cells[:, 0] + 20 * cells[:, 1]).astype(int), minlength=300)
    assert per_cell.min() >= 4  # 64 / 9 = 7 on average
    assert per_cell.max() <= 11


def test_unknown_and_broken_depth_makes_no_points(tmp_path):
    job = dense_job(tmp_path, views=1)
    arrays = {name: np.array(values) for name, values in job.read_view(0).items()}
    arrays["depth"][0, :4] = 0, np.nan, np.inf, -1
    job.write_view(0, arrays)
    cloud = read_cloud(job, job.read_cameras(), 10**6)
    assert len(cloud) == 36 * 64 - 4
    assert np.isfinite(cloud.points).all()


def test_unsolved_views_give_no_points(tmp_path):
    job = jobs.make_job(tmp_path, Reconstruction(jobs.walk(5, missing=(1,))))
    for index in (0, 1, 77):
        jobs.add_plane_view(job, index)
    assert set(read_cloud(job, job.read_cameras(), 10**6).views) == {0}


def test_sparse_points_stand_in_until_there_are_dense_ones(tmp_path, empty_file):
    job = jobs.make_job(tmp_path, Reconstruction(jobs.walk(5)))
    points = np.random.default_rng(0).uniform(-1, 1, (80, 3)) + [0, 0, 4]
    points[3] = np.nan
    jobs.add_sparse(job, points)
    mesh = import_job(empty_file, tmp_path).points.data
    assert len(mesh.vertices) == 79
    assert np.round(column(mesh, "Col", "color_srgb", 4)[0, :3] * 255).tolist() == [200, 100, 50]
    assert set(column(mesh, "view", kind=np.int32)) == {-1}
    jobs.add_plane_view(job, 0)
    mesh = import_job(empty_file, tmp_path).points.data
    assert len(mesh.vertices) == 36 * 64
    assert len(column(mesh, "confidence")) == 36 * 64


@pytest.mark.parametrize("name", ["depth", "confidence", "color"])
def test_views_that_do_not_fit_together_are_refused(name, tmp_path):
    job = dense_job(tmp_path, views=1)
    arrays = {key: np.array(values) for key, values in job.read_view(0).items()}
    arrays[name] = arrays[name][:5]
    job.write_view(0, arrays)
    with pytest.raises(EngineError, match="do not fit together"):
        read_cloud(job, job.read_cameras(), 1000)


def test_modifier_hides_uncertain_points_and_thins_live(tmp_path, empty_file):
    dense_job(tmp_path, views=1)
    points = import_job(empty_file, tmp_path).points
    modifier = points.modifiers[0]
    assert shown_count(points) == 36 * 64
    compat.set_modifier_input(modifier, point_input(modifier, "Min Confidence"), 0.5)
    assert shown_count(points) == 36 * 32
    compat.set_modifier_input(modifier, point_input(modifier, "Min Confidence"), 0.0)
    compat.set_modifier_input(modifier, point_input(modifier, "Density"), 0.25)
    assert 0.2 * 36 * 64 < shown_count(points) < 0.3 * 36 * 64


def test_point_size_is_in_pixels_of_the_footage(tmp_path, empty_file):
    dense_job(tmp_path, views=1)
    points = import_job(empty_file, tmp_path).points
    modifier = points.modifiers[0]
    assert shown_radii(points) == pytest.approx(np.full(36 * 64, 2 / 60), rel=0.01)
    compat.set_modifier_input(modifier, point_input(modifier, "Point Size"), 3.0)
    assert shown_radii(points) == pytest.approx(np.full(36 * 64, 6 / 60), rel=0.01)


def test_group_and_material_are_shared_and_settings_survive_an_update(tmp_path, empty_file):
    dense_job(tmp_path / "a")
    dense_job(tmp_path / "b")
    first = import_job(empty_file, tmp_path / "a").points
    second = import_job(empty_file, tmp_path / "b").points
    modifier = first.modifiers[0]
    assert modifier.node_group == second.modifiers[0].node_group
    compat.set_modifier_input(modifier, point_input(modifier, "Point Size"), 2.5)
    import_job(empty_file, tmp_path / "a")
    assert add_point_display(first) == modifier
    assert len(first.modifiers) == 1
    assert compat.modifier_input(modifier, point_input(modifier, "Point Size")) == 2.5
    assert [m.name for m in bpy.data.materials] == ["3R Points", "3R Points Lit"]


def test_rendered_points_have_the_colours_of_the_footage(tmp_path, empty_file):
    job = dense_job(tmp_path, views=1)
    job.write_view(0, {**job.read_view(0), "color": np.full((36, 64, 3), (180, 90, 30), np.uint8)})
    import_job(empty_file, tmp_path)
    empty_file.frame_set(1)
    empty_file.render.engine = "CYCLES"
    empty_file.cycles.samples = 1
    empty_file.render.image_settings.file_format = "PNG"
    empty_file.render.filepath = str(tmp_path / "points.png")
    bpy.ops.render.render(write_still=True)
    picture = bpy.data.images.load(str(tmp_path / "points.png"))
    pixels = np.empty(36 * 64 * 4, np.float32)
    picture.pixels.foreach_get(pixels)
    inside = np.round(pixels.reshape(36, 64, 4)[2:-2, 2:-2, :3] * 255)  # the pixel filter looks beyond the border
    right = np.abs(inside - [180, 90, 30]).max(axis=2) <= 1
    assert right.mean() > 0.995  # closed: nothing shows between the dots


def test_writing_in_slices_ends_with_the_same_mesh_and_each_slice_is_one_array(tmp_path):
    job = dense_job(tmp_path)
    cloud = read_cloud(job, job.read_cameras(), 10**6)
    whole, sliced = bpy.data.meshes.new("whole"), bpy.data.meshes.new("sliced")
    write_points(whole, cloud)
    sliced.vertices.add(5)
    written = [{a.name for a in sliced.attributes} for _ in write_points_in_slices(sliced, cloud)]
    assert max(len(after - before) for before, after in pairwise(written)) == 1
    assert [a.name for a in sliced.attributes] == [a.name for a in whole.attributes]
    for name in ("confidence", "pixel_footprint"):
        assert np.array_equal(column(sliced, name), column(whole, name))
    assert np.array_equal(column(sliced, "position", "vector", 3), cloud.points)


def test_solid_views_are_switched_to_where_colours_show(empty_file):
    space = next(area for area in bpy.context.screen.areas if area.type == "VIEW_3D").spaces.active
    for before, after in (("SOLID", "MATERIAL"), ("WIREFRAME", "WIREFRAME"), ("RENDERED", "RENDERED")):
        space.shading.type = before
        show_colors(space)
        assert space.shading.type == after


def test_no_points_when_none_are_wanted(tmp_path, empty_file):
    dense_job(tmp_path)
    assert import_job(empty_file, tmp_path, ImportOptions(point_budget=0)).points is None
    assert not bpy.data.meshes

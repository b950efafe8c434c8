"""Points that come as a PointCloud datablock (Blender 5.1 on): new, again, growing; a mesh where there is no choice."""

from __future__ import annotations

import bpy
import jobs
import numpy as np
import pytest
from test_import_job import datablocks, video_job

from blender_3r.operators.import_job import THREER_OT_import_job
from blender_3r.scene.growth import Growth
from blender_3r.scene.job import ImportOptions, finish, import_job
from blender_3r.scene.jobdata import read_job
from blender_3r.scene.point_kind import can_be_cloud
from blender_3r.scene.point_nodes import point_input, point_modifier

PLANE = 36 * 64
AS_CLOUD = ImportOptions(as_cloud=True)
needs_clouds = pytest.mark.skipif(not can_be_cloud(), reason="Blender fills point clouds from Python from 5.1 on")


def positions(block: bpy.types.Mesh | bpy.types.PointCloud) -> np.ndarray:
    data = block.attributes["position"].data
    values = np.empty(3 * len(data), np.float32)
    data.foreach_get("vector", values)
    return values.reshape(-1, 3)


@needs_clouds
def test_points_come_as_a_point_cloud_and_are_updated_as_one(tmp_path, empty_file):
    job = video_job(tmp_path, views=1)
    first = import_job(empty_file, tmp_path, AS_CLOUD)
    cloud = first.points.data
    assert isinstance(cloud, bpy.types.PointCloud)
    assert (len(cloud.points), len(bpy.data.meshes)) == (PLANE, 0)
    assert {"Col", "confidence", "view", "pixel_footprint", "depth"} <= set(cloud.attributes.keys())
    modifier = point_modifier(first.points)
    identifier, name = point_input(modifier, "Point Size"), cloud.name
    modifier.show_render = False
    before = datablocks()
    jobs.add_plane_view(job, 2)
    for options in (AS_CLOUD, ImportOptions()):  # what is there stays what it is
        again = import_job(empty_file, tmp_path, options)
        assert again.points == first.points
        assert isinstance(again.points.data, bpy.types.PointCloud)
        assert len(again.points.data.points) == 2 * PLANE
        assert datablocks() == before
        assert again.points.data.name == name
        modifier = point_modifier(again.points)
        assert (modifier.show_render, point_input(modifier, "Point Size")) == (False, identifier)
    assert np.allclose(positions(again.points.data), read_job(tmp_path).cloud.points)


@needs_clouds
def test_a_mesh_stays_a_mesh(tmp_path, empty_file):
    video_job(tmp_path, views=1)
    first = import_job(empty_file, tmp_path)
    again = import_job(empty_file, tmp_path, AS_CLOUD)
    assert again.points == first.points
    assert isinstance(again.points.data, bpy.types.Mesh)


@needs_clouds
def test_a_growing_point_cloud_is_renewed_in_place(tmp_path, empty_file):
    job = video_job(tmp_path, views=1)
    growth = Growth("run 1", AS_CLOUD)
    assert finish(growth.build_in_slices(empty_file, read_job(tmp_path))).is_new
    bpy.ops.ed.undo_push(message="Grown")
    points = next(item for item in empty_file.objects if point_modifier(item))
    cloud, before = points.data, datablocks()
    assert isinstance(cloud, bpy.types.PointCloud)
    for index in range(1, 4):
        jobs.add_plane_view(job, index)
        grown = finish(growth.build_in_slices(empty_file, read_job(tmp_path)))
        assert (grown.is_there, grown.is_new) == (True, False)
        assert (points.data, datablocks()) == (cloud, before)
        assert len(cloud.points) == (index + 1) * PLANE
    assert np.allclose(positions(cloud), read_job(tmp_path).cloud.points)
    final = import_job(empty_file, tmp_path)
    assert final.points == points
    assert isinstance(final.points.data, bpy.types.PointCloud)


@needs_clouds
def test_moving_points_come_as_a_point_cloud_too(tmp_path, empty_file):
    video_job(tmp_path, views=2)
    result = import_job(empty_file, tmp_path, ImportOptions(as_cloud=True, moving="frames"))
    assert isinstance(result.moving.data, bpy.types.PointCloud)
    assert "first_frame" in result.moving.data.attributes
    assert point_modifier(result.moving) is not None


@pytest.mark.skipif(can_be_cloud(), reason="Blender before 5.1")
def test_older_blenders_make_a_mesh(tmp_path, empty_file):
    video_job(tmp_path, views=1)
    assert isinstance(import_job(empty_file, tmp_path, AS_CLOUD).points.data, bpy.types.Mesh)


@pytest.fixture
def operator():
    bpy.utils.register_class(THREER_OT_import_job)
    yield
    bpy.utils.unregister_class(THREER_OT_import_job)


@pytest.mark.parametrize("kind", ["MESH", "CLOUD"])
def test_the_operator_has_the_choice(kind, tmp_path, empty_file, operator):
    video_job(tmp_path, views=1)
    properties = bpy.ops.threer.import_job.get_rna_type().properties
    assert properties["points_as"].is_hidden == (not can_be_cloud())
    assert bpy.ops.threer.import_job(directory=str(tmp_path), points_as=kind) == {"FINISHED"}
    points = next(item for item in empty_file.objects if point_modifier(item))
    assert points.type == ("POINTCLOUD" if kind == "CLOUD" and can_be_cloud() else "MESH")

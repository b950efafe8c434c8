"""Points with faces for Solid: an active colour per point, live like the points, and nothing of it in renders."""

from __future__ import annotations

import dataclasses

import bpy
import numpy as np
import pytest
from test_scene_point_display import made_up_cloud, put, shown_object

from blender_3r.scene.cloud import Cloud
from blender_3r.scene.point_kind import can_be_cloud, new_points, other_kind
from blender_3r.scene.point_solid import DOT, add_solid_display, remove_solid_display, solid_modifier

FACES = 8  # of a dot


def colorful_cloud() -> Cloud:
    cloud = made_up_cloud()
    colors = np.linspace(0.0, 1.0, 4 * len(cloud), dtype=np.float32).reshape(-1, 4)
    return dataclasses.replace(cloud, colors=colors)


@pytest.fixture(params=["mesh", "cloud"])
def points(request, empty_file):
    if request.param == "cloud" and not can_be_cloud():
        pytest.skip("Blender fills point clouds from Python from 5.1 on")
    return shown_object(empty_file, colorful_cloud(), new_points("solid", request.param == "cloud"))


def faces(points: bpy.types.Object) -> bpy.types.Mesh:
    """A copy of what the viewport draws of them."""
    points.update_tag()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    depsgraph.update()
    return next(i.object.data.copy() for i in depsgraph.object_instances if i.object.type == "MESH")


def test_every_point_gets_faces_in_its_colour(points):
    add_solid_display(points)
    mesh, cloud = faces(points), colorful_cloud()
    assert len(mesh.polygons) == len(cloud) * FACES
    assert mesh.color_attributes.active_color_name == "Col"
    colors = np.empty(4 * len(mesh.vertices), np.float32)
    mesh.attributes["Col"].data.foreach_get("color", colors)
    places = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.attributes["position"].data.foreach_get("vector", places)
    own = np.round(places[::3]).astype(int)  # the number of a point is its x
    assert np.allclose(colors.reshape(-1, 4), cloud.colors[own], atol=1e-6)


def test_the_settings_of_points_act_on_faces(points):
    add_solid_display(points)
    every = len(faces(points).polygons)
    put(points, "Min Confidence", 0.5)
    assert 0 < len(faces(points).polygons) < every


def test_renders_stay_as_they_are_and_faces_go_again(points):
    modifier = add_solid_display(points)
    assert add_solid_display(points) == modifier
    assert not modifier.show_render
    assert not any(item.name.startswith(DOT) for item in bpy.context.scene.objects)
    remove_solid_display(points)
    assert solid_modifier(points) is None


@pytest.mark.skipif(not can_be_cloud(), reason="Blender fills point clouds from Python from 5.1 on")
def test_the_other_kind_keeps_its_faces(points):
    add_solid_display(points)
    assert solid_modifier(other_kind(points)) is not None
    assert sum(group.name.startswith("3R Solid") for group in bpy.data.node_groups) == 1

"""Points as NumPy sees them, held against what Blender's nodes make of the same points and settings."""

from __future__ import annotations

import dataclasses

import bpy
import numpy as np
import pytest
from test_scene_point_display import COUNT, listed, made_up_cloud, put, shown, shown_object, shown_x
from test_scene_point_display import colors as colors_of_nodes

from blender_3r.scene.cloud import linear_colors
from blender_3r.scene.point_crop import fit_crop_box
from blender_3r.scene.point_values import (
    PointFilter,
    PointValues,
    display_colors,
    mean_depth,
    read_filter,
    read_values,
    screen_colors,
)
from blender_3r.scene.point_values import shown as shown_here
from blender_3r.scene.point_views import hide_views


@pytest.fixture
def points(empty_file):
    cloud = made_up_cloud()
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (len(cloud), 3), dtype=np.uint8)
    return shown_object(empty_file, dataclasses.replace(cloud, colors=linear_colors(codes)))


def values_of(points: bpy.types.Object) -> PointValues:
    reading = read_values(points.data)
    while True:
        try:
            next(reading)
        except StopIteration as end:
            return end.value


def x_here(points: bpy.types.Object) -> list[int]:
    keep = shown_here(values_of(points), read_filter(points))
    return np.flatnonzero(keep).tolist()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Min Confidence", 0.5),
        ("Hide Edges", 0.3),
        ("Hide Edges", 1.0),
        ("Min Views", 2),
        ("Max Depth", 4.0),
        ("Hide Sky", True),
        ("Density", 0.0),
    ],
)
def test_each_filter_hides_the_same_points(points, name, value):
    assert x_here(points) == shown_x(points) == list(range(COUNT))
    put(points, name, value)
    assert x_here(points) == shown_x(points)
    assert len(x_here(points)) < COUNT


@pytest.mark.parametrize("inverted", [False, True])
def test_the_crop_box_hides_the_same_points(points, inverted):
    points.matrix_world = points.matrix_world.Translation((1.0, 2.0, 3.0))
    bpy.context.view_layer.update()
    box = fit_crop_box(points)
    box.matrix_basis = box.matrix_basis @ box.matrix_basis.Diagonal((0.4, 1.0, 1.0, 1.0))
    bpy.context.view_layer.update()
    for name, value in (("Crop Box", box), ("Crop", True), ("Invert Crop", inverted)):
        put(points, name, value)
    assert x_here(points) == shown_x(points)
    assert 0 < len(x_here(points)) < COUNT


def test_hidden_views_and_other_filters_work_together(points):
    hide_views(listed(points), np.array([False, True, False]))
    put(points, "Min Confidence", 0.2)
    assert x_here(points) == shown_x(points)
    assert 0 < len(x_here(points)) < COUNT


@pytest.mark.parametrize("display", ["Color", "Confidence", "View", "Depth"])
def test_each_display_has_the_same_colours(points, display):
    put(points, "Display", display)
    put(points, "Max Depth", 16.0)
    settings, values = read_filter(points), values_of(points)
    keep = shown_here(values, settings)
    here = display_colors(values, display, mean_depth(values, settings))[keep]
    nodes = screen_colors(colors_of_nodes(points))
    assert np.abs(here.astype(int) - nodes).max() <= 1
    assert len(np.unique(here, axis=0)) > 2


def test_about_the_share_that_density_asks_for_shows():
    count = 100_000
    values = PointValues(
        np.zeros((count, 3), np.float32),
        np.zeros((count, 4), np.uint8),
        np.random.default_rng(0).random(count, np.float32),
    )
    assert shown_here(values, PointFilter(density=0.3)).mean() == pytest.approx(0.3, abs=0.01)


def test_codes_come_back_as_they_went_in():
    codes = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    assert np.array_equal(screen_colors(linear_colors(codes))[:, :3], codes)
    assert screen_colors(np.array([[2.0, -1.0, 0.0]], np.float32)).tolist() == [[255, 0, 0, 255]]


def test_what_is_not_known_hides_none(empty_file):
    cloud = made_up_cloud()
    bare = dataclasses.replace(cloud, edge=None, seen_by=None, sky=None)
    points = shown_object(empty_file, bare)
    for name, value in (("Hide Edges", 1.0), ("Min Views", 5), ("Hide Sky", True)):
        put(points, name, value)
    assert x_here(points) == shown_x(points) == list(range(COUNT))
    assert shown(points) is not None

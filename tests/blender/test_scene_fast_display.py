"""Points left to the graphics card: nothing of them is evaluated in the viewport, and renders show them as ever."""

from __future__ import annotations

from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from test_dynamic import mark
from test_import_job import video_job
from test_scene_point_display import COUNT, made_up_cloud, put, shown, shown_object

from blender_3r.scene import fast_display, tags
from blender_3r.scene.fast_display import GROUP, add_fast_display, fast_modifier, find_fast_group, remove_fast_display
from blender_3r.scene.job import build_job_in_slices, import_job
from blender_3r.scene.jobdata import read_job
from blender_3r.scene.point_kind import can_be_cloud, new_points, other_kind


@pytest.fixture(params=["mesh", "cloud"] if can_be_cloud() else ["mesh"])
def points(request, empty_file):
    return shown_object(empty_file, made_up_cloud(), new_points("fast", request.param == "cloud"))


def test_the_viewport_is_left_the_corners_of_the_bounds(points):
    assert len(shown(points).points) == COUNT
    modifier = add_fast_display(points)
    put(points, "Min Confidence", 0.5)
    left = shown(points)
    places = np.array([point.co for point in left.points])
    assert np.allclose(
        [places.min(axis=0), places.max(axis=0)], [(0, 0, 0), (COUNT - 1, 0, 0)], atol=0.02
    )  # of a cloud: and its radius
    assert max(point.radius for point in left.points) == 0.0
    assert points.modifiers[0] == modifier, "what precedes it would be evaluated"
    remove_fast_display(points)
    put(points, "Min Confidence", 0.0)
    assert len(shown(points).points) == COUNT


def test_renders_stay_as_they_are(points):
    modifier = add_fast_display(points)
    assert add_fast_display(points) == modifier
    assert not modifier.show_render
    assert find_fast_group().users == 1


def test_settings_stay(points):
    put(points, "Min Confidence", 0.5)
    few = len(shown(points).points)
    add_fast_display(points)
    remove_fast_display(points)
    assert fast_modifier(points) is None
    assert len(shown(points).points) == few < COUNT


@pytest.mark.skipif(not can_be_cloud(), reason="Blender fills point clouds from Python from 5.1 on")
def test_the_other_kind_keeps_its_display(points):
    add_fast_display(points)
    assert fast_modifier(other_kind(points)) is not None
    assert sum(group.name.startswith(GROUP) for group in bpy.data.node_groups) == 1


def processor_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    platform = SimpleNamespace(device_type_get=lambda: "SOFTWARE")
    monkeypatch.setattr(fast_display.gpu, "platform", platform)


def test_without_a_graphics_card_new_points_come_with_it(empty_file, tmp_path, monkeypatch):
    processor_draws(monkeypatch)
    job = video_job(tmp_path, views=3)
    mark(job, 0, slice(0, 8))
    result = import_job(empty_file, job.path)
    for points in (result.points, result.moving):
        assert points.modifiers[0] == fast_modifier(points), "what precedes it would be evaluated for each frame"
    remove_fast_display(result.points)
    again = import_job(empty_file, job.path)
    assert fast_modifier(again.points) is None, "it was switched off"
    assert fast_modifier(again.moving) is not None


def test_a_graphics_card_draws_what_the_nodes_show(empty_file, tmp_path, monkeypatch):
    monkeypatch.setattr(fast_display.gpu, "platform", SimpleNamespace(device_type_get=lambda: "NVIDIA"))
    assert fast_modifier(import_job(empty_file, video_job(tmp_path).path).points) is None
    assert find_fast_group() is None


def test_an_import_that_is_closed_leaves_no_group(empty_file, tmp_path, monkeypatch):
    processor_draws(monkeypatch)
    job = video_job(tmp_path, views=3)
    before = tags.census()
    steps = build_job_in_slices(empty_file, read_job(job.path))
    while find_fast_group() is None:
        next(steps)
    steps.close()
    assert tags.census() == before

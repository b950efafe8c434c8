"""What is handed to the graphics card of points, with a stand-in for it: Blender's module has none."""

from __future__ import annotations

import time
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from test_dynamic import mark
from test_import_job import video_job
from test_scene_point_display import COUNT, made_up_cloud, put, shown_object

from blender_3r.scene import compat, dynamic
from blender_3r.scene.fast_display import add_fast_display
from blender_3r.scene.job import import_job
from blender_3r.scene.points import write_points
from blender_3r.viewport import drawn_points, fast_points
from blender_3r.viewport.drawn_points import DrawnPoints


class Card:
    """Keeps what is made and drawn. made: how many batches. drawn: x of the points of the last redraw. scale: of it."""

    def __init__(self) -> None:
        self.made, self.drawn, self.scale = 0, [], 0.0

    def make(self, position: np.ndarray, color: np.ndarray, radius: np.ndarray) -> np.ndarray:
        assert len(position) == len(color) == len(radius)
        self.made += 1
        return np.array(position)

    def draw(self, batches: list[np.ndarray], context: object, world_from_points: object, scale: float) -> None:
        self.drawn = sorted(round(float(x)) for batch in batches for x in batch[:, 0])
        self.scale = scale


@pytest.fixture
def card(monkeypatch):
    card = Card()
    monkeypatch.setattr(drawn_points, "make_dots", card.make)
    monkeypatch.setattr(drawn_points, "draw_dots", card.draw)
    return card


@pytest.fixture
def points(empty_file):
    return shown_object(empty_file, made_up_cloud())


def redraw(drawn: DrawnPoints, points: bpy.types.Object, seconds: float = 10.0) -> bool:
    context = SimpleNamespace(scene=bpy.context.scene)
    return drawn.draw(points, context, time.perf_counter() + seconds)


def test_what_shows_is_drawn_and_made_once(card, points):
    drawn = DrawnPoints(points)
    assert redraw(drawn, points)
    assert card.drawn == list(range(COUNT))
    assert redraw(drawn, points)
    assert card.made == 1


def test_settings_act_at_the_next_redraw(card, points):
    drawn = DrawnPoints(points)
    put(points, "Min Confidence", 0.5)
    assert redraw(drawn, points)
    assert card.drawn == list(range(11, COUNT))
    put(points, "Min Confidence", 2.0)
    assert redraw(drawn, points)
    assert card.drawn == []
    put(points, "Min Confidence", 0.0)
    assert redraw(drawn, points)
    assert card.drawn == list(range(COUNT))


def test_size_is_no_reason_to_make_points_anew(card, points):
    drawn = DrawnPoints(points)
    redraw(drawn, points)
    assert card.scale == pytest.approx(1.0)
    put(points, "Point Size", 3.0)
    redraw(drawn, points)
    assert (card.scale, card.made) == (pytest.approx(3.0), 1)
    put(points, "Density", 0.25)
    redraw(drawn, points)
    assert card.scale == pytest.approx(6.0)


def test_without_time_a_redraw_does_a_part_and_says_so(card, points, monkeypatch):
    monkeypatch.setattr(drawn_points, "_PIECE", 10)
    drawn = DrawnPoints(points)
    redraws = 0
    while not redraw(drawn, points, seconds=-1.0):
        redraws += 1
        assert redraws < 50
    assert card.made == 3
    assert redraws > card.made
    assert card.drawn == list(range(COUNT))


def test_frames_show_their_own_points(card, empty_file, tmp_path):
    job = video_job(tmp_path, views=5)
    for index in range(3):
        mark(job, index, slice(0, 4 * (index + 1)))
    moving = import_job(empty_file, job.path).moving
    modifier = dynamic.moving_modifier(moving)
    drawn = DrawnPoints(moving)
    for offset, trail in ((0, 0), (1, 0), (0, 2)):
        for name, value in (("Frame Offset", offset), ("Trail", trail)):
            compat.set_modifier_input(modifier, dynamic.moving_input(modifier, name), value)
        for frame in range(empty_file.frame_start, empty_file.frame_end + 1):
            empty_file.frame_set(frame)
            assert redraw(drawn, moving)
            assert len(card.drawn) == evaluated_count(moving), f"frame {frame}, offset {offset}, trail {trail}"


def evaluated_count(points: bpy.types.Object) -> int:
    count = 0
    for instance in bpy.context.evaluated_depsgraph_get().object_instances:
        item = instance.object
        count += len(item.data.points) if item.type == "POINTCLOUD" and item.original == points else 0
    return count


def test_points_are_read_anew_only_when_they_changed(card, points, monkeypatch):
    kept, reads = fast_points.FastPoints(), []

    def counted(item: bpy.types.Object) -> DrawnPoints:
        reads.append(item.name)
        return DrawnPoints(item)

    monkeypatch.setattr(fast_points, "DrawnPoints", counted)
    monkeypatch.setattr(fast_points, "fast_points", kept)
    monkeypatch.setattr(fast_points, "_BUDGET_S", 10.0)
    follow = fast_points._follow
    bpy.app.handlers.depsgraph_update_post.append(follow)
    context = SimpleNamespace(scene=bpy.context.scene, view_layer=bpy.context.view_layer, space_data=None)
    try:
        add_fast_display(points)
        bpy.context.view_layer.update()
        kept.draw(context)
        put(points, "Min Confidence", 0.5)
        bpy.context.view_layer.update()
        kept.draw(context)
        assert (card.drawn, len(reads)) == (list(range(11, COUNT)), 1)
        write_points(points.data, made_up_cloud()._select(np.arange(COUNT) >= 20))
        bpy.context.view_layer.update()
        kept.draw(context)
        assert (card.drawn, len(reads)) == (list(range(20, COUNT)), 2)
    finally:
        bpy.app.handlers.depsgraph_update_post.remove(follow)


def test_hidden_points_and_those_without_fast_display_are_left_out(card, points, monkeypatch):
    kept = fast_points.FastPoints()
    monkeypatch.setattr(fast_points, "_BUDGET_S", 10.0)
    context = SimpleNamespace(scene=bpy.context.scene, view_layer=bpy.context.view_layer, space_data=None)

    def drawn() -> list[int]:
        card.drawn = []
        kept.draw(context)
        return card.drawn

    assert drawn() == []
    add_fast_display(points)
    bpy.context.view_layer.update()
    assert len(drawn()) == COUNT
    points.hide_set(True)
    assert drawn() == []
    points.hide_set(False)
    points.name = "another"
    assert len(drawn()) == COUNT
    bpy.data.objects.remove(points)
    assert drawn() == []

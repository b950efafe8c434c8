"""What is handed to the graphics card of points, with a stand-in for it: Blender's module has none."""

from __future__ import annotations

import dataclasses
import time
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from test_dynamic import mark
from test_import_job import video_job
from test_scene_point_display import COUNT, made_up_cloud, put, shown_object

from blender_3r.scene import compat, dynamic
from blender_3r.scene.fast_display import add_fast_display, fast_modifier
from blender_3r.scene.job import import_job
from blender_3r.scene.points import write_points
from blender_3r.viewport import drawn_points, fast_points
from blender_3r.viewport.drawn_points import DrawnPoints


class Card:
    """Keeps what is made and drawn. made: how many batches. drawn: x of the points of the last redraw. scale: of it."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.made, self.drawn, self.scale = 0, [], 0.0

    def make(self, position: np.ndarray, color: np.ndarray, radius: np.ndarray) -> np.ndarray:
        assert len(position) == len(color) == len(radius)
        self.made += 1
        return np.array(position)

    def draw(self, batches: list[np.ndarray], context: object, world_from_points: object, scale: float) -> None:
        self.drawn = sorted([*self.drawn, *(round(float(x)) for batch in batches for x in batch[:, 0])])
        self.scale = scale


CARD = Card()


@pytest.fixture
def card(monkeypatch):
    CARD.reset()
    monkeypatch.setattr(drawn_points, "make_dots", CARD.make)
    monkeypatch.setattr(drawn_points, "draw_dots", CARD.draw)
    return CARD


@pytest.fixture
def points(empty_file):
    return shown_object(empty_file, made_up_cloud())


def redraw(drawn: DrawnPoints, points: bpy.types.Object, seconds: float = 10.0) -> bool:
    context = SimpleNamespace(scene=bpy.context.scene)
    until = time.perf_counter() + seconds
    drawn.read(until)
    CARD.drawn = []
    return drawn.draw(points, context, until)


def redraw_all(kept: fast_points.FastPoints) -> None:
    """What becomes of one redraw: whatever is missing is read after it, and there is another one."""
    context = SimpleNamespace(scene=bpy.context.scene, view_layer=bpy.context.view_layer, space_data=None)
    while True:
        CARD.drawn = []
        kept.draw(context)
        if not bpy.app.timers.is_registered(fast_points._go_on):
            break
        bpy.app.timers.unregister(fast_points._go_on)
        while not kept.read():
            pass


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

    def counted(item: bpy.types.Object, before: DrawnPoints | None) -> DrawnPoints:
        reads.append(item.name)
        return DrawnPoints(item, before)

    monkeypatch.setattr(fast_points, "DrawnPoints", counted)
    monkeypatch.setattr(fast_points, "fast_points", kept)
    monkeypatch.setattr(fast_points, "_BUDGET_S", 10.0)
    follow = fast_points._follow
    bpy.app.handlers.depsgraph_update_post.append(follow)
    try:
        add_fast_display(points)
        bpy.context.view_layer.update()
        redraw_all(kept)
        put(points, "Min Confidence", 0.5)
        bpy.context.view_layer.update()
        redraw_all(kept)
        assert (card.drawn, len(reads)) == (list(range(11, COUNT)), 1)
        write_points(points.data, made_up_cloud()._select(np.arange(COUNT) >= 20))
        bpy.context.view_layer.update()
        redraw_all(kept)
        assert (card.drawn, len(reads)) == (list(range(20, COUNT)), 2)
    finally:
        bpy.app.handlers.depsgraph_update_post.remove(follow)


def test_hidden_points_and_those_without_fast_display_are_left_out(card, points, monkeypatch):
    kept = fast_points.FastPoints()
    monkeypatch.setattr(fast_points, "_BUDGET_S", 10.0)

    def drawn() -> list[int]:
        redraw_all(kept)
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


def test_points_that_change_stay_in_sight_until_others_take_their_places(card, points, monkeypatch):
    monkeypatch.setattr(drawn_points, "_PIECE", 6)
    before = DrawnPoints(points)
    assert redraw(before, points)
    cloud = made_up_cloud()
    write_points(points.data, dataclasses.replace(cloud, points=cloud.points + np.float32(100)))
    after = DrawnPoints(points, DrawnPoints(points, before))  # the one between was never drawn
    counts, is_complete = [], False
    while not is_complete:
        is_complete = redraw(after, points, seconds=-1.0)
        counts.append(len(card.drawn))
    assert set(counts) == {COUNT}, "no more and no fewer at a time"
    assert card.drawn == [x + 100 for x in range(COUNT)]
    assert len(counts) > 4


def test_without_a_graphics_card_fewer_points_are_drawn_as_much_larger(card, points, monkeypatch):
    monkeypatch.setattr(drawn_points, "is_drawn_by_processor", lambda: True)
    monkeypatch.setattr(drawn_points, "_BY_PROCESSOR", COUNT)
    drawn = DrawnPoints(points)
    assert redraw(drawn, points)
    assert (drawn.share, card.drawn, card.scale) == (1.0, list(range(COUNT)), pytest.approx(1.0))
    monkeypatch.setattr(drawn_points, "_BY_PROCESSOR", COUNT // 2)
    drawn = DrawnPoints(points)
    assert redraw(drawn, points)
    assert 0 < len(card.drawn) < COUNT
    assert (drawn.share, card.scale) == (0.5, pytest.approx(2**0.5))
    half = card.drawn
    put(points, "Density", 0.5)
    assert redraw(drawn, points)
    assert set(card.drawn) <= set(half)
    assert card.scale == pytest.approx(2.0)


def test_it_is_the_points_of_a_frame_that_the_processor_draws(card, empty_file, tmp_path, monkeypatch):
    monkeypatch.setattr(drawn_points, "is_drawn_by_processor", lambda: True)
    job = video_job(tmp_path, views=5)
    for index in range(5):
        mark(job, index, slice(0, 8))
    moving = import_job(empty_file, job.path).moving
    of_a_frame = len(moving.data.vertices) // 5
    for most, share in ((of_a_frame, 1.0), (of_a_frame // 2, 0.5)):
        monkeypatch.setattr(drawn_points, "_BY_PROCESSOR", most)
        drawn = DrawnPoints(moving)
        redraw(drawn, moving)
        assert drawn.share == share


def test_undo_reads_anew_and_hides_nothing_meanwhile(card, points, monkeypatch):
    kept = fast_points.FastPoints()
    monkeypatch.setattr(fast_points, "fast_points", kept)
    monkeypatch.setattr(fast_points, "_BUDGET_S", 10.0)
    add_fast_display(points)
    bpy.context.view_layer.update()
    redraw_all(kept)
    made = card.made
    fast_points._doubt()
    card.drawn = []
    kept.draw(SimpleNamespace(scene=bpy.context.scene, view_layer=bpy.context.view_layer, space_data=None))
    assert card.drawn == list(range(COUNT))
    redraw_all(kept)
    assert (card.drawn, card.made) == (list(range(COUNT)), 2 * made)


def test_points_in_edit_mode_are_not_read(card, points, monkeypatch):
    kept = fast_points.FastPoints()
    monkeypatch.setattr(fast_points, "_BUDGET_S", 10.0)
    add_fast_display(points)
    bpy.context.view_layer.update()
    kept.draw(SimpleNamespace(scene=bpy.context.scene, view_layer=bpy.context.view_layer, space_data=None))
    bpy.context.view_layer.objects.active = points
    bpy.ops.object.mode_set(mode="EDIT")
    assert kept.read(), "its attributes hold nothing while it is edited"
    bpy.ops.object.mode_set(mode="OBJECT")
    redraw_all(kept)
    assert card.drawn == list(range(COUNT))


def test_points_at_no_place_do_not_ask_for_redraws_for_ever(card, points, monkeypatch):
    kept = fast_points.FastPoints()
    monkeypatch.setattr(fast_points, "_BUDGET_S", 10.0)
    points.data.vertices[0].co.x = float("nan")
    put(points, "Min Confidence", 0.5)  # card rounds places
    add_fast_display(points)
    bpy.context.view_layer.update()
    redraw_all(kept)
    assert card.drawn == list(range(11, COUNT))


@pytest.mark.parametrize("what", ["draw", "read"])
def test_what_the_graphics_card_cannot_draw_is_left_to_blender(what, card, points, monkeypatch):
    kept = fast_points.FastPoints()
    monkeypatch.setattr(fast_points, "fast_points", kept)

    def fails(*_: object) -> None:
        raise MemoryError("no memory.")

    monkeypatch.setattr(kept, what, fails)
    add_fast_display(points)
    if what == "read":
        fast_points._go_on()
    fast_points._draw()
    assert kept.failure == "no memory"
    assert bpy.app.timers.is_registered(fast_points._give_back)
    bpy.app.timers.unregister(fast_points._give_back)
    fast_points._give_back()
    assert fast_modifier(points) is None
    fast_points._draw()
    assert not bpy.app.timers.is_registered(fast_points._give_back)

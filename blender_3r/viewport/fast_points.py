"""Draws the points that ask for it (scene/fast_display.py) into every 3D view that shows them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bpy

from ..scene.fast_display import fast_modifier, find_fast_group, is_drawn_by_processor, remove_fast_display
from .drawn_points import DrawnPoints

_BY_PROCESSOR_S = 0.005  # for handing over, where it takes several times as long to draw what is new
_BUDGET_S = 0.02  # of a redraw, for handing points to the graphics card, and between two of them for reading points

log = logging.getLogger(__name__)


class FastPoints:
    """What is kept from one redraw to the next. failure: why the graphics card does not draw, or empty."""

    def __init__(self) -> None:
        self.failure = ""
        self._names: list[str] = []
        self._drawn: dict[str, DrawnPoints] = {}

    def draw(self, context: bpy.types.Context) -> None:
        """The points of the 3D view that is being drawn, as far as they are read; the rest goes on after it."""
        until, is_complete = time.perf_counter() + (_BY_PROCESSOR_S if is_drawn_by_processor() else _BUDGET_S), True
        for points in self._visible(context):
            drawn = self._drawn.get(points.name)
            if drawn is None or not drawn.is_of(points):
                drawn = self._drawn[points.name] = DrawnPoints(points, drawn)
            is_complete &= drawn.draw(points, context, until)
        if not is_complete and not bpy.app.timers.is_registered(_go_on):
            bpy.app.timers.register(_go_on, first_interval=0.0)

    def read(self) -> bool:
        """Go on reading points that a redraw asked for; returns whether they are read."""
        until = time.perf_counter() + _BUDGET_S
        for name, drawn in self._drawn.items():
            points = bpy.data.objects.get(name)
            if drawn.is_read or points is None or points.mode != "OBJECT":
                continue
            drawn.is_sure = False  # Blender says only before the next redraw what changed since the last one
            if drawn.is_of(points):
                drawn.read(until)
                return False
        return True

    def share_drawn(self, points: bpy.types.Object) -> float:
        """Of the points that show, how many are drawn: below 1 only without a graphics card."""
        drawn = self._drawn.get(points.name)
        return drawn.share if drawn is not None else 1.0

    def _visible(self, context: bpy.types.Context) -> list[bpy.types.Object]:
        group = find_fast_group()
        if group is None:
            return []
        there = [bpy.data.objects.get(name) for name in self._names]
        if len(there) != group.users or any(item is None or fast_modifier(item) is None for item in there):
            there = [item for item in bpy.data.objects if fast_modifier(item) is not None]
            self._names = [item.name for item in there]
            self._drawn = {name: drawn for name, drawn in self._drawn.items() if name in self._names}
        layer, space = context.view_layer, context.space_data
        return [
            item
            for item in there
            if item.name in layer.objects
            and fast_modifier(item).show_viewport
            and item.mode == "OBJECT"
            and item.visible_get(viewport=space)
        ]

    def forget(self) -> None:
        """Everything, as of another file; and try the graphics card again."""
        self._drawn.clear()
        self.failure = ""

    def doubt(self) -> None:
        """Read all points anew; until then they are drawn as they were."""
        for drawn in self._drawn.values():
            drawn.is_outdated = True

    def follow(self, depsgraph: bpy.types.Depsgraph) -> None:
        """Look at those points again whose datablock may have changed, and draw again where settings may have."""
        changed = [update.id.original for update in depsgraph.updates] if self._drawn else []
        blocks = {block.session_uid for block in changed}
        for drawn in self._drawn.values():
            drawn.is_sure &= drawn.block_uid not in blocks
        if any(block.name in self._names for block in changed if isinstance(block, bpy.types.Object)):
            _redraw()  # a script's change of a setting does not do that

    def fail(self, error: Exception) -> None:
        """Draw no more, since each redraw would fail anew."""
        self.failure = str(error).rstrip(".") or type(error).__name__
        log.error("The graphics card does not draw points. Blender's own display shows them.", exc_info=error)


fast_points = FastPoints()
_handle: Any = None


def _draw() -> None:
    if not fast_points.failure:
        with _failures_told():
            fast_points.draw(bpy.context)
    group = find_fast_group()
    if fast_points.failure and group is not None and group.users and not bpy.app.timers.is_registered(_give_back):
        bpy.app.timers.register(_give_back, first_interval=0.0)


def _go_on() -> float | None:
    """Between redraws, so that the window is never away for all of it."""
    with _failures_told():
        if not fast_points.read():
            return 0.0
    _redraw()
    return None


@contextmanager
def _failures_told() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a driver's own: Blender would print it at each redraw and the artist would see nothing
        fast_points.fail(error)


def _give_back() -> None:
    """Points that the graphics card does not draw are drawn as without it: nothing may be there and not be seen."""
    for points in bpy.data.objects:
        if points.library is None and points.override_library is None:
            remove_fast_display(points)


def _redraw() -> None:
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()


@bpy.app.handlers.persistent
def _forget(*_: Any) -> None:
    fast_points.forget()


@bpy.app.handlers.persistent
def _doubt(*_: Any) -> None:
    fast_points.doubt()


@bpy.app.handlers.persistent
def _follow(_: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    fast_points.follow(depsgraph)


_HANDLERS = {
    "load_post": _forget,
    "undo_post": _doubt,
    "redo_post": _doubt,
    "depsgraph_update_post": _follow,
}


def register() -> None:
    global _handle
    _handle = bpy.types.SpaceView3D.draw_handler_add(_draw, (), "WINDOW", "POST_VIEW")
    for name, handler in _HANDLERS.items():
        getattr(bpy.app.handlers, name).append(handler)


def unregister() -> None:
    for name, handler in _HANDLERS.items():
        getattr(bpy.app.handlers, name).remove(handler)
    bpy.types.SpaceView3D.draw_handler_remove(_handle, "WINDOW")
    for timer in (_go_on, _give_back):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)
    fast_points.forget()

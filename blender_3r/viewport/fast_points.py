"""Draws the points that ask for it (scene/fast_display.py) into every 3D view that shows them."""

from __future__ import annotations

import logging
import time
from typing import Any

import bpy

from ..scene.fast_display import fast_modifier, find_fast_group
from .drawn_points import DrawnPoints

_BUDGET_S = 0.02  # of a redraw, for reading points and handing them to the graphics card

log = logging.getLogger(__name__)


class FastPoints:
    """What is kept from one redraw to the next. failure: why the graphics card does not draw, or empty."""

    def __init__(self) -> None:
        self.failure = ""
        self._names: list[str] = []
        self._drawn: dict[str, DrawnPoints] = {}

    def draw(self, context: bpy.types.Context) -> None:
        """The points of the 3D view that is being drawn."""
        until, is_complete = time.perf_counter() + _BUDGET_S, True
        for points in self._visible(context):
            drawn = self._drawn.get(points.name)
            if drawn is None or not drawn.is_of(points):
                drawn = self._drawn[points.name] = DrawnPoints(points)
            is_complete &= drawn.draw(points, context, until)
        if not is_complete and not bpy.app.timers.is_registered(_redraw):
            bpy.app.timers.register(_redraw, first_interval=0.0)

    def _visible(self, context: bpy.types.Context) -> list[bpy.types.Object]:
        group = find_fast_group()
        if group is None or self.failure:
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
        """Read all points anew at their next redraw, and try the graphics card again."""
        self._drawn.clear()
        self.failure = ""

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
        log.error("The graphics card does not draw points. Switch Fast Display off.", exc_info=error)


fast_points = FastPoints()
_handle: Any = None


def _draw() -> None:
    try:
        fast_points.draw(bpy.context)
    except Exception as error:  # a driver's own: Blender would print it at each redraw and the artist would see nothing
        fast_points.fail(error)


def _redraw() -> None:
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()


@bpy.app.handlers.persistent
def _forget(*_: Any) -> None:
    fast_points.forget()


@bpy.app.handlers.persistent
def _follow(_: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    fast_points.follow(depsgraph)


_HANDLERS = {
    "load_post": _forget,
    "undo_post": _forget,
    "redo_post": _forget,
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
    fast_points.forget()

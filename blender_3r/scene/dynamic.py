"""Points that show at their own frames only: one object for all frames of a shot.

Each point knows the first and the last scene frame it shows at. A node group of its own, before the one that draws
the points, lets through those of the current frame, so that all settings of points act on moving ones too, and cost
no more than the points of one frame.
"""

from __future__ import annotations

from collections.abc import Iterator

import bpy
import numpy as np

from . import compat
from .cloud import Cloud
from .jobdata import JobData
from .nodes import Tree, modifier_with, result, shared_group
from .plate import scene_frames
from .points import Points, write_points_in_slices

GROUP = "3R Moving v1"
FIRST, LAST = "first_frame", "last_frame"
INPUTS = (
    ("Frame Offset", "Show the points that many frames later; negative: earlier"),
    ("Trail", "Also show the points of that many frames before"),
)


def write_moving_in_slices(block: Points, data: JobData) -> Iterator[None]:
    """Replace what block holds by data.moving, with the frames of each point; see write_points_in_slices."""
    yield from write_points_in_slices(block, data.moving)
    for name, of_view in zip((FIRST, LAST), shown_frames(data), strict=True):
        attribute = block.attributes.get(name) or block.attributes.new(name, "INT", "POINT")
        yield
        attribute.data.foreach_set("value", of_view[data.moving.views])
        yield


def write_moving(block: Points, data: JobData) -> None:
    """The same at once."""
    for _ in write_moving_in_slices(block, data):
        pass


def shown_frames(data: JobData) -> tuple[np.ndarray, np.ndarray]:
    """First and last scene frame (n,) int32 of each of the n views, at which its moving points show.

    A view shows until the next one that has points, so that there is no gap where only every n-th frame was solved;
    the first one from the shot's first frame on, the last one until the shot's last.
    """
    views = data.reconstruction.views
    frames = np.array(scene_frames(data, views), np.int32)
    there = _views_in(data.moving)
    order = there[np.argsort(frames[there], kind="stable")]
    first, last = frames.copy(), frames.copy()
    first[order[:1]] = frames.min()
    last[order[:-1]] = frames[order[1:]] - 1
    last[order[-1:]] = frames.max()
    return first, last


def _views_in(cloud: Cloud) -> np.ndarray:
    return np.flatnonzero(np.bincount(cloud.views))


def add_moving_display(points: bpy.types.Object) -> bpy.types.NodesModifier:
    """The modifier that lets through the points of the current frame; one that is there keeps its settings."""
    modifier = moving_modifier(points)
    if modifier is None:
        modifier = points.modifiers.new("3R Moving", "NODES")
        modifier.node_group = moving_group()
        points.modifiers.move(len(points.modifiers) - 1, 0)
    return modifier


def moving_modifier(points: bpy.types.Object) -> bpy.types.NodesModifier | None:
    """The modifier made by add_moving_display."""
    return modifier_with(points, GROUP)


def moving_input(modifier: bpy.types.NodesModifier, name: str) -> str:
    """The identifier of the input of that name (see INPUTS), for compat's functions."""
    return modifier.node_group.interface.items_tree[name].identifier


def copy_moving_display(source: bpy.types.Object, target: bpy.types.Object) -> None:
    """Give target the modifier of source, if it has one, and its settings."""
    old = moving_modifier(source)
    if old is not None:
        new = add_moving_display(target)
        for name, _ in INPUTS:
            value = compat.modifier_input(old, moving_input(old, name))
            compat.set_modifier_input(new, moving_input(new, name), value)


def moving_group() -> bpy.types.NodeTree:
    """The shared node group; a group of that name that is not ours stays as it is."""
    group, is_new = shared_group(GROUP)
    if not is_new:
        return group
    for in_out in ("OUTPUT", "INPUT"):
        group.interface.new_socket("Geometry", in_out=in_out, socket_type="NodeSocketGeometry")
    for name, text in INPUTS:
        socket = group.interface.new_socket(name, in_out="INPUT", socket_type="NodeSocketInt")
        socket.description = text
    socket.min_value = 0  # of the trail
    _add_nodes(Tree(group))
    return group


def _add_nodes(tree: Tree) -> None:
    start = tree.node("NodeGroupInput").outputs
    now = result(tree.node("GeometryNodeInputSceneTime"), "Frame")
    now = tree.math("FLOOR", tree.math("SUBTRACT", now, start["Frame Offset"]))  # motion blur asks between frames
    oldest = tree.math("SUBTRACT", now, start["Trail"])
    shown = tree.all_of(
        tree.compare("LESS_EQUAL", tree.attribute(FIRST, "INT"), now, "INT"),
        tree.compare("GREATER_EQUAL", tree.attribute(LAST, "INT"), oldest, "INT"),
    )
    inputs = {"Geometry": start["Geometry"], "Selection": shown}
    kept = tree.node("GeometryNodeSeparateGeometry", inputs, domain="POINT")
    tree.node("NodeGroupOutput", {"Geometry": result(kept, "Selection")})
    tree.arrange()

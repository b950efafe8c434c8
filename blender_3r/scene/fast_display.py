"""Points that the graphics card draws straight from its memory, for Solid and for playing: see viewport/.

A modifier before all others says so, and leaves of the points the corners of their bounds: nothing much is evaluated
for each frame then, and View > Frame Selected still finds them. It is off in renders, which show the points as ever.
"""

from __future__ import annotations

import bpy
import gpu

from .dynamic import FIRST, LAST
from .nodes import MARK, Tree, modifier_with, result, shared_group

GROUP = "3R Fast Display v1"

# What lets the corners of the bounds through the modifiers that follow. They become dots without size.
_ALWAYS = {
    FIRST: ("INT", -(10**6)),
    LAST: ("INT", 10**6),
    "confidence": ("FLOAT", 1.0),
    "view": ("INT", -1),
}


def is_drawn_by_processor() -> bool:
    """Whether windows are drawn without a graphics card (no driver, a remote desktop). False without a window."""
    try:
        return gpu.platform.device_type_get() == "SOFTWARE"
    except SystemError:  # without a window nothing is drawn
        return False


def add_fast_display(points: bpy.types.Object) -> bpy.types.NodesModifier:
    """The modifier that leaves drawing in the viewport to the graphics card."""
    modifier = fast_modifier(points)
    if modifier is None:
        modifier = points.modifiers.new("3R Fast Display", "NODES")
        modifier.node_group = fast_group()
        modifier.show_render = False
        points.modifiers.move(len(points.modifiers) - 1, 0)
    return modifier


def remove_fast_display(points: bpy.types.Object) -> None:
    """Take that modifier away, if it is there."""
    modifier = fast_modifier(points)
    if modifier is not None:
        points.modifiers.remove(modifier)


def fast_modifier(points: bpy.types.Object) -> bpy.types.NodesModifier | None:
    """The modifier made by add_fast_display."""
    return modifier_with(points, GROUP)


def find_fast_group() -> bpy.types.NodeTree | None:
    """The shared node group, if points were ever displayed so in this file; its users are their modifiers."""
    return next((group for group in bpy.data.node_groups if group.get(MARK) == GROUP), None)


def fast_group() -> bpy.types.NodeTree:
    """The shared node group; a group of that name that is not ours stays as it is."""
    group, is_new = shared_group(GROUP)
    if not is_new:
        return group
    for in_out in ("OUTPUT", "INPUT"):
        group.interface.new_socket("Geometry", in_out=in_out, socket_type="NodeSocketGeometry")
    tree = Tree(group)
    start = tree.node("NodeGroupInput").outputs
    box = result(tree.node("GeometryNodeBoundBox", {"Geometry": start["Geometry"]}), "Bounding Box")
    for name, (data_type, value) in _ALWAYS.items():
        inputs = {"Geometry": box, "Name": name, "Value": value}
        box = result(tree.node("GeometryNodeStoreNamedAttribute", inputs, data_type=data_type, domain="POINT"))
    tree.node("NodeGroupOutput", {"Geometry": box})
    tree.arrange()
    return group

"""How points are drawn: one node group, shared by all jobs, built by code.

Real geometry (a point cloud made by geometry nodes), so it shows in every viewport mode and renders in EEVEE and
Cycles. All that decides which points show, how large and in which colour are modifier inputs: nothing is imported
again to change them, and no point is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import bpy

from . import compat, tags
from .nodes import MARK, Tree, find_group, new_group, result
from .point_materials import DISPLAYS, points_material
from .point_views import update_views

GROUP = "3R Points v2"

# In pixels. Cycles draws round dots, for which half the diagonal of a pixel would do; EEVEE and the viewport draw
# squares standing on a corner of that radius, which close a grid of points from one pixel on.
_CLOSING_RADIUS = 1.005
_FEWEST = 1e-4  # density below which dots grow no further


class Input(NamedTuple):
    """An input of the modifier. kind: of the socket. maximum 0: no limit."""

    name: str
    panel: str
    kind: str
    text: str
    default: Any = None
    maximum: float = 0.0
    subtype: str = "NONE"


INPUTS = (
    Input("Point Size", "Look", "Float", "1: dots just close the surface, seen from where they were filmed", 1.0, 1e3),
    Input("Display", "Look", "Menu", "What the points' colours show", "Color"),
    Input("Lit", "Look", "Bool", "Let the scene's lights shade the points, instead of showing their colours as filmed"),
    Input("Density", "Filter", "Float", "Show this share of the points, picked at random, larger", 1.0, 1.0, "FACTOR"),
    Input("Min Confidence", "Filter", "Float", "Hide points less certain than this", 0.0, 1.0, "FACTOR"),
    Input(
        "Hide Edges",
        "Filter",
        "Float",
        "Hide points that float between a thing and what lies behind it. 0: none, 0.5: where the depth jumps by 5 %",
        0.0,
        1.0,
        "FACTOR",
    ),
    Input("Min Views", "Filter", "Int", "Hide points on which fewer views agree, where that is known", 0, 100),
    Input("Max Depth", "Filter", "Float", "Hide points further than this from their camera. 0: no limit", 0.0),
    Input("Hide Sky", "Filter", "Bool", "Hide points that were taken for sky", False),
    Input("Crop", "Crop", "Bool", "Show only the points inside the crop box", False),
    Input("Crop Box", "Crop", "Object", "Its space from -1 to 1 on each axis is kept: an empty drawn as a cube"),
    Input("Invert Crop", "Crop", "Bool", "Show only the points outside the crop box", False),
    Input("Views", "Views", "Object", "Knows which views are hidden; see Points in the 3R tab"),
)


def add_point_display(points: bpy.types.Object) -> bpy.types.NodesModifier:
    """The modifier that shows points' vertices as coloured dots; one that is there keeps its settings."""
    modifier = point_modifier(points)
    if modifier is None:
        modifier = points.modifiers.new("3R Points", "NODES")
        modifier.node_group = points_group()
    elif modifier.node_group.get(MARK) != GROUP:
        _upgrade(modifier)
    update_views(points, modifier, point_input(modifier, "Views"))
    return modifier


def point_modifier(points: bpy.types.Object) -> bpy.types.NodesModifier | None:
    """The modifier made by add_point_display, of this version or an earlier one."""
    for modifier in points.modifiers:
        group = modifier.node_group if modifier.type == "NODES" else None
        if group is not None and _is_points_group(group):
            return modifier
    return None


def _is_points_group(group: bpy.types.NodeTree) -> bool:
    return str(group.get(MARK, "")).startswith("3R Points v")


def find_points(context: bpy.types.Context) -> bpy.types.Object | None:
    """The points that the user means: the active object, else those of the same job, else those of the only job."""
    active = context.active_object
    if active is not None and point_modifier(active) is not None:
        return active
    if not any(_is_points_group(group) for group in bpy.data.node_groups):
        return None  # asked at every redraw, also in scenes of many objects
    there = [item for item in context.scene.objects if point_modifier(item) is not None]
    around = (item for item in (active, active.parent if active is not None else None) if item is not None)
    job = next((item[tags.JOB] for item in around if item.get(tags.JOB)), None)  # a crop box has its root's
    if job is not None:
        return next((item for item in there if item.get(tags.JOB) == job), None)
    jobs, roles = ({item.get(tag, "") for item in there} for tag in (tags.JOB, tags.ROLE))
    return there[0] if len(jobs) == 1 and len(roles) == len(there) else None  # points that stand, points that move


def point_input(modifier: bpy.types.NodesModifier, name: str) -> str:
    """The identifier of the input of that name (see INPUTS), for compat's functions."""
    return _inputs_of(modifier)[name]


def points_group() -> bpy.types.NodeTree:
    """The shared node group; a group of that name that is not ours stays as it is."""
    *_, group = points_group_in_slices()
    return group


def points_group_in_slices() -> Iterator[bpy.types.NodeTree]:
    """The same in steps of some 10 ms; after each the group, which nobody finds before the last one."""
    there = find_group(GROUP)
    if there is not None:
        yield there
        return
    group = new_group(GROUP)
    sockets = _add_interface(group)
    tree = Tree(group)
    for _ in _add_nodes(tree):
        yield group
    tree.arrange()
    sockets["Display"].default_value = "Color"  # known only now that the menu is linked
    group[MARK] = GROUP
    yield group


def _upgrade(modifier: bpy.types.NodesModifier) -> None:
    """Give a modifier the present group, with the values of the earlier one."""
    values = {
        name: compat.modifier_input(modifier, identifier)
        for name, identifier in _inputs_of(modifier).items()
        if name in ("Point Size", "Density", "Min Confidence")
    }
    modifier.node_group = points_group()
    for name, value in values.items():
        compat.set_modifier_input(modifier, point_input(modifier, name), value)


def _inputs_of(modifier: bpy.types.NodesModifier) -> dict[str, str]:
    items = modifier.node_group.interface.items_tree
    return {item.name: item.identifier for item in items if item.item_type == "SOCKET" and item.in_out == "INPUT"}


def _add_interface(group: bpy.types.NodeTree) -> dict[str, bpy.types.NodeTreeInterfaceSocket]:
    interface = group.interface
    for in_out in ("OUTPUT", "INPUT"):
        interface.new_socket("Geometry", in_out=in_out, socket_type="NodeSocketGeometry")
    panels = {name: interface.new_panel(name) for name in dict.fromkeys(item.panel for item in INPUTS)}
    sockets = {}
    for item in INPUTS:
        socket = sockets[item.name] = interface.new_socket(
            item.name, in_out="INPUT", socket_type=f"NodeSocket{item.kind}", parent=panels[item.panel]
        )
        socket.description = item.text
        if item.kind in ("Float", "Int"):
            socket.subtype = item.subtype
            socket.default_value, socket.min_value = item.default, 0
            if item.maximum:
                socket.max_value = item.maximum
    return sockets


def _add_nodes(tree: Tree) -> Iterator[None]:
    start = tree.node("NodeGroupInput").outputs
    filters = _filters(tree, start)
    yield
    shown = tree.all_of(*filters, _not_hidden(tree, start), _in_crop(tree, start))
    yield
    chance = result(tree.node("FunctionNodeRandomValue", {"Probability": start["Density"]}, data_type="BOOLEAN"))
    shown = tree.all_of(shown, chance)
    dots = _dots(tree, start["Geometry"], shown, _radius(tree, start))
    yield
    painted = _painted(tree, start["Display"], dots)
    yield
    material = tree.node(
        "GeometryNodeSwitch",
        {"Switch": start["Lit"], "False": points_material(), "True": points_material(lit=True)},
        input_type="MATERIAL",
    )
    final = tree.node("GeometryNodeSetMaterial", {"Geometry": painted, "Material": result(material)})
    tree.node("NodeGroupOutput", {"Geometry": result(final)})
    yield


def _radius(tree: Tree, start: bpy.types.NodeOutputs) -> bpy.types.NodeSocket:
    """Of each dot, from its own footprint; fewer dots have to be larger."""
    pixel = tree.math("MULTIPLY", tree.attribute("pixel_footprint"), start["Point Size"])
    spacing = tree.math("SQRT", tree.math("MAXIMUM", start["Density"], _FEWEST))
    return tree.math("DIVIDE", tree.math("MULTIPLY", pixel, _CLOSING_RADIUS), spacing)


def _filters(tree: Tree, start: bpy.types.NodeOutputs) -> list[bpy.types.NodeSocket]:
    """What a point itself must be like to show. Attributes that are not there are 0 and hide nothing."""
    views, depth = tree.attribute("seen_by", "INT"), tree.attribute("depth")
    sky = tree.attribute("sky", "BOOLEAN")
    return [
        tree.compare("GREATER_EQUAL", tree.attribute("confidence"), start["Min Confidence"]),
        tree.compare("LESS_EQUAL", tree.attribute("edge"), tree.math("SUBTRACT", 1.0, start["Hide Edges"])),
        tree.logic(
            "OR",
            tree.compare("EQUAL", views, 0, "INT"),
            tree.compare("GREATER_EQUAL", views, start["Min Views"], "INT"),
        ),
        tree.logic(
            "OR",
            tree.compare("LESS_EQUAL", start["Max Depth"], 0.0),
            tree.compare("LESS_EQUAL", depth, start["Max Depth"]),
        ),
        tree.logic("NAND", sky, start["Hide Sky"]),
    ]


def _not_hidden(tree: Tree, start: bpy.types.NodeOutputs) -> bpy.types.NodeSocket:
    """The view's entry in the mesh of the views (see point_views); false beyond its end, as for points of many."""
    views = result(tree.node("GeometryNodeObjectInfo", {"Object": start["Views"]}), "Geometry")
    inputs = {"Geometry": views, "Value": tree.attribute("hidden", "BOOLEAN"), "Index": tree.attribute("view", "INT")}
    hidden = tree.node("GeometryNodeSampleIndex", data_type="BOOLEAN", domain="POINT")
    for name, value in inputs.items():
        tree.feed(hidden.inputs[name], value)
    return tree.logic("NOT", result(hidden))


def _in_crop(tree: Tree, start: bpy.types.NodeOutputs) -> bpy.types.NodeSocket:
    box = tree.node("GeometryNodeObjectInfo", {"Object": start["Crop Box"]}, transform_space="RELATIVE")
    inverse = tree.node("FunctionNodeInvertMatrix", {"Matrix": result(box, "Transform")})
    position = result(tree.node("GeometryNodeInputPosition"))
    local = tree.node("FunctionNodeTransformPoint", {"Vector": position, "Transform": result(inverse)})
    axes = tree.node("ShaderNodeSeparateXYZ", {0: tree.vector("ABSOLUTE", result(local))})
    largest = tree.math("MAXIMUM", tree.math("MAXIMUM", result(axes, 0), result(axes, 1)), result(axes, 2))
    kept = tree.logic("XOR", tree.compare("LESS_EQUAL", largest, 1.0), start["Invert Crop"])
    return tree.logic("OR", kept, tree.logic("NOT", start["Crop"]))


def _dots(
    tree: Tree, geometry: bpy.types.NodeSocket, shown: bpy.types.NodeSocket, radius: bpy.types.NodeSocket
) -> bpy.types.NodeSocket:
    """Points of what is shown, of a mesh's vertices or of a point cloud."""
    parts = tree.node("GeometryNodeSeparateComponents", {"Geometry": geometry})
    inputs = {"Mesh": result(parts, "Mesh"), "Selection": shown, "Radius": radius}
    of_mesh = tree.node("GeometryNodeMeshToPoints", inputs)
    inputs = {"Geometry": result(parts, "Point Cloud"), "Selection": shown}
    of_cloud = tree.node("GeometryNodeSeparateGeometry", inputs, domain="POINT")
    of_cloud = tree.node("GeometryNodeSetPointRadius", {"Points": result(of_cloud, "Selection"), "Radius": radius})
    both = tree.node("GeometryNodeJoinGeometry")
    for part in (of_mesh, of_cloud):
        tree.feed(both.inputs[0], result(part))
    return result(both)


def _painted(tree: Tree, display: bpy.types.NodeSocket, dots: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
    """The dots with the colours that the menu asks for; only that branch is computed."""
    menu = tree.node("GeometryNodeMenuSwitch", data_type="GEOMETRY")
    items = menu.enum_items
    items.clear()
    for name in DISPLAYS:
        items.new(name)
    for name, color_of in DISPLAYS.items():
        painted = dots
        if color_of is not None:
            inputs = {"Geometry": dots, "Name": "Col", "Value": color_of(tree, dots)}
            painted = result(tree.node("GeometryNodeStoreNamedAttribute", inputs, data_type="FLOAT_COLOR"))
        tree.feed(menu.inputs[name], painted)
    tree.feed(menu.inputs["Menu"], display)
    return result(menu)

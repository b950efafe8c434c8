"""How points are drawn: one node group and one material, shared by all jobs, built by code.

Real geometry (a point cloud made by geometry nodes), so it shows in every viewport mode and renders in EEVEE and
Cycles. Size, confidence and density are modifier inputs: nothing is imported again to change them.
"""

from __future__ import annotations

import bpy

from . import compat

GROUP = "3R Points v1"
MATERIAL = "3R Points"
_MARK = "threer_builtin"

# Half the diagonal of a pixel: dots of that radius around a grid of points leave no hole between them.
_CLOSING_RADIUS = 0.7072


def add_point_display(points: bpy.types.Object) -> bpy.types.NodesModifier:
    """The modifier that shows points' vertices as coloured dots; one that is there keeps its settings."""
    group = points_group()
    for modifier in points.modifiers:
        if modifier.type == "NODES" and modifier.node_group == group:
            return modifier
    modifier = points.modifiers.new(GROUP, "NODES")
    modifier.node_group = group
    return modifier


def point_input(modifier: bpy.types.NodesModifier, name: str) -> str:
    """The identifier of the input called "Point Size", "Min Confidence" or "Density", for compat's functions."""
    return next(item.identifier for item in modifier.node_group.interface.items_tree if item.name == name)


def points_group() -> bpy.types.NodeTree:
    """The shared node group; a group of that name that is not ours stays as it is."""
    for group in bpy.data.node_groups:
        if group.get(_MARK) == GROUP and group.library is None:
            return group
    group = bpy.data.node_groups.new(GROUP, "GeometryNodeTree")
    group[_MARK] = GROUP
    group.is_modifier = True
    _add_interface(group)
    _add_nodes(group)
    return group


def points_material() -> bpy.types.Material:
    """The shared material: the point's own colour, emitted, so that light does not change it."""
    for material in bpy.data.materials:
        if material.get(_MARK) == MATERIAL and material.library is None:
            return material
    material = bpy.data.materials.new(MATERIAL)
    material[_MARK] = MATERIAL
    tree = compat.enable_material_nodes(material)
    color = tree.nodes.new("ShaderNodeAttribute")
    color.attribute_name = "Col"
    emission = tree.nodes.new("ShaderNodeEmission")
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    tree.links.new(color.outputs["Color"], emission.inputs["Color"])
    tree.links.new(emission.outputs["Emission"], output.inputs["Surface"])
    _lay_out(color, emission, output)
    return material


def _add_interface(group: bpy.types.NodeTree) -> None:
    new = group.interface.new_socket
    new("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    new("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    for name, default, maximum, subtype, text in (
        ("Point Size", 1.0, 1000.0, "NONE", "1: dots just close the surface, seen from where they were filmed"),
        ("Min Confidence", 0.0, 1.0, "FACTOR", "Hide points that are less certain than this"),
        ("Density", 1.0, 1.0, "FACTOR", "Show this share of the points, picked at random"),
    ):
        socket = new(name, in_out="INPUT", socket_type="NodeSocketFloat")
        socket.subtype = subtype
        socket.default_value, socket.min_value, socket.max_value = default, 0.0, maximum
        socket.description = text


def _add_nodes(group: bpy.types.NodeTree) -> None:
    nodes, link = group.nodes, group.links.new
    start, end = nodes.new("NodeGroupInput"), nodes.new("NodeGroupOutput")

    footprint = _named_float(group, "pixel_footprint")
    sized, radius = _math(group, "MULTIPLY"), _math(group, "MULTIPLY")
    link(footprint, sized.inputs[0])
    link(start.outputs["Point Size"], sized.inputs[1])
    link(sized.outputs[0], radius.inputs[0])
    radius.inputs[1].default_value = _CLOSING_RADIUS

    certain = nodes.new("FunctionNodeCompare")
    certain.data_type, certain.operation = "FLOAT", "GREATER_EQUAL"
    link(_named_float(group, "confidence"), certain.inputs[0])
    link(start.outputs["Min Confidence"], certain.inputs[1])
    chance = nodes.new("FunctionNodeRandomValue")
    chance.data_type = "BOOLEAN"
    link(start.outputs["Density"], chance.inputs["Probability"])
    shown = nodes.new("FunctionNodeBooleanMath")
    link(certain.outputs[0], shown.inputs[0])
    link(next(s for s in chance.outputs if s.type == "BOOLEAN"), shown.inputs[1])

    dots = nodes.new("GeometryNodeMeshToPoints")
    link(start.outputs["Geometry"], dots.inputs["Mesh"])
    link(shown.outputs[0], dots.inputs["Selection"])
    link(radius.outputs[0], dots.inputs["Radius"])
    paint = nodes.new("GeometryNodeSetMaterial")
    paint.inputs["Material"].default_value = points_material()
    link(dots.outputs["Points"], paint.inputs["Geometry"])
    link(paint.outputs["Geometry"], end.inputs["Geometry"])
    _lay_out(start, sized, radius, certain, chance, shown, dots, paint, end)


def _named_float(group: bpy.types.NodeTree, name: str) -> bpy.types.NodeSocket:
    node = group.nodes.new("GeometryNodeInputNamedAttribute")
    node.data_type = "FLOAT"
    node.inputs["Name"].default_value = name
    node.location = (-250, -250 if name == "confidence" else -80)
    return next(s for s in node.outputs if s.type == "VALUE")


def _math(group: bpy.types.NodeTree, operation: str) -> bpy.types.Node:
    node = group.nodes.new("ShaderNodeMath")
    node.operation = operation
    return node


def _lay_out(*nodes: bpy.types.Node) -> None:
    for column, node in enumerate(nodes):
        node.location = (200 * column, 0)

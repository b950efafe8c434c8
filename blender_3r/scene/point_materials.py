"""The colours of points: two shared materials, and what stands for a point besides its own colour."""

from __future__ import annotations

from collections.abc import Callable

import bpy
import numpy as np

from . import compat
from .cloud import linear_colors
from .nodes import MARK, Tree, result

EMISSIVE = "3R Points"
LIT = "3R Points Lit"

# Viridis in five steps, sRGB: even steps of brightness, also for who cannot tell red from green.
RAMP = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
GOLDEN = 0.618034  # steps around the colour circle that never come close to one another


def points_material(lit: bool = False) -> bpy.types.Material:
    """The shared material: the point's own colour, emitted so that light does not change it, or lit by the scene."""
    name = LIT if lit else EMISSIVE
    for material in bpy.data.materials:
        if material.get(MARK) == name and material.library is None:
            return material
    material = bpy.data.materials.new(name)
    material[MARK] = name
    tree = Tree(compat.enable_material_nodes(material))
    color = result(tree.node("ShaderNodeAttribute", attribute_name="Col"), "Color")
    if lit:
        surface = tree.node("ShaderNodeBsdfDiffuse", {"Color": color})
    else:
        surface = tree.node("ShaderNodeEmission", {"Color": color})
    tree.node("ShaderNodeOutputMaterial", {"Surface": result(surface)})
    tree.arrange()
    return material


def confidence_color(tree: Tree) -> bpy.types.NodeSocket:
    """Dark where a point is uncertain, bright where it is certain."""
    return _ramp(tree, tree.attribute("confidence"))


def view_color(tree: Tree) -> bpy.types.NodeSocket:
    """A colour of its own for every view; gray for points of many."""
    view = tree.attribute("view", "INT")
    hue = tree.math("FRACT", tree.math("MULTIPLY", view, GOLDEN))
    saturation = tree.math("MULTIPLY", tree.compare("GREATER_EQUAL", view, 0, "INT"), 0.7)
    inputs = {0: hue, 1: saturation, 2: 0.8}  # hue, saturation, value
    return result(tree.node("FunctionNodeCombineColor", inputs, mode="HSV"))


def depth_color(tree: Tree, geometry: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
    """Bright near its camera, the middle at the mean depth of geometry's points, dark from twice that on."""
    depth = tree.attribute("depth")
    mean = result(tree.node("GeometryNodeAttributeStatistic", {"Geometry": geometry, "Attribute": depth}), "Mean")
    share = tree.math("DIVIDE", depth, tree.math("MULTIPLY", mean, 2.0))
    return _ramp(tree, tree.math("SUBTRACT", 1.0, share))


DISPLAYS: dict[str, Callable[[Tree, bpy.types.NodeSocket], bpy.types.NodeSocket] | None] = {
    "Color": None,
    "Confidence": lambda tree, _: confidence_color(tree),
    "View": lambda tree, _: view_color(tree),
    "Depth": depth_color,
}


def _ramp(tree: Tree, value: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
    node = tree.node("ShaderNodeValToRGB", {0: value})
    elements = node.color_ramp.elements
    for _ in range(len(RAMP) - len(elements)):
        elements.new(0.5)
    colors = linear_colors(np.array(RAMP, np.uint8)).tolist()
    for place, (element, color) in enumerate(zip(elements, colors, strict=True)):
        element.position = place / (len(RAMP) - 1)
        element.color = color
    return result(node)

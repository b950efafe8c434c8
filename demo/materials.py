"""Procedural materials of the demo scene. All sizes are metres; UVs of the scene's meshes are metric too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bpy

Color = tuple[float, float, float]


class Shader:
    """A new material and the few wires that every recipe below needs."""

    def __init__(self, name: str, roughness: float = 0.8) -> None:
        self.material = bpy.data.materials.new(name)
        self.material.use_nodes = True
        self.tree = self.material.node_tree
        self.surface = self.tree.nodes["Principled BSDF"]
        self.surface.inputs["Roughness"].default_value = roughness

    def node(self, kind: str, inputs: dict[str, Any] | None = None, **attributes: Any) -> bpy.types.Node:
        """A node with its inputs set to values or linked to other nodes' sockets."""
        node = self.tree.nodes.new(f"ShaderNode{kind}")
        for key, value in attributes.items():
            setattr(node, key, value)
        for key, value in (inputs or {}).items():
            self.set(node.inputs[key], value)
        return node

    def set(self, socket: bpy.types.NodeSocket, value: Any) -> None:
        """Link the socket, or give it a value (colours may come without alpha)."""
        if isinstance(value, bpy.types.NodeSocket):
            self.tree.links.new(value, socket)
        elif isinstance(value, tuple) and socket.type == "RGBA":
            socket.default_value = (*value[:3], 1.0)
        else:
            socket.default_value = value

    def coordinates(self, kind: str = "Object", scale: Color = (1, 1, 1)) -> bpy.types.NodeSocket:
        """kind: an output of the texture coordinate node: "Object" or "UV", both in metres here."""
        source = self.node("TexCoord").outputs[kind]
        return self.node("Mapping", {"Vector": source, "Scale": scale}).outputs["Vector"]

    def noise(
        self, scale: float, detail: float = 6, stretch: Color = (1, 1, 1), kind: str = "Object"
    ) -> bpy.types.NodeSocket:
        """Fractal noise in about 0..1."""
        inputs = {"Vector": self.coordinates(kind, stretch), "Scale": scale, "Detail": detail, "Roughness": 0.62}
        return self.node("TexNoise", inputs).outputs["Fac"]

    def ramp(self, factor: bpy.types.NodeSocket, stops: Sequence[tuple[float, Color]]) -> bpy.types.NodeSocket:
        """Colours at positions of a factor."""
        node = self.node("ValToRGB", {"Fac": factor})
        elements = node.color_ramp.elements
        while len(elements) < len(stops):
            elements.new(0.5)
        for element, (position, color) in zip(elements, stops):
            element.position, element.color = position, (*color, 1.0)
        return node.outputs["Color"]

    def mix(self, factor: Any, a: Any, b: Any, blend: str = "MIX") -> bpy.types.NodeSocket:
        """Mix two colours."""
        node = self.node("Mix", data_type="RGBA", blend_type=blend)
        for name, value in (("Factor_Float", factor), ("A_Color", a), ("B_Color", b)):
            self.set(next(s for s in node.inputs if s.identifier == name), value)
        return next(s for s in node.outputs if s.identifier == "Result_Color")

    def finish(self, color: Any, height: bpy.types.NodeSocket | None = None, bump: float = 0.02) -> bpy.types.Material:
        """Give the surface its colour and relief (bump: metres)."""
        self.set(self.surface.inputs["Base Color"], color)
        if height is not None:
            normal = self.node("Bump", {"Height": height, "Distance": bump, "Strength": 0.8})
            self.set(self.surface.inputs["Normal"], normal.outputs["Normal"])
        return self.material


def masonry(
    name: str, colors: tuple[Color, Color], mortar: Color, brick: tuple[float, float], joint: float, bump: float
) -> bpy.types.Material:
    """Bricks or pavers of brick = (width, height) with joints, each of its own shade, weathered."""
    shader = Shader(name)
    inputs = {
        "Vector": shader.coordinates("UV"),
        "Color1": colors[0],
        "Color2": colors[1],
        "Mortar": mortar,
        "Scale": 1.0,
        "Brick Width": brick[0],
        "Row Height": brick[1],
        "Mortar Size": joint,
        "Mortar Smooth": 0.3,
    }
    bricks = shader.node("TexBrick", inputs, offset=0.5)
    fine = shader.noise(14, 10)
    stains = shader.ramp(shader.noise(1.3, 5), [(0.35, (0.42, 0.40, 0.38)), (0.6, (1, 1, 1))])
    grain = shader.ramp(fine, [(0.3, (0.45, 0.43, 0.42)), (0.62, (1.25, 1.22, 1.2))])
    color = shader.mix(0.75, bricks.outputs["Color"], grain, "MULTIPLY")
    color = shader.mix(0.7, color, stains, "MULTIPLY")
    height = shader.node("Math", {0: fine, 1: bricks.outputs["Fac"]}, operation="SUBTRACT").outputs[0]
    return shader.finish(color, height, bump)


def plaster(name: str, light: Color, dark: Color, crack: Color) -> bpy.types.Material:
    """Old plaster: blotches, fine grain and cracks."""
    shader = Shader(name, 0.95)
    middle = tuple((a + b) / 2 for a, b in zip(light, dark))
    blotches = shader.ramp(shader.noise(2.2, 12), [(0.34, dark), (0.47, middle), (0.62, light)])
    grain = shader.ramp(shader.noise(38, 6), [(0.35, (0.6, 0.6, 0.6)), (0.65, (1.15, 1.15, 1.15))])
    warp = shader.node("TexNoise", {"Vector": shader.coordinates(), "Scale": 3.0, "Detail": 4.0})
    place = shader.mix(0.35, shader.coordinates(), warp.outputs["Color"], "ADD")
    cells = shader.node("TexVoronoi", {"Vector": place, "Scale": 1.7}, feature="DISTANCE_TO_EDGE").outputs["Distance"]
    cracks = shader.ramp(cells, [(0.0, (1, 1, 1)), (0.012, (0, 0, 0))])
    color = shader.mix(0.8, blotches, grain, "MULTIPLY")
    return shader.finish(shader.mix(cracks, color, crack), shader.noise(20, 8), 0.01)


def wood(name: str, light: Color, dark: Color, paint: Color | None = None) -> bpy.types.Material:
    """Planks with the grain along u; paint, where given, is worn through in places. Each object has its own shade."""
    shader = Shader(name, 0.6)
    grain = shader.noise(9, 10, (1.2, 16, 1), "UV")
    color = shader.ramp(grain, [(0.36, dark), (0.5, light), (0.66, dark)])
    if paint:
        worn = shader.ramp(shader.noise(7, 10, (1, 4, 1), "UV"), [(0.42, (0, 0, 0)), (0.5, (1, 1, 1))])
        color = shader.mix(worn, color, paint)
    shade = shader.node("ObjectInfo").outputs["Random"]
    color = shader.mix(0.8, color, shader.ramp(shade, [(0, (0.55, 0.5, 0.48)), (1, (1.2, 1.15, 1.1))]), "MULTIPLY")
    return shader.finish(color, grain, 0.006)


def clay(name: str, base: Color, band: Color, bands: float) -> bpy.types.Material:
    """Thrown pottery with painted bands, wobbly, and speckles."""
    shader = Shader(name, 0.45)
    inputs = {"Vector": shader.coordinates(), "Scale": bands, "Distortion": 4.0, "Detail": 3.0, "Detail Scale": 3.0}
    rings = shader.node("TexWave", inputs, bands_direction="Z").outputs["Fac"]
    painted = shader.ramp(rings, [(0.62, base), (0.7, band)])
    speckle = shader.ramp(shader.noise(45, 8), [(0.36, (0.35, 0.33, 0.3)), (0.55, (1.1, 1.1, 1.1))])
    return shader.finish(shader.mix(0.85, painted, speckle, "MULTIPLY"), shader.noise(30, 6), 0.004)


def glaze(name: str, stops: Sequence[tuple[float, Color]], scale: float) -> bpy.types.Material:
    """A pattern of painted cells in the colours of stops."""
    shader = Shader(name, 0.3)
    cells = shader.node("TexVoronoi", {"Vector": shader.coordinates(), "Scale": scale, "Randomness": 0.8})
    color = shader.ramp(cells.outputs["Distance"], stops)
    speckle = shader.ramp(shader.noise(30, 6), [(0.35, (0.55, 0.55, 0.55)), (0.6, (1.1, 1.1, 1.1))])
    return shader.finish(shader.mix(0.7, color, speckle, "MULTIPLY"))


def stone(name: str, light: Color, dark: Color) -> bpy.types.Material:
    """Rough limestone."""
    shader = Shader(name, 0.9)
    rough = shader.noise(9, 14)
    color = shader.ramp(rough, [(0.36, dark), (0.5, light), (0.58, dark), (0.7, light)])
    return shader.finish(color, rough, 0.03)


def foliage(name: str, stops: Sequence[tuple[float, Color]]) -> bpy.types.Material:
    """Leaves, each of its own green."""
    shader = Shader(name, 0.5)
    each = shader.node("NewGeometry").outputs["Random Per Island"]
    veins = shader.ramp(shader.noise(60, 4), [(0.38, (0.55, 0.55, 0.5)), (0.6, (1.1, 1.1, 1.1))])
    return shader.finish(shader.mix(0.8, shader.ramp(each, stops), veins, "MULTIPLY"))

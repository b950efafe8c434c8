"""Points with faces, for who works in Solid: it draws point clouds gray, but meshes by their colour attribute.

A modifier after the one that draws the points; all settings of points act on it. For the viewport only: renders show
the points as ever.
"""

from __future__ import annotations

import bpy

from .nodes import MARK, Tree, result, shared_group
from .point_materials import points_material

GROUP = "3R Solid Points v1"
DOT = "3R Dot"

# An octahedron, the fewest faces that look alike from everywhere.
_CORNERS = ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))
_FACES = ((0, 2, 4), (2, 1, 4), (1, 3, 4), (3, 0, 4), (2, 0, 5), (1, 2, 5), (3, 1, 5), (0, 3, 5))


def add_solid_display(points: bpy.types.Object) -> bpy.types.NodesModifier:
    """The modifier that gives points faces in the viewport."""
    modifier = solid_modifier(points)
    if modifier is None:
        modifier = points.modifiers.new("3R Solid Points", "NODES")
        modifier.node_group = solid_group()
        modifier.show_render = False
    return modifier


def remove_solid_display(points: bpy.types.Object) -> None:
    """Take that modifier away, if it is there."""
    modifier = solid_modifier(points)
    if modifier is not None:
        points.modifiers.remove(modifier)


def solid_modifier(points: bpy.types.Object) -> bpy.types.NodesModifier | None:
    """The modifier made by add_solid_display."""
    for modifier in points.modifiers:
        group = modifier.node_group if modifier.type == "NODES" else None
        if group is not None and group.get(MARK) == GROUP:
            return modifier
    return None


def show_solid_colors(space: bpy.types.SpaceView3D) -> None:
    """Let a 3D view in Solid draw the colours of meshes, as they are."""
    space.shading.type = "SOLID"
    space.shading.color_type = "VERTEX"
    space.shading.light = "FLAT"


def solid_group() -> bpy.types.NodeTree:
    """The shared node group; a group of that name that is not ours stays as it is."""
    group, is_new = shared_group(GROUP)
    if not is_new:
        return group
    for in_out in ("OUTPUT", "INPUT"):
        group.interface.new_socket("Geometry", in_out=in_out, socket_type="NodeSocketGeometry")
    tree = Tree(group)
    start = tree.node("NodeGroupInput").outputs
    # A mesh made by nodes has no active colour, which is what Solid draws; this one's name for it stays.
    dot = result(tree.node("GeometryNodeObjectInfo", {"Object": _dot()}), "Geometry")
    bare = tree.node("GeometryNodeRemoveAttribute", {"Geometry": dot, "Name": "Col"})
    radius = result(tree.node("GeometryNodeInputRadius"))
    inputs = {"Points": start["Geometry"], "Instance": result(bare), "Scale": radius}
    dots = tree.node(
        "GeometryNodeRealizeInstances", {"Geometry": result(tree.node("GeometryNodeInstanceOnPoints", inputs))}
    )
    final = tree.node("GeometryNodeSetMaterial", {"Geometry": result(dots), "Material": points_material()})
    tree.node("NodeGroupOutput", {"Geometry": result(final)})
    tree.arrange()
    return group


def _dot() -> bpy.types.Object:
    """An object in no scene; it goes with the group."""
    mesh = bpy.data.meshes.new(DOT)
    mesh.from_pydata(_CORNERS, [], _FACES)
    mesh.attributes.new("Col", "FLOAT_COLOR", "POINT")
    mesh.attributes.active_color_name = "Col"
    return bpy.data.objects.new(DOT, mesh)

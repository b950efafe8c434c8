"""The point cloud as vertices (or a PointCloud datablock) with attributes, written in bulk and in small steps."""

from __future__ import annotations

from collections.abc import Iterator

import bpy

from .cloud import Cloud
from .point_views import NAMES

Points = bpy.types.Mesh | bpy.types.PointCloud

# Attribute, its type, the property that foreach_set writes, the Cloud's field.
_ATTRIBUTES = (
    ("Col", "FLOAT_COLOR", "color", "colors"),
    ("confidence", "FLOAT", "value", "confidence"),
    ("view", "INT", "value", "views"),
    ("pixel_footprint", "FLOAT", "value", "footprint"),
    ("depth", "FLOAT", "value", "depth"),
    ("edge", "FLOAT", "value", "edge"),
    ("seen_by", "INT8", "value", "seen_by"),
    ("sky", "BOOLEAN", "value", "sky"),
)


def write_points(block: Points, cloud: Cloud) -> None:
    """Replace what block holds by cloud's points.

    Attributes per point: Col (colour), confidence (0..1), view (index, -1: many), pixel_footprint and depth (scene
    units); where they are known edge (0..1), seen_by (views) and sky. See Cloud.
    """
    for _ in write_points_in_slices(block, cloud):
        pass


def write_points_in_slices(block: Points, cloud: Cloud) -> Iterator[None]:
    """The same in steps that each copy one array: about 10 ms each for a million points.

    Main thread only. Until the last step block holds a part of the attributes: do not show it before. It may be
    dropped at any step.
    """
    yield from _make_room(block, len(cloud))
    block.attributes["position"].data.foreach_set("vector", cloud.points.reshape(-1))
    yield
    for name, data_type, field, source in _ATTRIBUTES:
        values = getattr(cloud, source)
        if values is None:
            _remove(block, name)
            continue
        attribute = _attribute(block, name, data_type)
        yield
        attribute.data.foreach_set(field, values.reshape(-1))
        yield
    block[NAMES] = "\n".join(cloud.names)
    if isinstance(block, bpy.types.Mesh):
        block.attributes.active_color_name = "Col"
        block.attributes.default_color_name = "Col"
        block.update()
    else:
        block.update_tag()


def show_colors(space: bpy.types.SpaceView3D) -> None:
    """Switch a 3D view from Solid, which draws point clouds gray whatever its settings, to Material Preview."""
    if space.shading.type == "SOLID":
        space.shading.type = "MATERIAL"


def _make_room(block: Points, count: int) -> Iterator[None]:
    if isinstance(block, bpy.types.Mesh):
        block.clear_geometry()
        yield
        block.vertices.add(count)
    else:
        block.resize(count)
    yield


def _attribute(block: Points, name: str, data_type: str) -> bpy.types.Attribute:
    attribute = block.attributes.get(name)
    if attribute is not None and (attribute.data_type != data_type or attribute.domain != "POINT"):
        _remove(block, name)
        attribute = None
    return attribute or block.attributes.new(name, data_type, "POINT")


def _remove(block: Points, name: str) -> None:
    if name in block.attributes:
        block.attributes.remove(block.attributes[name])

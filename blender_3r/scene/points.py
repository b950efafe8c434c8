"""The point cloud as one mesh of vertices with attributes."""

from __future__ import annotations

import bpy
import numpy as np

from .cloud import Cloud


def write_points(mesh: bpy.types.Mesh, cloud: Cloud) -> None:
    """Replace what mesh holds by cloud's points.

    Attributes per vertex: Col (colour), confidence (0..1), view (index, -1: many), pixel_footprint (scene units).
    """
    mesh.clear_geometry()
    mesh.vertices.add(len(cloud))
    mesh.attributes["position"].data.foreach_set("vector", cloud.points.reshape(-1))
    colors = np.ones((len(cloud), 4), np.float32)
    for channel in range(3):  # a third of the time of all at once: the window waits for this
        np.multiply(cloud.colors[:, channel], np.float32(1 / 255), out=colors[:, channel])
    _attribute(mesh, "Col", "BYTE_COLOR").foreach_set("color_srgb", colors.reshape(-1))
    _attribute(mesh, "confidence", "FLOAT").foreach_set("value", cloud.confidence)
    _attribute(mesh, "view", "INT").foreach_set("value", cloud.views)
    _attribute(mesh, "pixel_footprint", "FLOAT").foreach_set("value", cloud.footprint)
    mesh.attributes.active_color_name = "Col"
    mesh.attributes.default_color_name = "Col"
    mesh.update()


def show_colors(space: bpy.types.SpaceView3D) -> None:
    """Switch a 3D view from Solid, which draws point clouds gray whatever its settings, to Material Preview."""
    if space.shading.type == "SOLID":
        space.shading.type = "MATERIAL"


def _attribute(mesh: bpy.types.Mesh, name: str, data_type: str) -> bpy.types.bpy_prop_collection:
    attribute = mesh.attributes.get(name)
    if attribute is not None and (attribute.data_type != data_type or attribute.domain != "POINT"):
        mesh.attributes.remove(attribute)
        attribute = None
    return (attribute or mesh.attributes.new(name, data_type, "POINT")).data

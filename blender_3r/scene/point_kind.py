"""Points as a mesh, or as a PointCloud datablock, which Python can fill from Blender 5.1 on."""

from __future__ import annotations

import bpy
import numpy as np

from . import compat, tags
from .dynamic import copy_moving_display
from .fast_display import add_fast_display, fast_modifier
from .point_nodes import INPUTS, add_point_display, point_input, point_modifier
from .point_views import NAMES

# The property that foreach_get and foreach_set move, and how many numbers of which type, by type of attribute.
_FIELDS = {
    "FLOAT_VECTOR": ("vector", 3, np.float32),
    "FLOAT_COLOR": ("color", 4, np.float32),
    "FLOAT": ("value", 1, np.float32),
    "INT": ("value", 1, np.int32),
    "INT8": ("value", 1, np.int8),
    "BOOLEAN": ("value", 1, bool),
}


def can_be_cloud() -> bool:
    """Whether this Blender lets Python fill point clouds."""
    return "resize" in bpy.types.PointCloud.bl_rna.functions


def new_points(name: str, as_cloud: bool = False) -> bpy.types.Mesh | bpy.types.PointCloud:
    """An empty datablock for write_points; a mesh where there is no choice."""
    return bpy.data.pointclouds.new(name) if as_cloud and can_be_cloud() else bpy.data.meshes.new(name)


def other_kind(points: bpy.types.Object) -> bpy.types.Object:
    """Replace points of a mesh by such of a point cloud, or the other way round; returns the new object.

    Name, tags, place, parent, collections and the modifier's inputs stay. The old object is removed.
    """
    old = points.data
    block = new_points(old.name, as_cloud=isinstance(old, bpy.types.Mesh))
    _copy_points(old, block)
    changed = bpy.data.objects.new(points.name, block)
    for source, target in ((points, changed), (old, block)):
        for key in (tags.JOB, tags.ROLE, tags.VIEW, NAMES):
            if key in source:
                target[key] = source[key]
    for collection in points.users_collection:
        collection.objects.link(changed)
    changed.parent = points.parent
    changed.matrix_parent_inverse = points.matrix_parent_inverse
    changed.matrix_basis = points.matrix_basis
    _copy_inputs(point_modifier(points), add_point_display(changed))
    copy_moving_display(points, changed)
    if fast_modifier(points) is not None:
        add_fast_display(changed)
    name, old_name = points.name, old.name
    bpy.data.objects.remove(points)
    if old.users == 0:
        bpy.data.batch_remove([old])
        block.name = old_name
    changed.name = name
    return changed


def _copy_points(source: bpy.types.ID, target: bpy.types.ID) -> None:
    count = len(source.attributes["position"].data)
    if isinstance(target, bpy.types.Mesh):
        target.vertices.add(count)
    else:
        target.resize(count)
    for attribute in source.attributes:
        if attribute.domain != "POINT" or attribute.data_type not in _FIELDS or attribute.name.startswith("."):
            continue
        field, width, kind = _FIELDS[attribute.data_type]
        values = np.empty(count * width, kind)
        attribute.data.foreach_get(field, values)
        copy = target.attributes.get(attribute.name) or target.attributes.new(
            attribute.name, attribute.data_type, "POINT"
        )
        copy.data.foreach_set(field, values)
    target.update_tag()


def _copy_inputs(source: bpy.types.NodesModifier, target: bpy.types.NodesModifier) -> None:
    for item in INPUTS:
        value = compat.modifier_input(source, point_input(source, item.name))
        compat.set_modifier_input(target, point_input(target, item.name), value)

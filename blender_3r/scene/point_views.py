"""Which views' points show: a small mesh with one vertex per view, looked up by the points' node group.

It is made when somebody first wants to hide a view. Its object hangs on the points' modifier and on nothing else, so
it lies in no collection and goes with the points.
"""

from __future__ import annotations

import bpy
import numpy as np

from . import compat, tags

NAMES = "threer_view_names"  # on the points' datablock and on the mesh of the views: one name per line
_ROLE = "views"


def views_of(modifier: bpy.types.NodesModifier, identifier: str) -> bpy.types.Mesh | None:
    """The mesh of the views: attributes hidden (BOOLEAN) and points (INT, how many a view has), names in NAMES."""
    item = compat.modifier_input(modifier, identifier)
    return item.data if item is not None and item.type == "MESH" and "hidden" in item.data.attributes else None


def list_views(points: bpy.types.Object, modifier: bpy.types.NodesModifier, identifier: str) -> bpy.types.Mesh | None:
    """The mesh of the views, made where there is none yet; None when the points do not know their views."""
    mesh = views_of(modifier, identifier)
    if mesh is not None or not points.data.get(NAMES):
        return mesh
    mesh = bpy.data.meshes.new(f"{points.name} Views")
    holder = bpy.data.objects.new(mesh.name, mesh)
    for block in (mesh, holder):
        tags.set_tag(block, points.get(tags.JOB, ""), _ROLE)
    compat.set_modifier_input(modifier, identifier, holder)
    _fill(mesh, points)
    return mesh


def update_views(points: bpy.types.Object, modifier: bpy.types.NodesModifier, identifier: str) -> None:
    """Make the mesh of the views, if there is one, fit new points; views that were hidden stay hidden."""
    mesh = views_of(modifier, identifier)
    if mesh is not None:
        _fill(mesh, points)


def _fill(mesh: bpy.types.Mesh, points: bpy.types.Object) -> None:
    hidden = hidden_names(mesh)
    mesh[NAMES] = points.data.get(NAMES, "")
    names = view_names(mesh)
    mesh.clear_geometry()
    mesh.vertices.add(len(names))
    flags = mesh.attributes.new("hidden", "BOOLEAN", "POINT")
    flags.data.foreach_set("value", np.array([name in hidden for name in names], dtype=bool))
    mesh.attributes.new("points", "INT", "POINT").data.foreach_set("value", _counts(points.data, len(names)))
    mesh.update()


def view_names(mesh: bpy.types.Mesh) -> list[str]:
    return str(mesh.get(NAMES, "")).split("\n") if mesh.get(NAMES) else []


def hidden_flags(mesh: bpy.types.Mesh) -> np.ndarray:
    """(n,) bool: of which views the points are hidden."""
    flags = np.zeros(len(mesh.vertices), dtype=bool)
    if "hidden" in mesh.attributes:
        mesh.attributes["hidden"].data.foreach_get("value", flags)
    return flags


def hidden_names(mesh: bpy.types.Mesh) -> set[str]:
    """The names of those views."""
    return {name for name, is_hidden in zip(view_names(mesh), hidden_flags(mesh), strict=False) if is_hidden}


def hide_views(mesh: bpy.types.Mesh, flags: np.ndarray) -> None:
    """Hide the points of the views where flags (n,) bool are true, and show all others."""
    mesh.attributes["hidden"].data.foreach_set("value", flags)
    mesh.update()


def _counts(block: bpy.types.Mesh | bpy.types.PointCloud, count: int) -> np.ndarray:
    data = block.attributes["view"].data
    views = np.empty(len(data), np.int32)
    data.foreach_get("value", views)
    return np.bincount(views[(views >= 0) & (views < count)], minlength=count).astype(np.int32)

"""Surfaces of a job in the scene: one mesh from all views, or a mesh per view with its frame on it.

    syn_walk Surfaces         collection, in the job's
        syn_walk Surface      the fused surface, colours per vertex
        syn_walk frame_0012   a view's depth map, its frame as texture

Both hang on the job's root, which is made when the job is not in the scene yet. Making them again updates them in
place: materials, names and collections stay as the artist left them.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import bpy
import numpy as np

from ..engine.errors import EngineError
from . import tags
from .job import ImportOptions, build_job, finish
from .surface_data import SurfaceMesh, Surfaces, read_fused, read_view_surfaces
from .surface_looks import fused_material, is_own, upright_uv, view_material

ROLES = ("surface", "view surface")


@dataclass(frozen=True)
class SurfaceResult:
    """The objects in the scene now, and sentences for the user."""

    objects: list[bpy.types.Object]
    warnings: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """One sentence for the status line."""
        faces = sum(len(item.data.polygons) for item in self.objects)
        what = "Surface" if len(self.objects) == 1 else f"{len(self.objects)} surfaces"
        return f"{what} with {faces:,} faces."


def add_fused_surface(scene: bpy.types.Scene, folder: str | os.PathLike[str]) -> SurfaceResult:
    """Bring the fused surface of a job into scene, or update it. Raises EngineError."""
    return build_surfaces(scene, read_fused(folder))


def add_view_surfaces(
    scene: bpy.types.Scene,
    folder: str | os.PathLike[str],
    views: list[int] | None = None,
    budget: int = 1_000_000,
    min_confidence: float = 0.1,
    edge_angle: float = 3.0,
    moving: bool = False,
) -> SurfaceResult:
    """Make or update a surface per view; see read_view_surfaces. Those of other views stay. Raises EngineError."""
    return build_surfaces(scene, read_view_surfaces(folder, views, budget, min_confidence, edge_angle, moving))


def build_surfaces(scene: bpy.types.Scene, surfaces: Surfaces) -> SurfaceResult:
    """The datablocks of surfaces that were read before."""
    return finish(build_surfaces_in_slices(scene, surfaces))


def build_surfaces_in_slices(scene: bpy.types.Scene, surfaces: Surfaces) -> Generator[None, None, SurfaceResult]:
    """build_surfaces in steps: meshes are made aside, one a step, and take their places in the last one.

    Closed at any step, it leaves nothing. Raises EngineError when one of them is being edited.
    """
    _refuse_while_edited(scene, surfaces)
    made: list[bpy.types.Mesh] = []
    try:
        for surface in surfaces.meshes:
            yield from _fill(made, surface, surfaces)
        with tags.nothing_left_on_error():
            _refuse_while_edited(scene, surfaces)
            result = _place(scene, surfaces, made)
        made = []
        return result
    finally:
        bpy.data.batch_remove(made)


def job_of(context: bpy.types.Context) -> str | None:
    """The folder of the job that the user means: the active object's, else the only one in the scene."""
    active = context.active_object
    if active is not None and active.get(tags.JOB):
        return active[tags.JOB]
    jobs = {item[tags.JOB] for item in context.scene.objects if item.get(tags.ROLE) == "root" and item.get(tags.JOB)}
    return jobs.pop() if len(jobs) == 1 else None


def surfaces_of(scene: bpy.types.Scene, job: str) -> list[bpy.types.Object]:
    """The surfaces of a job in scene."""
    return [item for (role, _), item in tags.objects_of(scene, job).items() if role in ROLES]


def _refuse_while_edited(scene: bpy.types.Scene, surfaces: Surfaces) -> None:
    for item in surfaces_of(scene, surfaces.job.folder):
        if item.mode != "OBJECT":
            raise EngineError("usage", f"{item.name} is being edited.", "Leave Edit Mode and try again.")


def _fill(made: list[bpy.types.Mesh], surface: SurfaceMesh, surfaces: Surfaces) -> Generator[None, None, None]:
    """A mesh of one surface, appended to made as soon as it exists. The longest step is to say where faces begin."""
    mesh = bpy.data.meshes.new("3R Surface")
    made.append(mesh)
    corners = np.ascontiguousarray(surface.faces).reshape(-1)
    starts = np.arange(0, len(corners), 3, dtype=np.int32)
    mesh.vertices.add(len(surface.vertices))
    mesh.attributes["position"].data.foreach_set("vector", np.ascontiguousarray(surface.vertices).reshape(-1))
    mesh.loops.add(len(corners))
    mesh.attributes[".corner_vert"].data.foreach_set("value", corners)  # in a hundredth of the time of mesh.loops
    if surface.edges is not None:
        ends, of_corner = surface.edges
        mesh.edges.add(len(ends))
        mesh.attributes[".edge_verts"].data.foreach_set("value", np.ascontiguousarray(ends).reshape(-1))
        mesh.attributes[".corner_edge"].data.foreach_set("value", of_corner)
    yield
    mesh.polygons.add(len(starts))
    mesh.polygons.foreach_set("loop_start", starts)
    yield
    mesh.update(calc_edges=surface.edges is None)
    if surface.colors is not None:
        yield
        colors = np.ones((len(surface.colors), 4), np.float32)
        colors[:, :3] = surface.colors * np.float32(1 / 255)
        layer = mesh.attributes.new("Col", "BYTE_COLOR", "POINT")
        layer.data.foreach_set("color_srgb", colors.reshape(-1))
        mesh.attributes.active_color_name = mesh.attributes.default_color_name = "Col"
    if surface.uv is not None:
        view = surfaces.job.reconstruction.views[surface.view]
        uv = upright_uv(surface.uv, surfaces.job, view)[corners]
        mesh.uv_layers.new(name="Frame").uv.foreach_set("vector", np.ascontiguousarray(uv, np.float32).reshape(-1))
    if surface.texture is not None:
        yield
        mesh.uv_layers.new(name="Texture").uv.foreach_set("vector", surface.texture[0].reshape(-1))
    yield


def _place(scene: bpy.types.Scene, surfaces: Surfaces, made: list[bpy.types.Mesh]) -> SurfaceResult:
    data, warnings = surfaces.job, []
    tags.remove_unused(data.folder)
    there = tags.objects_of(scene, data.folder)
    root = there.get(("root", ""))
    if root is None:
        found = build_job(scene, data, ImportOptions(point_budget=0))
        root, warnings = found.root, list(found.warnings)
    collection = _collection(scene, surfaces, root)
    objects = []
    for surface, mesh in zip(surfaces.meshes, made, strict=True):
        view = None if surface.view is None else data.reconstruction.views[surface.view]
        role, file = ("surface", "") if view is None else ("view surface", view.file)
        name = f"{data.name} Surface" if view is None else f"{data.name} {Path(view.file).stem}"
        if view is None:
            material = fused_material(data, None if surface.texture is None else surface.texture[1])
        else:
            material, why = view_material(data, view)
            warnings += [why] if why and why not in warnings else []
        item = _object(there.get((role, file)), name, mesh, material, collection)
        tags.set_tag(item, data.folder, role, file)
        tags.set_tag(item.data, data.folder, f"{role} mesh", file)
        if item.parent != root:
            item.parent = root
            item.matrix_parent_inverse.identity()
        objects.append(item)
    _remove_lost(there, surfaces)
    return SurfaceResult(objects, warnings)


def _object(
    found: bpy.types.Object | None,
    name: str,
    mesh: bpy.types.Mesh,
    material: bpy.types.Material,
    collection: bpy.types.Collection,
) -> bpy.types.Object:
    """The object of a new mesh: the one found, with the materials its old mesh had, or a new one."""
    if found is None:
        mesh.name = name
        mesh.materials.append(material)
        item = bpy.data.objects.new(name, mesh)
        collection.objects.link(item)
        return item
    old = found.data
    for one in list(old.materials) or [material]:
        mesh.materials.append(material if is_own(one) else one)
    old_name = old.name
    old.user_remap(mesh)
    bpy.data.batch_remove([old])
    mesh.name = old_name
    return found


def _collection(scene: bpy.types.Scene, surfaces: Surfaces, root: bpy.types.Object) -> bpy.types.Collection:
    """The job's collection for surfaces, made in the job's own."""
    folder, role = surfaces.job.folder, "surfaces collection"
    everywhere = scene.collection.children_recursive
    found = tags.find(everywhere, folder, role)
    if found is None:
        found = bpy.data.collections.new(f"{surfaces.job.name} Surfaces")
        tags.set_tag(found, folder, role)
        parent = tags.find(everywhere, folder, "job collection") or root.users_collection[0]
        parent.children.link(found)
    return found


def _remove_lost(there: dict[tuple[str, str], bpy.types.Object], surfaces: Surfaces) -> None:
    """Surfaces of views that are no longer solved."""
    solved = {view.file for view in surfaces.job.solved_views}
    lost = [item for (role, view), item in there.items() if role == "view surface" and view not in solved]
    bpy.data.batch_remove(lost)
    tags.remove_unused(surfaces.job.folder)

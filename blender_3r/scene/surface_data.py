"""Surfaces of a job as flat arrays, read and checked before a single datablock is made. NumPy only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..engine.errors import EngineError
from ..engine.geometry.grid_mesh import grid_mesh
from ..engine.jobfolder import JobFolder
from ..engine.reconstruction import View
from .jobdata import JobData, read_job


@dataclass(frozen=True)
class SurfaceMesh:
    """vertices (n, 3) float32 in the engine's world. faces (m, 3) int32, counter-clockwise seen from the cameras.

    colors (n, 3) uint8 sRGB, of the fused surface. uv (n, 2) float32, of a view's: the place in the original frame,
    (0, 0) at its lower left corner, as upright as the engine sees it. view: index of the view, None when fused.
    edges (k, 2) int32 and the one that each corner begins (3m,) int32; None: Blender finds them, which is one long
    step. texture: places (m, 3, 2) float32 of corners in a picture, and its file.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray | None = None
    uv: np.ndarray | None = None
    view: int | None = None
    edges: tuple[np.ndarray, np.ndarray] | None = None
    texture: tuple[np.ndarray, Path] | None = None


@dataclass(frozen=True)
class Surfaces:
    """Surfaces of a job, and the job: cameras and placement, without points."""

    job: JobData
    meshes: list[SurfaceMesh]


def read_fused(folder: str | os.PathLike[str]) -> Surfaces:
    """The fused surface of a job. Raises EngineError("input") when there is none, or it is damaged."""
    job = JobFolder.open(folder)
    data = read_job(folder, 0)
    arrays = job.read_surface()
    if arrays is None:
        raise EngineError("input", f"The job in {job.path} has no fused surface.", "Make one: press Make Surface.")
    vertices, faces, color = (np.ascontiguousarray(arrays[name]) for name in ("vertices", "faces", "color"))
    whole = (
        vertices.ndim == faces.ndim == 2
        and vertices.shape[1] == faces.shape[1] == 3
        and vertices.dtype == np.float32
        and faces.dtype == np.int32
        and color.shape == vertices.shape
        and color.dtype == np.uint8
        and np.isfinite(vertices).all()
    )
    if not whole or (len(faces) and not 0 <= faces.min() <= faces.max() < len(vertices)):
        raise EngineError("input", f"The surface in {job.path} is damaged.", "Make it again.")
    texture = job.read_texture()
    if texture is not None:
        uv = np.ascontiguousarray(texture[0])
        if uv.shape != (len(faces), 3, 2) or uv.dtype != np.float32 or not np.isfinite(uv).all():
            raise EngineError("input", f"The texture in {job.path} is damaged.", "Make the surface again.")
        texture = uv, texture[1]
    return Surfaces(data, [SurfaceMesh(vertices, faces, colors=color, edges=_edges(faces), texture=texture)])


def read_view_surfaces(
    folder: str | os.PathLike[str],
    views: list[int] | None = None,
    budget: int = 1_000_000,
    min_confidence: float = 0.1,
    edge_angle: float = 3.0,
    moving: bool = False,
) -> Surfaces:
    """The depth maps of views as grids of their pixels, cut at depth edges.

    views: indices, None for all with depth. budget: about so many vertices in all; maps are thinned evenly to it.
    edge_angle: degrees, see grid_mesh. moving: also what moves by itself, which is left out unless it is a single view.
    Raises EngineError("input") when there is no depth.
    """
    job = JobFolder.open(folder)
    data = read_job(folder, 0)
    dense = dense_views(job, data)
    chosen = dense if views is None else [index for index in views if index in dense]
    if not chosen:
        why = "its camera only turns" if data.reconstruction.motion == "tripod" else "it was made without dense points"
        what = "these views have no depth" if dense else f"this job has no depth: {why}"
        raise EngineError("input", f"There is no surface, since {what}.", "Choose others, or reconstruct with depth.")
    total = sum(job.read_view(index)["depth"].size for index in chosen)
    stride = max(1, int(np.ceil(np.sqrt(total / max(budget, 1)))))
    left_out = ("sky",) if moving or len(chosen) == 1 else ("sky", "moving")
    meshes = []
    for index in chosen:
        arrays, view = job.read_view(index, left_out), data.reconstruction.views[index]
        mesh = _grid(index, view, arrays, min_confidence, stride, edge_angle)
        if len(mesh.faces):
            meshes.append(mesh)
    if not meshes:
        raise EngineError("input", "Nothing of the depth is certain enough.", "Lower the minimum confidence.")
    return Surfaces(data, meshes)


def dense_views(job: JobFolder, data: JobData) -> list[int]:
    """Solved views with depth, ascending."""
    views = data.reconstruction.views
    return [index for index in job.view_indices() if index < len(views) and views[index].is_solved]


def spread(indices: list[int], count: int) -> list[int]:
    """At most count of indices, evenly spread; 0: all."""
    if count <= 0 or count >= len(indices):
        return indices
    places = (np.arange(count) + 0.5) * len(indices) / count
    return [indices[int(place)] for place in places]


def _edges(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges (k, 2) int32, and the one that each corner begins (3m,) int32, as Blender has them."""
    ends = np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2)
    keys = ends.min(axis=1).astype(np.int64) << 32 | ends.max(axis=1)
    order = np.argsort(keys)
    ranked = keys[order]
    is_new = np.ones(len(order), bool)
    is_new[1:] = ranked[1:] != ranked[:-1]
    of_corner = np.empty(len(order), np.int32)
    of_corner[order] = np.cumsum(is_new) - 1
    found = ranked[is_new]
    return np.stack([found >> 32, found & 0xFFFFFFFF], axis=1).astype(np.int32), of_corner


def _grid(
    index: int, view: View, arrays: dict[str, np.ndarray], min_confidence: float, stride: int, edge_angle: float
) -> SurfaceMesh:
    depth, confidence = np.asarray(arrays["depth"]), np.asarray(arrays["confidence"])
    for name in ("sky", "moving"):
        if name in arrays:
            depth = np.where(arrays[name], np.float32(0), depth)
    points, pixels, triangles = grid_mesh(view, depth, confidence, min_confidence, stride, edge_angle)
    rows, columns = np.divmod(pixels, depth.shape[1])
    uv = np.stack([(columns + 0.5) / depth.shape[1], 1 - (rows + 0.5) / depth.shape[0]], axis=1)
    return SurfaceMesh(points, triangles.astype(np.int32), uv=uv.astype(np.float32), view=index)

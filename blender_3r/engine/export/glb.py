"""A job as a binary glTF scene: points or surfaces, cameras, and the cameras drawn as frusta."""

from __future__ import annotations

import colorsys
import math
import tempfile
from pathlib import Path

import numpy as np

from ..errors import EngineError
from ..geometry.grid_mesh import grid_mesh
from ..jobfolder import JobFolder
from ..reconstruction import Intrinsics, Reconstruction, View
from . import ExportOptions
from .cloud import count_dense, dense_blocks, dense_views, read_shown, sparse_block
from .colmap import quaternion
from .folder import whole_file
from .gltf import LINES, POINTS, TRIANGLES, GlbWriter
from .names import map_names

# glTF: y up, cameras look along -z; the job's world turned by 180 degrees about x, and each camera about its own x.
_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])
_NEAR = 1e-3  # times the typical depth


def write_glb(job: JobFolder, result: Reconstruction, out: Path, options: ExportOptions) -> None:
    """One node per view with points or a surface, one with all frusta, one with the cameras below it.

    Colours are those of the frames, stored in linear light and unlit. Cameras are named as their frames and carry the
    frame's number and intrinsics as extras, since glTF has no place for distortion or an off-centre lens.
    Raises EngineError("input") when a surface is asked for and there is no depth.
    """
    # the scratch file lies where there must be room for the result
    with whole_file(out) as temporary, tempfile.TemporaryFile(dir=out.parent) as scratch:
        writer = GlbWriter(scratch)
        if options.mesh:
            _add_surfaces(writer, job, result, options)
        else:
            _add_points(writer, job, result, options)
        depth = typical_depth(job, result)
        if options.frusta > 0:
            _add_frusta(writer, result, options.frusta * depth)
        _add_cameras(writer, result, _NEAR * depth)
        with open(temporary, "wb") as file:
            writer.write(file)


def _add_points(writer: GlbWriter, job: JobFolder, result: Reconstruction, options: ExportOptions) -> None:
    """The dense points; without depth the sparse ones; nothing for a tripod shot, whose cameras are worth having."""
    group, names = None, map_names(result)
    for block in dense_blocks(job, result, options):
        if group is None:
            group = writer.add_node({"name": "points"})
        name = f"points {names[block.index]}"
        mesh = writer.add_mesh(name, block.points @ _FLIP[:3, :3], block.color, POINTS)
        writer.add_node({"name": name, "mesh": mesh}, group)
    sparse = sparse_block(job, options.points) if group is None else None
    if sparse is not None:
        mesh = writer.add_mesh("points", sparse.points @ _FLIP[:3, :3], sparse.color, POINTS)
        writer.add_node({"name": "points", "mesh": mesh})


def _add_surfaces(writer: GlbWriter, job: JobFolder, result: Reconstruction, options: ExportOptions) -> None:
    indices = dense_views(job, result)
    if not indices:
        raise EngineError(
            "input", f"The job in {job.path} has no depth to make a surface of.", "Export points, without --mesh."
        )
    stride = _stride(job, result, indices, options)
    group, names = None, map_names(result)
    for index in indices:
        arrays = read_shown(job, result, index, options)
        points, pixels, triangles = grid_mesh(
            result.views[index],
            arrays["depth"],
            arrays["confidence"],
            options.min_confidence,
            stride,
            options.edge_angle,
        )
        if not len(triangles):
            continue
        if group is None:
            group = writer.add_node({"name": "surfaces"})
        name = f"surface {names[index]}"
        color = arrays["color"].reshape(-1, 3)[pixels]
        mesh = writer.add_mesh(name, points @ _FLIP[:3, :3], color, TRIANGLES, triangles)
        writer.add_node({"name": name, "mesh": mesh}, group)
    if group is None:
        raise EngineError(
            "input", "Nothing is left to make a surface of.", "Lower --min-confidence, raise --points, or both."
        )


def _stride(job: JobFolder, result: Reconstruction, indices: list[int], options: ExportOptions) -> int:
    """Every how many pixels a vertex is taken, so that there are no more than options.points."""
    if options.points is None:
        return 1
    total = count_dense(job, result, indices, options)
    stride = max(1, math.isqrt(total // options.points))
    while count_dense(job, result, indices, options, stride) > options.points:
        stride += 1
    return stride


def typical_depth(job: JobFolder, result: Reconstruction) -> float:
    """Median depth of what the cameras see: of the dense views, else from the sparse points, else how far the cameras
    are apart; 1 where nothing is known.
    """
    medians = []
    for index in dense_views(job, result):
        depth = job.read_view(index)["depth"][::4, ::4]
        depth = depth[(depth > 0) & np.isfinite(depth)]
        if depth.size:
            medians.append(float(np.median(depth)))
    if medians:
        return float(np.median(medians))
    centres = np.array([result.views[index].world_from_camera[:3, 3] for index in result.solved])
    sparse = sparse_block(job)
    if sparse is not None and len(sparse.points):
        middle = np.median(centres, axis=0)
        distance = float(np.median(np.linalg.norm(sparse.points - middle, axis=1)))
    else:
        distance = float(np.linalg.norm(centres - centres.mean(axis=0), axis=1).max())
    return distance if distance > 0 else 1.0


def _add_frusta(writer: GlbWriter, result: Reconstruction, length: float) -> None:
    """All cameras drawn as pyramids of lines, coloured along the order of the views, with a mark on the upper side."""
    solved = result.solved
    corners = np.concatenate([_frustum(result.views[index], length) for index in solved])
    hues = np.linspace(0.6, 0.0, len(solved))  # blue at the beginning, red at the end
    colors = np.array([colorsys.hsv_to_rgb(hue, 0.9, 1.0) for hue in hues])
    per_camera = len(corners) // len(solved)
    colors = np.repeat(np.rint(colors * 255).astype(np.uint8), per_camera, axis=0)
    apex, corner, mark = 0, (1, 2, 3, 4), 5
    lines = [(apex, other) for other in corner] + [(1, 2), (2, 3), (3, 4), (4, 1), (1, mark), (mark, 2)]
    indices = np.array(lines)[None] + per_camera * np.arange(len(solved))[:, None, None]
    mesh = writer.add_mesh("frusta", corners @ _FLIP[:3, :3], colors, LINES, indices.reshape(-1, 2))
    writer.add_node({"name": "frusta", "mesh": mesh})


def _frustum(view: View, length: float) -> np.ndarray:
    """(6, 3) in the job's world: centre, the picture's corners from the upper left clockwise, the mark above."""
    lens = view.intrinsics
    x = (np.array([0, lens.width, lens.width, 0, lens.width / 2]) - lens.cx) / lens.fx
    y = (np.array([0, 0, lens.height, lens.height, -0.25 * lens.height]) - lens.cy) / lens.fy
    corners = length * np.stack([x, y, np.ones(5)], axis=1)
    local = np.concatenate([np.zeros((1, 3)), corners])
    return local @ view.world_from_camera[:3, :3].T + view.world_from_camera[:3, 3]


def _add_cameras(writer: GlbWriter, result: Reconstruction, near: float) -> None:
    group, names = writer.add_node({"name": "cameras"}), map_names(result)
    for index in result.solved:
        view, lens = result.views[index], result.views[index].intrinsics
        pose = _FLIP @ view.world_from_camera @ _FLIP
        angle = 2 * math.atan(lens.height / (2 * lens.fy))
        camera = writer.add_camera(names[index], angle, (lens.width / lens.fx) / (lens.height / lens.fy), near)
        node = {
            "name": names[index],
            "camera": camera,
            "translation": pose[:3, 3].tolist(),
            "rotation": np.roll(quaternion(pose[:3, :3]), -1).tolist(),
            "extras": {"frame": view.frame, "intrinsics": _extras(lens)},
        }
        writer.add_node(node, group)


def _extras(lens: Intrinsics) -> dict[str, float]:
    names = ("width", "height", "fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2")
    return {name: getattr(lens, name) for name in names}

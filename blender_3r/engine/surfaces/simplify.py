"""Fewer faces for the same shape: COLMAP's collapse of edges by quadric errors."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import numpy as np

from ..errors import EngineError
from .mesh import Mesh
from .ply import write_ply

_TYPES = {"float": "<f4", "double": "<f8", "uchar": "u1", "int": "<i4", "uint": "<u4"}


def simplified(mesh: Mesh, faces: int, threads: int = 1) -> Mesh:
    """The mesh, without colours, of about so many faces (COLMAP stops a face or two below); borders keep their place.

    Raises EngineError("internal") when COLMAP fails.
    """
    if len(mesh.faces) <= faces:
        return Mesh(mesh.vertices, mesh.faces)
    import pycolmap  # loads slowly: not before it is needed

    options = pycolmap.MeshSimplificationOptions()
    options.target_face_ratio = faces / len(mesh.faces)
    options.num_threads = threads
    with tempfile.TemporaryDirectory(prefix="blender_3r-") as folder:
        source, target = Path(folder) / "full.ply", Path(folder) / "less.ply"
        write_ply(source, Mesh(mesh.vertices, mesh.faces))
        pycolmap.simplify_mesh(source, target, options)
        if not target.is_file():
            raise EngineError("internal", "The surface could not be simplified.", "Ask for all faces (0).")
        return read_ply(target)


def read_ply(path: Path) -> Mesh:
    """Vertices and triangles of a binary PLY file as COLMAP writes it."""
    data = path.read_bytes()
    start = data.index(b"end_header\n") + len(b"end_header\n")
    header = data[:start].decode("ascii")
    vertex_count, face_count = (int(count) for count in re.findall(r"element \w+ (\d+)", header)[:2])
    fields = [(name, _TYPES[kind]) for kind, name in re.findall(r"property (\w+) (\w+)\n", header)]
    length, number = re.findall(r"property list (\w+) (\w+) ", header)[0]
    corners = [("count", _TYPES[length]), ("corners", _TYPES[number], 3)]
    vertices = np.frombuffer(data, fields, vertex_count, start)
    faces = np.frombuffer(data, corners, face_count, start + vertices.nbytes)
    places = np.stack([vertices[axis] for axis in "xyz"], axis=1).astype(np.float32)
    return Mesh(places, faces["corners"].astype(np.int32))

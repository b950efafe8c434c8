"""A mesh as a binary PLY file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .mesh import Mesh


def write_ply(path: Path, mesh: Mesh, normals: np.ndarray | None = None) -> None:
    """Vertices with normals (n, 3) and colours as far as there are any, triangles. Raises OSError."""
    fields, columns = [("xyz", "<f4", 3)], [mesh.vertices]
    header = ["ply", "format binary_little_endian 1.0", "comment OpenCV axes: x right, y down, z forward"]
    header += [f"element vertex {len(mesh.vertices)}", *(f"property float {axis}" for axis in "xyz")]
    if normals is not None:
        fields.append(("normal", "<f4", 3))
        columns.append(normals)
        header += [f"property float n{axis}" for axis in "xyz"]
    if mesh.color is not None:
        fields.append(("rgb", "u1", 3))
        columns.append(mesh.color)
        header += [f"property uchar {channel}" for channel in ("red", "green", "blue")]
    header += [f"element face {len(mesh.faces)}", "property list uchar int vertex_indices", "end_header"]
    vertices = np.empty(len(mesh.vertices), fields)
    for (name, *_), column in zip(fields, columns, strict=True):
        vertices[name] = column
    faces = np.empty(len(mesh.faces), [("count", "u1"), ("corners", "<i4", 3)])
    faces["count"], faces["corners"] = 3, mesh.faces
    with open(path, "wb") as file:
        file.write(("\n".join(header) + "\n").encode("ascii"))
        file.write(vertices.tobytes())
        file.write(faces.tobytes())

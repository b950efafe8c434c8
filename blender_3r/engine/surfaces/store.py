"""A surface in the job folder, and from there to files of other programs."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..errors import EngineError
from ..export.folder import whole_file
from ..export.gltf import TRIANGLES, GlbWriter
from ..jobfolder import JobFolder
from .fuse import Surface
from .mesh import Mesh
from .ply import write_ply
from .settings import SurfaceSettings

_Y_UP = np.diag([1.0, -1.0, -1.0]).astype(np.float32)  # glTF's axes from the job's
SUFFIXES = (".ply", ".glb")


def write_surface(job: JobFolder, surface: Surface, settings: SurfaceSettings) -> None:
    """Put it into the job folder in place of an earlier one. Raises EngineError("machine")."""
    mesh = surface.mesh
    job.write_surface(
        {
            "vertices": mesh.vertices.astype(np.float32),
            "faces": mesh.faces.astype(np.int32),
            "normals": surface.normals.astype(np.float32),
            "color": mesh.color,
        }
    )
    if surface.texture is not None:
        png = cv2.imencode(".png", cv2.cvtColor(surface.texture.image, cv2.COLOR_RGB2BGR))[1]
        job.write_texture(surface.texture.uv, png.tobytes())
    facts: dict[str, Any] = {"voxel": surface.voxel, "views": surface.views, "settings": dataclasses.asdict(settings)}
    job.write_json("surface", facts)


def check_out(out: Path) -> Path:
    """out. Raises EngineError("usage") for a name that says no known format."""
    if out.suffix.lower() not in SUFFIXES:
        raise EngineError("usage", f"{out} is neither a .ply nor a .glb file.", "Choose a name that ends so.")
    return out


def write_out(job: JobFolder, out: Path) -> None:
    """The job's surface as a PLY (the job's axes) or glTF file (y up, with the texture). Raises EngineError."""
    arrays = job.read_surface()
    if arrays is None:
        raise EngineError("input", f"The job in {job.path} has no surface.", "Make one: see the command surface.")
    mesh = Mesh(arrays["vertices"], arrays["faces"], arrays["color"])
    try:
        with whole_file(out) as temporary:
            if out.suffix.lower() == ".ply":
                write_ply(temporary, mesh, arrays["normals"])
            else:
                _write_glb(temporary, mesh, job.read_texture())
    except OSError as error:
        raise EngineError(
            "machine", f"Cannot write to {out} ({error.strerror or error}).", "Choose another place or free disk space."
        ) from error


def _write_glb(path: Path, mesh: Mesh, texture: tuple[np.ndarray, Path] | None) -> None:
    points, faces = mesh.vertices @ _Y_UP, mesh.faces.astype(np.uint32)
    with tempfile.TemporaryFile(dir=path.parent) as scratch, open(path, "wb") as file:
        writer = GlbWriter(scratch)
        if texture is None:
            number = writer.add_mesh("surface", points, mesh.color, TRIANGLES, faces)
        else:
            uv, picture = texture
            corner, uv, corners = _one_place_each(mesh.faces, np.asarray(uv))
            material = writer.add_picture("frames", picture.read_bytes())
            number = writer.add_mesh(
                "surface", points[corner], None, TRIANGLES, corners.astype(np.uint32), uv, material
            )
        writer.add_node({"name": "surface", "mesh": number})
        writer.write(file)


def _one_place_each(faces: np.ndarray, uv: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices with one place in the texture each, as glTF has them: (old vertex (k,), uv (k, 2), faces (m, 3))."""
    bits = np.ascontiguousarray(uv, np.float32).reshape(-1, 2).view(np.uint32)
    keys = np.column_stack([faces.reshape(-1).astype(np.uint32), bits])
    order = np.lexsort(keys.T)
    is_new = np.ones(len(order), bool)
    is_new[1:] = (keys[order[1:]] != keys[order[:-1]]).any(axis=1)
    number = np.empty(len(order), np.int64)
    number[order] = np.cumsum(is_new) - 1
    first = order[is_new]
    return faces.reshape(-1)[first], uv.reshape(-1, 2)[first], number.reshape(-1, 3)

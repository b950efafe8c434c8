"""Binary glTF 2.0 (GLB) files, written piece by piece."""

from __future__ import annotations

import copy
import json
import shutil
import struct
from typing import Any, BinaryIO

import numpy as np

from .. import __version__
from ..errors import EngineError

POINTS, LINES, TRIANGLES = 0, 1, 4

_FLOAT, _USHORT, _UINT = 5126, 5123, 5125
_ARRAY_BUFFER, _ELEMENT_BUFFER = 34962, 34963
_LARGEST = (1 << 32) - 1  # lengths in the file have 32 bits
_UNLIT = "KHR_materials_unlit"

_srgb = np.arange(256) / 255
_linear = np.where(_srgb <= 0.04045, _srgb / 12.92, ((_srgb + 0.055) / 1.055) ** 2.4)
# 16 bits, because 8 bits of linear light lose the dark shades
_LINEAR_OF_SRGB = np.rint(_linear * 65535).astype(np.uint16)


class GlbWriter:
    """Collects nodes and meshes; arrays go to scratch at once, so that memory holds one of them at a time.

    scratch: a file open for reading and writing binary data, empty.
    """

    def __init__(self, scratch: BinaryIO) -> None:
        self._scratch = scratch
        self._length = 0
        self._document: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": f"blender_3r engine {__version__}"},
            "extensionsUsed": [_UNLIT],
            "scene": 0,
            "scenes": [{"nodes": []}],
            "nodes": [],
            "meshes": [],
            "cameras": [],
            "materials": [
                {
                    "name": "colours as they are",
                    "doubleSided": True,
                    "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0},
                    "extensions": {_UNLIT: {}},
                }
            ],
            "bufferViews": [],
            "accessors": [],
        }

    def add_node(self, node: dict[str, Any], parent: int | None = None) -> int:
        """node: name, translation, mesh ... as glTF has them. parent: number of another node, or None for the scene."""
        number = len(self._document["nodes"])
        self._document["nodes"].append(node)
        owner = self._document["scenes"][0] if parent is None else self._document["nodes"][parent]
        owner.setdefault("nodes" if parent is None else "children", []).append(number)
        return number

    def add_mesh(
        self,
        name: str,
        points: np.ndarray,
        color: np.ndarray | None,
        mode: int,
        indices: np.ndarray | None = None,
        uv: np.ndarray | None = None,
        material: int = 0,
    ) -> int:
        """points: (n, 3) in glTF's axes, n > 0. color: (n, 3) uint8 sRGB. mode: POINTS, LINES or TRIANGLES, with
        indices (m, 2 or 3) for the latter two. uv: (n, 2) in the picture of material (see add_picture), (0, 0) at its
        lower left corner. Returns the mesh's number.
        """
        points = np.ascontiguousarray(points, dtype="<f4")
        attributes = {
            "POSITION": self._add_array(
                points, _FLOAT, "VEC3", _ARRAY_BUFFER, min=_floats(points.min(0)), max=_floats(points.max(0))
            )
        }
        if color is not None:
            rgba = np.full((len(color), 4), 65535, dtype="<u2")
            rgba[:, :3] = _LINEAR_OF_SRGB[color]
            attributes["COLOR_0"] = self._add_array(rgba, _USHORT, "VEC4", _ARRAY_BUFFER, normalized=True)
        if uv is not None:
            from_top = np.ascontiguousarray(uv * (1, -1) + (0, 1), dtype="<f4")
            attributes["TEXCOORD_0"] = self._add_array(from_top, _FLOAT, "VEC2", _ARRAY_BUFFER)
        primitive: dict[str, Any] = {"attributes": attributes, "material": material, "mode": mode}
        if indices is not None:
            flat = np.ascontiguousarray(indices, dtype="<u4").reshape(-1)
            primitive["indices"] = self._add_array(flat, _UINT, "SCALAR", _ELEMENT_BUFFER)
        self._document["meshes"].append({"name": name, "primitives": [primitive]})
        return len(self._document["meshes"]) - 1

    def add_picture(self, name: str, png: bytes) -> int:
        """An unlit material that shows a picture. Returns its number."""
        view = self._add_bytes(png)
        self._document["images"] = [*self._document.get("images", []), {"bufferView": view, "mimeType": "image/png"}]
        number = len(self._document["images"]) - 1
        self._document["textures"] = [*self._document.get("textures", []), {"source": number}]
        material = copy.deepcopy(self._document["materials"][0]) | {"name": name}
        material["pbrMetallicRoughness"]["baseColorTexture"] = {"index": number}
        self._document["materials"].append(material)
        return len(self._document["materials"]) - 1

    def add_camera(self, name: str, angle_y: float, aspect: float, near: float) -> int:
        """A perspective camera without a far end; angle_y: vertical angle of view in radians. Returns its number."""
        lens = {"yfov": angle_y, "aspectRatio": aspect, "znear": near}
        self._document["cameras"].append({"name": name, "type": "perspective", "perspective": lens})
        return len(self._document["cameras"]) - 1

    def write(self, out: BinaryIO) -> None:
        """The whole file. Raises EngineError("usage") when it would be larger than the format allows."""
        document = {key: value for key, value in self._document.items() if value != []}
        if self._length:
            document["buffers"] = [{"byteLength": self._length}]
        text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        total = 12 + 8 + len(text) + (8 + self._length if self._length else 0)
        if total > _LARGEST:
            raise EngineError(
                "usage",
                f"The file would have {total / 2**30:.1f} GiB; glTF ends at 4 GiB.",
                "Limit the number of points.",
            )
        out.write(struct.pack("<4sII", b"glTF", 2, total))
        out.write(struct.pack("<I4s", len(text), b"JSON") + text)
        if self._length:
            out.write(struct.pack("<I4s", self._length, b"BIN\0"))
            self._scratch.seek(0)
            shutil.copyfileobj(self._scratch, out, 1 << 20)

    def _add_array(self, array: np.ndarray, component: int, kind: str, target: int, **more: object) -> int:
        """Every array has elements of 4 bytes or a multiple, so that all of them begin where glTF wants them to."""
        accessor = {
            "bufferView": self._add_bytes(array.tobytes(), target=target),
            "componentType": component,
            "count": len(array),
            "type": kind,
            **more,
        }
        self._document["accessors"].append(accessor)
        return len(self._document["accessors"]) - 1

    def _add_bytes(self, data: bytes, **more: int) -> int:
        """Returns the number of the buffer's view."""
        self._scratch.write(data + bytes(-len(data) % 4))
        view = {"buffer": 0, "byteOffset": self._length, "byteLength": len(data), **more}
        self._length += len(data) + -len(data) % 4
        self._document["bufferViews"].append(view)
        return len(self._document["bufferViews"]) - 1


def _floats(values: np.ndarray) -> list[float]:
    return [float(value) for value in values]

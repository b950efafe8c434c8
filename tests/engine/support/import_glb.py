"""Inside Blender: import a GLB file into an empty scene and tell what is there.

python import_glb.py FILE.glb FOUND.json
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import bpy
import numpy as np


def mesh_facts(item: bpy.types.Object) -> dict:
    """World positions, polygons, edges and linear colours."""
    mesh = item.data
    positions = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", positions)
    positions = positions.reshape(-1, 3)
    matrix = np.array(item.matrix_world)
    layer = mesh.color_attributes[0]
    colors = np.empty(4 * len(layer.data), np.float32)
    layer.data.foreach_get("color", colors)
    colors = colors.reshape(-1, 4)
    if layer.domain == "CORNER":
        corners = np.empty(len(mesh.loops), np.int32)
        mesh.loops.foreach_get("vertex_index", corners)
        at_vertices = np.zeros((len(mesh.vertices), 4))
        at_vertices[corners] = colors
        colors = at_vertices
    return {
        "positions": (positions @ matrix[:3, :3].T + matrix[:3, 3]).tolist(),
        "colors": colors[:, :3].tolist(),
        "polygons": len(mesh.polygons),
        "edges": len(mesh.edges),
        "normal": [polygon.normal[:] for polygon in mesh.polygons][:1],
    }


def main(path: str, found: str) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=path)
    bpy.context.view_layer.update()
    facts = {"version": bpy.app.version_string, "meshes": {}, "cameras": {}}
    for item in bpy.context.scene.objects:
        if item.type == "MESH":
            facts["meshes"][item.name] = mesh_facts(item)
        elif item.type == "CAMERA":
            facts["cameras"][item.name] = {
                "matrix": [list(row) for row in item.matrix_world],
                "angle_y": item.data.angle_y,
                "fit": item.data.sensor_fit,
                "frame": item.get("frame"),
            }
    Path(found).write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # Blender's own tear-down may crash

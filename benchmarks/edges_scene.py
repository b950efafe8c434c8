"""Inside Blender: a shot's own geometry through cameras that the extension imports. See edges.py.

python edges_scene.py SPEC.json

SPEC: "courtyard": whether the geometry is the demo shot's scene; "cameras": {name: {"job": folder, "matrix": 4x4 that
takes its world to the geometry's}}; "frames": [{"frame": of the footage, "mesh": .npz with points, uv, triangles, or
null, "texture": image}]; "samples"; "out": folder of NAME_0005.png, RGBA.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "demo"))

from blender_3r.scene import compat
from blender_3r.scene.job import ImportOptions, import_job


def main(spec: dict[str, Any]) -> None:
    """Render all frames through all cameras."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    if spec["courtyard"]:
        import scene as courtyard

        courtyard.build()
    imported = {name: _import(scene, item["job"]) for name, item in spec["cameras"].items()}
    _set_up_render(scene, spec["samples"], spec["courtyard"])
    made: dict[str, bpy.types.Object] = {}
    for item in spec["frames"]:
        for mesh in made.values():
            mesh.hide_render = True
        if item["mesh"]:
            key = item["mesh"]
            made.setdefault(key, _add_mesh(scene, item) if key not in made else made[key]).hide_render = False
        for name, (root, camera) in imported.items():
            root.matrix_world = Matrix(spec["cameras"][name]["matrix"])  # two of one job share the root
            scene.camera = camera
            scene.frame_set(item["frame"] + 1)  # a movie's first frame is 1 in the scene
            scene.render.filepath = str(Path(spec["out"]) / f"{name}_{item['frame']:04d}.png")
            bpy.ops.render.render(write_still=True)


def _import(scene: bpy.types.Scene, job: str) -> tuple[bpy.types.Object, bpy.types.Object]:
    """The job's root and camera, as an artist gets them."""
    result = import_job(scene, job, ImportOptions(point_budget=0, plate=False))
    return result.root, result.cameras[0]


def _set_up_render(scene: bpy.types.Scene, samples: int, denoise: bool) -> None:
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising, scene.cycles.max_bounces = samples, denoise, 4
    scene.render.film_transparent = True
    scene.render.use_persistent_data = True
    settings = scene.render.image_settings
    settings.file_format, settings.color_mode, settings.color_depth = "PNG", "RGBA", "8"
    scene.view_settings.view_transform = "Standard"


def _add_mesh(scene: bpy.types.Scene, item: dict[str, Any]) -> bpy.types.Object:
    """A surface that shows its texture as it is."""
    arrays = np.load(item["mesh"])
    mesh = bpy.data.meshes.new("Depth")
    mesh.from_pydata(arrays["points"].tolist(), [], arrays["triangles"].tolist())
    layer = mesh.uv_layers.new()
    layer.data.foreach_set("uv", arrays["uv"][arrays["triangles"].ravel()].astype(np.float32).ravel())
    material = bpy.data.materials.new("Depth")
    tree = compat.enable_material_nodes(material)
    picture, shine, output = (
        tree.nodes.new(f"ShaderNode{name}") for name in ("TexImage", "Emission", "OutputMaterial")
    )
    picture.image, picture.interpolation = bpy.data.images.load(item["texture"]), "Cubic"
    tree.links.new(picture.outputs["Color"], shine.inputs["Color"])
    tree.links.new(shine.outputs[0], output.inputs["Surface"])
    mesh.materials.append(material)
    made = bpy.data.objects.new("Depth", mesh)
    scene.collection.objects.link(made)
    return made


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[-1]).read_text(encoding="utf-8")))
    sys.stdout.flush()
    os._exit(0)  # Blender's own clean-up at exit is not needed and may take long

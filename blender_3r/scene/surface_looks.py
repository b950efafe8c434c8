"""Materials of surfaces: the colours of vertices, or the frame of a view; as filmed, lit, or catching shadows."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np

from ..engine.reconstruction import View
from . import compat, tags
from .exif import orientation
from .jobdata import JobData
from .plate import photo_paths

LOOKS = (
    ("FILMED", "As Filmed", "The colours of the footage, whatever light there is"),
    ("LIT", "Lit", "The colours of the footage, lit by the scene's lights"),
    ("CATCHER", "Catcher", "Shadow catcher: invisible but for the shadows of other objects (Cycles)"),
)
_LIT = "3R Lit"  # the node whose value tells how much of the scene's light counts


def fused_material(data: JobData) -> bpy.types.Material:
    """The job's material of vertex colours, made if it is not there."""
    material = tags.find(bpy.data.materials, data.folder, "surface material")
    if material is None:
        material = _new_material(data, f"{data.name} Surface", "surface material", "")
        color = material.node_tree.nodes.new("ShaderNodeAttribute")
        color.attribute_name = "Col"
        _finish(material, color.outputs["Color"])
    return material


def view_material(data: JobData, view: View) -> tuple[bpy.types.Material, str]:
    """The material that shows a view's own frame, and a sentence if that is not to be had, else ""."""
    image, frame, why = _frame_image(data, view)
    material = tags.find(bpy.data.materials, data.folder, "view material", view.file)
    if material is None:
        material = _new_material(data, f"{data.name} {Path(view.file).stem}", "view material", view.file)
        picture = material.node_tree.nodes.new("ShaderNodeTexImage")
        picture.name = "3R Frame"
        picture.extension = "EXTEND"
        _finish(material, picture.outputs["Color"])
    picture = material.node_tree.nodes.get("3R Frame")
    if picture is not None and image is not None:
        picture.image = image
        if frame is not None:  # Blender counts a movie from 1: one frame long, from the offset on, at any time
            user = picture.image_user
            user.frame_start, user.frame_duration, user.frame_offset = 1, 1, frame
        material.node_tree.nodes.active = picture  # what Solid shows with Color: Texture
    return material, why


def upright_uv(uv: np.ndarray, data: JobData, view: View) -> np.ndarray:
    """Places (n, 2) in the upright picture to those in the file as Blender loads it: it ignores the EXIF turn."""
    path = _path_of(data, view)
    turn = orientation(path) if path is not None and data.source.kind in ("photos", "sequence") else 1
    x, y = uv[:, 0], 1 - uv[:, 1]
    stored = {
        1: (x, y),
        2: (1 - x, y),
        3: (1 - x, 1 - y),
        4: (x, 1 - y),
        5: (y, x),
        6: (y, 1 - x),
        7: (1 - y, 1 - x),
        8: (1 - y, x),
    }[turn]
    return np.stack([stored[0], 1 - stored[1]], axis=1)


def set_look(item: bpy.types.Object, look: str) -> None:
    """Show a surface in one of LOOKS."""
    item.is_shadow_catcher = look == "CATCHER"
    for material in filter(None, item.data.materials):
        lit = material.node_tree.nodes.get(_LIT) if material.node_tree else None
        if lit is not None:
            lit.outputs[0].default_value = 0.0 if look == "FILMED" else 1.0


def _frame_image(data: JobData, view: View) -> tuple[bpy.types.Image | None, int | None, str]:
    """(image, frame of it counted from 0 for movies, why there is none)."""
    path = _path_of(data, view)
    if path is None:
        return None, None, f"The footage of {view.file} is not there, so its surface has no picture."
    image = bpy.data.images.load(path, check_existing=True)
    if data.source.kind == "movie":
        return image, view.frame, ""
    return image, data.source.rig_frame if data.source.kind == "rig" else None, ""


def _path_of(data: JobData, view: View) -> str | None:
    """The file that holds a view's frame, None when it is not there."""
    if data.source is None:
        return None
    if data.source.kind == "movie":
        return data.source.files[0] if Path(data.source.files[0]).is_file() else None
    return photo_paths([view], data.source)[0]


def _new_material(data: JobData, name: str, role: str, view: str) -> bpy.types.Material:
    material = bpy.data.materials.new(name)
    tags.set_tag(material, data.folder, role, view)
    compat.enable_material_nodes(material)
    return material


def _finish(material: bpy.types.Material, color: bpy.types.NodeSocket) -> None:
    """Colour to output: shining by itself, or lit, as the value node says."""
    tree = material.node_tree
    shine, matte = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeBsdfDiffuse")
    lit, mix = tree.nodes.new("ShaderNodeValue"), tree.nodes.new("ShaderNodeMixShader")
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    lit.name = lit.label = _LIT
    lit.outputs[0].default_value = 0.0
    for origin, target in (
        (color, shine.inputs["Color"]),
        (color, matte.inputs["Color"]),
        (lit.outputs[0], mix.inputs["Fac"] if "Fac" in mix.inputs else mix.inputs[0]),
        (shine.outputs[0], mix.inputs[1]),
        (matte.outputs[0], mix.inputs[2]),
        (mix.outputs[0], output.inputs["Surface"]),
    ):
        tree.links.new(origin, target)
    for node, place in ((color.node, (-500, 0)), (lit, (-200, 250)), (shine, (-200, 100)), (matte, (-200, -50))):
        node.location = place
    mix.location, output.location = (50, 100), (250, 100)

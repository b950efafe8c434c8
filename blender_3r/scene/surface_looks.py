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
_OF_FUSED = ("surface material", "texture material")
_PICTURE = "3R Frame"  # the node that has the frame, or the texture
_LIT = "3R Lit"  # the node whose value tells how much of the scene's light counts


def fused_material(data: JobData, texture: Path | None = None) -> bpy.types.Material:
    """The job's material of vertex colours, or of a texture, made if it is not there; the picture as it is now."""
    role = "surface material" if texture is None else "texture material"
    material = tags.find(bpy.data.materials, data.folder, role)
    other = next((one for one in bpy.data.materials if is_own(one) and one[tags.JOB] == data.folder), None)
    if material is None:
        name = f"{data.name} Surface" if texture is None else f"{data.name} Texture"
        material = _new_material(data, name, role, "")
        if texture is None:
            color = material.node_tree.nodes.new("ShaderNodeAttribute")
            color.attribute_name = "Col"
        else:
            color = material.node_tree.nodes.new("ShaderNodeTexImage")
            color.name = _PICTURE
            color.extension = "EXTEND"
        _finish(material, color.outputs["Color"])
        lit = _lit_of(other)
        if lit is not None:
            _lit_of(material).default_value = lit.default_value
    picture = material.node_tree.nodes.get(_PICTURE)
    if picture is not None and texture is not None:
        picture.image = bpy.data.images.load(str(texture), check_existing=True)
        picture.image.reload()  # it may have been another one when it was loaded
        material.node_tree.nodes.active = picture  # what Solid shows with Color: Texture
    return material


def is_own(material: bpy.types.Material | None) -> bool:
    """Whether it is one of those that fused_material makes, for any job."""
    return material is not None and material.library is None and material.get(tags.ROLE) in _OF_FUSED


def view_material(data: JobData, view: View) -> tuple[bpy.types.Material, str]:
    """The material that shows a view's own frame, and a sentence if that is not to be had, else ""."""
    image, frame, why = _frame_image(data, view)
    material = tags.find(bpy.data.materials, data.folder, "view material", view.file)
    if material is None:
        material = _new_material(data, f"{data.name} {Path(view.file).stem}", "view material", view.file)
        picture = material.node_tree.nodes.new("ShaderNodeTexImage")
        picture.name = _PICTURE
        picture.extension = "EXTEND"
        _finish(material, picture.outputs["Color"])
    picture = material.node_tree.nodes.get(_PICTURE)
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
    for material in item.data.materials:
        lit = _lit_of(material)
        if lit is not None:
            lit.default_value = 0.0 if look == "FILMED" else 1.0


def _lit_of(material: bpy.types.Material | None) -> bpy.types.NodeSocket | None:
    """The value that tells how much of the scene's light counts, None where there is none."""
    node = material.node_tree.nodes.get(_LIT) if material is not None and material.node_tree else None
    return node.outputs[0] if node is not None else None


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

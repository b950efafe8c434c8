"""Where Blender's Python API differs between 4.2 and 5.2: one small function each, with the version it is for.

A function goes when the oldest version it is for is no longer supported.
"""

from __future__ import annotations

from typing import Any

import bpy


def fcurves_of(block: bpy.types.ID, name: str) -> Any:
    """The F-curve collection that animates block, made (with an action called name) if there is none.

    Up to 4.3 an action holds the curves itself; from 4.4 they belong to a slot; from 5.0 `Action.fcurves` is gone.
    """
    animation = block.animation_data_create()
    if animation.action is None:
        animation.action = bpy.data.actions.new(name)
    action = animation.action
    if not hasattr(action, "slots"):
        return action.fcurves
    if animation.action_slot is None:
        animation.action_slot = action.slots.new(block.id_type, name)
    layer = action.layers[0] if action.layers else action.layers.new("Layer")
    strip = layer.strips[0] if layer.strips else layer.strips.new(type="KEYFRAME")
    return strip.channelbag(animation.action_slot, ensure=True).fcurves


def modifier_input(modifier: bpy.types.NodesModifier, identifier: str) -> Any:
    """The value of a geometry-nodes input; of a menu the chosen item's name.

    From 5.2 inputs are RNA properties, before that ID properties, in which a menu is a number.
    """
    inputs = getattr(getattr(modifier, "properties", None), "inputs", None)
    if inputs is not None:
        return getattr(inputs, identifier).value
    value = modifier[identifier]
    return next((name for name, number in _menu_items(modifier, identifier).items() if number == value), value)


def set_modifier_input(modifier: bpy.types.NodesModifier, identifier: str, value: Any) -> None:
    """Set a geometry-nodes input (see modifier_input) and let Blender know, which an ID property alone does not."""
    _set_input(modifier, identifier, value)
    modifier.id_data.update_tag()
    if isinstance(value, bpy.types.ID):
        modifier.node_group = modifier.node_group  # a new dependency


def _set_input(modifier: bpy.types.NodesModifier, identifier: str, value: Any) -> None:
    inputs = getattr(getattr(modifier, "properties", None), "inputs", None)
    if inputs is not None:
        getattr(inputs, identifier).value = value
    else:
        modifier[identifier] = _menu_items(modifier, identifier)[value] if isinstance(value, str) else value


def _menu_items(modifier: bpy.types.NodesModifier, identifier: str) -> dict[str, int]:
    """Names and numbers of a menu's items; of other inputs none."""
    value = modifier[identifier]
    if not isinstance(value, int) or isinstance(value, bool):
        return {}
    items = modifier.id_properties_ui(identifier).as_dict().get("items") or ()
    return {item[0]: item[4] for item in items}


def modifier_input_place(modifier: bpy.types.NodesModifier, identifier: str) -> tuple[Any, str]:
    """Data and property name of an input, for `layout.prop` (see modifier_input)."""
    inputs = getattr(getattr(modifier, "properties", None), "inputs", None)
    return (getattr(inputs, identifier), "value") if inputs is not None else (modifier, f'["{identifier}"]')


def modifier_input_path(modifier: bpy.types.NodesModifier, identifier: str) -> str:
    """The data path of an input, for keys and drivers on the object (see modifier_input)."""
    if hasattr(getattr(modifier, "properties", None), "inputs"):
        return f'modifiers["{modifier.name}"].properties.inputs.{identifier}.value'
    return f'modifiers["{modifier.name}"]["{identifier}"]'


def eevee_id() -> str:
    """The render engine id of EEVEE: BLENDER_EEVEE_NEXT from 4.2 to 4.5, BLENDER_EEVEE from 5.0."""
    engines = bpy.types.RenderSettings.bl_rna.properties["engine"].enum_items
    return "BLENDER_EEVEE_NEXT" if "BLENDER_EEVEE_NEXT" in engines else "BLENDER_EEVEE"


def compositor(scene: bpy.types.Scene) -> tuple[bpy.types.NodeTree, bpy.types.NodeSocket]:
    """An empty compositor of this scene and the socket that takes the final picture.

    Up to 4.5 the tree belongs to the scene; from 5.0 it is a node group with an output of its own.
    """
    if hasattr(scene, "compositing_node_group"):
        tree = bpy.data.node_groups.new(f"{scene.name} Compositing", "CompositorNodeTree")
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        scene.compositing_node_group = tree
        return tree, tree.nodes.new("NodeGroupOutput").inputs[0]
    scene.use_nodes = True
    scene.node_tree.nodes.clear()
    return scene.node_tree, scene.node_tree.nodes.new("CompositorNodeComposite").inputs[0]


def alpha_over_inputs(node: bpy.types.Node) -> tuple[bpy.types.NodeSocket, bpy.types.NodeSocket]:
    """(background, foreground) of a compositor's Alpha Over node: named from 5.0, by position before."""
    background, foreground = node.inputs.get("Background"), node.inputs.get("Foreground")
    return background or node.inputs[1], foreground or node.inputs[2]


def alpha_over_factor(node: bpy.types.Node) -> bpy.types.NodeSocket:
    """How much of the foreground an Alpha Over node takes: Factor from 5.0, Fac before."""
    return node.inputs.get("Factor") or node.inputs["Fac"]


def multiply_node(tree: bpy.types.NodeTree) -> tuple[Any, Any, Any, Any]:
    """A compositor node that multiplies colours: its sockets factor, first, second, result. MixRGB is gone in 5.0."""
    if hasattr(bpy.types, "CompositorNodeMixRGB"):
        node = tree.nodes.new("CompositorNodeMixRGB")
        node.blend_type = "MULTIPLY"
        return (*node.inputs, node.outputs[0])
    node = tree.nodes.new("ShaderNodeMix")
    node.data_type, node.blend_type = "RGBA", "MULTIPLY"
    first, second = (socket for socket in node.inputs if socket.type == "RGBA")
    return node.inputs[0], first, second, next(socket for socket in node.outputs if socket.type == "RGBA")


def math_node(tree: bpy.types.NodeTree, operation: str) -> bpy.types.Node:
    """A compositor's Math node: the one of shaders from 5.0."""
    own = hasattr(bpy.types, "CompositorNodeMath")
    node = tree.nodes.new("CompositorNodeMath" if own else "ShaderNodeMath")
    node.operation = operation
    return node


def fill_render_node(tree: bpy.types.NodeTree) -> bpy.types.Node:
    """A Scale node that stretches a picture over the whole render: options before 5.0, menus since."""
    node = tree.nodes.new("CompositorNodeScale")
    if hasattr(node, "space"):
        node.space, node.frame_method = "RENDER_SIZE", "STRETCH"
    else:
        node.inputs["Type"].default_value, node.inputs["Frame Type"].default_value = "Render Size", "Stretch"
    return node


def file_output_node(tree: bpy.types.NodeTree, folder: str, names: list[str]) -> tuple[Any, list[Any]]:
    """A File Output node that writes 16-bit EXR files folder/NAME_####.exr, and its sockets, one per name.

    Up to 4.5 it has slots and a base path; from 5.0 items, a directory and a file name.
    """
    node = tree.nodes.new("CompositorNodeOutputFile")
    if hasattr(node, "file_slots"):
        node.format.file_format, node.format.color_mode, node.format.color_depth = "OPEN_EXR", "RGBA", "16"
        node.base_path = folder
        node.file_slots.clear()
        for name in names:
            node.file_slots.new(f"{name}_")
        return node, list(node.inputs)
    node.format.media_type = "IMAGE"
    node.format.file_format, node.format.color_mode, node.format.color_depth = "OPEN_EXR", "RGBA", "16"
    node.directory, node.file_name = folder, ""
    for name in names:
        node.file_output_items.new("RGBA", f"{name}_")
    return node, [socket for socket in node.inputs if socket.type != "CUSTOM"]


def use_movie_output(scene: bpy.types.Scene) -> None:
    """Let this scene render to a movie file. From 5.0 the media type comes before the file format."""
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "VIDEO"
    settings.file_format = "FFMPEG"


def enable_material_nodes(material: bpy.types.Material) -> bpy.types.NodeTree:
    """The material's node tree, emptied. Up to 4.5 it is made by use_nodes; from 5.0 it is always there."""
    if material.node_tree is None:
        material.use_nodes = True
    material.node_tree.nodes.clear()
    return material.node_tree

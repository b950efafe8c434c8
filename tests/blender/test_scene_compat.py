"""The functions for what differs between Blender versions, on the version at hand."""

from __future__ import annotations

import bpy
import pytest

from blender_3r.scene import compat


def test_curves_drive_the_block_they_are_for(empty_file):
    camera = bpy.data.objects.new("c", bpy.data.cameras.new("c"))
    empty_file.collection.objects.link(camera)
    for block, path, values in ((camera, "location", (5.0, 9.0)), (camera.data, "lens", (20.0, 40.0))):
        curve = compat.fcurves_of(block, block.name).new(path, index=0)
        curve.keyframe_points.add(2)
        curve.keyframe_points.foreach_set("co", [1, values[0], 3, values[1]])
        curve.update()
    empty_file.frame_set(3)
    assert (camera.location.x, camera.data.lens) == (9.0, 40.0)
    assert compat.fcurves_of(camera, "c").find("location", index=0) is not None


def doubling_modifier(scene):
    group = bpy.data.node_groups.new("G", "GeometryNodeTree")
    group.interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    amount = group.interface.new_socket("Amount", in_out="INPUT", socket_type="NodeSocketFloat")
    group.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    start, end = group.nodes.new("NodeGroupInput"), group.nodes.new("NodeGroupOutput")
    move, vector = group.nodes.new("GeometryNodeTransform"), group.nodes.new("ShaderNodeCombineXYZ")
    group.links.new(start.outputs[0], move.inputs[0])
    group.links.new(start.outputs[1], vector.inputs[0])
    group.links.new(vector.outputs[0], move.inputs["Translation"])
    group.links.new(move.outputs[0], end.inputs[0])
    mesh = bpy.data.meshes.new("m")
    mesh.vertices.add(1)
    item = bpy.data.objects.new("m", mesh)
    scene.collection.objects.link(item)
    modifier = item.modifiers.new("GN", "NODES")
    modifier.node_group = group
    return item, modifier, amount.identifier


def place(item) -> float:
    depsgraph = bpy.context.evaluated_depsgraph_get()
    return item.evaluated_get(depsgraph).data.vertices[0].co.x


def test_modifier_inputs_can_be_set_read_keyed_and_drawn(empty_file):
    item, modifier, identifier = doubling_modifier(empty_file)
    compat.set_modifier_input(modifier, identifier, 0.25)
    item.update_tag()
    assert place(item) == pytest.approx(0.25)
    assert compat.modifier_input(modifier, identifier) == 0.25
    curve = compat.fcurves_of(item, "m").new(compat.modifier_input_path(modifier, identifier))
    curve.keyframe_points.add(1)
    curve.keyframe_points.foreach_set("co", [1, 2.0])
    curve.update()
    empty_file.frame_set(1)
    assert place(item) == pytest.approx(2.0)
    holder, name = compat.modifier_input_place(modifier, identifier)
    assert holder.path_resolve(name) == pytest.approx(compat.modifier_input(modifier, identifier))


def test_eevee_is_an_engine_of_this_version(empty_file):
    empty_file.render.engine = compat.eevee_id()
    assert empty_file.render.engine == compat.eevee_id()


def test_compositor_takes_a_picture_over_another(empty_file, tmp_path):
    tree, result = compat.compositor(empty_file)
    over = tree.nodes.new("CompositorNodeAlphaOver")
    background, foreground = compat.alpha_over_inputs(over)
    background.default_value, foreground.default_value = (1, 0, 0, 1), (0, 0, 0, 0)
    tree.links.new(over.outputs[0], result)
    empty_file.view_settings.view_transform = "Standard"
    pixels = rendered_pixels(empty_file, tmp_path)
    assert pixels[:4] == pytest.approx([1, 0, 0, 1], abs=0.01)


def rendered_pixels(scene, folder):
    camera = bpy.data.objects.new("c", bpy.data.cameras.new("c"))
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 1
    scene.render.resolution_x = scene.render.resolution_y = 8
    scene.render.image_settings.file_format = "PNG"
    scene.render.filepath = str(folder / "out.png")
    bpy.ops.render.render(write_still=True)
    return list(bpy.data.images.load(scene.render.filepath).pixels)

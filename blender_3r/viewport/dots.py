"""Square dots of the graphics card: each with a colour, and a size in the scene. Only while a 3D view is drawn."""

from __future__ import annotations

from functools import cache

import bpy
import gpu
import numpy as np
from mathutils import Matrix

# A point cloud's dot is a square on its corner, of half that diagonal; this one lies on its side and is as large.
_SIDE = 2.0**0.5

_VERTEX = """
void main()
{
  gl_Position = clip_from_points * vec4(position, 1.0);
  gl_PointSize = max(1.0, radius * pixels / gl_Position.w);
  /* Blender lays what handlers draw over its own picture with this power, not with sRGB's curve. */
  dot_color = vec4(pow(color.rgb, vec3(2.2)), color.a);
}
"""
_FRAGMENT = """
void main()
{
  screen_color = dot_color;
}
"""


def make_dots(position: np.ndarray, color: np.ndarray, radius: np.ndarray) -> gpu.types.GPUBatch:
    """Dots in the graphics card's memory.

    position (n, 3) float32; color (n, 4) uint8, as the screen shows it; radius (n,) float32, in the unit of position.
    """
    form = gpu.types.GPUVertFormat()
    form.attr_add(id="position", comp_type="F32", len=3, fetch_mode="FLOAT")
    form.attr_add(id="color", comp_type="U8", len=4, fetch_mode="INT_TO_FLOAT_UNIT")
    form.attr_add(id="radius", comp_type="F32", len=1, fetch_mode="FLOAT")
    buffer = gpu.types.GPUVertBuf(len=len(position), format=form)
    for name, values in (("position", position), ("color", color), ("radius", radius)):
        buffer.attr_fill(id=name, data=np.ascontiguousarray(values))
    return gpu.types.GPUBatch(type="POINTS", buf=buffer)


def draw_dots(
    batches: list[gpu.types.GPUBatch], context: bpy.types.Context, world_from_points: Matrix, scale: float
) -> None:
    """Draw dots into context's 3D view, behind what stands before them. scale: of their radius."""
    view, shader = context.region_data, _shader()
    shader.bind()
    shader.uniform_float("clip_from_points", view.perspective_matrix @ world_from_points)
    shader.uniform_float("pixels", _SIDE * scale * view.window_matrix[1][1] * context.region.height / 2)
    gpu.state.depth_test_set("LESS_EQUAL")
    gpu.state.depth_mask_set(True)
    gpu.state.program_point_size_set(True)
    try:
        for batch in batches:
            batch.draw(shader)
    finally:
        gpu.state.program_point_size_set(False)
        gpu.state.depth_mask_set(False)
        gpu.state.depth_test_set("NONE")


@cache
def _shader() -> gpu.types.GPUShader:
    """Compiled at its first use, since no graphics card is there while Blender starts."""
    passed = gpu.types.GPUStageInterfaceInfo("threer_dot")
    passed.flat("VEC4", "dot_color")
    info = gpu.types.GPUShaderCreateInfo()
    info.push_constant("MAT4", "clip_from_points")
    info.push_constant("FLOAT", "pixels")
    info.vertex_in(0, "VEC3", "position")
    info.vertex_in(1, "VEC4", "color")
    info.vertex_in(2, "FLOAT", "radius")
    info.vertex_out(passed)
    info.fragment_out(0, "VEC4", "screen_color")
    info.vertex_source(_VERTEX)
    info.fragment_source(_FRAGMENT)
    return gpu.shader.create_from_info(info)

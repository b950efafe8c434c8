"""Points in a real window: what Solid, Material Preview and EEVEE show, and the panel."""

from __future__ import annotations

import sys

import bpy
import numpy as np
from scenarios import opened

COLORS = ((200, 40, 40), (40, 160, 60), (50, 80, 200), (230, 230, 230))  # of four fields of a wall
SIZE = (72, 128)
CLOSE = 3  # 8-bit steps that a colour may be off in a render
EDGE = 0.05  # of a field's width: a screen before it ends in the middle of a dot


def points(gui):
    """Import a wall of four colours, render it in EEVEE, hide a view, crop."""
    yield from gui.install()
    import_wall(gui)
    space = gui.area.spaces.active
    assert space.shading.type == "SOLID"
    look_through_camera(gui)
    yield from gui.click("threer.toggle_fast_display")  # which is on where the processor draws
    yield from gui.pause(1.5)
    yield from gui.shot("points-solid", whole=True)
    yield from gui.click("threer.show_point_colors")
    assert space.shading.type == "MATERIAL"
    yield from gui.pause(6.0)
    yield from gui.shot("points-material", whole=True)
    check_render(gui)
    bpy.ops.threer.add_crop_box()
    assert bpy.context.active_object.empty_display_type == "CUBE"
    bpy.ops.threer.list_views()
    for panel in ("THREER_PT_point_crop", "THREER_PT_point_views"):
        opened(gui, "points", panel)
    for _ in range(3):  # drawn in between, so that the region knows how far it can go
        yield from gui.pause(0.5)
        with bpy.context.temp_override(window=gui.window, area=gui.area, region=gui.sidebar):
            bpy.ops.view2d.scroll_down(deltax=0, deltay=500)
    yield from gui.pause(0.5)
    yield from gui.shot("points-panel")


def fast_points(gui):
    """The graphics card draws the wall in Solid: in its colours, behind what stands before it, filtered, not at all."""
    yield from gui.install()
    wall = import_wall(gui)
    wall.select_set(False)
    look_through_camera(gui)
    assert sys.modules[f"{gui.module}.scene.fast_display"].fast_modifier(wall), "the processor draws here"
    yield from gui.pause(1.0)
    yield from gui.shot("fast-solid", whole=True)
    everything = [seen(gui, color) for color in COLORS]
    assert min(everything) > 1000, f"pixels of the wall's colours: {everything}"
    gray = bpy.data.meshes.new("screen")
    gray.from_pydata([(-5, -5, -1), (0, -5, -1), (0, 5, -1), (-5, 5, -1)], [], [(0, 1, 2, 3)])  # before the left half
    screen = bpy.data.objects.new("screen", gray)
    screen.matrix_world = bpy.context.scene.camera.matrix_world
    bpy.context.scene.collection.objects.link(screen)
    yield from gui.pause(1.0)
    yield from gui.shot("fast-behind", whole=True)
    behind = [seen(gui, color) for color in COLORS]
    shares = [part / whole for part, whole in zip(behind, everything, strict=True)]
    assert max(shares[0::2]) < EDGE, f"behind a screen: {shares}"
    assert min(shares[1::2]) > 1 - EDGE, f"beside a screen: {shares}"
    bpy.data.objects.remove(screen)
    point_nodes, compat = (sys.modules[f"{gui.module}.scene.{name}"] for name in ("point_nodes", "compat"))
    modifier = point_nodes.point_modifier(wall)
    compat.set_modifier_input(modifier, point_nodes.point_input(modifier, "Max Depth"), 1.0)
    yield from gui.pause(1.0)
    filtered = [seen(gui, color) for color in COLORS]  # white letters are there too
    assert max(filtered) < EDGE * min(everything), f"all points are farther than the filter lets through: {filtered}"
    compat.set_modifier_input(modifier, point_nodes.point_input(modifier, "Max Depth"), 0.0)
    yield from gui.pause(1.0)
    again = [seen(gui, color) for color in COLORS]
    assert np.allclose(again, everything, rtol=EDGE), f"the filter is off again: {again} of {everything}"
    yield from gui.click("threer.toggle_fast_display")
    yield from gui.pause(1.0)
    assert max(seen(gui, color) for color in COLORS) < EDGE * min(everything), "Solid draws points gray"


def import_wall(gui):
    """The points of the wall, alone in the scene and active."""
    for name in ("Cube", "Camera", "Light"):
        bpy.data.objects.remove(bpy.data.objects[name])
    bpy.ops.threer.import_job(directory=str(make_job(gui)))
    wall = bpy.data.objects["wall Points"]
    bpy.context.view_layer.objects.active = wall
    return wall


def seen(gui, color):
    """How many pixels of the 3D view have a colour."""
    region = gui.view
    picture = gui.screen()[region.y : region.y + region.height, region.x : region.x + region.width - gui.sidebar.width]
    return int((np.abs(picture - color).max(axis=2) <= CLOSE).sum())


def make_job(gui):
    """A wall seen by two cameras, each field of it in one colour."""
    jobfolder = sys.modules[f"{gui.module}.engine.jobfolder"]
    reconstruction = sys.modules[f"{gui.module}.engine.reconstruction"]
    lens = reconstruction.Intrinsics(SIZE[1], SIZE[0], 120.0, 120.0, SIZE[1] / 2, SIZE[0] / 2)
    views = []
    for index in range(2):
        pose = np.eye(4)
        pose[0, 3] = 0.02 * index
        views.append(reconstruction.View(f"frame_{index:04d}", index, lens, pose))
    job = jobfolder.JobFolder.create(gui.out / "wall")
    source = sys.modules[f"{gui.module}.engine.source"].Source("movie", (str(gui.out / "wall.mp4"),))
    job.write_json("request", {"engine_version": "", "source": source.to_json(), "settings": {}})
    job.write_cameras(reconstruction.Reconstruction(views))
    color = np.zeros((*SIZE, 3), np.uint8)
    for field, code in enumerate(COLORS):
        top, left = divmod(field, 2)
        color[top * 36 : top * 36 + 36, left * 64 : left * 64 + 64] = code
    for index in range(2):
        maps = {"depth": np.full(SIZE, 2.0, np.float32), "confidence": np.ones(SIZE, np.float32), "color": color}
        job.write_view(index, maps)
    return job.path


def look_through_camera(gui):
    with bpy.context.temp_override(window=gui.window, area=gui.area, region=gui.view):
        bpy.ops.view3d.view_camera()


def check_render(gui):
    """The middle of every field in a still by EEVEE has the colour that the footage had."""
    scene = bpy.context.scene
    scene.render.engine = sys.modules[f"{gui.module}.scene.compat"].eevee_id()
    scene.eevee.taa_render_samples = 4
    scene.render.dither_intensity = 0
    scene.render.image_settings.file_format = "PNG"
    scene.render.filepath = str(gui.out / "eevee.png")
    bpy.ops.render.render(write_still=True)
    picture = bpy.data.images.load(scene.render.filepath)
    picture.colorspace_settings.name = "Non-Color"
    width, height = picture.size
    codes = np.array(picture.pixels[:]).reshape(height, width, 4)[::-1] * 255
    worst = 0.0
    for field, code in enumerate(COLORS):
        top, left = divmod(field, 2)
        rows, columns = (
            slice(size * (8 * place + 1) // 16, size * (8 * place + 7) // 16)
            for size, place in ((height, top), (width, left))
        )
        worst = max(worst, float(np.abs(codes[rows, columns, :3] - code).max()))
    gui.facts["eevee_color_error"] = worst  # holes between the dots would show as background
    assert worst <= CLOSE, worst

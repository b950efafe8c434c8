"""Surfaces in a real window: the panel, Make Surface by the mouse, what Material Preview shows."""

from __future__ import annotations

import subprocess

import bpy
from scenarios import MOVIE, PYTHON, ROOT, note_stalls, opened


def surfaces(gui):
    """The demo shot: a fused surface by the real engine, a surface of the current view, the looks."""
    yield from gui.install()
    job = gui.out / "courtyard"
    command = [PYTHON, ROOT / "blender_3r" / "engine", "reconstruct", MOVIE, "--out", job, "--method", "classic"]
    subprocess.run([*map(str, command), "--quality", "draft", "--step", "2"], check=True, capture_output=True)
    gui.preferences.engine_python = str(PYTHON)
    for name in ("Cube", "Camera", "Light"):
        bpy.data.objects.remove(bpy.data.objects[name])
    bpy.ops.threer.import_job(directory=str(job), point_budget=0)
    opened(gui, "surfaces", "THREER_PT_surfaces")
    gui.settings.surfaces.texture = "2048"
    bpy.utils.unregister_class(bpy.types.THREER_PT_main)  # so that the panel begins at the top of the sidebar
    gui.area.tag_redraw()
    yield from gui.pause(1.0)
    yield from gui.shot("surfaces-panel")
    turns = gui.watch_extension()
    since = len(gui.gaps)
    yield from gui.click("threer.make_surface")
    yield from gui.wait(lambda: gui.session.is_running, "the start")
    gui.facts["engines"] = [gui.session.job.engine_pid]
    yield from gui.wait(lambda: "courtyard Surface" in bpy.data.objects, "the surface", 200.0)
    yield from gui.pause(1.0)
    yield from note_stalls(gui, gui.gaps[since:], turns)
    surface = bpy.data.objects["courtyard Surface"]
    assert len(surface.data.polygons) > 10_000
    assert [one.name for one in surface.data.materials] == ["courtyard Texture"]
    space = gui.area.spaces.active
    space.overlay.show_relationship_lines = False
    with bpy.context.temp_override(window=gui.window, area=gui.area, region=gui.view):
        bpy.ops.view3d.view_all()
    space.region_3d.view_distance *= 0.6
    yield from gui.in_material_preview("surface-window")
    bpy.context.scene.frame_set(21)
    yield from gui.click("threer.add_view_surfaces")
    surface.hide_set(True)
    with bpy.context.temp_override(window=gui.window, area=gui.area, region=gui.view):
        bpy.ops.view3d.view_camera()
    yield from gui.in_material_preview("view-surface-window")
    yield from gui.click("threer.surface_look")

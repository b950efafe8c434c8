"""The report of a solve in a real window: the dialog, its plot, a picture in a window of its own; the export dialog."""

from __future__ import annotations

import subprocess

import bpy
from scenarios import MOVIE, PYTHON, ROOT, opened


def report(gui):
    """The demo shot: Report by the mouse, the dialog with the plot, the contact sheet, and File > Export."""
    yield from gui.install()
    job = gui.out / "courtyard"
    command = [PYTHON, ROOT / "blender_3r" / "engine", "reconstruct", MOVIE, "--out", job, "--method", "classic"]
    subprocess.run([*map(str, command), "--quality", "draft", "--no-dense"], check=True, capture_output=True)
    gui.preferences.engine_python = str(PYTHON)
    for name in ("Cube", "Camera", "Light"):
        bpy.data.objects.remove(bpy.data.objects[name])
    bpy.ops.threer.import_job(directory=str(job), point_budget=100_000)
    opened(gui, "report", "THREER_PT_report")
    opened(gui, "export", "THREER_PT_export")
    bpy.utils.unregister_class(bpy.types.THREER_PT_main)  # so that the panel begins at the top of the sidebar
    gui.area.tag_redraw()
    yield from gui.pause(1.0)
    yield from gui.shot("quality-panel")
    yield from gui.click("threer.report")
    yield from gui.wait(lambda: "courtyard Plot" in bpy.data.images, "the pictures", 60.0)
    yield from gui.pause(2.0)
    yield from gui.shot("report-window", whole=True)
    count = len(bpy.context.window_manager.windows)
    bpy.ops.threer.open_report_image(image="courtyard Contact Sheet")
    yield from gui.pause(2.0)
    assert len(bpy.context.window_manager.windows) == count + 1
    yield from gui.shot("contact-sheet-window", whole=True)

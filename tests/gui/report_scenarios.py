"""The report of a solve in a real window, a picture of it in a window of its own; tracks in the clip; File > Export."""

from __future__ import annotations

import shutil

import bpy
from scenarios import MOVIE, PYTHON, opened


def demo_job(gui, keeps_main=False):
    """A copy of the demo shot, which was solved before, imported, and the panels of its quality and export open."""
    yield from gui.install()
    job = gui.out / "courtyard"
    shutil.rmtree(job, ignore_errors=True)
    shutil.copytree(gui.out.parent / "demo_job" / "courtyard", job)
    gui.preferences.engine_python = str(PYTHON)
    for name in ("Cube", "Camera", "Light"):
        bpy.data.objects.remove(bpy.data.objects[name])
    bpy.ops.threer.import_job(directory=str(job), point_budget=100_000)
    bpy.ops.ed.undo_push(message="Import")
    opened(gui, "report", "THREER_PT_report")
    opened(gui, "export", "THREER_PT_export")
    if not keeps_main:
        bpy.utils.unregister_class(bpy.types.THREER_PT_main)  # so that the panel begins at the top of the sidebar
    gui.area.tag_redraw()
    yield from gui.pause(1.0)


def report(gui):
    """The demo shot: Report by the mouse, the dialog with the plot, the contact sheet, and File > Export."""
    yield from demo_job(gui)
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


def report_after_job(gui):
    """Show Report is on: the dialog comes by itself after the job."""
    yield from gui.install()
    gui.preferences.engine_python = str(PYTHON)
    gui.preferences.job_folder = str(gui.out / "jobs")
    settings = gui.settings
    settings.path, settings.method, settings.quality = str(MOVIE), "classic", "draft"
    settings.dense, settings.show_report = False, True
    opened(gui, "options", "THREER_PT_result")
    gui.area.tag_redraw()
    yield from gui.pause(0.5)
    yield from gui.shot("result-options")
    yield from gui.click("threer.reconstruct")
    yield from gui.wait(lambda: "courtyard Plot" in bpy.data.images, "the report", 200.0)
    assert "courtyard Camera" in bpy.data.objects
    yield from gui.pause(2.0)
    yield from gui.shot("report-after-job", whole=True)


def export(gui):
    """The demo shot: its tracks in the clip editor, and the file dialog of an export, which writes an FBX file."""
    yield from demo_job(gui)
    yield from gui.click("threer.add_tracks")
    yield from gui.wait(lambda: tracks_and_points() == (200, 200), "the tracks")
    yield from gui.click("threer.export")
    browser = yield from file_browser(gui)
    browser.spaces.active.active_operator.format = "fbx"
    browser.spaces.active.params.directory = str(gui.out).encode()
    yield from gui.pause(1.0)
    yield from gui.shot("export-window", whole=True)
    window = next(one for one in bpy.context.window_manager.windows if browser in one.screen.areas[:])
    with bpy.context.temp_override(window=window, area=browser):
        bpy.ops.file.execute()
    yield from gui.wait(lambda: (gui.out / "courtyard.fbx").is_file(), "the file")
    assert [scene.name for scene in bpy.data.scenes] == ["Scene"]
    bpy.ops.threer.export(filepath=str(gui.out / "shot"), format="gltf")
    assert (gui.out / "shot.glb").is_file()
    yield from gui.pause(1.0)
    bpy.ops.ed.undo()
    assert tracks_and_points() == (0, 0)
    yield from gui.pause(1.0)
    bpy.ops.ed.redo()
    assert tracks_and_points() == (200, 200)
    area = gui.area
    bpy.context.scene.frame_set(20)
    area.type = "CLIP_EDITOR"
    area.spaces.active.clip = bpy.data.movieclips["courtyard Plate"]
    yield from gui.pause(1.0)
    region = next(one for one in area.regions if one.type == "WINDOW")
    with bpy.context.temp_override(window=gui.window, area=area, region=region):
        bpy.ops.clip.view_all(fit_view=True)
    yield from gui.pause(2.0)
    yield from gui.shot_of(area, "tracks-window")


def tracks_and_points():
    """How many tracks are in the clip, and how many of their points in the scene."""
    points = [item for item in bpy.data.objects if item.type == "EMPTY" and item.name.startswith("3R ")]
    return len(bpy.data.movieclips["courtyard Plate"].tracking.tracks), len(points)


def file_browser(gui):
    """The area of the file dialog, as soon as it is open."""

    def areas():
        windows = bpy.context.window_manager.windows
        return [area for window in windows for area in window.screen.areas if area.type == "FILE_BROWSER"]

    yield from gui.wait(lambda: areas() and areas()[0].spaces.active.active_operator, "the file dialog")
    return areas()[0]

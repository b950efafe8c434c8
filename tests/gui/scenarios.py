"""What is played in the window. Each scenario is a generator of steps; see `inside.Gui`."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

import bpy

ROOT = Path(__file__).resolve().parent.parent.parent
PYTHON = ROOT / ".venv" / "engine" / "bin" / "python"
MOVIE = ROOT / "demo" / "courtyard.mp4"
STALL_S = 0.2


def fake_engine(gui, mode, seconds=1.0, large=1):
    """Let the preferences name a Python that runs the fake engine, whatever it is asked for."""
    script = gui.out / f"python-{mode}-{large}"
    script.write_text(f'#!/bin/sh\nexec "{PYTHON}" "{ROOT}/tests/fake_engine.py" {mode} {seconds} {large}\n')
    script.chmod(0o755)
    gui.preferences.engine_python = str(script)


def first_steps(gui):
    """Nothing is installed, nothing is picked; then the engine is there and footage is picked in the file browser."""
    yield from arrive(gui)
    gui.preferences.engine_folder = str(gui.out / "engine")
    yield from gui.shot("offline")
    bpy.context.preferences.system.use_online_access = True
    yield from gui.shot("no-engine")
    assert not bpy.ops.threer.reconstruct.poll()
    fake_engine(gui, "work")
    yield from gui.shot("no-footage")
    yield from pick(gui, gui.out / MOVIE.name)
    assert gui.settings.path == "//courtyard.mp4"
    assert gui.settings.info_text.startswith("40 frames"), gui.settings.info_text
    yield from gui.shot("ready")
    assert bpy.ops.threer.reconstruct.poll()


def arrive(gui):
    """The extension installed, its tab open, a saved file with the footage beside it."""
    for left in ("3r_jobs", "engine"):
        shutil.rmtree(gui.out / left, ignore_errors=True)
    shutil.copy(MOVIE, gui.out)
    bpy.ops.wm.save_as_mainfile(filepath=str(gui.out / "scene.blend"))
    yield from gui.install()


def pick(gui, path):
    """Press the folder button, choose a file in Blender's file browser."""
    bpy.context.preferences.view.filebrowser_display_type = "SCREEN"
    yield from gui.click("threer.pick_footage")
    yield from gui.wait(lambda: browser(gui) is not None, "the file browser")
    area = browser(gui)
    yield from gui.wait(lambda: area.spaces.active.params is not None, "the browser's folder")
    area.spaces.active.params.directory = str(path.parent).encode()
    area.spaces.active.params.filename = path.name
    yield from gui.pause(0.3)
    region = next(r for r in area.regions if r.type == "WINDOW")
    with bpy.context.temp_override(window=gui.window, area=area, region=region):
        bpy.ops.file.execute()
    yield from gui.wait(lambda: browser(gui) is None, "the end of the file browser")
    yield from gui.pause(0.3)


def browser(gui):
    return next((area for area in gui.window.screen.areas if area.type == "FILE_BROWSER"), None)


def start(gui, mode, seconds=1.0, large=1):
    """A job with the fake engine, by a click on Reconstruct."""
    fake_engine(gui, mode, seconds, large)
    yield from gui.click("threer.reconstruct")
    yield from gui.wait(lambda: gui.session.is_running, "the job's start")
    gui.facts.setdefault("engines", []).append(gui.session.job.engine_pid)


def prepare(gui):
    yield from arrive(gui)
    gui.settings.path = f"//{MOVIE.name}"
    with bpy.context.temp_override(window=gui.window):
        bpy.ops.ed.undo_push(message="Footage")  # as an edit in the panel does


def job(gui):
    """A whole job: progress, cameras early, points at the end, undo; the window is never away for long."""
    yield from prepare(gui)
    turns = gui.watch_extension()
    yield from start(gui, "work", 8.0)
    gaps = yield from follow(gui, "running")
    assert "courtyard" in bpy.data.collections, "the cameras came only at the end"
    yield from gui.wait(lambda: "courtyard Points" in bpy.data.objects, "the points")
    yield from gui.pause(0.5)
    yield from note_stalls(gui, gaps, turns)
    yield from gui.shot("done")
    assert len(bpy.data.objects["courtyard Points"].data.vertices) > 100
    yield from undo_and_redo(gui)
    yield from gui.click("threer.dismiss")
    assert gui.session.job is None


def follow(gui, picture, look=lambda: None):
    """Until the job is over, with a picture on the way; what the main loop was away for meanwhile.

    look: what is done at each tick.
    """
    began = time.monotonic() + 0.5
    yield from gui.wait(lambda: look() or gui.session.job.state.fraction > 0.3, "progress", 120)
    left = time.monotonic()
    yield from gui.shot(picture)
    back = time.monotonic()
    yield from gui.wait(lambda: look() or not gui.session.is_running, "the end of the job", 240)
    assert gui.session.job.state.status == "done", gui.session.job.state
    return [gap for gap in gui.gaps if began < gap.when < left or back < gap.when]


def note_stalls(gui, gaps, turns):
    """Of the main thread's own time, because the wall clock also counts other programs and the software renderer."""
    gui.facts["job_longest_s"] = max(gap.wall_s for gap in gaps)
    gui.facts["job_longest_cpu_s"] = max(gap.cpu_s for gap in gaps)
    gui.facts["extension_longest_s"] = max(turn.wall_s for turn in turns)
    gui.facts["extension_longest_cpu_s"] = max(turn.cpu_s for turn in turns)
    gui.facts["view_redraw_s"] = (yield from gui.view_redraw()).wall_s
    assert gui.facts["job_longest_cpu_s"] < STALL_S
    assert gui.facts["extension_longest_cpu_s"] < STALL_S


def undo_and_redo(gui):
    """Three steps: the cameras, the first points, the final result."""
    steps = 0
    while "courtyard" in bpy.data.collections:
        yield from gui.press("Z", ctrl=True)
        yield from gui.pause(0.3)
        steps += 1
        assert steps <= 3, "growing has filled the list of undo steps"
    assert gui.settings.path == "//courtyard.mp4"
    for _ in range(steps):
        yield from gui.press("Z", ctrl=True, shift=True)
        yield from gui.pause(0.3)
    assert "courtyard Points" in bpy.data.objects


def troubles(gui):
    """What goes wrong is told in the panel, and the next job can start."""
    yield from prepare(gui)
    yield from start(gui, "fail")
    yield from over(gui, "failed")
    yield from told(gui, "failed")
    yield from start(gui, "crash")
    yield from over(gui, "failed")
    yield from told(gui, "crashed")
    yield from gui.click("threer.import_last")
    assert "courtyard Points" in bpy.data.objects
    yield from start(gui, "hang", 0.5)
    yield from gui.wait(lambda: gui.session.job.state.solved, "the cameras")
    yield from gui.click("threer.cancel")
    yield from gui.shot("stopping")
    yield from over(gui, "cancelled")
    yield from told(gui, "cancelled")
    yield from start(gui, "garbage")
    yield from over(gui, "done")
    gui.settings.path = "/home/artist/shot.mp4"
    yield from gui.shot("missing-footage")
    assert not bpy.ops.threer.reconstruct.poll()


def told(gui, name):
    """A picture when the panel knows which method fits; a stand-in for an engine that crashed does not always say."""
    choice = sys.modules[f"{gui.module}.operators.model_choice"]
    until = time.monotonic() + 5.0
    while choice.pick(gui.settings) is None and time.monotonic() < until:
        yield
    yield from gui.shot(name)


def over(gui, status):
    yield from gui.wait(lambda: not gui.session.is_running, "the end of the job")
    assert gui.session.job.state.status == status, gui.session.job.state
    yield from gui.pause(0.3)


def busy_artist(gui):
    """In Edit Mode the result waits; in another file it stays out."""
    yield from prepare(gui)
    yield from start(gui, "work", 2.0)
    bpy.ops.object.mode_set(mode="EDIT")
    yield from gui.wait(lambda: not gui.session.is_running, "the end of the job")
    yield from gui.wait(lambda: gui.session.is_waiting, "the result to wait")
    yield from told(gui, "waiting")
    assert "courtyard" not in bpy.data.collections
    with bpy.context.temp_override(window=gui.window, area=gui.area):
        bpy.ops.object.mode_set(mode="OBJECT")
    yield from gui.wait(lambda: "courtyard Points" in bpy.data.objects, "the result")
    yield from start(gui, "work", 2.0)
    yield from gui.press("Z", ctrl=True)
    yield from gui.wait(lambda: "courtyard Points" not in bpy.data.objects, "undo")
    yield from gui.wait(lambda: not gui.session.is_running, "the end of the job")
    yield from gui.wait(lambda: "courtyard Points" in bpy.data.objects, "the result after an undo in mid-job")
    yield from start(gui, "work", 2.0)
    bpy.ops.wm.read_homefile(app_template="")
    yield from gui.pause(1.0)  # a new file's regions are not there before they were drawn
    yield from gui.open_tab()
    yield from gui.shot("elsewhere")
    yield from gui.wait(lambda: not gui.session.is_running, "the end of the job")
    yield from gui.pause(1.0)
    assert "courtyard" not in bpy.data.collections
    yield from gui.open_tab()
    yield from gui.shot("other-file")
    yield from gui.click("threer.import_last")
    assert "courtyard Points" in bpy.data.objects


def quits(gui):
    """Blender is closed in mid-job."""
    yield from prepare(gui)
    yield from start(gui, "work", 60.0)
    yield from gui.wait(lambda: gui.session.job.state.fraction > 0, "progress")


def disabled(gui):
    """The extension is switched off in mid-job, and on again."""
    yield from prepare(gui)
    yield from start(gui, "work", 60.0)
    yield from gui.wait(lambda: gui.session.job.state.fraction > 0, "progress")
    bpy.ops.preferences.addon_disable(module="bl_ext.user_default.blender_3r")
    yield from gui.pause(0.5)
    assert not hasattr(bpy.context.scene, "threer")
    bpy.ops.preferences.addon_enable(module="bl_ext.user_default.blender_3r")
    yield from gui.pause(0.5)
    assert not gui.session.is_running


def killed(gui):
    """Blender is killed in mid-job, by who plays the scenario."""
    yield from prepare(gui)
    yield from start(gui, "work", 60.0)
    yield from gui.wait(lambda: gui.session.job.state.fraction > 0, "progress")
    (gui.out / "kill").write_text(f"{os.getpid()} {gui.session.job.engine_pid}")
    yield from gui.pause(60)


def opened(gui, module, name):
    """A copy of a sub-panel that is open: Blender remembers that the panel itself is closed."""
    panel = getattr(sys.modules[f"{gui.module}.panels.{module}"], name)
    copy = type(f"{name}_open", (panel,), {"bl_idname": f"{name}_open", "bl_options": set()})
    bpy.utils.register_class(copy)
    return copy

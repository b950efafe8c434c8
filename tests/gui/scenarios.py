"""What is played in the window. Each scenario is a generator of steps; see `inside.Gui`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import bpy
from fake_python import write_fake_python

ROOT = Path(__file__).resolve().parent.parent.parent
PYTHON = ROOT / ".venv" / "engine" / "bin" / "python"
MOVIE = ROOT / "demo" / "courtyard.mp4"
STALL_S = 0.2
TURN_S = 0.05  # of the extension's timer, whatever it brings into the scene


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
    gui.facts["view_redraw_s"] = yield from gui.view_redraw()
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


def growing(gui):
    """Points that grow while the artist works and undoes; then a million and three of them, which come in slices."""
    yield from prepare(gui)
    turns = gui.watch_extension()
    yield from start(gui, "stream", 80.0, large=2)
    yield from gui.wait(points_shown, "the first points")
    with bpy.context.temp_override(window=gui.window, area=gui.area, region=gui.view):
        bpy.ops.view3d.view_all()
    gui.area.spaces.active.shading.type = "MATERIAL"
    yield from gui.shot("early", whole=True)
    gui.area.spaces.active.shading.type = "SOLID"  # drawn by this machine's processor, the other takes seconds
    bpy.data.objects["Cube"].location.z = 1.0
    with bpy.context.temp_override(window=gui.window):
        bpy.ops.ed.undo_push(message="Move")
    yield from more_points(gui)
    yield from gui.press("Z", ctrl=True)
    yield from gui.wait(lambda: bpy.data.objects["Cube"].location.z == 0.0, "undo")
    assert points_shown(), "undo of something else took the points"
    yield from more_points(gui)
    gui.area.spaces.active.shading.type = "MATERIAL"
    yield from gui.shot("growing", whole=True)
    gui.area.spaces.active.shading.type = "SOLID"
    yield from gui.wait(lambda: not gui.session.is_taken, "the result", 240)
    assert points_shown() == 19 * 128 * 72
    gui.facts["turn_growing_cpu_s"] = max(turn.cpu_s for turn in turns)
    for name, large in (("1m", 12), ("3m", 21)):
        turns.clear()
        gui.settings.points = 4_000_000
        yield from start(gui, "work", 1.0, large)
        yield from gui.wait(lambda: not gui.session.is_taken, "the large result", 240)
        gui.facts[f"points_{name}"] = points_shown()
        gui.facts[f"turn_{name}_cpu_s"] = max(turn.cpu_s for turn in turns)
        assert points_shown() > 3 * 64 * 36 * large**2  # those of the first job lie there, too
    gui.facts["view_redraw_s"] = yield from gui.view_redraw()
    assert gui.facts["turn_growing_cpu_s"] < TURN_S
    assert gui.facts["turn_1m_cpu_s"] < TURN_S
    assert gui.facts["turn_3m_cpu_s"] < STALL_S  # Blender's own undo step, which comes at once and cannot be cut


def note_growth(gui, counts):
    """Append the number of points in the scene where it is another one and the job still runs."""
    count = points_shown()
    if count and gui.session.is_running and count != (counts[-1] if counts else 0):
        counts.append(count)


def more_points(gui):
    """The next time that the running job's points grow."""
    before = points_shown()
    yield from gui.wait(lambda: points_shown() > before, "more points")
    assert gui.session.is_running, "they came with the final result"


def points_shown():
    points = bpy.data.objects.get("courtyard Points")
    return len(points.data.vertices) if points else 0


def troubles(gui):
    """What goes wrong is told in the panel, and the next job can start."""
    yield from prepare(gui)
    yield from start(gui, "fail")
    yield from over(gui, "failed")
    yield from gui.shot("failed")
    yield from start(gui, "crash")
    yield from over(gui, "failed")
    yield from gui.shot("crashed")
    yield from gui.click("threer.import_last")
    assert "courtyard Points" in bpy.data.objects
    yield from start(gui, "hang", 0.5)
    yield from gui.wait(lambda: gui.session.job.state.solved, "the cameras")
    yield from gui.click("threer.cancel")
    yield from gui.shot("stopping")
    yield from over(gui, "cancelled")
    yield from gui.shot("cancelled")
    yield from start(gui, "garbage")
    yield from over(gui, "done")
    gui.settings.path = "/home/artist/shot.mp4"
    yield from gui.shot("missing-footage")
    assert not bpy.ops.threer.reconstruct.poll()


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
    yield from gui.shot("waiting")
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


def installing(gui):
    """Install engine, cancel, install again until the engine is ready."""
    yield from arrive(gui)
    bpy.context.preferences.system.use_online_access = True
    gui.preferences.engine_folder = str(gui.out / "engine")
    environment = sys.modules[f"{gui.module}.client.environment"]
    python = write_fake_python(gui.out / "python", pause=8.0)
    environment.base_pythons = lambda *_: [python]
    yield from gui.click("threer.install_engine")
    began = time.monotonic()
    yield from gui.wait(lambda: "opencv" in gui.session.installer.state.step, "a download")
    gui.facts["longest_cpu_s"] = max(gap.cpu_s for gap in gui.gaps if gap.when > began)
    yield from gui.shot("installing")
    yield from gui.click("threer.cancel_install")
    yield from gui.wait(lambda: not gui.session.is_installing, "the end of the installation")
    assert not (gui.out / "engine" / "classic").exists()
    yield from gui.shot("install-cancelled")
    write_fake_python(gui.out / "python", mode="offline")
    shutil.rmtree(gui.out / "engine" / "tools")  # else what the earlier Python made is used again
    yield from gui.click("threer.install_engine")
    yield from gui.wait(lambda: not gui.session.is_installing, "the end of the installation")
    yield from gui.pause(0.3)
    yield from gui.shot("install-failed")
    write_fake_python(gui.out / "python")
    shutil.rmtree(gui.out / "engine" / "tools")
    yield from gui.click("threer.install_engine")
    yield from gui.wait(lambda: gui.session.engine.state == "ready", "the engine")
    yield from gui.pause(0.3)
    yield from gui.shot("installed")
    assert gui.facts["longest_cpu_s"] < STALL_S


def engine_care(gui):
    """The preferences: nothing there, a download, an engine, what Check finds, what Remove leaves."""
    yield from arrive(gui)
    bpy.context.preferences.system.use_online_access = True
    environment = sys.modules[f"{gui.module}.client.environment"]
    gui.preferences.engine_folder = str(pretend_engine(gui, environment))
    assert gui.session.engine.state == "ready", gui.session.engine
    python = write_fake_python(gui.out / "python", pause=1.5)
    environment.base_pythons = lambda *_: [python]
    area = gui.area
    with bpy.context.temp_override(window=gui.window):
        bpy.ops.preferences.addon_show(module=gui.module)
    other = bpy.context.window_manager.windows[-1]
    with bpy.context.temp_override(window=other):
        bpy.ops.wm.window_close()  # without a window manager it would lie outside of the screen
    area.type = "PREFERENCES"
    yield from gui.pause(8.0)  # the engine is asked for its models
    yield from gui.shot_of(area, "preferences-window")
    gui.preferences.engine_folder = str(gui.out / "engine")
    yield from gui.pause(1.0)
    yield from gui.shot_of(area, "preferences-missing")
    bpy.ops.threer.install_engine()
    yield from gui.wait(lambda: "opencv" in gui.session.installer.state.step, "a download")
    yield from gui.pause(1.0)
    yield from gui.shot_of(area, "preferences-installing")
    yield from gui.wait(lambda: gui.session.engine.state == "ready", "the engine")
    yield from gui.pause(0.5)
    yield from gui.shot_of(area, "preferences-installed")
    bpy.ops.threer.check_engine()
    yield from gui.wait(lambda: not gui.session.is_installing, "the end of the check")
    assert not gui.session.installer.report.is_healthy, "the stand-in has no packages"
    yield from gui.pause(0.5)
    yield from gui.shot_of(area, "preferences-checked")
    bpy.ops.threer.remove_engine("EXEC_DEFAULT")
    yield from gui.wait(lambda: not gui.session.is_installing, "the end of the removal")
    yield from gui.pause(0.5)
    yield from gui.shot_of(area, "preferences-removed")
    assert gui.session.engine.state == "missing"
    assert not (gui.out / "engine").exists()


def pretend_engine(gui, environment):
    """An engine folder as after an installation, with the real engine behind it."""
    locks = sys.modules[f"{gui.module}.client.locks"]
    folder = gui.out / "real engine"
    place = environment.environment_folder(folder)
    python = environment.python_of(place)
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(f'#!/bin/sh\nexec "{PYTHON}" "$@"\n')
    python.chmod(0o755)
    lock = locks.read_lock(locks.lock_path("classic"))
    environment.write_marker(place, {"lock": lock.hash, "profile": "classic", "bytes": 450_000_000})
    return folder


def real_job(gui):
    """The demo shot with the real engine; its points grow while it runs."""
    yield from prepare(gui)
    gui.preferences.engine_python = str(PYTHON)
    gui.settings.quality = "draft"
    turns = gui.watch_extension()
    yield from gui.click("threer.reconstruct")
    yield from gui.wait(lambda: gui.session.is_running, "the job's start")
    gui.facts["engines"] = [gui.session.job.engine_pid]
    grown = []
    gaps = yield from follow(gui, "real-running", lambda: note_growth(gui, grown))
    yield from gui.wait(lambda: not gui.session.is_taken, "the result")
    yield from gui.pause(2.0)
    gui.facts["growth_steps"] = len(grown)
    assert len(grown) > 1, "the points came only at the end"
    assert grown == sorted(grown)
    summary = gui.session.job.state.summary
    assert summary["solved"] == summary["total"] == 40, summary
    yield from note_stalls(gui, gaps, turns)
    yield from gui.shot("real-done")
    for name in ("Cube", "Camera", "Light"):
        bpy.data.objects.remove(bpy.data.objects[name])
    space = gui.area.spaces.active
    space.overlay.show_relationship_lines = False
    with bpy.context.temp_override(window=gui.window, area=gui.area, region=gui.view):
        bpy.ops.view3d.view_all()
    space.region_3d.view_distance *= 0.65
    yield from gui.in_material_preview("real-window")
    with bpy.context.temp_override(window=gui.window, area=gui.area, region=gui.view):
        bpy.ops.view3d.view_camera()
    bpy.context.scene.frame_set(20)
    yield from gui.in_material_preview("camera-window")


def models(gui):
    """Method Pairwise: its model is downloaded with licence, pause and resume; what a job will need; the list."""
    os.environ["FAKE_MODELS"] = str(gui.out / "models.json")
    (gui.out / "models.json").unlink(missing_ok=True)
    yield from prepare(gui)
    bpy.context.preferences.system.use_online_access = True
    fake_engine(gui, "zoo-plain", 10.0)
    gui.settings.method = "pairwise"
    catalogue = sys.modules[f"{gui.module}.client.library"].library.catalogue
    yield from gui.wait(lambda: catalogue.status == "known", "the list of models")
    yield from gui.pause(0.3)
    yield from gui.shot("models-no-pytorch")
    fake_engine(gui, "zoo", 60.0)  # the mouse takes its time to find the buttons
    yield from gui.wait(lambda: catalogue.status == "known", "the list of models")
    yield from gui.pause(0.3)
    yield from gui.shot("models-missing")
    assert not bpy.ops.threer.reconstruct.poll()
    yield from gui.click("threer.download_model")
    yield from gui.pause(0.5)
    subprocess.run(["import", "-window", "root", str(gui.out / "licence-window.png")], check=True)
    yield from answer_licence(gui, accept=False)
    yield from gui.press("ESC")
    assert not catalogue.downloads, "nothing was accepted"
    gaps_since = time.monotonic()
    yield from gui.click("threer.download_model")
    yield from gui.pause(0.5)
    yield from answer_licence(gui, accept=True)
    yield from gui.wait(lambda: catalogue.downloads["mast3r-512"].fraction > 0.4, "progress")
    yield from gui.shot("models-downloading")
    yield from gui.click("threer.pause_download")
    yield from gui.wait(lambda: catalogue.downloads["mast3r-512"].status == "paused", "the pause")
    yield from gui.shot("models-paused")
    done = catalogue.downloads["mast3r-512"].done
    assert done > 0
    fake_engine(gui, "zoo", 5.0)
    catalogue.rest()
    yield from gui.click("threer.resume_download")
    yield from gui.wait(lambda: progress(catalogue, "mast3r-512") > done, "the download to go on")
    yield from gui.wait(lambda: catalogue.models["mast3r-512"].downloaded, "the model", 120)
    gui.facts["longest_cpu_s"] = max(gap.cpu_s for gap in gui.gaps if gap.when > gaps_since)
    yield from gui.wait(lambda: catalogue.estimate is not None, "the estimate")
    yield from gui.pause(0.3)
    yield from gui.shot("models-ready")
    assert bpy.ops.threer.reconstruct.poll()
    fake_engine(gui, "zoo-tight", 10.0)
    yield from gui.wait(lambda: catalogue.estimate is not None, "the estimate")
    yield from gui.pause(0.3)
    yield from gui.shot("models-tight")
    yield from models_list(gui, catalogue)
    assert gui.facts["longest_cpu_s"] < STALL_S


def progress(catalogue, model):
    """Bytes of it that are here."""
    download = catalogue.downloads.get(model)
    return download.done if download is not None else catalogue.models[model].download_bytes


def answer_licence(gui, accept):
    """Tick the box of the licence's dialog or not, and press its button."""
    left, right, bottom, top = gui.confirm_button()
    if accept:
        yield from gui.press_at(left - (right - left), (bottom + top) // 2 + 31)  # the box stands above Cancel
        subprocess.run(["import", "-window", "root", str(gui.out / "licence-accepted.png")], check=True)
    yield from gui.press_at((left + right) // 2, (bottom + top) // 2)
    yield from gui.pause(0.3)
    if not accept:
        subprocess.run(["import", "-window", "root", str(gui.out / "licence-refused.png")], check=True)


def models_list(gui, catalogue):
    """The sub-panels open, and the same list in the preferences."""
    gui.settings.device = "cuda"
    machine = opened(gui, "method", "THREER_PT_machine")
    yield from gui.pause(0.5)
    yield from gui.shot("models-machine")
    bpy.utils.unregister_class(machine)
    bpy.ops.threer.show_model(model="mast3r-512")
    catalogue.download("monst3r-512-dpt")
    yield from gui.wait(lambda: catalogue.downloads["monst3r-512-dpt"].fraction > 0.1, "progress")
    catalogue.pause("monst3r-512-dpt")
    gui.settings.path = ""
    models = opened(gui, "models", "THREER_PT_models")
    yield from gui.pause(0.5)
    yield from gui.shot("models-list")
    bpy.utils.unregister_class(models)
    area = gui.area
    area.type = "PREFERENCES"
    with bpy.context.temp_override(window=gui.window, area=area):
        bpy.ops.preferences.addon_show(module=gui.module)
    other = bpy.context.window_manager.windows[-1]
    if other != gui.window:
        with bpy.context.temp_override(window=other):
            bpy.ops.wm.window_close()
    yield from gui.pause(1.0)
    subprocess.run(["import", "-window", "root", str(gui.out / "models-preferences.png")], check=True)


def opened(gui, module, name):
    """A copy of a sub-panel that is open: Blender remembers that the panel itself is closed."""
    panel = getattr(sys.modules[f"{gui.module}.panels.{module}"], name)
    copy = type(f"{name}_open", (panel,), {"bl_idname": f"{name}_open", "bl_options": set()})
    bpy.utils.register_class(copy)
    return copy

"""The engine in a real window: installed, checked and removed, from the tab and from the preferences."""

from __future__ import annotations

import shutil
import sys
import time

import bpy
from fake_python import write_fake_python
from scenarios import PYTHON, STALL_S, arrive


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

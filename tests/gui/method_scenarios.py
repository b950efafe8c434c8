"""Played in the window: the method Auto, and the menu of models; see `scenarios`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import bpy
from scenarios import fake_engine, opened, prepare


def methods(gui):
    """What Auto says of a shot, of few photos and of one; the menu of models, from which one is chosen by mouse."""
    os.environ["FAKE_MODELS"] = str(gui.out / "models.json")
    have(gui)
    yield from prepare(gui)
    bpy.context.preferences.system.use_online_access = True
    fake_engine(gui, "zoo", 10.0)
    assert gui.settings.method == "auto"
    yield from chosen(gui)
    yield from gui.shot("auto-footage")
    footage = gui.settings.path
    for count, name in ((3, "auto-suggests"), (1, "auto-one-image")):
        gui.settings.path = photos(gui, count)
        yield from chosen(gui)
        yield from gui.shot(name)
    assert not bpy.ops.threer.reconstruct.poll()
    have(gui, "mast3r-512", "monst3r-512-dpt")
    fake_engine(gui, "zoo-plain", 10.0)
    yield from chosen(gui)
    yield from gui.shot("auto-no-pytorch")
    gui.settings.path = photos(gui, 3)
    fake_engine(gui, "zoo", 9.0)
    yield from chosen(gui)
    yield from gui.shot("auto-network")
    yield from menu(gui)
    for method in ("multiview", "streaming"):
        gui.settings.method = method
        gui.sidebar.tag_redraw()
        machine = opened(gui, "method", "THREER_PT_machine")
        yield from gui.pause(0.5)
        yield from gui.shot(f"options-{method}")
        bpy.utils.unregister_class(machine)
    gui.settings.path = footage
    gui.sidebar.tag_redraw()
    yield from gui.pause(0.5)
    yield from gui.shot("options-footage")


def menu(gui):
    """Open it for both kinds of lists, look at it, choose the second model of those that are here."""
    catalogue = sys.modules[f"{gui.module}.client.library"].library.catalogue
    bpy.context.preferences.view.show_tooltips = False
    for method in ("multiview", "pairwise"):
        gui.settings.method = method
        gui.sidebar.tag_redraw()
        yield from gui.wait(lambda: catalogue.status == "known", "the list of models")
        yield from gui.pause(0.5)
        with bpy.context.temp_override(window=gui.window, area=gui.area, region=gui.sidebar):
            bpy.ops.wm.call_menu(name="THREER_MT_model")
        yield from gui.pause(0.8)
        subprocess.run(["import", "-window", "root", str(gui.out / f"menu-{method}.png")], check=True)
        if method == "multiview":
            yield from key(gui, "ESC")
    for name in ("DOWN_ARROW", "RET"):
        yield from key(gui, name)
    assert gui.settings.model == "monst3r-512-dpt"
    yield from gui.pause(0.5)
    yield from gui.shot("menu-chosen")


def key(gui, name):
    """Press it where the mouse is, for what is below a mouse that moves would be chosen."""
    gui.window.event_simulate(type=name, value="PRESS", x=gui.area.x + 300, y=gui.area.y + 200)
    yield from gui.pause(0.3)


def chosen(gui):
    """Wait for the engine's choice for the settings of this moment."""
    choice = sys.modules[f"{gui.module}.operators.model_choice"]
    yield from gui.pause(0.2)
    yield from gui.wait(lambda: choice.pick(gui.settings) is not None, "the choice")
    yield from gui.pause(0.8)


def have(gui, *models):
    """What the fake engine takes as downloaded."""
    (gui.out / "models.json").write_text(json.dumps({"here": models, "begun": {}, "own": []}))


def photos(gui, count):
    """A folder beside the file, with so many pictures."""
    folder = Path(gui.out) / ("still" if count == 1 else "corner")
    folder.mkdir(exist_ok=True)
    write_pictures([folder / f"IMG_{number}.png" for number in range(count)])
    return f"//{folder.name}"


def write_pictures(paths):
    image = bpy.data.images.new("picture", 640, 480)
    image.file_format = "PNG"
    for path in paths:
        image.filepath_raw = str(path)
        image.save()
    bpy.data.images.remove(image)

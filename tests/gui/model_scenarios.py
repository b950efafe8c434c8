"""Models in a real window: the licence, the download, what a job will need, the list."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import bpy
from scenarios import STALL_S, fake_engine, opened, prepare


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

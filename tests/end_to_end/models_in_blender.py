"""Run by test_models_in_blender.py in Blender's Python: models_in_blender.py FOLDER ENGINE_PYTHON.

The timer is turned by hand, as Blender turns it when it has a window.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import bpy
import extension

from blender_3r.client.library import library

NAMES = ("downloaded", "begun_bytes", "commercial_use", "allowed")
MODEL = "hubbed"


def main() -> None:
    folder, python = Path(sys.argv[1]), sys.argv[2]
    extension.switch_on()
    bpy.context.preferences.system.use_online_access = True
    preferences = extension.preferences()
    preferences.models_folder = str(folder / "weights")
    preferences.engine_python = python
    catalogue, facts, turns = library.catalogue, {}, []

    def until(is_so: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not is_so():
            if time.monotonic() > end:
                raise SystemExit(f"waited in vain: {vars(catalogue)}")
            before = time.thread_time()
            library.tick()
            turns.append(time.thread_time() - before)
            time.sleep(0.02)

    def model() -> dict:
        return {name: getattr(catalogue.models[MODEL], name) for name in NAMES}

    catalogue.refresh()
    until(lambda: catalogue.status == "known")
    facts["listed"] = model()
    try:
        bpy.ops.threer.download_model(model=MODEL)
    except RuntimeError as error:
        facts["refused"] = str(error).removeprefix("Error: ").strip()

    catalogue.download(MODEL)
    until(lambda: catalogue.downloads[MODEL].done > 0)
    facts["progress"] = {name: getattr(catalogue.downloads[MODEL], name) for name in ("done", "total")}
    catalogue.pause(MODEL)
    until(lambda: catalogue.downloads[MODEL].status == "paused" and not catalogue.is_waiting)
    facts["paused"] = model()
    (folder / "has paused").touch()

    time.sleep(0.2)
    bpy.ops.threer.resume_download(model=MODEL)
    until(lambda: not catalogue.downloads and not catalogue.is_waiting)
    facts["done"] = model()
    (folder / "file there").touch()
    until((folder / "seen").exists)

    bpy.ops.threer.remove_model(model=MODEL)
    facts["removed"] = model()
    stranger = folder / "stranger.pth"
    stranger.write_bytes(b"no checkpoint")
    try:
        bpy.ops.threer.add_checkpoint(filepath=str(stranger))
    except RuntimeError as error:
        facts["stranger"] = str(error)
    facts["longest_s"] = max(turns)
    temporary = folder / "facts.new"
    temporary.write_text(json.dumps(facts))
    temporary.rename(folder / "facts.json")
    extension.switch_off()
    sys.stdout.flush()
    os._exit(0)


main()

"""Run by test_models_in_blender.py in Blender's Python: pairwise_in_blender.py FOLDER ENGINE_PYTHON MOVIE."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import bpy
import extension

from blender_3r.client.library import library
from blender_3r.client.session import session
from blender_3r.operators import reconstruct


def main() -> None:
    folder, python, movie = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    extension.switch_on()
    preferences = extension.preferences()
    preferences.job_folder = str(folder / "jobs")
    preferences.engine_python = python
    settings = bpy.context.scene.threer
    settings.path = movie
    settings.use_range, settings.step = True, 12
    settings.method = "pairwise"
    settings.refine = False  # what the network says is looked at
    facts = {}

    bpy.ops.threer.refresh_models()
    facts["missing"] = library.catalogue.missing
    facts["without_weights"] = [bpy.ops.threer.reconstruct.poll(), reconstruct.model_choice.obstacle(settings)]
    bpy.ops.threer.choose_model(model="tiny-mast3r")
    settings.device = "cpu"
    reconstruct.ask_for_estimate(bpy.context.scene)
    library.wait(lambda: not library.catalogue.is_estimating, 60)
    facts["estimate"] = library.catalogue.estimate
    bpy.ops.threer.reconstruct()
    facts["summary"] = session.job.state.summary
    facts["cameras"] = sum(one.type == "CAMERA" for one in bpy.data.collections["courtyard"].all_objects)
    facts["request"] = session.job.request["settings"]
    end = time.monotonic() + 20
    while library.catalogue.engine_pid is not None and time.monotonic() < end:
        library.catalogue.pump()
        time.sleep(0.05)
    facts["zoo_engine_is_gone"] = library.catalogue.engine_pid is None
    (folder / "facts.json").write_text(json.dumps(facts))
    extension.switch_off()
    sys.stdout.flush()
    os._exit(0)


main()

"""Run by test_export_in_blender.py in Blender's Python: export_in_blender.py FOLDER JOB ENGINE_PYTHON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import bpy
import extension
import numpy as np

from blender_3r.client.session import session
from blender_3r.scene.report import PICTURES


def main() -> None:
    folder, job, python = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    extension.switch_on()
    preferences = extension.preferences()
    preferences.job_folder, preferences.engine_python = str(folder / "jobs"), python
    bpy.ops.threer.import_job(directory=job, point_budget=100)
    facts: dict = {}
    for format_, name in (("jsx", "a.jsx"), ("ply", "cloud"), ("poses", "poses")):
        facts[format_] = bpy.ops.threer.export(filepath=str(folder / name), format=format_) == {"FINISHED"}
    facts["text"] = session.job.state.summary["text"]
    (folder / "foreign").mkdir()
    (folder / "foreign" / "poses.json").write_text("mine")
    try:
        bpy.ops.threer.export(filepath=str(folder / "foreign"), format="poses")
        facts["refused"] = ""
    except RuntimeError as error:
        facts["refused"] = str(error)
    facts["report"] = [bpy.ops.threer.report() == {"FINISHED"}, session.job.title]
    facts["pictures"] = sorted(
        [image.name, list(image.size)] for image in bpy.data.images if image.get("threer_role") in PICTURES
    )
    facts["loaded"] = bpy.ops.threer.load_depth() == {"FINISHED"}
    facts["notes"] = session.notes
    for image in bpy.data.images:
        if image.get("threer_role") in ("depth", "confidence"):
            width, height = image.size
            values = np.empty(width * height * image.channels, np.float32)
            image.pixels.foreach_get(values)
            values = values.reshape(height, width, -1)[::-1, :, 0]
            np.save(folder / f"{image['threer_role']}-{image['threer_view']}.npy", values)
    facts["images"] = sorted(image.name for image in bpy.data.images if image.get("threer_view"))
    (folder / "facts.json").write_text(json.dumps(facts))
    extension.switch_off()
    sys.stdout.flush()
    os._exit(0)


main()

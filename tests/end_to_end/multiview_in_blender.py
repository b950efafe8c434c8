"""Run by test_multiview_in_blender.py in Blender's Python: multiview_in_blender.py FOLDER ENGINE_PYTHON PHOTOS JOB...

Imports jobs of the command line, then runs one from the panel's settings.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import bpy
import extension

from blender_3r.client.library import library
from blender_3r.client.session import session
from blender_3r.operators import reconstruct


def facts_of(items: Any) -> dict[str, Any]:
    """Names of the cameras, number of points."""
    clouds = [item for item in items if item.get("threer_role") == "points"]
    return {
        "cameras": sorted(item.name for item in items if item.type == "CAMERA"),
        "points": sum(len(item.data.vertices) for item in clouds),
    }


def main() -> None:
    folder, python, photos = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    extension.switch_on()
    preferences = extension.preferences()
    preferences.job_folder = str(folder / "jobs")
    preferences.engine_python = python
    facts: dict[str, Any] = {}
    for job in sys.argv[4:]:
        before = set(bpy.context.scene.objects)
        bpy.ops.threer.import_job(directory=job)
        facts[Path(job).name] = facts_of([item for item in bpy.context.scene.objects if item not in before])
    bpy.ops.wm.read_homefile(use_empty=True)
    settings = bpy.context.scene.threer
    settings.path = photos
    settings.method, settings.device = "multiview", "cpu"
    settings.chunk_size, settings.refine = 4, True
    bpy.ops.threer.choose_model(model="tiny-vggt")
    reconstruct.ask_for_estimate(bpy.context.scene)
    library.wait(lambda: not library.catalogue.is_estimating, 60)
    facts["estimate"] = library.catalogue.estimate
    bpy.ops.threer.reconstruct()
    facts["live"] = facts_of(bpy.context.scene.objects)
    facts["summary"] = session.job.state.summary
    facts["failure"] = str(session.job.state.failure)
    (folder / "facts.json").write_text(json.dumps(facts))
    extension.switch_off()
    sys.stdout.flush()
    os._exit(0)


main()

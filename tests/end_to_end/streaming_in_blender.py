"""Run by test_streaming_in_blender.py in Blender's Python: streaming_in_blender.py FOLDER ENGINE_PYTHON FOOTAGE JOB...

Imports jobs of the command line, then runs one from the panel's settings.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import bpy
import extension

from blender_3r.client.session import session


def facts_of(items: Iterable[bpy.types.Object]) -> dict[str, Any]:
    """What an artist would look at: cameras, their keys and of what kind, points."""
    items = list(items)
    cameras = [item for item in items if item.type == "CAMERA"]
    clouds = [item for item in items if item.get("threer_role") == "points"]
    curves = list(_curves(cameras[0])) if cameras else []
    keys = [
        key
        for curve in curves
        if curve.data_path == "location" and curve.array_index == 0
        for key in curve.keyframe_points
    ]
    return {
        "cameras": len(cameras),
        "frames": [round(key.co[0]) for key in keys],
        "kinds": [key.type for key in keys],
        "points": sum(len(item.data.vertices) for item in clouds),
    }


def _curves(item: bpy.types.Object) -> Any:
    action = item.animation_data.action if item.animation_data else None
    if action is None:
        return []
    if getattr(action, "layers", None):
        bags = [bag for layer in action.layers for strip in layer.strips for bag in strip.channelbags]
        return [curve for bag in bags for curve in bag.fcurves]
    return action.fcurves


def main() -> None:
    folder, python, footage = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    extension.switch_on()
    preferences = extension.preferences()
    preferences.job_folder = str(folder / "jobs")
    preferences.engine_python = python
    facts = {}
    for job in sys.argv[4:]:
        before = set(bpy.data.objects)
        bpy.ops.threer.import_job(directory=job)
        facts[Path(job).name] = facts_of(item for item in bpy.data.objects if item not in before)
    bpy.ops.wm.read_homefile(use_empty=True)
    settings = bpy.context.scene.threer
    settings.path = footage
    settings.method, settings.device, settings.every = "streaming", "cpu", 4
    settings.refine = False  # what the network says is looked at
    bpy.ops.threer.choose_model(model="tiny-wint3r")
    bpy.ops.threer.reconstruct()
    facts["live"] = facts_of(bpy.context.scene.objects)
    facts["summary"] = session.job.state.summary
    facts["failure"] = str(session.job.state.failure)
    (folder / "facts.json").write_text(json.dumps(facts))
    extension.switch_off()
    sys.stdout.flush()
    os._exit(0)


main()

"""Run by test_surface_in_blender.py in Blender's Python: surface_in_blender.py FOLDER JOB ENGINE_PYTHON."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import bpy
import extension
import numpy as np

from blender_3r.client.session import session
from blender_3r.engine.jobfolder import JobFolder
from blender_3r.scene.surfaces import surfaces_of


def facts_of(scene: bpy.types.Scene, job: str) -> dict:
    """What there is of the surface."""
    items = surfaces_of(scene, job)
    return {
        "names": [item.name for item in items],
        "faces": [len(item.data.polygons) for item in items],
        "meshes": len(bpy.data.meshes),
        "collections": sorted(one.name for one in bpy.data.collections),
    }


def main() -> None:
    folder, job, python = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    scene = bpy.context.scene
    extension.switch_on()
    preferences = extension.preferences()
    preferences.job_folder, preferences.engine_python = str(folder / "jobs"), python
    bpy.ops.threer.import_job(directory=job, point_budget=100)
    settings = scene.threer.surfaces
    settings.faces = 3000
    facts = {"made": [bpy.ops.threer.make_surface() == {"FINISHED"}, facts_of(scene, job)]}
    facts["summary"] = session.job.state.summary
    facts["pid"] = session.job.engine_pid
    np.save(folder / "without.npy", JobFolder.open(job).read_surface()["vertices"])
    facts["masks"] = bpy.ops.threer.export(filepath=str(folder / "masks"), format="masks") == {"FINISHED"}
    settings.faces, settings.moving = 800, True
    bpy.ops.threer.make_surface()
    np.save(folder / "with.npy", JobFolder.open(job).read_surface()["vertices"])
    facts["again"] = facts_of(scene, job)
    facts["same_engine"] = session.job.engine_pid == facts["pid"]
    settings.use_voxel, settings.voxel = True, 1e-5
    try:
        bpy.ops.threer.make_surface()
        facts["refused"] = ""
    except RuntimeError as error:
        facts["refused"] = str(error)
    facts["cancelled"] = cancel(settings)
    facts["after"] = facts_of(scene, job)
    (folder / "facts.json").write_text(json.dumps(facts))
    extension.switch_off()
    sys.stdout.flush()
    os._exit(0)


def cancel(settings: bpy.types.PropertyGroup) -> str:
    """Begin another one as a window would, cancel it as soon as it runs, and tell how it ended."""
    from blender_3r.operators import surfaces

    settings.use_voxel, settings.detail, settings.faces = False, "fine", 0
    session.start(surfaces._turn(bpy.context))
    end = time.monotonic() + 60
    while not session.job.state.is_over and time.monotonic() < end:
        session.job.pump()
        if session.job.state.fraction > 0.02:
            session.job.cancel()
        time.sleep(0.01)
    return session.job.state.status


main()

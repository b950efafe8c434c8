"""One scenario of the end-to-end tests, inside one Blender; what was found goes to a JSON file.

BLENDER_USER_RESOURCES=... python -m tests.end_to_end.in_blender SCENARIO PACKAGE ENGINE_PYTHON FOOTAGE FOLDER
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from scripts import extension

from .measure import slide

KINDS = ("objects", "collections", "cameras", "meshes", "actions", "movieclips", "images")


def datablocks() -> dict[str, int]:
    """How many there are of each kind that an import makes."""
    return {kind: len(getattr(bpy.data, kind)) for kind in KINDS}


def sentence_of(action: Callable[[], object]) -> str | None:
    """The error that an operator reports, or None when it goes through."""
    try:
        action()
    except RuntimeError as error:
        return str(error).strip()
    return None


def scene_facts(scene: bpy.types.Scene) -> dict[str, Any]:
    """What an artist would look at."""
    points = [item for item in scene.objects if item.get("threer_role") == "points"]
    backgrounds = scene.camera.data.background_images
    return {
        "size": [scene.render.resolution_x, scene.render.resolution_y],
        "fps": scene.render.fps / scene.render.fps_base,
        "range": [scene.frame_start, scene.frame_end],
        "points": sum(len(item.data.vertices) for item in points),
        "plate": bool(backgrounds and backgrounds[0].clip),
        "datablocks": datablocks(),
    }


def whole(footage: Path, folder: Path) -> dict[str, Any]:
    """Reconstruct and import the demo shot, measure the camera, save, import once more."""
    extension.reconstruct(footage, quality="draft")
    scene = bpy.context.scene
    reference = json.loads((footage.parent / "reference.json").read_text(encoding="utf-8"))
    frames = [image["frame"] for image in reference["images"]]
    errors = slide(scene, reference, frames)
    found = {"median_px": float(np.median(errors)), "p95_px": float(np.percentile(errors, 95)), "pairs": len(errors)}
    camera = scene.camera.data
    found["focal_ratio"] = (
        camera.lens / camera.sensor_width * reference["images"][0]["width"] / reference["images"][0]["fx"]
    )
    found["first"] = scene_facts(scene)
    job = extension.job_folder_of(scene)
    found["chosen"] = json.loads((job / "request.json").read_text(encoding="utf-8"))["auto"]["why"]
    bpy.ops.threer.import_job(directory=str(job))
    found["again"] = scene_facts(scene)
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "whole.blend"))
    return found


def engine_children() -> list[int]:
    """Process ids of this Blender's engines."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
            command = (status.parent / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has just ended
            continue
        if int(fields[1]) == os.getpid() and b"serve" in command:
            found.append(int(status.parent.name))
    return found


def kill_engines_when(is_due: Callable[[], bool], count: int) -> threading.Thread:
    """Kill this Blender's engines with all they started, so many one after the other, as soon as is_due."""

    def wait_and_kill() -> None:
        killed: set[int] = set()
        while len(killed) < count:
            for process in set(engine_children()) - killed if is_due() else ():
                os.killpg(process, signal.SIGKILL)
                killed.add(process)
            time.sleep(0.02)

    thread = threading.Thread(target=wait_and_kill, daemon=True)
    thread.start()
    return thread


def killed(footage: Path, folder: Path) -> dict[str, Any]:
    """The engine is killed as soon as cameras are on disk, and so is the next one; what is there is imported."""
    jobs = folder / "jobs"
    shot = folder / "Büro 東 take 2.mp4"
    shot.write_bytes(footage.read_bytes())
    before = datablocks()
    killer = kill_engines_when(lambda: any(jobs.glob("*/cameras.json")), 2)
    sentence = sentence_of(lambda: extension.reconstruct(shot, quality="normal"))
    killer.join()
    found = {"sentence": sentence, "clean": datablocks() == before, "orphans": engine_children()}
    job = next(jobs.glob("*/cameras.json")).parent
    found["import"] = sentence_of(lambda: bpy.ops.threer.import_job(directory=str(job)))
    found["has_camera"] = bpy.context.scene.camera is not None
    return found


def restarted(footage: Path, folder: Path) -> dict[str, Any]:
    """The engine is killed once, as soon as a view is on disk."""
    killer = kill_engines_when(lambda: any((folder / "jobs").glob("*/views/0*")), 1)
    sentence = sentence_of(lambda: extension.reconstruct(footage, quality="draft"))
    killer.join(1)
    log = next((folder / "jobs").glob("*/log.txt")).read_text(encoding="utf-8")
    return {
        "sentence": sentence,
        "was_killed": "the engine was killed, and was started again" in log,
        "went_on": "goes on: " in log,
        "scene": scene_facts(bpy.context.scene),
        "engines": len(engine_children()),
    }


def refused(footage: Path, folder: Path) -> dict[str, Any]:
    """An empty folder, a text that calls itself a movie, a cut movie, one image, a folder without a job."""
    empty = folder / "nothing here"
    empty.mkdir()
    text = folder / "text ä.mp4"
    text.write_text("this is no movie\n" * 100, encoding="utf-8")
    cut = folder / "cut.mp4"
    cut.write_bytes(footage.read_bytes()[:20_000])
    before = datablocks()
    actions = {
        "missing": lambda: extension.reconstruct(folder / "gone.mp4"),
        "empty folder": lambda: extension.reconstruct(empty),
        "text": lambda: extension.reconstruct(text),
        "cut movie": lambda: extension.reconstruct(cut),
        "no job": lambda: bpy.ops.threer.import_job(directory=str(empty)),
    }
    sentences = {name: sentence_of(action) for name, action in actions.items()}
    return {"sentences": sentences, "clean": datablocks() == before, "orphans": engine_children()}


def missing_engine(footage: Path, folder: Path) -> dict[str, Any]:
    """The preferences name an engine that is not there."""
    bpy.context.preferences.addons[extension.MODULE].preferences.engine_python = str(folder / "gone" / "python")
    before = datablocks()
    return {"sentence": sentence_of(lambda: extension.reconstruct(footage)), "clean": datablocks() == before}


def imported(footage: Path, folder: Path) -> dict[str, Any]:
    """A job made beforehand, in the folder "job", comes into the scene; twice."""
    job = folder / "job"
    sentence = sentence_of(lambda: bpy.ops.threer.import_job(directory=str(job)))
    scene = bpy.context.scene
    cameras = [item for item in scene.objects if item.type == "CAMERA"]
    found = {"sentence": sentence, "cameras": len(cameras), "first": scene_facts(scene)}
    found["lenses"] = [camera.data.lens / camera.data.sensor_width for camera in cameras]
    bpy.ops.threer.import_job(directory=str(job))
    found["again"] = scene_facts(scene)
    return found


def long(footage: Path, folder: Path) -> dict[str, Any]:
    """A job that takes a while: whoever plays this scenario kills Blender meanwhile."""
    extension.reconstruct(footage, quality="fine")
    return {"survived": True}


def shared(footage: Path, folder: Path) -> dict[str, Any]:
    """A short job with the engine of a folder that another Blender uses too, at the same time."""
    preferences = bpy.context.preferences.addons[extension.MODULE].preferences
    preferences.engine_python = ""
    preferences.engine_folder = os.environ["SHARED_ENGINE_FOLDER"]
    preferences.job_folder = os.environ["SHARED_JOBS"]
    settings = {"quality": "draft", "dense": False, "use_range": True, "first": 1, "last": 6}
    panel = bpy.context.scene.threer
    panel.path = str(footage)
    (folder / "ready").touch()
    while not (folder.parent / "go").exists():
        time.sleep(0.01)
    sentence = sentence_of(lambda: extension.reconstruct(footage, **settings))
    camera = bpy.context.scene.camera
    return {"sentence": sentence, "has_camera": camera is not None, "engine": engine_children()}


SCENARIOS = {
    "long": long,
    "shared": shared,
    "whole": whole,
    "killed": killed,
    "restarted": restarted,
    "refused": refused,
    "missing_engine": missing_engine,
    "imported": imported,
}


def main(arguments: list[str]) -> int:
    scenario, package, engine, footage, folder = arguments
    folder = Path(folder)
    try:
        extension.install(Path(package), Path(engine), folder / "jobs")
        found = {"version": bpy.app.version_string, **SCENARIOS[scenario](Path(footage), folder)}
    except Exception:
        traceback.print_exc()
        return 1
    (folder / "found.json").write_text(json.dumps(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    extension.leave(main(sys.argv[1:]))

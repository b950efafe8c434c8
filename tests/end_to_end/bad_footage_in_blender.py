"""Run by test_bad_footage.py in Blender's Python: bad_footage_in_blender.py FOLDER ENGINE_PYTHON.

Picks and reconstructs what lies in FOLDER/footage, as an artist would try it, in an unsaved file at first.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import bpy
import extension

from blender_3r.client.session import session


def census() -> dict[str, int]:
    """How many datablocks there are of the kinds that an import makes."""
    kinds = (
        "objects",
        "collections",
        "cameras",
        "meshes",
        "movieclips",
        "images",
        "actions",
        "materials",
        "node_groups",
    )
    return {kind: len(getattr(bpy.data, kind)) for kind in kinds}


def attempt(path: Path | str) -> dict:
    """What the panel says of path, and what comes of Reconstruct."""
    settings = bpy.context.scene.threer
    settings.path = str(path)
    facts = {"text": settings.info_text, "error": settings.info_error, "warnings": settings.info_warnings}
    before = census()
    facts["can_start"] = bpy.ops.threer.reconstruct.poll()
    facts["failure"] = ""
    if facts["can_start"]:
        try:
            bpy.ops.threer.reconstruct()
        except RuntimeError as error:
            facts["failure"] = str(error)
        facts["job"] = str(session.job.folder) if session.job else ""
        facts["summary"] = session.job.state.summary if session.job else {}
    facts["is_done"] = facts["can_start"] and not facts["failure"]
    facts["left"] = {kind: count - before[kind] for kind, count in census().items() if count != before[kind]}
    facts["background"] = background()
    clean()
    return facts


def background() -> list[int]:
    """Size of what is behind the scene's camera."""
    camera = bpy.context.scene.camera
    if camera is None or not camera.data.background_images:
        return []
    shown = camera.data.background_images[0]
    return list((shown.clip or shown.image).size)


def clean() -> None:
    """The scene as before, so that every attempt stands by itself."""
    if session.job is not None:
        bpy.ops.threer.dismiss()
    bpy.data.batch_remove([item for kind in ("objects", "collections") for item in getattr(bpy.data, kind)])
    bpy.data.orphans_purge(do_recursive=True)


def main() -> None:
    folder, python = Path(sys.argv[1]), sys.argv[2]
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    extension.switch_on()
    extension.preferences().engine_python = python
    settings = bpy.context.scene.threer
    settings.method, settings.quality, settings.dense = "classic", "draft", False
    paths = json.loads((folder / "paths.json").read_text())
    facts = {name: attempt(path) for name, path in paths.items()}
    extension.preferences().job_folder = "/proc/3r"  # where nobody can make a folder, not even root
    facts["read-only"] = attempt(paths["deep"])
    (folder / "facts.json").write_text(json.dumps(facts))
    extension.switch_off()
    sys.stdout.flush()
    os._exit(0)


main()

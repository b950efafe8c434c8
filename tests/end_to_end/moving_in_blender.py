"""Run by test_moving_in_blender.py in Blender's Python: moving_in_blender.py FOLDER JOB FRAME...

Imports the job and renders its points at those frames, through the camera of the middle frame, standing still: all of
them, and without what moves.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import bpy
import numpy as np

from blender_3r.engine.jobfolder import JobFolder
from blender_3r.scene.job import ImportOptions, import_job

BUDGET = 150_000


def render(scene: bpy.types.Scene, path: Path) -> np.ndarray:
    """(h, w, 3) 8-bit codes, the first row on top."""
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(str(path))
    width, height = image.size
    pixels = np.array(image.pixels[:]).reshape(height, width, 4)[::-1, :, :3]
    return np.rint(pixels * 255).astype(np.uint8)


def main() -> None:
    folder, job, frames = Path(sys.argv[1]), Path(sys.argv[2]), [int(text) for text in sys.argv[3:]]
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    scene = bpy.context.scene
    result = import_job(scene, job, ImportOptions(point_budget=BUDGET, plate=False))
    cameras = JobFolder.open(job).read_cameras()
    scene.frame_set((scene.frame_start + scene.frame_end) // 2)
    still = scene.camera.copy()
    still.data = scene.camera.data.copy()
    still.animation_data_clear()
    still.parent = None
    still.matrix_world = scene.camera.matrix_world.copy()
    scene.collection.objects.link(still)
    scene.camera = still
    lens = cameras.views[0].intrinsics
    scene.render.resolution_x, scene.render.resolution_y = lens.width, lens.height
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising = 2, False
    scene.render.image_settings.file_format = "PNG"
    pictures = {}
    for name, is_hidden in (("all", False), ("static", True)):
        result.moving.hide_render = is_hidden
        for frame in frames[:: 2 if is_hidden else 1]:
            scene.frame_set(frame)
            pictures[f"{name}_{frame}"] = render(scene, folder / f"{name}_{frame}.png")
    np.savez(folder / "pictures.npz", **pictures)
    facts = {"text": result.text, "start": scene.frame_start, "middle": (scene.frame_start + scene.frame_end) // 2}
    (folder / "facts.json").write_text(json.dumps(facts))
    sys.stdout.flush()
    os._exit(0)


main()

"""Run by test_mask_in_blender.py in Blender's Python: mask_in_blender.py FOLDER MOVIE ENGINE_PYTHON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import bpy
import extension

from blender_3r.client.session import session


def main() -> None:
    folder, movie, python = sys.argv[1:4]
    extension.switch_on()
    preferences = extension.preferences()
    preferences.job_folder, preferences.engine_python = str(Path(folder) / "jobs"), python
    settings = bpy.context.scene.threer
    settings.path, settings.method, settings.quality, settings.dense = movie, "classic", "draft", False
    settings.use_range, settings.first, settings.last, settings.step = True, 1, 21, 2
    settings.mask_from, settings.mask = "MASK", left_part()
    facts = {"done": [bpy.ops.threer.reconstruct() == {"FINISHED"}], "job": str(session.job.folder)}
    cameras = Path(facts["job"]) / "cameras.json"
    stamps = [cameras.stat().st_mtime_ns]
    facts["done"].append(bpy.ops.threer.reconstruct() == {"FINISHED"})
    stamps.append(cameras.stat().st_mtime_ns)
    facts["solved_again"] = stamps[0] != stamps[1]
    (Path(folder) / "facts.json").write_text(json.dumps(facts))
    extension.switch_off()
    sys.stdout.flush()
    os._exit(0)


def left_part() -> bpy.types.Mask:
    """The left 40 % of the picture."""
    mask = bpy.data.masks.new("Left")
    spline = mask.layers.new(name="Left").splines.new()
    spline.points.add(4 - len(spline.points))
    spline.use_cyclic = True
    for point, corner in zip(spline.points, [(-1, -1), (0.4, -1), (0.4, 2), (-1, 2)], strict=True):
        point.handle_type = "FREE"
        point.co = point.handle_left = point.handle_right = corner
    return mask


main()

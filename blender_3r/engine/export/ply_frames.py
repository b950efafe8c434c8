"""A shot's points for playing: one PLY file of what stands, and one a frame of what moves in it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from ..errors import EngineError
from ..jobfolder import JobFolder
from ..reconstruction import Reconstruction
from . import ALL, ONLY, STATIC, ExportOptions
from .cloud import dense_blocks, dense_views, knows_moving
from .names import map_names
from .ply import write_dense


def write_frames(job: JobFolder, result: Reconstruction, out: Path, options: ExportOptions) -> None:
    """static.ply; frames/NAME.ply for every view with depth, empty where nothing moves in it; and frames.json.

    With options.moving ALL a frame's file holds all its points, and there is no static.ply; ONLY leaves that out, too.
    options.points is the limit of all frames together, and of static.ply. frames.json: each file with its frame
    number, and the rate. Raises EngineError: "usage" for photos, "input" where there is no depth, or nothing is known
    to move.
    """
    if result.kind != "video":
        raise EngineError("usage", "Photos have no frames.", "Export them as ply.")
    indices = dense_views(job, result)
    if not indices:
        raise EngineError("input", f"The job in {job.path} has no depth.", "Reconstruct without --no-dense.")
    if options.moving != ALL and not knows_moving(job, result):
        raise EngineError(
            "input",
            "Nothing is known to move in this job.",
            "Ask for all points of each frame (--moving all), or export what stands as ply.",
        )
    names = map_names(result)
    files = {index: f"frames/{names[index]}.ply" for index in indices}
    for file in files.values():
        write_dense([], out / file)
    for block in dense_blocks(job, result, dataclasses.replace(options, moving=ALL if options.moving == ALL else ONLY)):
        write_dense([block], out / files[block.index])
    if options.moving not in (ALL, ONLY):
        stands = dense_blocks(job, result, dataclasses.replace(options, moving=STATIC))
        write_dense(stands, out / "static.ply", "without what moves by itself")
    said = {
        "fps": result.fps,
        "files": [{"file": file, "frame": result.views[index].frame} for index, file in files.items()],
    }
    (out / "frames.json").write_text(json.dumps(said, indent=1), encoding="utf-8")

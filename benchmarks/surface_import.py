"""The longest step of bringing a large textured surface into Blender, with and without edges found beforehand.

    .venv/blender/bin/python -m benchmarks.surface_import [FACES]

Both ways in turns, in one run; CPU milliseconds of the main thread, since the wall clock also counts other programs.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import time
from pathlib import Path

import bpy
import numpy as np

from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.reconstruction import Intrinsics, Reconstruction, View
from blender_3r.scene.surface_data import Surfaces, read_fused
from blender_3r.scene.surfaces import build_surfaces_in_slices

ROUNDS = 3


def make_job(folder: Path, faces: int) -> JobFolder:
    """A job with a wavy surface of about so many faces, in no order, and a texture."""
    job, side = JobFolder.create(folder), int(np.sqrt(faces / 2))
    lens = Intrinsics(64, 36, 50.0, 50.0, 32.0, 18.0)
    job.write_cameras(Reconstruction([View("frame_0000", 0, lens, np.eye(4))]))
    job.write_json("request", {})
    y, x = np.mgrid[: side + 1, : side + 1].astype(np.float32)
    vertices = np.stack([x, y, np.sin(x / 10) * np.cos(y / 10)], axis=-1).reshape(-1, 3)
    corner = (np.arange(side)[:, None] * (side + 1) + np.arange(side)).reshape(-1)
    quad = np.stack([corner, corner + 1, corner + side + 2, corner + side + 1], axis=1)
    triangles = np.random.default_rng(0).permutation(np.concatenate([quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]]))
    color = np.full(vertices.shape, 128, np.uint8)
    job.write_surface({"vertices": vertices, "faces": triangles.astype(np.int32), "normals": vertices, "color": color})
    picture = bpy.data.images.new("texture", 64, 64)
    picture.filepath_raw, picture.file_format = str(folder / "made.png"), "PNG"
    picture.save()
    job.write_texture(np.zeros((len(triangles), 3, 2), np.float32), (folder / "made.png").read_bytes())
    return job


def steps_ms(surfaces: Surfaces) -> list[float]:
    """CPU time of every step of one import."""
    steps, building = [], build_surfaces_in_slices(bpy.context.scene, surfaces)
    is_over = False
    while not is_over:
        began = time.thread_time()
        try:
            next(building)
        except StopIteration:
            is_over = True
        steps.append(1000 * (time.thread_time() - began))
    return steps


def main() -> int:
    faces = int(sys.argv[1]) if len(sys.argv) > 1 else 500_000
    with tempfile.TemporaryDirectory() as folder:
        job = make_job(Path(folder), faces)
        began = time.thread_time()
        known = read_fused(job.path)
        reading = 1000 * (time.thread_time() - began)
        unknown = dataclasses.replace(known, meshes=[dataclasses.replace(known.meshes[0], edges=None)])
        steps_ms(known)
        ours, theirs = (min(max(steps_ms(way)) for _ in range(ROUNDS)) for way in (known, unknown))
        print(f"Blender {bpy.app.version_string}, {len(known.meshes[0].faces)} faces, longest step:")
        print(f"  edges from the reading thread {ours:.1f} ms (reading: {reading:.0f} ms, aside)")
        print(f"  edges by Blender {theirs:.1f} ms, {theirs / ours:.1f} times as long")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A small shot over a floor, with its footage on disk: what Set Up Shot and the compositor are tested on."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import bpy
import jobs
import numpy as np

from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.reconstruction import Intrinsics, Reconstruction, View
from blender_3r.engine.source import Source

WIDTH, HEIGHT = 96, 54
FIRST = 101  # number of the first frame


def texture(number: int) -> np.ndarray:
    """(HEIGHT, WIDTH, 3) float32 0..1 in sRGB, on steps of 1/255, another one for each number; no pixel as the next."""
    values = np.random.default_rng(number).integers(60, 200, (HEIGHT, WIDTH, 3))
    return (values / 255).astype(np.float32)


def write_png(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _save(path, pixels, "PNG", is_float=False)


def write_exr(path: Path, pixels: np.ndarray) -> None:
    """32-bit, values as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _save(path, pixels, "OPEN_EXR", is_float=True)


def read_pixels(path: Path, color_space: str | None = "Non-Color") -> np.ndarray:
    """(h, w, 4) from the upper row down, as stored in the file."""
    image = bpy.data.images.load(str(path))
    if color_space:
        image.colorspace_settings.name = color_space
    width, height = image.size
    flat = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(flat)
    bpy.data.images.remove(image)
    return flat.reshape(height, width, 4)[::-1]


def make_shot(folder: Path, count: int = 3, **lens: float) -> JobFolder:
    """A sequence of textures, a camera that moves over a floor of points, and the job. lens: of jobs.lens."""
    files = [folder / "plate" / f"shot.{FIRST + i:04d}.png" for i in range(count)]
    for i, file in enumerate(files):
        write_png(file, texture(FIRST + i))
    intrinsics = jobs.lens(WIDTH, HEIGHT, **{"fx": 80.0, **lens})
    views = [
        View(file.name, FIRST + i, intrinsics, jobs.pose(0.05 * i, 0.0, 0.0, pitch_deg=-15))
        for i, file in enumerate(files)
    ]
    source = Source("sequence", tuple(map(str, files)), tuple(range(FIRST, FIRST + count)))
    job = jobs.make_job(folder / "job", Reconstruction(views, fps=24.0), source)
    random = np.random.default_rng(1)
    floor = np.column_stack([random.uniform(-3, 3, 600), np.full(600, 1.2), random.uniform(1.5, 9, 600)])
    jobs.add_sparse(job, floor)
    return job


def write_plates(job: JobFolder, shift: float = 0.0) -> None:
    """What the engine's export writes: other textures as plates, and ST-maps that shift by pixels to the right."""
    folder = job.path / "undistorted"
    facts = []
    for view in job.read_cameras().views:
        name = view.file.removesuffix(".png")
        write_png(folder / "plates" / f"{name}.png", texture(view.frame + 500))
        facts.append(
            {"file": view.file, "frame": view.frame, "name": name, "plate": f"plates/{name}.png"}
            | asdict(view.intrinsics)
        )
    for kind, sign in (("undistort", 1), ("redistort", -1)):
        write_exr(folder / "stmaps" / f"{kind}.exr", stmap(sign * shift))
    (folder / "undistorted.json").write_text(json.dumps({"one_lens": True, "views": facts}))


def stmap(shift: float) -> np.ndarray:
    """(HEIGHT, WIDTH, 3): every pixel's own place, shift pixels to the left."""
    columns, rows = np.meshgrid(np.arange(WIDTH) + 0.5 + shift, np.arange(HEIGHT) + 0.5)
    inside = (columns >= 0) & (columns <= WIDTH)
    return np.stack([columns / WIDTH, 1 - rows / HEIGHT, inside], axis=-1).astype(np.float32)


def edit_lens(job: JobFolder, lens: Intrinsics) -> None:
    """Give all cameras of the job another lens."""
    result = job.read_cameras()
    for view in result.views:
        view.intrinsics = lens
    job.write_cameras(result)


def _save(path: Path, pixels: np.ndarray, kind: str, is_float: bool) -> None:
    height, width = pixels.shape[:2]
    image = bpy.data.images.new("made", width, height, float_buffer=is_float)
    if is_float:
        image.colorspace_settings.name = "Non-Color"
    full = np.ones((height, width, 4), np.float32)
    full[..., :3] = pixels[::-1]
    image.pixels.foreach_set(full.ravel())
    image.file_format, image.filepath_raw = kind, str(path)
    image.save()
    bpy.data.images.remove(image)

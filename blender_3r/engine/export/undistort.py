"""The footage without its lens's distortion, and the ST-maps that take distortion away and bring it back."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from ..errors import EngineError
from ..jobfolder import JobFolder
from ..media.frames import FrameSource
from ..media.of_job import footage_of
from ..reconstruction import Reconstruction, View
from . import ExportOptions
from .depth import write_image
from .names import map_names
from .stmap import overscan, redistort_map, stmap_image, undistort_map

FACTS = "undistorted.json"
_DEEP = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


def write_undistorted(job: JobFolder, result: Reconstruction, out: Path, options: ExportOptions) -> None:
    """plates/NAME.png or .exr, stmaps/undistort.exr and redistort.exr, undistorted.json.

    Plates have the frames' size, and focal lengths and principal point of cameras.json: a pinhole camera with those
    fits. Movies and 8-bit images become 8-bit PNG files, 16-bit images 16-bit ones, float images EXR files in their
    own values. Outside the frame there is black. Lenses that differ (a zoom, several cameras) have ST-maps of their
    own: stmaps/undistort/NAME.exr. Frames without a pose are written too, so that a shot has no holes.
    Raises EngineError("input") when the footage is gone.
    """
    names = map_names(result)
    facts = [_facts(view, name) for view, name in zip(result.views, names, strict=True)]
    lenses = {view.intrinsics for view in result.views}
    lens, places = None, np.empty(0)
    with footage_of(job) as frames:
        position = {info.file: info.index for info in frames.infos}
        for view, name, fact in zip(result.views, names, facts, strict=True):
            if view.file not in position:
                raise EngineError("input", f"The footage no longer holds {view.file}.", "Put it back where it was.")
            if view.intrinsics != lens:
                lens = view.intrinsics
                places, back = undistort_map(lens), redistort_map(lens)
            if len(lenses) > 1 or not (out / "stmaps").exists():
                tail = f"/{name}.exr" if len(lenses) > 1 else ".exr"
                write_image(out / "stmaps" / f"undistort{tail}", stmap_image(places))
                write_image(out / "stmaps" / f"redistort{tail}", stmap_image(back))
            image = _read(frames, position[view.file], view)
            fact["plate"] = f"plates/{name}{'.exr' if image.dtype == np.float32 else '.png'}"
            write_image(out / fact["plate"], resample(image, places))
    said = {
        "plates": "size, focal lengths and principal point of cameras.json, no distortion",
        "stmaps": "red and green: shares of width and height, from the lower left corner; blue: 1 inside the picture",
        "undistort": "for each pixel of the undistorted picture its place in the footage",
        "redistort": "for each pixel of the footage its place in the undistorted picture",
        "overscan": max(overscan(lens) for lens in lenses),
        "one_lens": len(lenses) == 1,
        "views": facts,
    }
    (out / FACTS).write_text(json.dumps(said, indent=1, ensure_ascii=False), encoding="utf-8")


def resample(image: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The picture that has at each pixel what image (h, w, 3) has at places (h, w, 2), in pixels from its corner.

    Lanczos over 8 x 8 pixels; black where there is no place, or none inside image. Where a place is a pixel's own
    centre, its value stays as it is.
    """
    beyond = np.float32(-1e4)
    x = np.where(np.isfinite(places[..., 0]), places[..., 0] - np.float32(0.5), beyond)
    y = np.where(np.isfinite(places[..., 1]), places[..., 1] - np.float32(0.5), beyond)
    # The border is repeated inside the picture's outermost half pixel and cut beyond.
    sampled = cv2.remap(image, x, y, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
    height, width = image.shape[:2]
    sampled[(x < -0.5) | (x > width - 0.5) | (y < -0.5) | (y > height - 0.5)] = 0
    return sampled


def _read(frames: FrameSource, index: int, view: View) -> np.ndarray:
    """The frame as (h, w, 3) uint8, uint16 or float32, in OpenCV's order of colours."""
    size = (view.intrinsics.height, view.intrinsics.width)
    deep = _read_deep(frames, index) if frames.source.kind in ("sequence", "photos") else None
    image = deep if deep is not None else cv2.cvtColor(frames.read(index), cv2.COLOR_RGB2BGR)
    if image.shape[:2] != size:
        raise EngineError(
            "input",
            f"{view.file} is {image.shape[1]} x {image.shape[0]} pixels large, the camera was solved for "
            f"{size[1]} x {size[0]}.",
            "Put the footage back that was reconstructed.",
        )
    return image


def _read_deep(frames: FrameSource, index: int) -> np.ndarray | None:
    """An image of more than 8 bits as it is in its file; None for others, and where it would have to be turned."""
    path = _file_of(frames, index)
    if path is None or path.suffix.lower() not in (".exr", ".hdr", ".png", ".tif", ".tiff"):
        return None
    image = cv2.imdecode(np.fromfile(path, np.uint8), _DEEP)
    if image is None or image.dtype == np.uint8:
        return None
    info = frames.infos[index]
    return image if image.shape[:2] == (info.height, info.width) else None


def _file_of(frames: FrameSource, index: int) -> Path | None:
    """The file of an image: views are named relative to the folder that holds all of them."""
    tail = f"/{frames.infos[index].file}"
    files = [file for file in frames.source.files if f"/{Path(file).as_posix()}".endswith(tail)]
    return Path(min(files, key=len)) if files else None


def _facts(view: View, name: str) -> dict[str, object]:
    """What a view's plate is, for undistorted.json; k1, k2, p1, p2 are what was taken away."""
    return {"file": view.file, "frame": view.frame, "name": name} | asdict(view.intrinsics)

"""Depth and confidence of the dense views as image files or arrays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from .. import media  # noqa: F401 (switches OpenCV's EXR on)
from ..diskfiles import write_array
from ..errors import EngineError
from ..jobfolder import JobFolder
from ..reconstruction import Reconstruction
from . import ExportOptions
from .names import map_names

_STEPS = 65535  # of 16-bit images
_FAR = 20.0  # times the middle depth: what lies beyond may share the last step, so that the rest stays fine


def write_exr(job: JobFolder, result: Reconstruction, out: Path, options: ExportOptions) -> None:
    """depth/NAME.exr: planar z in scene units, 32-bit float, 0 = unknown; confidence/NAME.png: 0 to full scale.

    With 32 bits confidence is an EXR, too. depth_exr.json says what the numbers are. On the view's own (distorted)
    pixel grid at the size it was computed. NAME is the frame's or image's without suffix.
    Raises EngineError("input") when the job has no dense views.
    """
    for name, depth, confidence in _maps(job, result, options):
        write_image(out / "depth" / f"{name}.exr", depth)
        _write_confidence(out, name, confidence, options)
    said = {
        "unit": _unit(result),
        "depth": "planar z, along the camera's axis",
        "unknown": 0,
        "confidence": "0 to 1" if options.confidence_bits == 32 else f"0 to {2**options.confidence_bits - 1}",
    }
    (out / "depth_exr.json").write_text(json.dumps(said, indent=1), encoding="utf-8")


def write_png(job: JobFolder, result: Reconstruction, out: Path, options: ExportOptions) -> None:
    """depth/NAME.png: planar z in 16 bit, 0 = unknown, one scale for all views; confidence/NAME.png; depth.json.

    depth.json: steps_per_unit, so that depth in scene units = value / steps_per_unit; the value 65535 also stands for
    everything farther. The scale is options.depth_scale, else millimetres where the scene is metric and they reach,
    else what makes the best of 16 bits. Raises EngineError("input") when the job has no dense views.
    """
    scale = options.depth_scale or _best_scale(job, result, options)
    for name, depth, confidence in _maps(job, result, options):
        steps = np.clip(np.rint(depth * np.float64(scale)), 1, _STEPS)
        write_image(out / "depth" / f"{name}.png", np.where(depth > 0, steps, 0).astype(np.uint16))
        _write_confidence(out, name, confidence, options)
    said = {
        "steps_per_unit": scale,
        "unit": _unit(result),
        "depth": "planar z = value / steps_per_unit",
        "unknown": 0,
        "farthest": _STEPS,
        "note": f"the value {_STEPS} also stands for everything farther",
    }
    (out / "depth.json").write_text(json.dumps(said, indent=1), encoding="utf-8")


def write_npy(job: JobFolder, result: Reconstruction, out: Path, options: ExportOptions) -> None:
    """depth/NAME.npy and confidence/NAME.npy: (h, w) float32, planar z in scene units with 0 = unknown, and 0..1.

    Raises EngineError("input") when the job has no dense views.
    """
    for name, depth, confidence in _maps(job, result, options):
        for kind, values in (("depth", depth), ("confidence", confidence)):
            path = out / kind / f"{name}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_array(path, values)


def _maps(
    job: JobFolder, result: Reconstruction, options: ExportOptions
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(name, depth, confidence) of each dense view, float32; depth is unknown where confidence is below the minimum."""
    indices = list(job.view_indices())
    if not indices:
        raise EngineError("input", f"The job in {job.path} has no depth.", "Reconstruct without --no-dense.")
    names = map_names(result)
    for index in indices:
        arrays = job.read_view(index)
        confidence = np.array(arrays["confidence"], dtype=np.float32)
        depth = np.where(confidence >= options.min_confidence, arrays["depth"], 0).astype(np.float32)
        yield names[index], depth, confidence


def _best_scale(job: JobFolder, result: Reconstruction, options: ExportOptions) -> float:
    """Steps per scene unit for all views together."""
    farthest, middles = 0.0, []
    for _, depth, _ in _maps(job, result, options):
        known = depth[(depth > 0) & np.isfinite(depth)]
        if known.size:
            farthest = max(farthest, float(known.max()))
            middles.append(float(np.median(known)))
    if not middles:
        return 1000.0
    if result.metric and farthest * 1000 < _STEPS:
        return 1000.0
    return (_STEPS - 1) / min(farthest, _FAR * float(np.median(middles)))


def _unit(result: Reconstruction) -> str:
    return "metre" if result.metric else "scene unit"


def _write_confidence(out: Path, name: str, confidence: np.ndarray, options: ExportOptions) -> None:
    """A PNG of 8 or 16 bits, or an EXR."""
    if options.confidence_bits == 32:
        write_image(out / "confidence" / f"{name}.exr", confidence)
        return
    full, kind = (255, np.uint8) if options.confidence_bits == 8 else (65535, np.uint16)
    image = np.rint(np.clip(np.nan_to_num(confidence), 0.0, 1.0) * np.float64(full)).astype(kind)
    write_image(out / "confidence" / f"{name}.png", image)


def write_image(path: Path, image: np.ndarray) -> None:
    """An image file of the kind that the path's suffix says. Raises EngineError("machine") when OpenCV has none."""
    # Encoded in memory: cv2.imwrite says neither why it failed nor takes every name on Windows.
    good, data = cv2.imencode(path.suffix, image)
    if not good:
        raise EngineError("machine", f"OpenCV cannot write {path.suffix} files here.", "Install the engine again.")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.tobytes())

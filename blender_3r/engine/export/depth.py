"""Depth and confidence of the dense views as image files."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from ..errors import EngineError
from ..jobfolder import JobFolder
from ..reconstruction import Reconstruction


def write_depth(job: JobFolder, result: Reconstruction, out: Path) -> None:
    """depth/NAME.exr: planar z in scene units, 32-bit float, 0 = unknown; confidence/NAME.png: 0..255.

    On the view's own (distorted) pixel grid at the size it was computed. NAME is the frame's or image's without suffix.
    Raises EngineError("input") when the job has no dense views.
    """
    indices = list(job.view_indices())
    if not indices:
        raise EngineError("input", f"The job in {job.path} has no depth.", "Reconstruct without --no-dense.")
    for index in indices:
        arrays = job.read_view(index)
        name = str(PurePosixPath(result.views[index].file).with_suffix(""))
        confidence = np.round(np.clip(arrays["confidence"], 0.0, 1.0) * 255).astype(np.uint8)
        _write(out / "depth" / f"{name}.exr", np.array(arrays["depth"], dtype=np.float32))
        _write(out / "confidence" / f"{name}.png", confidence)


def _write(path: Path, image: np.ndarray) -> None:
    # Encoded in memory: cv2.imwrite says neither why it failed nor takes every name on Windows.
    good, data = cv2.imencode(path.suffix, image)
    if not good:
        raise EngineError("machine", f"OpenCV cannot write {path.suffix} files here.", "Install the engine again.")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.tobytes())

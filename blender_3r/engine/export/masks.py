"""What moves by itself as black and white images over the footage, for compositing."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from ..errors import EngineError
from ..jobfolder import JobFolder
from ..reconstruction import Reconstruction
from . import ExportOptions
from .cloud import dense_views, knows_moving
from .depth import write_image
from .names import map_names


def write_masks(job: JobFolder, result: Reconstruction, out: Path, options: ExportOptions) -> None:
    """masks/NAME.png for every frame, of the footage's size: 8-bit gray, 255 where something moves by itself, else 0.

    NAME is the frame's or image's without suffix. A frame without depth takes the mask of the nearest one that has
    some, so that no number is missing; masks.json names those. Raises EngineError("input") when nothing is known to
    move.
    """
    indices = dense_views(job, result)
    if not knows_moving(job, result):
        raise EngineError(
            "input",
            "Nothing is known to move in this job.",
            "Reconstruct footage with depth and let it look for what moves, or draw a mask in another program.",
        )
    names, borrowed = map_names(result), {}
    for index, view in enumerate(result.views):
        nearest = min(indices, key=lambda other: abs(other - index))
        if nearest != index:
            borrowed[names[index]] = names[nearest]
        size = view.intrinsics.width, view.intrinsics.height
        write_image(out / "masks" / f"{names[index]}.png", _enlarged(_mask(job, nearest), size))
    said = {"white": "moves by itself", "borrowed": borrowed}
    (out / "masks.json").write_text(json.dumps(said, indent=1), encoding="utf-8")


def _mask(job: JobFolder, index: int) -> np.ndarray:
    """(h, w) bool, the size of the view's maps: what moves in it, and what it encloses where no depth is known."""
    arrays = job.read_view(index, ("sky", "moving"))
    known = arrays["depth"] > 0
    moving = np.asarray(arrays.get("moving", np.zeros_like(known)), bool)
    if not moving.any():
        return moving
    stands = (known | np.asarray(arrays.get("sky", False), bool)) & ~moving
    count, label = cv2.connectedComponents((~moving).astype(np.uint8), connectivity=4)
    return (np.bincount(label[stands], minlength=count) == 0)[label]  # label 0 is what moves


def _enlarged(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(height, width) uint8 of size (width, height), 0 or 255, its outline without the steps of the smaller map."""
    smooth = cv2.resize(np.where(mask, np.uint8(255), np.uint8(0)), size, interpolation=cv2.INTER_LINEAR)
    return np.where(smooth >= 128, np.uint8(255), np.uint8(0))

"""What moves by itself as black and white images over the footage, for compositing."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
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

    NAME is the frame's or image's without suffix. The outline in a frame without depth lies between those of the
    nearest frames before and after that have some, so that no number is missing; masks.json names those frames. Raises
    EngineError("input") when nothing is known to move.
    """
    indices = dense_views(job, result)
    if not knows_moving(job, result):
        raise EngineError(
            "input",
            "Nothing is known to move in this job.",
            "Reconstruct footage with depth and let it look for what moves, or draw a mask in another program.",
        )
    names, between = map_names(result), {}
    for index, view in enumerate(result.views):
        known = sorted({*indices[: bisect_right(indices, index)][-1:], *indices[bisect_left(indices, index) :][:1]})
        if known != [index]:
            between[names[index]] = [names[one] for one in known]
        share = (index - known[0]) / (known[-1] - known[0]) if len(known) > 1 else 0.0
        inside = (1 - share) * _inside(_mask(job, known[0])) + share * _inside(_mask(job, known[-1]))
        large = cv2.resize(inside, (view.intrinsics.width, view.intrinsics.height), interpolation=cv2.INTER_LINEAR)
        write_image(out / "masks" / f"{names[index]}.png", np.where(large > 0, np.uint8(255), np.uint8(0)))
    said = {"white": "moves by itself", "between": between}
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


def _inside(mask: np.ndarray) -> np.ndarray:
    """(h, w) float32: how many pixels a place lies inside of the mask, negative outside. It has no steps at the outline
    when it is enlarged, and what lies between two masks is their mean.
    """
    if not mask.any() or mask.all():
        return np.full(mask.shape, sum(mask.shape) * (1 if mask.all() else -1), np.float32)
    inner, outer = (
        cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for part in (mask, ~mask)
    )
    return inner - outer

"""The canonical view of an image: one pointmap out of all that its pairs predict, and what the alignment keeps of it.

An image is divided into blocks of subsample x subsample pixels. Each block has one depth, that of its centre pixel
(index subsample // 2 in both directions); the other pixels follow it by a factor. Source: spec mast3r_sfm, 3.2, 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ....geometry.focal import estimate_focal

# What is taken off a confidence, which starts at 1, before it is used as a weight.
CONFIDENCE_OFFSET = 0.999
# Limits of the focal, in units of that of a 60 degree view over the long side.
FOCAL_LIMITS = (0.5, 3.5)


class Canonical(NamedTuple):
    """points: (H, W, 3) mean pointmap in the camera's frame. relative_depth: (H, W) depth of a pixel over that of its
    block's centre. confidence: (H, W), mean of the confidences less 0.999, weighted with themselves.
    """

    points: Tensor
    relative_depth: Tensor
    confidence: Tensor


class CanonicalSum:
    """Collects the pointmaps of one image, one at a time; takes the memory of seven numbers a pixel.

    mode: how relative depths are averaged: "avg-angle" (slopes against the block's centre) or "avg-reldepth".
    """

    def __init__(self, height: int, width: int, subsample: int = 8, mode: str = "avg-angle") -> None:
        """Raises ValueError for an unknown mode, or when subsample does not divide height and width."""
        if mode not in ("avg-angle", "avg-reldepth"):
            raise ValueError(f"unknown mode: {mode}")
        if height % subsample or width % subsample:
            raise ValueError(f"{width}x{height} pixels cannot be divided into blocks of {subsample}")
        self.subsample, self.mode = subsample, mode
        self.count = 0
        self._points = torch.zeros(height, width, 3)
        self._weight, self._square, self._slope, self._radius = torch.zeros(4, height, width)

    def add(self, points: Tensor, confidence: Tensor) -> None:
        """points: (H, W, 3) of the image in its own camera's frame; confidence: (H, W), from 1 upwards."""
        weight = confidence - CONFIDENCE_OFFSET
        centre = spread(block_centres(points, self.subsample), self.subsample)
        if self.mode == "avg-angle":
            smallest = torch.finfo(points.dtype).eps
            radius = (points - centre)[..., :2].norm(dim=-1).clamp(min=1e-8)
            slope = torch.atan((points[..., 2] - centre[..., 2].clamp(min=smallest)) / radius)
            self._radius += radius.cpu()
        else:
            slope = points[..., 2] / centre[..., 2]
        self._points += (points * weight[..., None]).cpu()
        self._slope += (slope * weight).cpu()
        self._weight += weight.cpu()
        self._square += weight.square().cpu()
        self.count += 1

    def result(self) -> Canonical:
        """The canonical view. Raises ValueError when nothing was added."""
        if self.count == 0:
            raise ValueError("no pointmap was added")
        points = self._points / self._weight[..., None]
        slope = self._slope / self._weight
        if self.mode == "avg-angle":
            centre = spread(block_centres(points[..., 2], self.subsample), self.subsample)
            slope = 1.0 + self._radius / self.count * torch.tan(slope) / centre
        return Canonical(points, slope, self._square / self._weight)


@dataclass(frozen=True)
class CanonicalImage:
    """What the alignment keeps of an image of (height, width) network pixels.

    focal: base focal in pixels. core_depth: (height / subsample, width / subsample) depth of the block centres.
    relative_depth, confidence: (height, width), as in Canonical.
    """

    height: int
    width: int
    subsample: int
    focal: float
    core_depth: Tensor
    relative_depth: Tensor
    confidence: Tensor

    @property
    def blocks(self) -> int:
        return self.core_depth.numel()

    def anchors(self, xy: Tensor) -> tuple[Tensor, Tensor]:
        """Where pixels hang: index of the block (k,) int64, row by row, and the pixel's depth over that of the
        block's centre (k,). xy: (k, 2) integer pixels.
        """
        x, y = xy[:, 0].long(), xy[:, 1].long()
        size = self.subsample
        block = (y // size) * (self.width // size) + x // size
        centres = block_centres(self.relative_depth, size).reshape(-1)
        return block, self.relative_depth[y, x] / centres[block]


def condensed_image(canonical: Canonical, subsample: int = 8) -> CanonicalImage:
    """Base focal (Weiszfeld, principal point in the middle) and core depth of a canonical view."""
    height, width = canonical.confidence.shape
    focal = estimate_focal(canonical.points.numpy(), limits=FOCAL_LIMITS)
    core = block_centres(canonical.points[..., 2], subsample)
    # A network may put a point behind its own camera; the logarithm-free depths below need a positive median.
    core = torch.nan_to_num(core, nan=1e-6).clamp(min=1e-6)
    relative = torch.nan_to_num(canonical.relative_depth, nan=1.0, posinf=1.0, neginf=1.0)
    return CanonicalImage(height, width, subsample, focal, core, relative, canonical.confidence)


def block_centres(values: Tensor, subsample: int) -> Tensor:
    """(H, W, ...) to (H / subsample, W / subsample, ...): the entries at the blocks' centres."""
    return values[subsample // 2 :: subsample, subsample // 2 :: subsample]


def spread(blocks: Tensor, subsample: int) -> Tensor:
    """(h, w, ...) to (h * subsample, w * subsample, ...): each block's value at all its pixels."""
    return blocks.repeat_interleave(subsample, dim=0).repeat_interleave(subsample, dim=1)

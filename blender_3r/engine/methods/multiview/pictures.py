"""Frames to what the networks read that see all views at once, and what is known of frames to the same pixels.

These networks take colours in 0..1 and patches of 14 pixels. Fast3R and MV-DUSt3R read pictures as DUSt3R does, which
..pairwise.pictures makes (sizes 512 and 224).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from PIL import Image

from ..pairwise.pictures import Picture

PATCH = 14
VGGT_SIZE = 518
VGGT_MODES = ("crop", "pad")
PI3_PIXELS = 255_000
WHITE = 255


@dataclass(frozen=True)
class UnitPicture(Picture):
    """A picture with values in 0..1. Its offset may be negative: then it reaches over the scaled frame's edges, and is
    white there.
    """

    @property
    def color(self) -> np.ndarray:
        """(h, w, 3) uint8 RGB: the network's picture."""
        return self.from_whole(self.whole, WHITE)

    @property
    def tensor(self) -> np.ndarray:
        """(3, h, w) float32 in 0..1: the network's input."""
        return np.ascontiguousarray(self.color.transpose(2, 0, 1)).astype(np.float32) / np.float32(255)

    def to_whole(self, values: np.ndarray) -> np.ndarray:
        """A map (h, w, ...) on the network's pixels laid into the whole scaled frame (H', W', ...); 0 around it."""
        if values.shape[:2] != self.size:
            raise ValueError(f"a map of {values.shape[:2]} does not fit a picture of {self.size}")
        whole = np.zeros((*self.scaled, *values.shape[2:]), dtype=values.dtype)
        inside, outside = self._overlap()
        whole[outside] = values[inside]
        return whole

    def from_whole(self, values: np.ndarray, beyond: float = 0) -> np.ndarray:
        """The network's part (h, w, ...) of a map on the scaled frame (H', W', ...), filled where it reaches beyond."""
        if values.shape[:2] != self.scaled:
            raise ValueError(f"a map of {values.shape[:2]} does not fit a scaled frame of {self.scaled}")
        part = np.full((*self.size, *values.shape[2:]), beyond, dtype=values.dtype)
        inside, outside = self._overlap()
        part[inside] = values[outside]
        return part

    def _overlap(self) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Rows and columns that the picture and the scaled frame share, in the picture and in the frame."""
        inside, outside = [], []
        for begin, length, whole in zip(self.offset[::-1], self.size, self.scaled, strict=True):
            first, last = max(0, begin), min(whole, begin + length)
            inside.append(slice(first - begin, last - begin))
            outside.append(slice(first, last))
        return (inside[0], inside[1]), (outside[0], outside[1])


@dataclass(frozen=True)
class Cut:
    """Where a network's picture lies, all in pixels. scaled: (w, h) that the frame is scaled to. size: (h, w) of the
    picture. offset: (left, top) of it in the scaled frame.
    """

    scaled: tuple[int, int]
    size: tuple[int, int]
    offset: tuple[int, int]


def vggt_cut(size: tuple[int, int], mode: str = "crop", side: int = VGGT_SIZE) -> Cut:
    """How VGGT's loader cuts frames of (H, W); see prepare_for_vggt(). Raises ValueError for an unknown mode."""
    if mode not in VGGT_MODES:
        raise ValueError(f"unknown mode {mode!r}")
    height, width = size
    if mode == "crop" or width >= height:
        target = (side, _whole_patches(height * side / width))
    else:
        target = (_whole_patches(width * side / height), side)
    if mode == "pad":
        left, top = ((side - part) // 2 for part in target)
        return Cut(target, (side, side), (-left, -top))
    cut = max(0, target[1] - side)
    return Cut(target, (target[1] - cut, side), (0, cut // 2))


def prepare_for_vggt(image: np.ndarray, mode: str = "crop", side: int = VGGT_SIZE) -> UnitPicture:
    """A frame as VGGT reads it. image: (H, W, 3) uint8 RGB, upright. side: 518, or another multiple of a patch.

    mode: "crop" makes the width `side` and cuts what is higher than that above and below; "pad" makes the long side so
    and adds white to a square. The other side is rounded to patches. Raises ValueError for another mode.
    Source: specs/vggt.md section 2.
    """
    cut = vggt_cut(image.shape[:2], mode, side)
    scaled = np.array(Image.fromarray(image).resize(cut.scaled, Image.Resampling.BICUBIC))
    return UnitPicture(image.shape[:2], scaled, cut.size, cut.offset)


def pad_to(picture: UnitPicture, size: tuple[int, int]) -> UnitPicture:
    """A picture in the middle of a white one of (H, W), not smaller."""
    top, left = (size[0] - picture.size[0]) // 2, (size[1] - picture.size[1]) // 2
    return replace(picture, size=size, offset=(picture.offset[0] - left, picture.offset[1] - top))


def pi3_size(size: tuple[int, int], pixel_limit: int = PI3_PIXELS) -> tuple[int, int]:
    """(H, W) in whole patches for frames of (H, W): the most that has about their shape within pixel_limit.

    Source: specs/pi3.md section 2. Frames much longer than wide can exceed the limit: a side keeps one patch.
    """
    height, width = size
    factor = (pixel_limit / (width * height)) ** 0.5
    across, down = (round(side * factor / PATCH) for side in (width, height))
    while across * down * PATCH**2 > pixel_limit:
        if across / max(down, 1e-9) > width / height:
            across -= 1
        else:
            down -= 1
    return max(1, down) * PATCH, max(1, across) * PATCH


def prepare_for_pi3(image: np.ndarray, size: tuple[int, int]) -> UnitPicture:
    """A frame as Pi3 and Pi3X read it: stretched to size (H, W), which all frames share; see pi3_size()."""
    stretched = Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.LANCZOS)
    return UnitPicture(image.shape[:2], np.array(stretched), size, (0, 0))


def depth_prior(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A known depth map (H, W) at the network's size (h, w), float32; 0 = not known; specs/pi3x.md 5.3."""
    found = cv2.resize(np.asarray(depth, np.float32), (size[1], size[0]), interpolation=cv2.INTER_NEAREST)
    return np.where(np.isfinite(found) & (found > 0), found, np.float32(0))


def intrinsics_prior(intrinsics: np.ndarray, original: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """A known pinhole matrix (3, 3) of the frame (H, W) for a picture stretched to (h, w); specs/pi3x.md 5.3."""
    scale = np.array([size[1] / original[1], size[0] / original[0], 1.0])
    return np.asarray(intrinsics, np.float64) * scale[:, None]


def _whole_patches(side: float) -> int:
    """The nearest multiple of a patch, at least one; halves to the even number of patches."""
    return max(1, round(side / PATCH)) * PATCH

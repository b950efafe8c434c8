"""Frames to what the streaming networks read. CUT3R and Point3R read what DUSt3R does: see ..pairwise.pictures."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

import numpy as np
from PIL import Image

from ...errors import EngineError
from ..multiview.pictures import UnitPicture
from ..pairwise.pictures import Picture, prepare, sizes_of

PORTRAIT_RATIO = 1.1  # a frame that much higher than wide is cut upright
MARGIN = 1e-8  # of the scale, so that rounding never leaves a side too short
LONG_SIDE = 512
SHORT_SIDES = (384, 336, 288, 256, 224)  # of WinT3R's pictures
SHAPE_TOLERANCE = 1e-3
PATCH = 16
IMAGE_MEAN = np.array((0.485, 0.456, 0.406), dtype=np.float32)
IMAGE_STD = np.array((0.229, 0.224, 0.225), dtype=np.float32)


@dataclass(frozen=True)
class Cut:
    """How a frame is cut, all in (x, y) pixels. kept: of the frame, from its corner. scale: of it. scaled: the size
    that gives. offset: of the network's picture in that. size: of the network's picture.
    """

    kept: tuple[int, int]
    scale: float
    scaled: tuple[int, int]
    offset: tuple[int, int]
    size: tuple[int, int]

    def intrinsics(self, intrinsics: np.ndarray) -> np.ndarray:
        """The camera matrix (3, 3) of the network's picture, of that of the frame; the centre of the first pixel is at
        0 in both. One scale for x and y, as published.
        """
        result = np.array(intrinsics, dtype=np.float64)
        result[:2, 2] += 0.5
        result[:2] *= self.scale
        # Rounding the scaled size down is taken as a cut on both sides.
        lost = (np.array(self.kept) * self.scale - self.scaled) / 2
        result[:2, 2] -= lost + self.offset + 0.5
        return result


def plan_cut(width: int, height: int, size: tuple[int, int]) -> Cut:
    """Scale a frame to cover size (W, H), and cut its middle; an upright frame covers (H, W).

    Raises EngineError("input") for a frame of a single row or column. Source: Spann3R, specification section 2.
    """
    kept = (2 * (width // 2), 2 * (height // 2))
    if min(kept) == 0:
        raise EngineError("input", f"A picture of {width} x {height} pixels is too small.", "Leave it out.")
    if size[0] != size[1]:
        size = (min(size), max(size)) if height > PORTRAIT_RATIO * width else (max(size), min(size))
    scale = max(size[0] / kept[0], size[1] / kept[1]) + MARGIN
    scaled = (floor(kept[0] * scale), floor(kept[1] * scale))
    # Python rounds halves to even, as the reference does.
    offset = (round((scaled[0] - size[0]) / 2), round((scaled[1] - size[1]) / 2))
    return Cut(kept, scale, scaled, offset, size)


def prepare_covering(image: np.ndarray, size: tuple[int, int] = (224, 224)) -> Picture:
    """The part of a frame (H, W, 3) uint8 RGB that Spann3R reads. The picture's `original` is what is kept of the
    frame: a side of odd length loses its last pixel. Raises EngineError as plan_cut() does.
    """
    height, width = image.shape[:2]
    cut = plan_cut(width, height, size)
    kept = Image.fromarray(image[: cut.kept[1], : cut.kept[0]])
    whole = np.array(kept.resize(cut.scaled, Image.Resampling.LANCZOS))
    return Picture(cut.kept[::-1], whole, cut.size[::-1], cut.offset)


@dataclass(frozen=True)
class NormalisedPicture(UnitPicture):
    """A picture with ImageNet's normalisation, black where it reaches over the scaled frame's edges."""

    @property
    def color(self) -> np.ndarray:
        """(h, w, 3) uint8 RGB: the network's picture."""
        return self.from_whole(self.whole)

    @property
    def tensor(self) -> np.ndarray:
        """(3, h, w) float32: the network's input."""
        unit = self.color.astype(np.float32) / np.float32(255)
        normalised = (unit - IMAGE_MEAN) / IMAGE_STD
        return np.ascontiguousarray(normalised.transpose(2, 0, 1))


def prepare_for_wint3r(image: np.ndarray, size: int = LONG_SIDE) -> NormalisedPicture:
    """A frame (H, W, 3) uint8 RGB with its long side scaled to size, cut from the middle to the nearest shape that the
    network knows; what is missing is black. Sizes other than 512 are those shapes made smaller, in whole patches.
    Source: WinT3R, specification section 2.
    """
    height, width = image.shape[:2]
    cut, target = _wint3r_sizes(width, height, size)
    smooth = Image.Resampling.LANCZOS if max(width, height) > size else Image.Resampling.BICUBIC
    whole = np.array(Image.fromarray(image).resize(target, smooth))
    offset = (target[0] // 2 - cut[0] // 2, target[1] // 2 - cut[1] // 2)
    return NormalisedPicture((height, width), whole, (cut[1], cut[0]), offset)


def _wint3r_sizes(width: int, height: int, size: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """(W, H) of the network's picture and of the whole scaled frame."""
    target = tuple(max(1, round(side * size / max(width, height))) for side in (width, height))
    aspect = max(target) / min(target)
    shapes = [max(PATCH, round(short * size / LONG_SIDE / PATCH) * PATCH) for short in SHORT_SIDES]
    short = next((short for short in shapes if size / short > aspect - SHAPE_TOLERANCE), shapes[-1])
    return (size, short) if target[0] >= target[1] else (short, size), target


def sizes_for(architecture: str, width: int, height: int, size: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """(h, w) of the network's picture and (H', W') of the whole scaled frame that prepare_for() would make, without a
    frame at hand. Raises EngineError as plan_cut() does.
    """
    if architecture not in ("spann3r", "wint3r"):
        return sizes_of(width, height, size)
    if architecture == "spann3r":
        cut = plan_cut(width, height, (size, size))
        picture, whole = cut.size, cut.scaled
    else:
        picture, whole = _wint3r_sizes(width, height, size)
    return picture[::-1], whole[::-1]


def prepare_for(architecture: str, image: np.ndarray, size: int) -> Picture:
    """A frame (H, W, 3) uint8 RGB as that network reads it. size: the long side in pixels; of Spann3R both.

    Raises EngineError("input") for a frame that is too narrow or too small.
    """
    if architecture == "spann3r":
        return prepare_covering(image, (size, size))
    if architecture == "wint3r":
        return prepare_for_wint3r(image, size)
    return prepare(image, size)


def prepare_like(architecture: str, image: np.ndarray, size: tuple[int, int]) -> Picture:
    """A frame of another shape than the stream's, scaled to cover pictures of (h, w), and cut from its middle."""
    height, width = image.shape[:2]
    scale = max(size[0] / height, size[1] / width)
    target = (max(size[1], ceil(width * scale - MARGIN)), max(size[0], ceil(height * scale - MARGIN)))
    whole = np.array(Image.fromarray(image).resize(target, Image.Resampling.LANCZOS))
    offset = ((target[0] - size[1]) // 2, (target[1] - size[0]) // 2)
    kind = NormalisedPicture if architecture == "wint3r" else Picture
    return kind((height, width), whole, size, offset)

"""Frames to what the pairwise networks read, and cameras and maps of the network's pixels back to the frame.

Two grids: the *scaled* frame is the whole frame resized, the *network's* picture is cut from its middle. The job
folder's maps cover the whole frame, so they lie on the scaled grid; its sides are rounded to whole pixels each for
itself, and x and y therefore have a scale of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ...errors import EngineError
from ...reconstruction import Intrinsics

SQUARE_SIZE = 224  # the one size for which pictures are cut square


@dataclass(frozen=True)
class Picture:
    """A frame as a network sees it.

    original: (H, W) of the frame. whole: (H', W', 3) uint8 RGB, the whole frame scaled. size: (h, w) of the network's
    picture. offset: (left, top) of that picture in the scaled frame.
    """

    original: tuple[int, int]
    whole: np.ndarray
    size: tuple[int, int]
    offset: tuple[int, int]

    @property
    def scaled(self) -> tuple[int, int]:
        """(H', W') of the scaled frame."""
        height, width = self.whole.shape[:2]
        return height, width

    @property
    def color(self) -> np.ndarray:
        """(h, w, 3) uint8 RGB: the network's picture."""
        return self.whole[self._rows, self._columns]

    @property
    def tensor(self) -> np.ndarray:
        """(3, h, w) float32 in -1..1: the network's input."""
        unit = self.color.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
        return np.ascontiguousarray((unit - np.float32(0.5)) / np.float32(0.5))

    def intrinsics(
        self, focal: float | tuple[float, float], principal_point: tuple[float, float] | None = None
    ) -> Intrinsics:
        """The camera of the original frame, of a pinhole camera in network pixels.

        focal: in network pixels, one or (x, y). principal_point: (x, y) where pixel (0, 0) is the *centre* of the
        first pixel, so that pixel u looks along (u - cx) / f; default (w/2, h/2), the networks' own convention.
        """
        height, width = self.size
        focal_x, focal_y = (focal, focal) if np.ndim(focal) == 0 else focal
        x, y = (width / 2, height / 2) if principal_point is None else principal_point
        scale_x, scale_y = self._frame_per_scaled
        return Intrinsics(
            width=self.original[1],
            height=self.original[0],
            fx=float(focal_x) * scale_x,
            fy=float(focal_y) * scale_y,
            # our pixels begin at their corner, half a pixel before their centre
            cx=(float(x) + 0.5 + self.offset[0]) * scale_x,
            cy=(float(y) + 0.5 + self.offset[1]) * scale_y,
        )

    def pinhole(self, intrinsics: Intrinsics) -> tuple[tuple[float, float], tuple[float, float]]:
        """The inverse of intrinsics(): ((focal x, focal y), principal point) in network pixels; distortion is ignored.

        Raises EngineError("input") when the intrinsics belong to a frame of another shape.
        """
        height, width = self.original
        if abs(intrinsics.width * height - intrinsics.height * width) > max(width, height):
            raise EngineError(
                "input",
                f"The known camera is for {intrinsics.width} x {intrinsics.height} pixels, "
                f"the frame has {width} x {height}.",
                "Give intrinsics of the footage itself.",
            )
        lens = intrinsics.scaled_to(self.scaled[1], self.scaled[0])
        centre = (lens.cx - self.offset[0] - 0.5, lens.cy - self.offset[1] - 0.5)
        return (lens.fx, lens.fy), centre

    def to_whole(self, values: np.ndarray) -> np.ndarray:
        """A map (h, w, ...) on the network's pixels laid into the whole scaled frame (H', W', ...); 0 around it."""
        if values.shape[:2] != self.size:
            raise ValueError(f"a map of {values.shape[:2]} does not fit a picture of {self.size}")
        whole = np.zeros((*self.scaled, *values.shape[2:]), dtype=values.dtype)
        whole[self._rows, self._columns] = values
        return whole

    def from_whole(self, values: np.ndarray) -> np.ndarray:
        """The network's part (h, w, ...) of a map on the scaled frame (H', W', ...): the inverse of to_whole."""
        if values.shape[:2] != self.scaled:
            raise ValueError(f"a map of {values.shape[:2]} does not fit a scaled frame of {self.scaled}")
        return values[self._rows, self._columns]

    @property
    def _rows(self) -> slice:
        return slice(self.offset[1], self.offset[1] + self.size[0])

    @property
    def _columns(self) -> slice:
        return slice(self.offset[0], self.offset[0] + self.size[1])

    @property
    def _frame_per_scaled(self) -> tuple[float, float]:
        (height, width), (scaled_height, scaled_width) = self.original, self.scaled
        return width / scaled_width, height / scaled_height


def prepare(image: np.ndarray, size: int, patch_size: int = 16, square_ok: bool = False, crop: bool = True) -> Picture:
    """Scale a frame and cut its middle, as DUSt3R does (specification of DUSt3R, section 2; MonST3R, section 2).

    image: (H, W, 3) uint8 RGB, upright. size: the long side becomes this; 224 exactly makes the *short* side 224 and
    a square. Otherwise both sides are cut to multiples of patch_size. Unless square_ok, a square becomes 4:3, whose
    height is a multiple of patch_size only if size is one of 4 * patch_size (512 is).
    crop: False squeezes the whole frame into the size of the cut instead; squares are then neither cut nor squeezed.
    Raises EngineError("input") for a frame too narrow to leave one patch.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"expected (H, W, 3) uint8, not {image.shape} {image.dtype}")
    height, width = image.shape[:2]
    scaled = _resize_long_side(Image.fromarray(image), _long_side(width, height, size))
    half_width, half_height = _half_of_cut(*scaled.size, size, patch_size, square_ok or not crop)
    if min(half_width, half_height) < 0.5:
        raise EngineError(
            "input",
            f"A picture of {width} x {height} pixels is too narrow: at {scaled.width} x {scaled.height} pixels "
            f"less than one patch of {patch_size} is left.",
            "Crop it to a shape closer to a square, or leave it out.",
        )
    if not crop:
        cut = (round(2 * half_width), round(2 * half_height))
        whole = np.array(scaled.resize(cut, Image.Resampling.LANCZOS))
        return Picture((height, width), whole, (cut[1], cut[0]), (0, 0))
    left, top, right, bottom = _cut(*scaled.size, half_width, half_height)
    return Picture((height, width), np.array(scaled), (bottom - top, right - left), (left, top))


def sizes_of(
    width: int, height: int, size: int, patch_size: int = 16, square_ok: bool = False
) -> tuple[tuple[int, int], tuple[int, int]]:
    """(h, w) of the network's picture and (H', W') of the whole scaled frame that prepare() would make of a frame,
    without one at hand.
    """
    scaled = _scaled_size(width, height, _long_side(width, height, size))
    left, top, right, bottom = _cut(*scaled, *_half_of_cut(*scaled, size, patch_size, square_ok))
    return (bottom - top, right - left), (scaled[1], scaled[0])


def _long_side(width: int, height: int, size: int) -> int:
    return round(size * max(width / height, height / width)) if size == SQUARE_SIZE else size


def _resize_long_side(image: Image.Image, long_side: int) -> Image.Image:
    """The picture with that long side: smooth when it shrinks, bicubic when it grows or stays."""
    shrinks = max(image.size) > long_side
    target = _scaled_size(*image.size, long_side)
    return image.resize(target, Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC)


def _scaled_size(width: int, height: int, long_side: int) -> tuple[int, int]:
    longest = max(width, height)
    return max(1, round(width * long_side / longest)), max(1, round(height * long_side / longest))


def _cut(width: int, height: int, half_width: float, half_height: float) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a cut from the middle of a scaled frame."""
    middle_x, middle_y = width // 2, height // 2
    # Python rounds halves to even, as the reference does where a cut falls between pixels.
    left, right = round(middle_x - half_width), round(middle_x + half_width)
    top, bottom = round(middle_y - half_height), round(middle_y + half_height)
    return left, top, right, bottom


def _half_of_cut(width: int, height: int, size: int, patch_size: int, square_ok: bool) -> tuple[float, float]:
    """Half the width and height of what is cut from the middle of a scaled frame."""
    middle_x, middle_y = width // 2, height // 2
    if size == SQUARE_SIZE:
        half = min(middle_x, middle_y)
        return half, half
    half_width, half_height = (2 * middle // patch_size * patch_size / 2 for middle in (middle_x, middle_y))
    if width == height and not square_ok:
        half_height = 3 * half_width / 4
    return half_width, half_height

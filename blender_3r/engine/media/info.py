"""What is known of a frame before it is decoded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FrameInfo:
    """What is known of a frame without keeping it: see View for file and frame.

    width, height: pixels as shown (EXIF orientation applied). focal_px: from EXIF, in pixels of that width, or None.
    camera: frames with equal camera share one lens.
    """

    index: int
    file: str
    frame: int | None
    width: int
    height: int
    focal_px: float | None
    camera: str

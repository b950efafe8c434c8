"""What footage must show before it is worth solving."""

from __future__ import annotations

import numpy as np

from ..errors import EngineError
from .frames import FrameSource

_DARK = 16  # of 255
_SAMPLES = 6


def frames_are_dark(frames: FrameSource) -> bool:
    """Whether the footage is black, judged by a few frames spread over it; stops at the first that is not."""
    for index in np.unique(np.linspace(0, len(frames) - 1, _SAMPLES).round().astype(int)):
        gray = frames.read(int(index), max_side=256, gray=True)
        if np.percentile(gray, 99) >= _DARK:
            return False
    return True


def require_visible(frames: FrameSource) -> None:
    """Raise EngineError("input") when all frames are black."""
    if frames_are_dark(frames):
        raise EngineError("input", "All frames are black, or nearly.", "Check that this is the right footage.")


def require_frames(frames: FrameSource, at_least: int) -> None:
    """Raise EngineError("input") when there are fewer frames than a method needs."""
    if len(frames) < at_least:
        have = "one image" if len(frames) == 1 else f"{len(frames)} images"
        raise EngineError(
            "input",
            f"The source has {have}, and at least {at_least} from different places are needed.",
            "Pick a movie, an image sequence or a folder of several photos.",
        )

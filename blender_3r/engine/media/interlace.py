"""Interlaced footage: two moments in one frame, on the even and on the odd lines."""

from __future__ import annotations

import numpy as np

from .frames import FrameSource

SAMPLES = 8  # frames
STEP = 12.0  # grey values between a line and both its neighbours: a tooth of a comb
# As many teeth between lines as between every other line. Measured: at most 0.6 on seven scenes, from 2.7 on where
# their frames were woven from two.
RATIO = 1.5
SHARE = 0.01  # of the pixels
WARNING = (
    "The footage looks interlaced: two moments in one frame. Deinterlace it first; tracks are only half as "
    "precise otherwise."
)


def is_interlaced(frames: FrameSource) -> bool:
    """Whether most of some frames spread over the footage show the comb of two fields.

    Frames without motion show none, so the third of the samples with the strongest combs decides. Only footage at its
    own size can show it; a picture that was scaled cannot.
    """
    combs = []
    for index in np.unique(np.linspace(0, len(frames) - 1, SAMPLES).round().astype(int)):
        gray = frames.read(int(index), gray=True).astype(np.int16)
        if gray.shape[0] >= 16:
            lines, every_other = _teeth(gray), max(_teeth(gray[0::2]), _teeth(gray[1::2]))
            combs.append(lines > SHARE and lines > RATIO * every_other)
    return len(combs) > 0 and sum(combs) >= max(1, len(combs) / 3)


def _teeth(gray: np.ndarray) -> float:
    """Share of the pixels (h, w) int16 that stand out from the lines above and below, to the same side."""
    above, here, below = gray[:-2], gray[1:-1], gray[2:]
    up, down = here - above, here - below
    tooth = ((up > STEP) & (down > STEP)) | ((up < -STEP) & (down < -STEP))
    # Two teeth over each other, to opposite sides: noise and thin lines are seldom so.
    return float(np.mean(tooth[1:] & tooth[:-1] & ((up[1:] > 0) != (up[:-1] > 0))))

"""Which frames of footage carry the first solve: far enough apart for parallax, close enough to share tracks."""

from __future__ import annotations

import numpy as np

from .mapping import MatchGraph
from .tracks import FramePairs

MIN_SHARED = 30
STRIDES = (1, 2, 3, 4, 6, 8, 12, 16)


def choose_keyframes(pairs: FramePairs, n_frames: int, long_side: int, longest_gap: int | None = None) -> list[int]:
    """Frames from the first to the last that has tracks.

    The next key frame is the farthest one that still shares half of the tracks of the last one (at least MIN_SHARED)
    and has not moved by more than 6 % of the long side (px); never more than longest_gap away (default: a twentieth
    of the shot, so that short shots too get about twenty).
    """
    if longest_gap is None:
        longest_gap = max(1, n_frames // 20)
    counts = np.diff(pairs.bounds)
    occupied = np.flatnonzero(counts)
    if len(occupied) == 0:
        return []
    frames, last = [int(occupied[0])], int(occupied[-1])
    while frames[-1] < last:
        current = frames[-1]
        chosen = current + 1
        for candidate in range(current + 2, min(current + longest_gap, last) + 1):
            shared, moved = pairs.shift(current, candidate)
            if shared < max(MIN_SHARED, counts[current] // 2) or moved > 0.06 * long_side:
                break
            chosen = candidate
        frames.append(chosen)
    return frames


def match_keyframes(pairs: FramePairs, keyframes: list[int]) -> MatchGraph:
    """The tracks between key frames as matches, near pairs and far ones (STRIDES)."""
    xy = pairs.observations.xy
    keypoints = {frame: xy[pairs.in_frame(frame)] for frame in keyframes}
    matches = {}
    for i, a in enumerate(keyframes):
        for stride in STRIDES:
            if i + stride >= len(keyframes):
                break
            b = keyframes[i + stride]
            ia, ib = pairs.common(a, b)
            if len(ia) >= MIN_SHARED:
                matches[(a, b)] = np.stack([ia, ib], axis=1).astype(np.uint32)
    return MatchGraph(keypoints, matches)

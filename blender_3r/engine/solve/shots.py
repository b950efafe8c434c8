"""What a movie's frames are besides one steady shot: cuts, flashes, frames that repeat the one before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..geometry.cameras import Observations
from ..media.frames import FrameSource
from .tracks import FramePairs

MIN_BRIDGE = 8  # tracks; fewer carry no camera from one frame to the next
NEAR = 4  # frames before and after that tell how fast a shot moves
STANDSTILL = 0.15  # of that; a copy hardly moves
SLOWEST_PX = 0.4  # slower shots do not tell copies from frames
SAME = 1.5  # mean difference of grey values (of 255) of two pictures of one frame, compressed
SIDE = 320  # px, of the pictures compared


@dataclass(frozen=True)
class Shots:
    """pieces: (first, last) frame of each stretch that tracks lead through; one for a whole shot, none without tracks.
    blind: frames inside of the pieces without tracks, as a flash leaves them. copies: frames that do not move on.
    """

    pieces: list[tuple[int, int]]
    blind: list[int]
    copies: list[int]

    @property
    def longest(self) -> tuple[int, int]:
        """The piece with the most frames."""
        return max(self.pieces, key=lambda piece: piece[1] - piece[0])


def find_shots(observations: Observations, n_frames: int) -> Shots:
    """Cuts, flashes and copies, as the tracks of track_video() tell them."""
    pairs = FramePairs(observations, n_frames)
    seen = np.diff(pairs.bounds) > 0
    if not seen.any():
        return Shots([], [], [])
    count = int(observations.track.max()) + 1
    first, last = np.full(count, n_frames), np.full(count, -1)
    np.minimum.at(first, observations.track, observations.frame)
    np.maximum.at(last, observations.track, observations.frame)
    # Tracks that are alive on both sides of the boundary before each frame.
    change = np.zeros(n_frames + 1, dtype=np.int64)
    np.add.at(change, first + 1, 1)
    np.add.at(change, last + 1, -1)
    bridging = np.cumsum(change)[:n_frames]
    pieces, start = [], None
    for frame in range(n_frames):
        if start is not None and bridging[frame] < MIN_BRIDGE:
            pieces.append((start, frame - 1))
            start = None
        if start is None and seen[frame]:
            start = frame
    if start is not None:
        pieces.append((start, n_frames - 1))
    pieces = [(a, a + int(np.flatnonzero(seen[a : b + 1])[-1])) for a, b in pieces]
    blind = [frame for a, b in pieces for frame in range(a, b + 1) if not seen[frame]]
    return Shots(pieces, blind, _copies(pairs, n_frames))


def _copies(pairs: FramePairs, n_frames: int) -> list[int]:
    """Frames whose points stand still although they move before and after."""
    moved = np.full(n_frames, np.nan)
    for frame in range(1, n_frames):
        shared, shift = pairs.shift(frame - 1, frame)
        if shared >= MIN_BRIDGE:
            moved[frame] = shift
    found = []
    for frame in np.flatnonzero(np.isfinite(moved)):
        near = moved[max(0, frame - NEAR) : frame + NEAR + 1]
        usual = float(np.nanpercentile(near, 75))
        if usual > SLOWEST_PX and moved[frame] < STANDSTILL * usual:
            found.append(int(frame))
    return found


def same_pictures(frames: FrameSource, copies: Sequence[int]) -> list[int]:
    """Those of the copies whose picture is that of the frame before."""
    found = []
    for frame in copies:
        before, after = (frames.read(i, max_side=SIDE, gray=True).astype(np.int16) for i in (frame - 1, frame))
        if before.shape == after.shape and np.abs(before - after).mean() < SAME:
            found.append(frame)
    return found


def only(observations: Observations, piece: tuple[int, int]) -> Observations:
    """The observations of one piece, tracks numbered anew."""
    chosen = observations[(observations.frame >= piece[0]) & (observations.frame <= piece[1])]
    return replace(chosen, track=np.unique(chosen.track, return_inverse=True)[1])


def named(numbers: Sequence[int], most: int = 8) -> str:
    """Frame numbers as words: "frames 3, 7 and 12", with a count of those that are left out."""
    if len(numbers) == 1:
        return f"frame {numbers[0]}"
    listed = [str(number) for number in numbers[:most]]
    if len(numbers) > most:
        return f"frames {', '.join(listed)} and {len(numbers) - most} more"
    return f"frames {', '.join(listed[:-1])} and {listed[-1]}"

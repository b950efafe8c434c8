"""What a network says of the depth of tracked points, as a part of bundle adjustment.

Tracks alone hold the scale of a long shot by a chain of neighbours, which wears thin where few points are followed. A
network's depth has errors that are larger, but of no such chain. Every frame's depth has a log scale of its own, found
along; these scatter about one value, so that the scene cannot grow or shrink along the shot. How much everything counts
is asked of the data: how far depths of a frame differ from the points, how far scales of neighbouring frames do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .robust import robust_loss, robust_weight

LOSS_AT = 2.0  # standard deviations, from which a depth counts less
LEAST_JITTER = 1e-3  # of the scales of frames
FEWEST_FRAMES = 3  # with depth
FEWEST_POINTS = 8  # of a frame, for its scale to be measured
_SPREAD = 1.4826  # standard deviation of normal errors, from their median magnitude


@dataclass(frozen=True)
class DepthPrior:
    """For every observation of a problem: log_depth (n,) as predicted, nan where it is not; weight (n,) in px^2 for a
    difference of 1 in log depth. spread: standard deviation of these differences. log_scale (m,): of each frame at the
    start; frames: those that have one. tie: weight in px^2 for a frame's scale that is off by 1 from the mean.
    """

    log_depth: np.ndarray
    weight: np.ndarray
    spread: float
    log_scale: np.ndarray
    frames: np.ndarray
    tie: float

    def losses(self, log_depth: np.ndarray, log_scale: np.ndarray) -> np.ndarray:
        """(n,) px^2. log_depth: of the points now, nan behind the camera; log_scale: of each observation's frame."""
        off = log_depth - self.log_depth - log_scale
        loss = robust_loss(off * off, "cauchy", LOSS_AT * self.spread)
        return np.where(np.isfinite(loss), self.weight * loss, 0.0)

    def rows(self, log_depth: np.ndarray, log_scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(weighted residual (n,), root of the weight (n,)), both 0 where there is no prior."""
        off = log_depth - self.log_depth - log_scale
        root = np.sqrt(self.weight * robust_weight(off * off, "cauchy", LOSS_AT * self.spread))
        known = np.isfinite(off)
        return np.where(known, off * root, 0.0), np.where(known, root, 0.0)

    def tie_rows(self) -> np.ndarray:
        """Rows on the log scales of the frames: each one's distance from their mean."""
        count = len(self.frames)
        return np.sqrt(self.tie) * (np.eye(count) - 1.0 / count)


def weigh(
    log_depth: np.ndarray, solved: np.ndarray, frame: np.ndarray, track: np.ndarray, n_frames: int, noise_px: float
) -> DepthPrior | None:
    """A prior from predicted log depths (n,) and those of the points under the cameras now, nan where not known.

    noise_px: standard deviation of the tracks. A track counts as one witness, in however many frames it is seen, for a
    network errs about a thing alike wherever it sees it. None where too few frames have depth.
    """
    off = solved - log_depth
    known = np.isfinite(off)
    count = np.bincount(frame[known], minlength=n_frames)
    frames = np.flatnonzero(count >= FEWEST_POINTS)
    if len(frames) < FEWEST_FRAMES:
        return None
    log_scale = np.zeros(n_frames)
    for one in frames:
        log_scale[one] = np.median(off[known & (frame == one)])
    known &= np.isin(frame, frames)
    spread = max(_SPREAD * float(np.median(np.abs(off[known] - log_scale[frame[known]]))), 1e-4)
    uncertain = spread**2 * np.pi / 2 / count[frames]
    change = np.diff(log_scale[frames])
    variance = (_SPREAD * float(np.median(np.abs(change)))) ** 2 / 2 - float(np.median(uncertain))
    jitter = max(np.sqrt(max(variance, 0.0)), LEAST_JITTER)
    times = np.bincount(track[known], minlength=int(track.max()) + 1)
    weight = np.where(known, noise_px**2 / spread**2 / np.maximum(times[track], 1), 0.0)
    return DepthPrior(np.where(known, log_depth, np.nan), weight, spread, log_scale, frames, noise_px**2 / jitter**2)

"""Shots without parallax: a camera that only turns (tripod) or does not move at all (locked off).

Where all tracks are explained by turning alone there is no depth to be had, and mappers invent some. So this is asked
of the tracks before any mapping: rays of wide frame pairs are rotated onto each other for a range of focal lengths,
and what is left in pixels is compared with the noise of the tracks, which epipolar geometry tells with no regard to
how the camera moved.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np

from ..geometry.alignment import align_rays
from ..geometry.cameras import Cameras, Observations
from ..geometry.triangulation import mean_directions
from .bundle import BundleOptions, BundleResult, needs_distortion, refine, residuals
from .tracks import FramePairs

# A pair of frames says something when it shares this many tracks.
MIN_SHARED = 30
# Wide pairs looked at, and tracks used of each.
PAIRS = 14
TRACKS_PER_PAIR = 300
# Tracks that move less than this (fraction of the long side) over the whole shot do not move.
STILL = 5e-4
# A shot turns only if turning leaves less than this many times the noise, and less than this (fraction of the long
# side).
NOISE_FACTOR = 3.0
RESIDUAL_LIMIT = 2e-3
# Focal lengths tried, in units of the long side.
FOCALS = np.geomspace(0.35, 6.0, 25)
# Frames whose focals differ by less than this factor overall are taken as one focal.
ZOOM_FACTOR = 1.03
# A zoom must lower what turning leaves to this share of it.
ZOOM_GAIN = 0.8


@dataclass(frozen=True)
class Motion:
    """What the tracks say of the camera's motion.

    kind: "static", "tripod" or "free". focal: (m,) px, a first guess for each frame under the assumption that the
    camera only turns. turning_px: typical error per coordinate left by turning alone; noise_px: that of the tracks.
    shift_px: how far tracks move over the shot (median of the widest pairs). text: the finding as a sentence.
    """

    kind: str
    focal: np.ndarray
    turning_px: float
    noise_px: float
    shift_px: float
    text: str

    @property
    def is_tripod(self) -> bool:
        return self.kind != "free"


@dataclass(frozen=True)
class _Pair:
    """Two frames and the pixels (n, 2) of tracks they share."""

    a: int
    b: int
    xy_a: np.ndarray
    xy_b: np.ndarray


def classify_motion(observations: Observations, cameras: Cameras, focal_known: bool = False) -> Motion:
    """Tell a shot without parallax from one with, by its tracks alone.

    observations: sorted by frame, then track. cameras: intrinsics of each frame (poses are not read); the focal is a
    guess unless focal_known.
    """
    pairs = FramePairs(observations, len(cameras))
    long_side = float(2 * cameras.center[0].max())
    wide = _wide_pairs(pairs, len(cameras))
    if not wide:
        return Motion("free", cameras.focal.copy(), np.nan, np.nan, np.nan, "Too few tracks to tell how it moved.")
    shift = float(np.median([np.median(np.linalg.norm(p.xy_b - p.xy_a, axis=1)) for p in wide]))
    if shift < STILL * long_side:
        return Motion("static", cameras.focal.copy(), shift, shift, shift, "The camera does not move.")
    noise = _noise(wide)
    turning, focal = _best_focal(wide, cameras, np.ones(len(cameras)), focal_known)
    if not focal_known:
        zoom = _zoom_curve(pairs, cameras)
        if zoom.max() > ZOOM_FACTOR * zoom.min():
            zoomed = _best_focal(wide, cameras, zoom, focal_known)
            # Any freedom lowers the error a little.
            if zoomed[0] < ZOOM_GAIN * turning:
                turning, focal = zoomed
    turns_only = turning < NOISE_FACTOR * noise and turning < RESIDUAL_LIMIT * long_side
    text = f"Turning alone explains the tracks to {turning:.2f} px (their noise is {noise:.2f} px), " + (
        "so the camera stands still and there is no depth." if turns_only else "so the camera moves."
    )
    return Motion("tripod" if turns_only else "free", focal, turning, noise, shift, text)


def _best_focal(wide: list[_Pair], cameras: Cameras, curve: np.ndarray, focal_known: bool) -> tuple[float, np.ndarray]:
    """(what turning leaves in px, the focals (m,) with which it leaves least) for focals that follow a curve (m,)."""

    def error(focal: float) -> float:
        return _turning_error(wide, replace(cameras, focal=focal * curve))

    if focal_known:
        return _turning_error(wide, cameras), cameras.focal.copy()
    tried = FOCALS * float(2 * cameras.center[0].max())
    for _ in range(3):
        errors = [error(focal) for focal in tried]
        best = int(np.argmin(errors))
        around = tried[max(best - 1, 0)], tried[min(best + 1, len(tried) - 1)]
        found = errors[best], tried[best] * curve
        tried = np.geomspace(*around, 7)
    return found


def _wide_pairs(pairs: FramePairs, n_frames: int) -> list[_Pair]:
    """For frames spread over the shot, the pair with the farthest frame that shares a third of the tracks."""
    counts = np.diff(pairs.bounds)
    found = []
    for a in np.unique(np.linspace(0, n_frames - 1, PAIRS).astype(int)):
        best = None
        step = max(1, n_frames // 40)
        for b in range(a + 1, n_frames, step):
            ia, ib = pairs.common(a, b)
            if len(ia) < max(MIN_SHARED, counts[a] // 3):
                break
            best = (b, ia, ib)
        if best is not None:
            b, ia, ib = best
            chosen = np.linspace(0, len(ia) - 1, min(len(ia), TRACKS_PER_PAIR)).astype(int)
            xy = pairs.observations.xy
            found.append(_Pair(int(a), b, xy[pairs.in_frame(a)][ia[chosen]], xy[pairs.in_frame(b)][ib[chosen]]))
    # Frames near the end have only near partners, which say little.
    if not found:
        return []
    widest = np.median([pair.b - pair.a for pair in found])
    return [pair for pair in found if pair.b - pair.a >= widest / 2]


def _noise(wide: list[_Pair]) -> float:
    """Standard deviation (px) per coordinate of one observation, from the distances to epipolar lines."""
    noise = []
    for pair in wide:
        matrix, _ = cv2.findFundamentalMat(pair.xy_a, pair.xy_b, cv2.USAC_MAGSAC, 1.5, 0.999, 1000)
        if matrix is None:
            continue
        a, b = (np.concatenate([xy, np.ones((len(xy), 1))], axis=1) for xy in (pair.xy_a, pair.xy_b))
        line_b, line_a = a @ matrix.T, b @ matrix
        product = np.sum(b * line_b, axis=1)
        sampson = product / np.sqrt(np.sum(line_a[:, :2] ** 2, axis=1) + np.sum(line_b[:, :2] ** 2, axis=1))
        noise.append(1.4826 * float(np.median(np.abs(sampson))))
    return float(np.median(noise)) if noise else np.nan


def _turning_error(wide: list[_Pair], cameras: Cameras) -> float:
    """Typical error (px, per coordinate and observation) of the best rotation of each pair."""
    errors = []
    for pair in wide:
        rays = []
        for frame, xy in ((pair.a, pair.xy_a), (pair.b, pair.xy_b)):
            ray = cameras.rays(np.full(len(xy), frame), xy)
            rays.append(ray / np.linalg.norm(ray, axis=1, keepdims=True))
        focal = cameras.focal[pair.b]
        rotation, _ = align_rays(*rays, scale=0.5 / focal)
        turned = rays[0] @ rotation.T
        front = turned[:, 2] > 0.05
        if front.sum() < MIN_SHARED:
            return np.inf
        turned = turned[front]
        left = focal * (turned[:, :2] / turned[:, 2:] - rays[1][front, :2] / rays[1][front, 2:])
        # Two frames' noise is in the difference.
        errors.append(1.4826 * float(np.median(np.abs(left))) / np.sqrt(2))
    return float(np.median(errors))


def _zoom_curve(pairs: FramePairs, cameras: Cameras) -> np.ndarray:
    """(m,) focal of each frame in units of the first's, as far as growth of the image's middle tells."""
    growth = np.zeros(len(cameras))
    for frame in range(len(cameras) - 1):
        ia, ib = pairs.common(frame, frame + 1)
        if len(ia) < MIN_SHARED:
            continue
        a, b = (pairs.observations.xy[pairs.in_frame(f)][i] for f, i in ((frame, ia), (frame + 1, ib)))
        matrix, _ = cv2.findHomography(a - cameras.center[frame], b - cameras.center[frame + 1], cv2.RANSAC, 2.0)
        if matrix is None:
            continue
        jacobian = matrix[:2, :2] / matrix[2, 2] - np.outer(matrix[:2, 2], matrix[2, :2]) / matrix[2, 2] ** 2
        growth[frame + 1] = 0.5 * np.log(max(np.linalg.det(jacobian), 1e-6))
    return np.exp(np.cumsum(growth))


def solve_tripod(
    observations: Observations,
    cameras: Cameras,
    motion: Motion,
    lens: str = "auto",
    threshold_px: float = 2.5,
    distortion: int = 1,
) -> BundleResult:
    """Rotations, focal and k1 of a camera that only turns; all positions are zero.

    distortion: 1 to refine k1 where the tracks call for it, 0 to keep the distortion of `cameras`.
    lens: "auto", "shared", "zoom" or "fixed" (the focal of `cameras` holds). The result's points (p, 3) are unit
    directions, seen from the origin. Frames that share no tracks with those before have nan poses. With motion.kind
    "static" all poses are the identity, the focal is that of `cameras` and its deviation infinite.
    """
    start = cameras.copy()
    start.world_from_camera = np.tile(np.eye(4), (len(cameras), 1, 1))
    if lens != "fixed":
        start.focal = motion.focal.copy()
    if motion.kind == "static":
        return _hold_still(observations, start, threshold_px)
    start.world_from_camera[:, :3, :3] = _chain(observations, start)
    directions = mean_directions(observations, start, int(observations.track.max()) + 1)
    zooms = np.ptp(np.log(start.focal)) > np.log(ZOOM_FACTOR)
    if lens == "auto":
        lens = "zoom" if zooms else "shared"
    options = BundleOptions(lens=lens, distortion=distortion, rotation_only=True, loss="cauchy", scale_px=0.5)
    thresholds = (4 * threshold_px, 2 * threshold_px, threshold_px)
    result = refine(observations, start, directions, options, None, thresholds, 0.0)
    if distortion and not needs_distortion(observations, result, options):
        plain = result.cameras.copy()
        plain.distortion[:] = cameras.distortion
        result = refine(observations, plain, result.points, replace(options, distortion=0), None, (threshold_px,), 0.0)
    return result


def _hold_still(observations: Observations, cameras: Cameras, threshold_px: float) -> BundleResult:
    directions = mean_directions(observations, cameras, int(observations.track.max()) + 1)
    residual = residuals(observations, cameras, directions)
    kept = np.linalg.norm(residual, axis=1) < threshold_px
    return BundleResult(cameras, directions, residual, kept, np.full(len(cameras), np.inf), 0.0, 0)


def _chain(observations: Observations, cameras: Cameras) -> np.ndarray:
    """(m, 3, 3) world-from-camera rotations, each frame turned onto the one before; nan past a break."""
    pairs = FramePairs(observations, len(cameras))
    rotations = np.full((len(cameras), 3, 3), np.nan)
    occupied = np.flatnonzero(np.diff(pairs.bounds) >= 3)
    if len(occupied) == 0:
        return rotations
    rotations[occupied[0]] = np.eye(3)
    for a, b in pairwise(occupied):
        ia, ib = pairs.common(a, b)
        if len(ia) < MIN_SHARED // 3:
            break
        rays = []
        for frame, index in ((a, ia), (b, ib)):
            xy = pairs.observations.xy[pairs.in_frame(frame)][index]
            ray = cameras.rays(np.full(len(xy), frame), xy)
            rays.append(ray / np.linalg.norm(ray, axis=1, keepdims=True))
        rotations[b] = rotations[a] @ align_rays(*rays, scale=0.5 / cameras.focal[a])[0].T
    return rotations

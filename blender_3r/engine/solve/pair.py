"""Two pictures: relative pose and points from their matches. Mappers refuse pairs, so pairs have their own way."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from ..errors import EngineError
from ..geometry.cameras import Cameras, Observations
from ..geometry.triangulation import triangulate_tracks, triangulation_angles
from .bundle import BundleOptions, BundleResult, refine
from .mapping import LensModel
from .solution import Solution
from .tripod import classify_motion

# Matches that must agree on one relative pose, and the share of all matches they must be.
MIN_INLIERS = 25
MIN_SHARE = 0.2
# Distance to the epipolar line, in pixels, up to which a match agrees.
EPIPOLAR_PX = 1.5
# Starts for an unknown focal, in units of the long side.
FOCAL_STARTS = (0.8, 1.2, 1.8)
# A focal found is believed up to this formal deviation of its logarithm, and within this range of the long side.
FOCAL_STD_LIMIT = 0.02
FOCAL_RANGE = (0.4, 4.0)
# Pictures from (almost) one place: typical angle between the rays to a point, in degrees.
MIN_ANGLE_DEG = 0.4


def solve_pair(xy_a: np.ndarray, xy_b: np.ndarray, lenses: LensModel) -> Solution:
    """Cameras of two pictures and the points they share.

    xy_a, xy_b: (n, 2) pixels of the matches, outliers among them. lenses: of the two pictures. The first camera is the
    origin, the distance between the two is 1. The focal is certain only when it is known; when it is neither known nor
    measured it is searched, and where the pair does not tell it, the start's is kept.
    Raises EngineError("unsolved") when the pictures do not overlap or were taken from one place.
    """
    known = lenses.focal_known or lenses.focal_measured
    count = len(xy_a)
    if count < MIN_INLIERS:
        raise _no_overlap(count)
    observations = Observations(
        np.repeat([0, 1], count), np.tile(np.arange(count), 2), np.concatenate([xy_a, xy_b]).astype(np.float64)
    )
    cameras = Cameras.from_intrinsics(lenses.start, np.full((2, 4, 4), np.nan))
    agreeing = _epipolar_inliers(observations)
    if agreeing.sum() < max(MIN_INLIERS, MIN_SHARE * count):
        raise _no_overlap(count)
    if classify_motion(observations[np.tile(agreeing, 2)], cameras, known).is_tripod:
        raise _one_place()
    best = _best_start(observations, cameras, lenses, known)
    if best is None:
        raise _no_overlap(count)
    angles = triangulation_angles(observations[best.kept], best.cameras, best.points)
    if np.degrees(np.median(angles[angles > 0])) < MIN_ANGLE_DEG:
        raise _one_place()
    solution = Solution.from_bundle(best, observations, "shared" if np.ptp(lenses.group) == 0 else "groups")
    solution.focal_is_certain = lenses.focal_known
    if not known:
        solution.warnings.append(
            "Two pictures hardly tell the focal length, and depths go with it. Give the focal length if you know it."
        )
    return solution


def _best_start(observations: Observations, cameras: Cameras, lenses: LensModel, known: bool) -> BundleResult | None:
    """The refined pair; None when no relative pose holds."""
    if known:
        return _solve(observations, cameras, lenses, "fixed")
    long_side = np.array([max(lens.width, lens.height) for lens in lenses.start], dtype=np.float64)
    trials = []
    for start in FOCAL_STARTS:
        trial = _solve(observations, replace(cameras, focal=start * long_side), lenses, "shared")
        if trial is not None:
            trials.append(trial)
    if not trials:
        return None
    best = max(trials, key=_fit)
    ratio = best.cameras.focal / long_side
    told = best.focal_log_std.max() < FOCAL_STD_LIMIT and FOCAL_RANGE[0] < ratio.min() and ratio.max() < FOCAL_RANGE[1]
    return best if told else _solve(observations, cameras, lenses, "fixed") or best


def _fit(result: BundleResult) -> float:
    """How many observations fit, the closer the more."""
    return float(np.sum(1.0 / (1.0 + result.errors_px[result.kept] ** 2)))


def _solve(observations: Observations, cameras: Cameras, lenses: LensModel, lens: str) -> BundleResult | None:
    start = _relative_pose(observations, cameras)
    if start is None:
        return None
    count = len(observations) // 2
    points = triangulate_tracks(observations, start, count, max_error_px=2 * EPIPOLAR_PX)
    if np.isfinite(points[:, 0]).sum() < MIN_INLIERS:
        return None
    options = BundleOptions(lens=lens, distortion=0, loss="cauchy", scale_px=0.5)
    result = refine(observations, start, points, options, lenses.group, (4.0, 2.0), 0.0, min_views=2)
    inliers = np.count_nonzero(result.kept) // 2
    return result if inliers >= max(MIN_INLIERS, MIN_SHARE * count) else None


def _relative_pose(observations: Observations, cameras: Cameras) -> Cameras | None:
    """The cameras with poses from the essential matrix; None when too few matches agree on one."""
    count = len(observations) // 2
    focal = float(np.sqrt(cameras.focal[0] * cameras.focal[1]))
    rays = cameras.rays(observations.frame, observations.xy)[:, :2] * focal
    matrix = np.diag([focal, focal, 1.0])
    essential, mask = cv2.findEssentialMat(
        rays[:count], rays[count:], matrix, cv2.USAC_MAGSAC, 0.9999, EPIPOLAR_PX, maxIters=5000
    )
    if essential is None or essential.shape != (3, 3) or mask.sum() < MIN_INLIERS:
        return None
    chosen = mask[:, 0].astype(bool)
    front, rotation, shift, _ = cv2.recoverPose(essential, rays[:count][chosen], rays[count:][chosen], matrix)
    if front < MIN_INLIERS:
        return None
    posed = cameras.copy()
    posed.set_camera_from_world(np.stack([np.eye(3), rotation]), np.stack([np.zeros(3), shift[:, 0]]))
    return posed


def _epipolar_inliers(observations: Observations) -> np.ndarray:
    """(n,) bool per match: agrees with one epipolar geometry, of any lens."""
    count = len(observations) // 2
    xy = observations.xy
    matrix, mask = cv2.findFundamentalMat(xy[:count], xy[count:], cv2.USAC_MAGSAC, EPIPOLAR_PX, 0.9999, 5000)
    return np.zeros(count, dtype=bool) if matrix is None else mask[:, 0].astype(bool)


def _one_place() -> EngineError:
    return EngineError(
        "unsolved",
        "The two pictures were taken from the same place, so nothing tells how far away things are.",
        "Take the second picture a step to the side.",
    )


def _no_overlap(count: int) -> EngineError:
    return EngineError(
        "unsolved",
        f"The two pictures have too little in common ({count} matching points, most of them by chance)."
        if count
        else "The two pictures have nothing in common.",
        "Take two pictures of one thing, a step apart, sharp and with visible texture.",
    )

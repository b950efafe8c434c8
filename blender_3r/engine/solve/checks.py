"""Whether a camera solve can be believed. A low reprojection error alone never tells.

A tripod pan, a zoom taken for a dolly and a scene torn in two all fit to a fraction of a pixel. What gives them away
is what the solve did not fit itself to: rotations of frame pairs taken alone, how firmly the data hold the focal,
which two-view geometry the pairs show, how much of what was tracked takes part.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import cv2
import numpy as np

from ..errors import EngineError
from ..geometry.cameras import Cameras, Observations
from ..geometry.rotations import cross_matrix, rotation_angle
from ..geometry.triangulation import triangulation_angles
from ..reconstruction import Check
from .bundle import TRIAL_TRACKS, BundleOptions, adjust, spread_tracks
from .mapping import LensModel
from .solution import FOCAL_DEVIATION_FACTOR, Solution
from .tracks import FramePairs

PAIRS_CHECKED = 60
MAX_PAIR_ANGLE_DEG = 3.0
MIN_AGREEING_PAIRS = 0.7
EPIPOLAR_PX = 2.0
MIN_EPIPOLAR_SHARE = 0.7
MAX_FOCAL_UNCERTAINTY = 0.03
MAX_ERROR_PX_AT_1000 = 3.0  # mean reprojection error for a long side of 1000 px
MIN_KEPT = 0.4
MIN_ANGLE_DEG = 0.7
MAX_FLAT_PAIRS = 0.95
MAX_K1 = 0.6
GIVEN_FOCAL_APART = 0.03  # of log focal
GIVEN_FOCAL_GAIN = 0.03  # fall of the cost that the data's own focal must bring
HOPELESS_PAIRS = 0.3  # when fewer agree, this share of the error that is else allowed is too much
HOPELESS_ERROR = 0.5


def check_solution(
    solution: Solution, lenses: LensModel, pairs: Iterable[tuple[np.ndarray, np.ndarray, int, int]]
) -> list[Check]:
    """All checks of a solve with free motion.

    pairs: (pixels in a (n, 2), pixels in b, a, b) of frame pairs matched independently of the solve.
    """
    checks = [
        _pair_rotations(solution.cameras, pairs),
        _focal_firmness(solution),
        _lens_plausibility(solution, lenses),
        _error(solution, lenses),
        _kept_share(solution),
        _parallax(solution),
    ]
    if solution.pair_types:
        checks.append(_flat_pairs(solution.pair_types))
    return checks


def refuse_hopeless(checks: Iterable[Check]) -> None:
    """Raise EngineError("unsolved") when the checks leave nothing to believe.

    Things that fly about independently can be given cameras, with most points within a few pixels; but few pairs of
    frames move as those cameras say. Either fault alone is left to the user to judge.
    """
    found = {check.name: check for check in checks}
    agreeing, error = (found[name].value for name in ("pair rotations", "reprojection error"))
    allowed = found["reprojection error"].limit * (HOPELESS_ERROR if agreeing < HOPELESS_PAIRS else 1.0)
    if agreeing < MIN_AGREEING_PAIRS and error > allowed:
        raise EngineError(
            "unsolved",
            "What moves in the footage does not move as one scene seen by one camera: only "
            f"{100 * agreeing:.0f} % of the frame pairs agree with the best cameras found.",
            "Use a part of the shot in which most of the picture stands still.",
        )


def may_be_hopeless(solution: Solution, lenses: LensModel) -> bool:
    """Whether the points are so far off that refuse_hopeless() may have to refuse the solve."""
    return not solution.mean_error_px <= HOPELESS_ERROR * _allowed_error(lenses)  # true for nan


def given_focal(solution: Solution, options: BundleOptions) -> Check | None:
    """Whether the footage agrees with the focal that was given and held; None where it cannot tell.

    options: how the solution was refined. The focal is let go of, on a part of the tracks: footage that says something
    else fits better with it, and holds it.
    """
    seen = solution.observations[solution.kept]
    seen = seen[spread_tracks(seen, len(solution.cameras), TRIAL_TRACKS)]
    trial = replace(options, tolerance=1e-4)
    try:
        held = adjust(seen, solution.cameras, solution.points, replace(trial, lens="fixed"), with_deviation=False)
        free = adjust(seen, held.cameras, held.points, replace(trial, lens="shared"))
    except ValueError:
        return None
    solved = solution.cameras.solved
    given, found = (float(np.median(cameras.focal[solved])) for cameras in (solution.cameras, free.cameras))
    firmness = FOCAL_DEVIATION_FACTOR * float(np.nanmedian(free.focal_log_std))
    apart = abs(np.log(found / given))
    if not firmness < MAX_FOCAL_UNCERTAINTY:
        return None
    wrong = apart > GIVEN_FOCAL_APART and free.cost < (1 - GIVEN_FOCAL_GAIN) * held.cost
    text = f"The footage agrees with the focal length given ({given:.0f} px)."
    if wrong:
        text = (
            f"The focal length given ({given:.0f} px) is kept, but the footage says about {found:.0f} px: check it, "
            "and whether the footage was cropped or scaled."
        )
    return Check("given focal", not wrong, text, float(apart), GIVEN_FOCAL_APART)


def track_pairs(observations: Observations, cameras: Cameras) -> Iterable[tuple[np.ndarray, np.ndarray, int, int]]:
    """Frame pairs for check_solution() from the tracks of footage: spread over the shot, half of the tracks shared."""
    solved = np.flatnonzero(cameras.solved)
    pairs = FramePairs(observations, len(cameras))
    counts = np.diff(pairs.bounds)
    for a in solved[np.unique(np.linspace(0, len(solved) - 1, PAIRS_CHECKED).astype(int))]:
        best = None
        for gap in (2, 3, 4, 6, 8, 12, 16, 24):
            if a + gap >= len(cameras) or not cameras.solved[a + gap]:
                continue
            ia, ib = pairs.common(a, a + gap)
            if len(ia) < max(40, counts[a] // 2):
                break
            best = (a + gap, ia, ib)
        if best is not None:
            b, ia, ib = best
            yield observations.xy[pairs.in_frame(a)][ia], observations.xy[pairs.in_frame(b)][ib], int(a), int(b)


def _pair_rotations(cameras: Cameras, pairs: Iterable[tuple[np.ndarray, np.ndarray, int, int]]) -> Check:
    agree = []
    for xy_a, xy_b, a, b in pairs:
        rotation = _pair_rotation(cameras, xy_a, xy_b, a, b)
        if rotation is None:
            continue
        solved = cameras.world_from_camera[b, :3, :3].T @ cameras.world_from_camera[a, :3, :3]
        off = float(np.degrees(rotation_angle((rotation.T @ solved)[None])[0]))
        # A flat scene allows a pair two rotations; then the matches themselves must fit the solve.
        agree.append(off < MAX_PAIR_ANGLE_DEG or _epipolar_share(cameras, xy_a, xy_b, a, b) > MIN_EPIPOLAR_SHARE)
    agreeing = float(np.mean(agree)) if agree else 0.0
    passed = agreeing >= MIN_AGREEING_PAIRS
    text = f"{100 * agreeing:.0f} % of the frame pairs, solved alone, agree with the whole solve."
    return Check("pair rotations", passed, text, agreeing, MIN_AGREEING_PAIRS)


def _epipolar_share(cameras: Cameras, xy_a: np.ndarray, xy_b: np.ndarray, a: int, b: int) -> float:
    """Share of a pair's matches within EPIPOLAR_PX of where the solved cameras allow them (Sampson distance)."""
    rays_a, rays_b = (cameras.rays(np.full(len(xy), i), xy) for xy, i in ((xy_a, a), (xy_b, b)))
    b_from_a = np.linalg.inv(cameras.world_from_camera[b]) @ cameras.world_from_camera[a]
    shift = b_from_a[:3, 3]
    essential = cross_matrix(shift[None])[0] @ b_from_a[:3, :3]
    line_b, line_a = rays_a @ essential.T, rays_b @ essential
    square = np.sum(line_a[:, :2] ** 2, axis=1) + np.sum(line_b[:, :2] ** 2, axis=1)
    distance = np.abs(np.sum(rays_b * line_b, axis=1)) / np.sqrt(np.maximum(square, 1e-30))
    focal = float(np.sqrt(cameras.focal[a] * cameras.focal[b]))
    return float(np.mean(distance * focal < EPIPOLAR_PX))


def _pair_rotation(cameras: Cameras, xy_a: np.ndarray, xy_b: np.ndarray, a: int, b: int) -> np.ndarray | None:
    """Rotation from camera a's axes to b's by the essential matrix of the pair alone, or None."""
    rays = [cameras.rays(np.full(len(xy), i), xy)[:, :2] for xy, i in ((xy_a, a), (xy_b, b))]
    focal = float(np.sqrt(cameras.focal[a] * cameras.focal[b]))
    essential, inliers = cv2.findEssentialMat(
        *rays, np.eye(3), method=cv2.USAC_MAGSAC, prob=0.999, threshold=1.5 / focal, maxIters=1000
    )
    if essential is None or essential.shape != (3, 3):
        return None
    count, rotation, _, _ = cv2.recoverPose(essential, *rays, np.eye(3), mask=inliers.copy())
    return rotation if count >= 15 else None


def _focal_firmness(solution: Solution) -> Check:
    uncertainty = solution.focal_uncertainty
    passed = bool(uncertainty <= MAX_FOCAL_UNCERTAINTY)
    text = (
        f"The footage holds the focal length to about {100 * uncertainty:.1f} %."
        if np.isfinite(uncertainty)
        else "The footage does not hold the focal length at all."
    )
    return Check("focal firmness", passed, text, _finite(uncertainty), MAX_FOCAL_UNCERTAINTY)


def _lens_plausibility(solution: Solution, lenses: LensModel) -> Check:
    cameras = solution.cameras
    solved = np.flatnonzero(cameras.solved)
    sides = np.array([max(lens.width, lens.height) for lens in lenses.start])
    ratio = cameras.focal[solved] / sides[solved]
    k1 = float(np.abs(cameras.distortion[solved, 0]).max(initial=0.0))
    passed = bool(lenses.focal_known or (ratio.min() > 0.25 and ratio.max() < 8.0)) and k1 < MAX_K1
    text = f"The lens is plausible: {36 * np.median(ratio):.0f} mm on full frame, k1 {k1:.3f}."
    if not passed:
        text = f"The lens found is not plausible ({36 * np.median(ratio):.0f} mm on full frame, k1 {k1:.2f})."
    return Check("lens", passed, text, k1, MAX_K1)


def _error(solution: Solution, lenses: LensModel) -> Check:
    limit = _allowed_error(lenses)
    error = solution.mean_error_px
    return Check(
        "reprojection error", error <= limit, f"Points land {error:.2f} px from where they were seen.", error, limit
    )


def _allowed_error(lenses: LensModel) -> float:
    return MAX_ERROR_PX_AT_1000 * max(1.0, max(lenses.start[0].width, lenses.start[0].height) / 1000)


def _kept_share(solution: Solution) -> Check:
    share = float(solution.kept.mean()) if len(solution.kept) else 0.0
    text = f"{100 * share:.0f} % of what was followed or matched fits the solve."
    return Check("share that fits", share >= MIN_KEPT, text, share, MIN_KEPT)


def _parallax(solution: Solution) -> Check:
    angles = np.degrees(triangulation_angles(solution.observations[solution.kept], solution.cameras, solution.points))
    angles = angles[angles > 0]
    median = float(np.median(angles)) if len(angles) else 0.0
    text = f"The points are seen under a median parallax of {median:.1f} degrees."
    return Check("parallax", median >= MIN_ANGLE_DEG, text, median, MIN_ANGLE_DEG)


def _flat_pairs(types: dict[str, int]) -> Check:
    """A pair explained by a homography shows no depth; footage made of such pairs shows none at all."""
    total = sum(types.values())
    flat = sum(count for name, count in types.items() if name in ("PLANAR", "PANORAMIC", "PLANAR_OR_PANORAMIC"))
    share = flat / total if total else 1.0
    text = f"{100 * (1 - share):.0f} % of the frame pairs show depth."
    return Check("pairs with depth", share <= MAX_FLAT_PAIRS, text, 1 - share, 1 - MAX_FLAT_PAIRS)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None

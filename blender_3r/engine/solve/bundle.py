"""Bundle adjustment: poses, points, focal lengths and radial distortion that explain all tracks best.

Levenberg-Marquardt on the reprojection error in pixels with a robust loss (reweighted every iteration) and the points
eliminated from the linear system. Cameras without a pose and points without a position (nan) are left as they are,
with the observations they take part in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..geometry.bundle_state import BundleOptions, State
from ..geometry.cameras import Cameras, Observations
from ..geometry.depth_prior import DepthPrior, weigh
from ..geometry.reprojection import Problem
from ..geometry.triangulation import mean_directions, triangulate_tracks, triangulation_angles
from ..geometry.uncertainty import FocalUncertainty, focal_uncertainty

__all__ = [
    "BundleOptions",
    "BundleResult",
    "ZoomEvidence",
    "adjust",
    "needs_distortion",
    "refine",
    "residuals",
    "select",
    "spread_tracks",
    "typical_error",
    "usable",
    "zoom_evidence",
]

# Tolerance of the adjustments whose outliers are yet to be dropped.
ROUGH_TOLERANCE = 1e-3
# Tracks that models of the lens are compared on, and stretches of the shot they are drawn from.
TRIAL_TRACKS = 1000
STRETCHES = 12
# Relative rise of the cost without distortion from which it is believed. Measured: up to 0.0006 on rendered shots of an
# ideal lens, 0.016 on a rectified camera with k1 = 0.02, 0.5 with k1 = -0.1.
DISTORTION_GAIN = 0.003
# A zoom must lower the cost by this share, with focals that span this much. Measured: without zoom at most 0.003 and
# 0.004 on rendered and driven shots, 0.044 and 0.08 on hand-held footage of people running; with a zoom of 10 % from
# 0.04 and 0.09, of 60 % 0.27 and more. So a zoom of a few per cent can be missed; a user who knows can say so.
ZOOM_GAIN = 0.06
ZOOM_SPAN = 0.05


@dataclass
class BundleResult:
    """cameras, points: refined, nan where unknown. residual: (n, 2) projected minus observed pixels, nan where there
    is no pose or point or the point is behind the camera. kept: (n,) bool, observations that took part.
    focal_log_std: (m,) standard deviation of log focal with everything else unknown, 0 for fixed focals, nan for
    cameras without pose. It takes observations as independent; errors of tracks are not, so it is a lower bound.
    smoothness: for zooms, the weight of the prior that this result speaks of, see focal_uncertainty(); else nan.
    """

    cameras: Cameras
    points: np.ndarray
    residual: np.ndarray
    kept: np.ndarray
    focal_log_std: np.ndarray
    cost: float
    iterations: int
    smoothness: float = float("nan")

    @property
    def errors_px(self) -> np.ndarray:
        """(n,) length of the residuals."""
        return np.linalg.norm(self.residual, axis=1)

    @property
    def rms_px(self) -> float:
        """Root mean square length of the residuals of kept observations; nan when there are none."""
        return float(np.sqrt(np.mean(self.errors_px[self.kept] ** 2))) if self.kept.any() else float("nan")

    @property
    def mean_px(self) -> float:
        """Mean length of the residuals of kept observations; nan when there are none."""
        return float(np.mean(self.errors_px[self.kept])) if self.kept.any() else float("nan")


def adjust(
    observations: Observations,
    cameras: Cameras,
    points: np.ndarray,
    options: BundleOptions | None = None,
    lens_of_frame: np.ndarray | None = None,
    log_depth: np.ndarray | None = None,
    with_deviation: bool = True,
) -> BundleResult:
    """One bundle adjustment over all usable observations.

    points: (p, 3). lens_of_frame: (m,) int, frames with the same number share distortion and (unless "zoom") focal;
    all share one lens when None. log_depth: (n,) what a network says of each observation's depth, in any unit and with
    a scale of each frame's own, nan where it says nothing; see geometry/depth_prior.py.
    with_deviation: whether focal_log_std and smoothness are asked for, the time of which grows with the cube of the
    frames; nan without. The world stays put: the first solved camera keeps its pose and the cameras keep
    their mean distance from it. Raises ValueError when no observation has both a pose and a point in front of it.
    """
    options = options or BundleOptions()
    kept = usable(observations, cameras, points)
    if not kept.any():
        raise ValueError("no observation has both a pose and a point in front of the camera")
    seen = observations[kept]
    depth = None if log_depth is None else _depth_prior(seen, cameras, points, log_depth[kept])
    problem = Problem(seen, cameras, points, options, lens_of_frame, depth)
    state, cost, iterations = _minimize(problem, options)
    refined, moved = problem.export(state, cameras, points)
    if not options.rotation_only:
        _restore_gauge(cameras, refined, moved)
    uncertainty = FocalUncertainty(np.full(len(cameras), np.nan), float("nan"))
    if with_deviation:
        uncertainty = focal_uncertainty(problem, state)
    return BundleResult(
        refined,
        moved,
        residuals(observations, refined, moved),
        kept,
        uncertainty.log_std,
        cost,
        iterations,
        uncertainty.smoothness,
    )


def refine(
    observations: Observations,
    cameras: Cameras,
    points: np.ndarray,
    options: BundleOptions | None = None,
    lens_of_frame: np.ndarray | None = None,
    thresholds_px: tuple[float, ...] = (8.0, 4.0, 2.5),
    min_angle_deg: float = 0.5,
    min_views: int = 3,
    log_depth: np.ndarray | None = None,
) -> BundleResult:
    """Adjust, drop outliers, adjust again: once before any drop and once after each of thresholds_px.

    Dropped are observations farther off than the threshold (or 4 times the typical error, if that is more), points
    seen by fewer than min_views cameras or under less than min_angle_deg (their positions become nan), and points
    behind a camera. What was dropped in one round may come back in the next: lost points are triangulated again.
    log_depth: see adjust(). Raises ValueError when nothing usable is left.
    """
    options = options or BundleOptions()
    rough = replace(options, tolerance=max(options.tolerance, ROUGH_TOLERANCE))
    points = np.array(points, dtype=np.float64)
    kept = select(observations, cameras, points, np.inf, 0.0, min_views)
    is_only = not thresholds_px
    result = adjust(observations[kept], cameras, points, rough, lens_of_frame, _chosen(log_depth, kept), is_only)
    for number, threshold in enumerate(thresholds_px, start=1):
        limit = max(threshold, 4.0 * typical_error(result.residual))
        points = _revived(observations, result, limit, options)
        kept = select(observations, result.cameras, points, limit, min_angle_deg, min_views)
        seen = np.zeros(len(points), dtype=bool)
        seen[observations.track[kept]] = True
        points[~seen] = np.nan
        last = number == len(thresholds_px)
        chosen = _chosen(log_depth, kept)
        accuracy = options if last else rough
        result = adjust(observations[kept], result.cameras, points, accuracy, lens_of_frame, chosen, last)
    residual = residuals(observations, result.cameras, result.points)
    return replace(result, residual=residual, kept=kept & np.isfinite(residual[:, 0]))


def _chosen(values: np.ndarray | None, choice: np.ndarray) -> np.ndarray | None:
    return None if values is None else values[choice]


def _depth_prior(
    observations: Observations, cameras: Cameras, points: np.ndarray, log_depth: np.ndarray
) -> DepthPrior | None:
    """What predicted depths weigh, beside how well the tracks fit now."""
    depth = cameras.in_camera(observations.frame, points[observations.track])[:, 2]
    noise_px = typical_error(residuals(observations, cameras, points))
    return weigh(log_depth, np.log(depth), observations.frame, observations.track, len(cameras), noise_px)


def needs_distortion(
    observations: Observations,
    result: BundleResult,
    options: BundleOptions,
    lens_of_frame: np.ndarray | None = None,
) -> bool:
    """Whether the distortion in a result pays: without it the cost would rise by more than DISTORTION_GAIN.

    A coefficient that explains nothing still takes up errors of the tracks, and drags the focal with it.
    """
    seen = observations[result.kept]
    seen = seen[spread_tracks(seen, len(result.cameras), TRIAL_TRACKS)]
    plain = result.cameras.copy()
    plain.distortion[:, : options.distortion] = 0.0
    with_it = adjust(seen, result.cameras, result.points, options, lens_of_frame, with_deviation=False)
    plainer = replace(options, distortion=0)
    without = adjust(seen, plain, result.points, plainer, lens_of_frame, with_deviation=False)
    return without.cost > (1 + DISTORTION_GAIN) * with_it.cost


@dataclass(frozen=True)
class ZoomEvidence:
    """is_zoom: whether one focal per frame is called for. gain: relative fall of the cost with it. span: relative
    range of the focals found. result: the trial, on a part of the tracks, as a start for a full solve.
    """

    is_zoom: bool
    gain: float
    span: float
    result: BundleResult


def zoom_evidence(observations: Observations, result: BundleResult, options: BundleOptions) -> ZoomEvidence:
    """Whether a shot solved with one focal zooms: tries one focal per frame from there, on a part of the tracks.

    A zoom solved with one focal has a small reprojection error and a bent world; letting the focals go unbends it.
    """
    seen = observations[result.kept]
    seen = seen[spread_tracks(seen, len(result.cameras), TRIAL_TRACKS)]
    trial = replace(options, loss="cauchy", scale_px=0.5, max_iterations=40, tolerance=1e-4)
    shared = adjust(seen, result.cameras, result.points, replace(trial, lens="shared"), with_deviation=False)
    zoom = adjust(seen, shared.cameras, shared.points, replace(trial, lens="zoom"), with_deviation=False)
    gain = 1.0 - zoom.cost / max(shared.cost, 1e-30)
    focals = zoom.cameras.focal[zoom.cameras.solved]
    low, high = np.percentile(np.log(focals), [5, 95])
    span = float(np.expm1(high - low))
    return ZoomEvidence(gain > ZOOM_GAIN and span > ZOOM_SPAN, gain, span, zoom)


def spread_tracks(observations: Observations, n_frames: int, budget: int) -> np.ndarray:
    """(n,) bool: observations of about `budget` tracks, the longest ones of each stretch of the shot."""
    n_tracks = int(observations.track.max(initial=-1)) + 1
    length = np.bincount(observations.track, minlength=n_tracks)
    if np.count_nonzero(length) <= budget:
        return np.ones(len(observations), dtype=bool)
    middle = np.bincount(observations.track, weights=observations.frame, minlength=n_tracks) / np.maximum(length, 1)
    stretch = (middle * STRETCHES / max(n_frames, 1)).astype(int)
    order = np.lexsort((-length, stretch))
    first = np.searchsorted(stretch[order], np.arange(STRETCHES + 1))
    rank = np.empty(n_tracks, dtype=np.int64)
    rank[order] = np.arange(n_tracks) - first[stretch[order]]
    rank[length == 0] = n_tracks
    chosen = np.zeros(n_tracks, dtype=bool)
    chosen[np.argsort(rank, kind="stable")[:budget]] = True
    return chosen[observations.track]


def _revived(observations: Observations, result: BundleResult, limit: float, options: BundleOptions) -> np.ndarray:
    """The result's points, with those placed anew that are lost or off by more than limit (px) half the time."""
    points = result.points.copy()
    error = np.linalg.norm(residuals(observations, result.cameras, points), axis=1)
    near = np.bincount(observations.track[error < limit], minlength=len(points))
    poor = 2 * near < np.bincount(observations.track, minlength=len(points))
    again = observations[poor[observations.track]]
    if options.rotation_only:
        points[poor] = mean_directions(again, result.cameras, len(points))[poor]
    else:
        points[poor] = triangulate_tracks(again, result.cameras, len(points), max_error_px=limit)[poor]
    return points


def usable(observations: Observations, cameras: Cameras, points: np.ndarray) -> np.ndarray:
    """(n,) bool: the camera has a pose and the point a position in front of it."""
    known = cameras.solved[observations.frame] & np.isfinite(points[observations.track]).all(axis=1)
    depth = cameras.in_camera(observations.frame[known], points[observations.track[known]])[:, 2]
    known[known] = depth > 0
    return known


def residuals(observations: Observations, cameras: Cameras, points: np.ndarray) -> np.ndarray:
    """(n, 2) projected minus observed pixels; nan where the observation is not usable."""
    return cameras.project(observations.frame, points[observations.track]) - observations.xy


def typical_error(residual: np.ndarray) -> float:
    """Standard deviation per coordinate (px) that half of the residuals speak of, whatever the other half does."""
    finite = residual[np.isfinite(residual[:, 0])]
    return float(1.4826 * np.median(np.abs(finite))) if len(finite) else float("nan")


def select(
    observations: Observations,
    cameras: Cameras,
    points: np.ndarray,
    threshold_px: float,
    min_angle_deg: float,
    min_views: int,
) -> np.ndarray:
    """(n,) bool: usable observations within threshold_px of points that are well seen (see refine())."""
    error = np.linalg.norm(residuals(observations, cameras, points), axis=1)
    kept = usable(observations, cameras, points) & (error < threshold_px)
    views = np.bincount(observations.track[kept], minlength=len(points))
    good = views >= min_views
    if min_angle_deg > 0:
        good &= triangulation_angles(observations[kept], cameras, points) >= np.radians(min_angle_deg)
    return kept & good[observations.track]


def _minimize(problem: Problem, options: BundleOptions) -> tuple[State, float, int]:
    """Levenberg-Marquardt with Nielsen's rule for the damping."""
    state = problem.start
    cost = problem.cost(state)
    damping, growth = 1e-4, 2.0
    equations = None
    for iteration in range(options.max_iterations):
        if equations is None:
            equations, _ = problem.linearize(state)
        try:
            cameras, points = equations.step(damping)
        except np.linalg.LinAlgError:
            damping, growth = damping * growth, growth * 2
            continue
        trial = problem.moved(state, cameras, points)
        new_cost = problem.settle_points(trial)
        if np.isfinite(new_cost) and new_cost < cost:
            fall = (cost - new_cost) / max(cost, 1e-30)
            state, cost, equations = trial, new_cost, None
            damping, growth = max(damping / 5, 1e-9), 2.0
            if fall < options.tolerance:
                return state, cost, iteration + 1
        else:
            if damping > 1e6:
                return state, cost, iteration + 1
            damping, growth = damping * growth, growth * 2
    return state, cost, options.max_iterations


def _restore_gauge(before: Cameras, after: Cameras, points: np.ndarray) -> None:
    """Move the refined world, in place, so that the first camera has its old pose and the cameras their old spread."""
    solved = np.flatnonzero(before.solved)
    anchor = solved[0]
    old, new = before.world_from_camera[anchor], after.world_from_camera[anchor].copy()
    turn = old[:3, :3] @ new[:3, :3].T

    def spread(cameras: Cameras) -> float:
        return float(np.linalg.norm(cameras.centers[solved] - cameras.centers[anchor], axis=1).mean())

    scale = spread(before) / spread(after) if spread(after) > 0 and spread(before) > 0 else 1.0
    for place in (after.world_from_camera[:, :3, 3], points):
        place[:] = scale * (place - new[:3, 3]) @ turn.T + old[:3, 3]
    after.world_from_camera[:, :3, :3] = turn @ after.world_from_camera[:, :3, :3]

"""Bundle adjustment: poses, points, focal lengths and radial distortion that explain all tracks best.

Levenberg-Marquardt on the reprojection error in pixels with a robust loss (reweighted every iteration) and the points
eliminated from the linear system. Cameras without a pose and points without a position (nan) are left as they are,
with the observations they take part in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..geometry.cameras import Cameras, Observations
from ..geometry.reprojection import BundleOptions, Problem, State
from ..geometry.triangulation import triangulate_tracks, triangulation_angles

__all__ = ["BundleOptions", "BundleResult", "adjust", "refine", "residuals", "select", "typical_error", "usable"]

# Tolerance of the adjustments whose outliers are yet to be dropped.
ROUGH_TOLERANCE = 1e-3


@dataclass
class BundleResult:
    """cameras, points: refined, nan where unknown. residual: (n, 2) projected minus observed pixels, nan where there
    is no pose or point or the point is behind the camera. kept: (n,) bool, observations that took part.
    focal_log_std: (m,) standard deviation of log focal with everything else unknown, 0 for fixed focals, nan for
    cameras without pose. It takes observations as independent; errors of tracks are not, so it is a lower bound.
    """

    cameras: Cameras
    points: np.ndarray
    residual: np.ndarray
    kept: np.ndarray
    focal_log_std: np.ndarray
    cost: float
    iterations: int

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
) -> BundleResult:
    """One bundle adjustment over all usable observations.

    points: (p, 3). lens_of_frame: (m,) int, frames with the same number share distortion and (unless "zoom") focal;
    all share one lens when None. The world stays put: the first solved camera keeps its pose and the cameras keep
    their mean distance from it. Raises ValueError when no observation has both a pose and a point in front of it.
    """
    options = options or BundleOptions()
    kept = usable(observations, cameras, points)
    if not kept.any():
        raise ValueError("no observation has both a pose and a point in front of the camera")
    problem = Problem(observations[kept], cameras, points, options, lens_of_frame)
    state, cost, iterations = _minimize(problem, options)
    refined, moved = problem.export(state, cameras, points)
    if not options.rotation_only:
        _restore_gauge(cameras, refined, moved)
    return BundleResult(
        refined,
        moved,
        residuals(observations, refined, moved),
        kept,
        problem.focal_log_std(state),
        cost,
        iterations,
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
) -> BundleResult:
    """Adjust, drop outliers, adjust again: once before any drop and once after each of thresholds_px.

    Dropped are observations farther off than the threshold (or 4 times the typical error, if that is more), points
    seen by fewer than min_views cameras or under less than min_angle_deg (their positions become nan), and points
    behind a camera. What was dropped in one round may come back in the next: lost points are triangulated again.
    Raises ValueError when nothing usable is left.
    """
    options = options or BundleOptions()
    rough = replace(options, tolerance=max(options.tolerance, ROUGH_TOLERANCE))
    points = np.array(points, dtype=np.float64)
    kept = select(observations, cameras, points, np.inf, 0.0, min_views)
    result = adjust(observations[kept], cameras, points, rough, lens_of_frame)
    for number, threshold in enumerate(thresholds_px, start=1):
        limit = max(threshold, 4.0 * typical_error(result.residual))
        points = _revived(observations, result, limit)
        kept = select(observations, result.cameras, points, limit, min_angle_deg, min_views)
        seen = np.zeros(len(points), dtype=bool)
        seen[observations.track[kept]] = True
        points[~seen] = np.nan
        last = number == len(thresholds_px)
        result = adjust(observations[kept], result.cameras, points, options if last else rough, lens_of_frame)
    residual = residuals(observations, result.cameras, result.points)
    return replace(result, residual=residual, kept=kept & np.isfinite(residual[:, 0]))


def _revived(observations: Observations, result: BundleResult, limit: float) -> np.ndarray:
    """The result's points, with those triangulated anew that are lost or off by more than limit (px) half the time."""
    points = result.points.copy()
    error = np.linalg.norm(residuals(observations, result.cameras, points), axis=1)
    near = np.bincount(observations.track[error < limit], minlength=len(points))
    poor = 2 * near < np.bincount(observations.track, minlength=len(points))
    again = observations[poor[observations.track]]
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
        new_cost = problem.cost(trial)
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

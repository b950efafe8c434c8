"""A camera solve as the cameras of a job."""

from __future__ import annotations

import numpy as np

from ..geometry.cameras import Cameras, Observations
from ..geometry.triangulation import triangulate_tracks
from ..media.frames import FrameSource
from ..reconstruction import Check, Reconstruction, View
from ..solve.bundle import residuals
from ..solve.mapping import LensModel
from ..solve.solution import Solution

FOCAL_CHECKS = ("focal firmness", "focal stability", "lens")


def make_reconstruction(frames: FrameSource, solution: Solution, lenses: LensModel) -> Reconstruction:
    """The cameras of all frames, with what is to be believed of them; those without a pose say why."""
    errors, support = solution.frame_errors(), solution.support()
    views = []
    for index, info in enumerate(frames.infos):
        lens = solution.cameras.intrinsics(index, info.width, info.height)
        solved = bool(solution.cameras.solved[index])
        views.append(
            View(
                info.file,
                info.frame,
                lens,
                solution.cameras.world_from_camera[index] if solved else None,
                float(errors[index]) if solved and np.isfinite(errors[index]) else None,
                "" if solved else solution.notes.get(index) or _why_missing(int(support[index]), frames.kind),
                index in solution.interpolated,
            )
        )
    held = all(check.passed for check in solution.checks if check.name in FOCAL_CHECKS)
    certain = lenses.focal_known or (solution.focal_is_certain and held)
    warnings = list(solution.warnings)
    if not certain and not any("focal length" in warning for warning in warnings):
        warnings.append(
            "The focal length is uncertain: this footage hardly tells it. Give the focal length if you know it."
        )
    missing = sum(not view.is_solved for view in views)
    if missing > len(solution.notes):
        warnings.append(f"{missing} of {len(views)} frames have no camera; the others are kept.")
    error = solution.mean_error_px
    return Reconstruction(
        views,
        frames.kind,
        "classic",
        solution.motion,
        solution.lens,
        False,
        certain,
        float(error) if np.isfinite(error) else None,
        frames.fps,
        frames.source.name,
        solution.checks,
        warnings,
    )


def _why_missing(support: int, kind: str) -> str:
    seen = "could be followed" if kind == "video" else "match the other photos"
    return f"Only {support} points {seen} here." if support else f"No points that {seen} fit the solve here."


def placed_error(observations: Observations, cameras: Cameras, n_tracks: int, max_error_px: float = np.inf) -> float:
    """Mean error in pixels under these cameras, with the points where they place them best; inf for nothing placed."""
    points = triangulate_tracks(observations, cameras, n_tracks, max_error_px=max_error_px)
    error = np.linalg.norm(residuals(observations, cameras, points), axis=1)
    error = error[np.isfinite(error)]
    return float(error.mean()) if len(error) else float("inf")


def adjustment_check(before: float, after: float, what: str) -> Check:
    """Whether an adjustment of cameras lowered the mean error (px) of what it went by. what: "points followed ..."."""
    text = f"The cameras were adjusted to {what}: {before:.2f} px before, {after:.2f} after."
    return Check("adjustment", after <= before, text, after, before)

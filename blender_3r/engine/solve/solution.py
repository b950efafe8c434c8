"""What a camera solve hands on: the cameras, what they rest on, and how far they can be believed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..geometry.cameras import Cameras, Observations
from ..geometry.similarity import fit_cameras
from ..reconstruction import Check
from .bundle import BundleResult, typical_error
from .mapping import LensModel

# Errors of neighbouring observations of a track hang together, so that the formal deviation of the focal is too
# small; on the rendered shots the true error is about this many times as large.
FOCAL_DEVIATION_FACTOR = 4.0


@dataclass
class Solution:
    """cameras: of all frames, nan poses where not solved. observations, points (p, 3), error_px (n,) and kept (n,):
    what was tracked, where it lies, how far off it is and whether it took part. lens, motion: see Reconstruction.
    focal_log_std: typical standard deviation of log focal, 0 when the focal was given. warnings: sentences for the
    user. pair_types: {two-view type: number of frame pairs}. notes: {frame: why it has no camera}. interpolated: frames
    whose cameras lie between those of others. moving: (p,) bool, tracks of things that move; None where not asked.
    """

    cameras: Cameras
    observations: Observations
    points: np.ndarray
    error_px: np.ndarray
    kept: np.ndarray
    lens: str = "shared"
    motion: str = "free"
    focal_log_std: float = 0.0
    focal_is_certain: bool = True
    checks: list[Check] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    pair_types: dict[str, int] = field(default_factory=dict)
    notes: dict[int, str] = field(default_factory=dict)
    interpolated: frozenset[int] = frozenset()
    moving: np.ndarray | None = None

    @classmethod
    def from_bundle(cls, result: BundleResult, observations: Observations, lens: str) -> Solution:
        """The result of a bundle adjustment over exactly these observations."""
        deviation = result.focal_log_std[np.isfinite(result.focal_log_std)]
        return cls(
            result.cameras,
            observations,
            result.points,
            result.errors_px,
            result.kept,
            lens,
            focal_log_std=float(np.median(deviation)) if len(deviation) else float("nan"),
        )

    @property
    def mean_error_px(self) -> float:
        """Mean reprojection error of the observations that took part; nan when there are none."""
        return float(np.mean(self.error_px[self.kept])) if self.kept.any() else float("nan")

    @property
    def noise_px(self) -> float:
        """What half of all observations, kept or not, stay within, as a standard deviation."""
        return self.noise_of(np.arange(len(self.error_px)))

    def noise_of(self, chosen: np.ndarray) -> float:
        """What half of the observations with these numbers stay within, as a standard deviation; inf for none."""
        error = self.error_px[chosen]
        finite = error[np.isfinite(error)]
        return typical_error(np.stack([finite, finite], axis=1)) if len(finite) else float("inf")

    @property
    def focal_uncertainty(self) -> float:
        """Likely relative error of the focal, 0.01 = 1 %."""
        return FOCAL_DEVIATION_FACTOR * self.focal_log_std

    def frame_errors(self) -> np.ndarray:
        """(m,) mean error of each frame's kept observations in px, nan where there are none."""
        total = len(self.cameras)
        frame, error = self.observations.frame[self.kept], self.error_px[self.kept]
        count = np.bincount(frame, minlength=total)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.bincount(frame, error, minlength=total) / count

    def support(self) -> np.ndarray:
        """(m,) number of kept observations of each frame."""
        return np.bincount(self.observations.frame[self.kept], minlength=len(self.cameras))


def share_lens(cameras: Cameras, lenses: LensModel) -> Cameras:
    """A copy in which frames without a pose have their group's median lens, and distortion is one per group."""
    shared = cameras.copy()
    solved = cameras.solved
    for group in np.unique(lenses.group):
        members = lenses.group == group
        known = members & solved
        if not known.any():
            continue
        shared.focal[members & ~solved] = np.exp(np.median(np.log(cameras.focal[known])))
        shared.distortion[members] = np.median(cameras.distortion[known], axis=0)
        shared.aspect[members] = np.median(cameras.aspect[known])
        shared.center[members] = np.median(cameras.center[known], axis=0)
    return shared


def take_world(solution: Solution, given: Cameras) -> None:
    """Move a solution, in place, to where the given cameras are, at their size."""
    cameras, solved = solution.cameras.world_from_camera, solution.cameras.solved
    both = np.flatnonzero(solved & given.solved)
    if len(both) < 2:
        return
    similarity = fit_cameras(cameras[both], given.world_from_camera[both])
    cameras[solved] = similarity.move_cameras(cameras[solved])
    solution.points = similarity.apply(solution.points)

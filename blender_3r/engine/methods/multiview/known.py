"""What the user knows of the views beforehand: lenses, poses, depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...errors import EngineError
from ...geometry.similarity import Similarity, fit_cameras
from ...media.frames import FrameSource
from ...reconstruction import Intrinsics
from ..depth_maps import DepthMaps
from ..lenses import read_intrinsics, read_poses
from .options import Options
from .pictures import depth_prior
from .predictions import Prediction
from .reading import Pictures

LEAST_POSES = 2  # of a pass that is placed by them
TAKES_PRIORS = "pi3x"  # the architecture that is told poses and depth


@dataclass(frozen=True)
class Known:
    """Of every frame. lenses: None where not known. poses: (4, 4) world_from_camera, nan where not known; None = of no
    frame. depth: None = of no frame.
    """

    lenses: list[Intrinsics | None]
    poses: list[np.ndarray] | None = None
    depth: DepthMaps | None = None
    warnings: tuple[str, ...] = ()

    def pose(self, frame: int) -> np.ndarray | None:
        """Of a frame, None where it is not known."""
        if self.poses is None or not np.isfinite(self.poses[frame]).all():
            return None
        return self.poses[frame]

    @property
    def has_lenses(self) -> bool:
        return any(lens is not None for lens in self.lenses)

    @property
    def sets_no_scale(self) -> bool:
        """Whether the scene keeps the scale that the network gives it."""
        return self.poses is None and self.depth is None


def read_known(frames: FrameSource, options: Options, architecture: str, title: str) -> Known:
    """From the settings intrinsics, focal_px, poses and depth_maps.

    Raises EngineError("usage") for a file that cannot be used, and for poses or depth where the model takes none.
    """
    if architecture != TAKES_PRIORS and (options.poses or options.depth_maps):
        what = "poses" if options.poses else "depth"
        raise EngineError("usage", f"{title} does not take known {what}.", "Choose Pi3X, or leave that out.")
    warnings: tuple[str, ...] = ()
    lenses: list[Intrinsics | None] = [None] * len(frames)
    if options.intrinsics is not None:
        lenses = list(read_intrinsics(Path(options.intrinsics), frames))
        if any(lens.is_distorted for lens in lenses if lens is not None):
            warnings = ("The networks know pinholes only: the distortion of the given lenses is not used.",)
    elif options.focal_px is not None:
        focal = float(options.focal_px)
        lenses = [
            Intrinsics(info.width, info.height, focal, focal, info.width / 2, info.height / 2) for info in frames.infos
        ]
    poses = None if options.poses is None else read_poses(Path(options.poses), frames)
    depth = None if options.depth_maps is None else DepthMaps(Path(options.depth_maps), frames)
    return Known(lenses, poses, depth, warnings)


def refuse_few_poses(known: Known, frames: Sequence[int]) -> None:
    """Raise EngineError("usage") when frames of the first pass have too few known poses; others are joined to it."""
    count = sum(known.pose(frame) is not None for frame in frames)
    if known.poses is not None and count < min(LEAST_POSES, len(frames)):
        raise EngineError(
            "usage",
            f"Of the first {len(frames)} images, {LEAST_POSES} at least must have known poses.",
            "Give more poses, or none.",
        )


def is_placed(part: Prediction, known: Known, pictures: Pictures) -> bool:
    """Whether so many of a pass's poses are known that it is in their world."""
    return np.count_nonzero(_known_here(part, known, pictures)) >= LEAST_POSES


def place_in_known_world(part: Prediction, known: Known, pictures: Pictures, is_first: bool) -> Prediction:
    """A pass moved to the known poses, which take the place of the predicted ones. The first without enough of them is
    scaled to the known depth.
    """
    here = _known_here(part, known, pictures)
    if np.count_nonzero(here) >= LEAST_POSES:
        given = np.stack([known.pose(pictures.used[view]) for view, good in zip(part.views, here, strict=True) if good])
        moved = part.moved(_to_known(part.world_from_camera[here], given))
        poses = moved.world_from_camera.copy()
        poses[here] = given
        return replace(moved, world_from_camera=poses)
    if known.depth is None or not is_first:
        return part
    scale = _scale_to_known(part, known.depth, pictures)
    return part.moved(Similarity(np.float64(scale), np.eye(3), np.zeros(3)))


def _known_here(part: Prediction, known: Known, pictures: Pictures) -> np.ndarray:
    return part.posed & np.array([known.pose(pictures.used[view]) is not None for view in part.views])


def _to_known(found: np.ndarray, given: np.ndarray) -> Similarity:
    if np.ptp(given[:, :3, 3], axis=0).max() > 0 and np.ptp(found[:, :3, 3], axis=0).max() > 0:
        return fit_cameras(found, given)
    turn = given[0, :3, :3] @ found[0, :3, :3].T  # cameras that only turn tell no scale
    return Similarity(np.float64(1.0), turn, given[0, :3, 3] - turn @ found[0, :3, 3])


def _scale_to_known(part: Prediction, depth: DepthMaps, pictures: Pictures) -> float:
    """The median of known over predicted depth."""
    ratios = []
    for k, view in enumerate(part.views):
        given = depth.read(pictures.used[view])
        if given is not None:
            given = depth_prior(given, part.depth[k].shape)
            good = part.kept[k] & (given > 0)
            ratios.append(given[good] / part.depth[k][good])
    found = np.concatenate(ratios) if ratios else np.zeros(0)
    return float(np.median(found)) if len(found) else 1.0

"""Cameras of a network adjusted to points that it followed through the views, by the engine's own bundle adjustment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...geometry.cameras import Cameras, Observations
from ...geometry.depth_scale import measure_scale
from ...geometry.triangulation import triangulate_tracks
from ...media.frames import FrameSource
from ...reconstruction import Reconstruction
from ...solve.bundle import BundleOptions, refine
from ...solve.solution import Solution
from ..pairwise.pictures import Picture
from ..solved import placed_error
from .predictions import Followed
from .queries import picture_pixels

# In pixels of the network's pictures, whose tracks are about that precise; scaled to the frames.
THRESHOLDS_PX = (8.0, 4.0, 2.5)
START_PX = 32.0  # of a track that is placed with the cameras as they are predicted
DEPTH_CHANGE = 2.0  # at most


@dataclass(frozen=True)
class Adjusted:
    """solution: of all frames of the source. before, after: mean error in pixels of the observations that took part,
    with the predicted cameras and with the adjusted ones.
    """

    solution: Solution
    before: float
    after: float


def observe(followed: Sequence[Followed], used: Sequence[int]) -> Observations:
    """Tracks of all passes. used: the frame of every picture."""
    starts = np.cumsum([0, *(int(part.track.max(initial=-1)) + 1 for part in followed)])
    frame = [np.asarray(used)[part.view] for part in followed]
    track = [part.track + start for part, start in zip(followed, starts[:-1], strict=True)]
    if not frame:
        return Observations(np.zeros(0), np.zeros(0), np.zeros((0, 2)))
    xy, sure = (np.concatenate([getattr(part, name) for part in followed]) for name in ("xy", "sure"))
    found = Observations(np.concatenate(frame), np.concatenate(track), xy, sure)
    return found[np.lexsort((found.track, found.frame))]


def adjust_cameras(
    observations: Observations,
    reconstruction: Reconstruction,
    frames: FrameSource,
    lens: str,
    scale: float,
) -> Adjusted | None:
    """The reconstruction's cameras, adjusted; None when there is too little to go by, or nothing is won.

    lens: "shared" (by all), "groups" (by frames of one camera), "zoom" (each frame its own) or "fixed". scale: pixels
    of a frame to one of the network's picture.
    """
    cameras = Cameras.from_views(reconstruction.views)
    tracks = int(observations.track.max(initial=-1)) + 1
    solved = np.count_nonzero(cameras.solved)
    if solved < 2 or tracks == 0:
        return None
    points = triangulate_tracks(observations, cameras, tracks, max_error_px=scale * START_PX)
    lens_of_frame = None
    if lens == "groups":
        lens, lens_of_frame = "shared", np.unique([info.camera for info in frames.infos], return_inverse=True)[1]
    thresholds = tuple(scale * threshold for threshold in THRESHOLDS_PX)
    options = BundleOptions(lens=lens, distortion=0, scale_px=scale)
    try:
        result = refine(observations, cameras, points, options, lens_of_frame, thresholds, min_views=min(3, solved))
    except ValueError:
        return None
    before = placed_error(observations[result.kept], cameras, tracks, scale * START_PX)
    after = result.mean_px
    if not after < before:
        return None
    return Adjusted(Solution.from_bundle(result, observations, reconstruction.lens), before, after)


def depth_scale(solution: Solution, frame: int, picture: Picture, depth: np.ndarray) -> float:
    """By what the depth (h, w) of a frame's picture is multiplied so that it agrees with the adjusted points; 1 where
    there are too few of them, or they say what cannot be.
    """
    seen = solution.observations[solution.kept & (solution.observations.frame == frame)]
    found = solution.cameras.in_camera(seen.frame, solution.points[seen.track])[:, 2]
    x, y = np.rint(picture_pixels(picture, seen.xy)).astype(int).T
    predicted = depth[np.clip(y, 0, depth.shape[0] - 1), np.clip(x, 0, depth.shape[1] - 1)]
    measured = measure_scale(found, predicted)
    scale = 1.0 if measured is None else float(np.exp(measured.value))
    return scale if 1 / DEPTH_CHANGE <= scale <= DEPTH_CHANGE else 1.0

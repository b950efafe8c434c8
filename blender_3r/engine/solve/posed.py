"""Photos whose cameras are given: held as they are, or a start that is refined. No mapping, so no photo gets lost."""

from __future__ import annotations

import numpy as np

from ..geometry.cameras import Cameras, Observations
from ..geometry.resection import resect_missing
from ..geometry.triangulation import triangulate_tracks
from .bundle import BundleOptions, adjust, refine, residuals, select
from .key_cameras import GIVEN_LOSS, GIVEN_SHARE
from .mapping import LensModel, MatchGraph
from .solution import Solution, share_lens, take_world

LOSS_PX = 0.5
KEEP_PX = 2.5
HELD_PX = 4.0  # that points may be off under cameras which are not to move, at a long side of 1000
MIN_ANGLE_DEG = 0.5


def refine_given(
    observations: Observations, given: Cameras, lenses: LensModel, distortion: int | None = None
) -> Solution | None:
    """A solution from given cameras, nan poses where they are not known, in their world and of their size.

    distortion: how many coefficients are found, None for k1. None when nothing fits.
    """
    count = int(observations.track.max(initial=-1)) + 1
    if given.solved.sum() < 2 or count == 0:
        return None
    side = _long_side(lenses)
    lens = "fixed" if lenses.focal_known else "shared"
    cameras = share_lens(given, lenses)
    if lenses.focal_known:
        cameras.focal = np.array([intrinsics.fx for intrinsics in lenses.start])
    points = triangulate_tracks(observations, cameras, count, max_error_px=GIVEN_SHARE * side)
    coefficients = 0 if lenses.distortion_known else 1 if distortion is None else distortion
    options = BundleOptions(lens=lens, distortion=coefficients, scale_px=LOSS_PX)
    try:
        first = BundleOptions(lens=lens, distortion=0, scale_px=GIVEN_LOSS * side)
        cameras = adjust(observations, cameras, points, first, lenses.group).cameras
        points = triangulate_tracks(observations, cameras, count)
        cameras = resect_missing(observations, cameras, points)
        points = triangulate_tracks(observations, cameras, count)
        bundle = refine(observations, cameras, points, options, lenses.group, (8.0, 4.0, KEEP_PX), MIN_ANGLE_DEG, 2)
    except ValueError:
        return None
    solution = Solution.from_bundle(bundle, observations, _kind_of_lens(lenses))
    take_world(solution, given)
    return solution


def hold_given(observations: Observations, given: Cameras, lenses: LensModel) -> Solution:
    """A solution whose cameras are the given ones, untouched; points are placed by them, and others by these."""
    count = int(observations.track.max(initial=-1)) + 1
    points = triangulate_tracks(observations, given, count)
    cameras = resect_missing(observations, given, points)
    points = triangulate_tracks(observations, cameras, count)
    limit = HELD_PX * max(1.0, _long_side(lenses) / 1000)
    kept = select(observations, cameras, points, limit, MIN_ANGLE_DEG, 2)
    seen = np.zeros(count, bool)
    seen[observations.track[kept]] = True
    points[~seen] = np.nan
    error = np.linalg.norm(residuals(observations, cameras, points), axis=1)
    return Solution(cameras, observations, points, error, kept, _kind_of_lens(lenses))


def join_matches(graph: MatchGraph, inliers: dict[tuple[int, int], np.ndarray]) -> Observations:
    """Tracks of key points that matches chain together, sorted by frame, then track.

    inliers: {(a, b): (m, 2)} into graph.keypoints. A track that comes upon two key points of one photo is wrong
    somewhere: those points of it are left out.
    """
    frames = graph.frames
    starts = dict(zip(frames, np.cumsum([0, *(len(graph.keypoints[frame]) for frame in frames)])[:-1], strict=True))
    total = sum(len(points) for points in graph.keypoints.values())
    edges = [matches.astype(np.int64) + (starts[a], starts[b]) for (a, b), matches in inliers.items()]
    label = _components(np.concatenate(edges) if edges else np.zeros((0, 2), np.int64), total)
    frame = np.repeat(frames, [len(graph.keypoints[one]) for one in frames])
    size = np.bincount(label, minlength=total)
    pair = label * (max(frames, default=0) + 1) + frame
    alone = np.unique(pair, return_inverse=True, return_counts=True)
    keep = (size[label] > 1) & (alone[2][alone[1]] == 1)
    keep &= np.bincount(label[keep], minlength=total)[label] > 1
    xy = np.concatenate([graph.keypoints[one] for one in frames]) if frames else np.zeros((0, 2))
    track = np.unique(label[keep], return_inverse=True)[1]
    order = np.lexsort((track, frame[keep]))
    return Observations(frame[keep], track, xy[keep])[order]


def _components(edges: np.ndarray, total: int) -> np.ndarray:
    """(total,) the lowest number that each node is connected with."""
    label = np.arange(total)
    while True:
        low = np.minimum(label[edges[:, 0]], label[edges[:, 1]])
        before = label.copy()
        for side in (0, 1):
            np.minimum.at(label, edges[:, side], low)
            np.minimum.at(label, before[edges[:, side]], low)
        label = label[label]
        if np.array_equal(label, before):
            return label


def _long_side(lenses: LensModel) -> int:
    return max(max(lens.width, lens.height) for lens in lenses.start)


def _kind_of_lens(lenses: LensModel) -> str:
    return "groups" if len(np.unique(lenses.group)) > 1 else "shared"

"""Cameras from the pointmaps of networks that see all views at once, and pointmaps moved onto each other.

Sources: specs/fast3r.md section 5, specs/mv_dust3r.md section 5. Pixels: the first one's centre at 0, the principal
point at (W / 2, H / 2), in the network's picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from ...geometry.cameras import Cameras
from ...geometry.focal import estimate_focal
from ...geometry.resection import resect
from ...geometry.similarity import fit_similarity
from ..pairwise.alignment.pnp import PointPose, pose_from_points
from ..views import unit_confidence
from .predictions import Prediction

if TYPE_CHECKING:
    from .drivers import View

# Of Fast3R.
FOCAL_ROUNDS = 100
FOCAL_QUANTILE = 0.1
POSE_ROUNDS = 100
TRIED_FOCALS, TRIED_RANGE = 100, (0.5, 3.0)  # geometric row, in units of the longer side
ALIGN_PERCENTILE = 85.0
LEAST_POINTS = 3
RESECTED_POINTS = 2000  # of a view whose lens is known
# Of MV-DUSt3R.
DROPPED_PERCENT = 3.0


class ViewCameras(NamedTuple):
    """world_from_camera: (S, 4, 4) float64, focals: (S,) in pixels. found: (S,) bool, False where no pose was found and
    a stand-in is given.
    """

    world_from_camera: np.ndarray
    focals: np.ndarray
    found: np.ndarray

    def as_prediction(
        self, numbers: list[int], points: Sequence[np.ndarray], confidence: Sequence[np.ndarray], least: float
    ) -> Prediction:
        """Depth of points (H, W, 3) of each view in the common frame, seen by these cameras.

        numbers: of the views among the source's pictures. confidence: (H, W), from 1 upwards; pixels are kept from
        `least` up. A view without a pose gets none.
        """
        poses = np.where(self.found[:, None, None], self.world_from_camera, np.nan)
        depth = [
            ((cloud - pose[:3, 3]) @ pose[:3, 2]).astype(np.float32)
            for cloud, pose in zip(points, self.world_from_camera, strict=True)
        ]
        middles = [(cloud.shape[1] / 2, cloud.shape[0] / 2) for cloud in points]
        return Prediction(
            numbers,
            poses,
            np.repeat(self.focals[:, None], 2, axis=1),
            np.array(middles),
            depth,
            [unit_confidence(values) for values in confidence],
            [values >= least for values in confidence],
        )


def cameras_of_focals(points: Sequence[np.ndarray], focals: Sequence[float]) -> ViewCameras:
    """Each view's pose from its own points (H, W, 3) in the common frame, with its focal length in pixels."""
    poses = [
        pose_from_points(cloud, np.ones(cloud.shape[:2], bool), focal, rounds=POSE_ROUNDS)
        for cloud, focal in zip(points, focals, strict=True)
    ]
    found = _gather(poses, float("nan"))
    return found._replace(focals=np.asarray(focals, dtype=np.float64))


def cameras_from_points(points: Sequence[np.ndarray], confidence: Sequence[np.ndarray]) -> ViewCameras:
    """Fast3R's: one focal length from the first view's points, then each view's pose from its own.

    points: (H, W, 3) of each view in the first view's frame; confidence: (H, W). A view without a pose gets the first
    view's.
    """
    usable = confidence[0] >= np.quantile(confidence[0], FOCAL_QUANTILE)
    focal = estimate_focal(points[0], usable=usable, rounds=FOCAL_ROUNDS)
    poses = [pose_from_points(cloud, np.ones(cloud.shape[:2], bool), focal, rounds=POSE_ROUNDS) for cloud in points]
    return _gather(poses, focal)


def cameras_one_by_one(points: Sequence[np.ndarray], rounds: int = POSE_ROUNDS) -> ViewCameras:
    """Fast3R's for views of several cameras: each view has the focal length that explains most of its pixels."""
    poses: list[PointPose | None] = []
    for cloud in points:
        height, width = cloud.shape[:2]
        low, high = (max(height, width) * factor for factor in TRIED_RANGE)
        tried = (
            pose_from_points(cloud, np.ones((height, width), bool), focal, rounds=rounds)
            for focal in np.geomspace(low, high, TRIED_FOCALS).tolist()
        )
        poses.append(max((pose for pose in tried if pose), key=lambda pose: pose.inliers, default=None))
    return _gather(poses, float("nan"))


def align_local_points(
    local: np.ndarray, points: np.ndarray, confidence: np.ndarray, percentile: float = ALIGN_PERCENTILE
) -> np.ndarray:
    """A view's own, sharper points (H, W, 3) moved onto the same pixels' points in the common frame by a similarity.

    confidence: (H, W) of the common ones; those from that percentile up decide, or all where these are too few.
    """
    chosen = confidence >= np.percentile(confidence, percentile)
    if np.count_nonzero(chosen) < LEAST_POINTS:
        chosen = np.ones_like(chosen)
    if np.count_nonzero(chosen) < LEAST_POINTS:
        return local
    return fit_similarity(local[chosen], points[chosen]).apply(local)


def lowest_confidence(confidence: np.ndarray, percent: float = DROPPED_PERCENT) -> float:
    """MV-DUSt3R's: the value from which pixels are kept, so that about that share of all is dropped."""
    ordered = np.sort(np.asarray(confidence), axis=None)
    return float(ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))])


def cameras_after_mv_dust3r(points: Sequence[np.ndarray], confidence: Sequence[np.ndarray]) -> ViewCameras:
    """MV-DUSt3R's: one focal length from the first view's better points, then each view's pose from its better points.

    points: (H, W, 3) of each view in the first view's frame; confidence: (H, W).
    """
    focal = estimate_focal(points[0], usable=confidence[0] >= lowest_confidence(confidence[0]))
    least = lowest_confidence(np.stack(confidence))
    poses = []
    for cloud, trust in zip(points, confidence, strict=True):
        height, width = trust.shape
        matrix = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
        poses.append(pose_by_default_ransac(cloud, trust >= least, matrix))
    return _gather(poses, focal)


def pose_by_default_ransac(points: np.ndarray, usable: np.ndarray, matrix: np.ndarray) -> PointPose | None:
    """The pose of a pinhole camera (3, 3) that sees points (H, W, 3) at the pixels of their grid, by OpenCV's RANSAC
    as it comes; None when there is none.
    """
    usable = usable & np.isfinite(points).all(axis=-1)
    if np.count_nonzero(usable) < 4:
        return None
    rows, columns = np.indices(usable.shape)
    pixels = np.stack([columns, rows], axis=-1)[usable].astype(np.float32)
    objects = np.ascontiguousarray(points[usable], dtype=np.float32)
    try:
        found, turn, shift, chosen = cv2.solvePnPRansac(objects, pixels, matrix.astype(np.float32), np.zeros(4))
    except cv2.error:  # some degenerate clouds are an assertion there
        return None
    if not found or chosen is None or not (np.isfinite(turn).all() and np.isfinite(shift).all()):
        return None
    rotation = cv2.Rodrigues(turn)[0].T.astype(np.float64)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, -rotation @ shift[:, 0]
    return PointPose(pose, float(matrix[0, 0]), len(chosen))


def _gather(poses: Sequence[PointPose | None], focal: float) -> ViewCameras:
    return ViewCameras(
        np.stack([np.eye(4) if pose is None else pose.world_from_camera for pose in poses]),
        np.array([focal if pose is None else pose.focal for pose in poses]),
        np.array([pose is not None for pose in poses]),
    )


def cameras_with_lenses(
    prediction: Prediction, views: Sequence[View], points: Sequence[np.ndarray] | None = None
) -> Prediction:
    """A prediction whose cameras have the lenses that are known: posed anew from their own points, which stay.

    points: (H, W, 3) of each view in the pass's world; None = those of its depth. A view without enough points that
    fit keeps the pose that was predicted.
    """
    poses, depth = prediction.world_from_camera.copy(), list(prediction.depth)
    focals, centers = prediction.focals.copy(), prediction.principal_points.copy()
    for k in np.flatnonzero(prediction.posed):
        lens = views[k].lens
        if lens is None:
            continue
        cloud = prediction.world_points(k) if points is None else points[k]
        focals[k], centers[k] = views[k].picture.pinhole(lens)
        usable = prediction.kept[k] & np.isfinite(cloud).all(axis=-1)
        pose = _resected(cloud, usable, focals[k], centers[k])
        if pose is not None:
            poses[k] = pose
            depth[k] = ((cloud - pose[:3, 3]) @ pose[:3, 2]).astype(np.float32)
    return replace(prediction, world_from_camera=poses, focals=focals, principal_points=centers, depth=depth)


def _resected(points: np.ndarray, usable: np.ndarray, focal: np.ndarray, center: np.ndarray) -> np.ndarray | None:
    """The refined pose of the camera that sees points (H, W, 3) at the pixels of their grid, from some of them."""
    chosen = np.flatnonzero(usable)
    chosen = chosen[:: max(1, len(chosen) // RESECTED_POINTS)]
    rows, columns = np.divmod(chosen, usable.shape[1])
    camera = Cameras(np.full((1, 4, 4), np.nan), focal[:1], center[None], np.zeros((1, 4)), focal[1:] / focal[:1])
    xy = np.stack([columns, rows], axis=-1).astype(np.float64)
    found = resect(camera, 0, points.reshape(-1, 3)[chosen], xy)
    return None if found is None else found.world_from_camera

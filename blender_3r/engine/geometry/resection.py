"""The pose of one camera from points whose positions are known (PnP)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .cameras import Cameras, Observations

RANSAC_ROUNDS = 300


@dataclass(frozen=True)
class Resection:
    """world_from_camera: (4, 4). inliers: (n,) bool."""

    world_from_camera: np.ndarray
    inliers: np.ndarray


def resect(
    cameras: Cameras,
    index: int,
    points: np.ndarray,
    xy: np.ndarray,
    threshold_px: float = 6.0,
    min_inliers: int = 12,
) -> Resection | None:
    """Where camera `index` (its intrinsics; a pose is not read) sees world points (n, 3) at pixels (n, 2).

    None when no pose has min_inliers points within threshold_px.
    """
    known = np.isfinite(points).all(axis=1)
    if known.sum() < max(4, min_inliers):
        return None
    middle = np.median(points[known], axis=0)
    # Unit size: OpenCV's solver has absolute limits on how small a cloud may be.
    size = float(np.median(np.linalg.norm(points[known] - middle, axis=1)))
    if not size > 0:
        return None
    focal = float(cameras.focal[index])
    pixels = focal * cameras.rays(np.full(len(xy), index), xy)[:, :2]
    matrix = np.diag([focal, focal, 1.0])
    objects, images = (points[known] - middle) / size, pixels[known]
    found, turn, shift, chosen = cv2.solvePnPRansac(
        objects,
        images,
        matrix,
        None,
        iterationsCount=RANSAC_ROUNDS,
        reprojectionError=threshold_px,
        confidence=0.9999,
        flags=cv2.SOLVEPNP_SQPNP,
    )
    if not found or chosen is None or len(chosen) < min_inliers:
        return None
    inlier = np.zeros(len(objects), dtype=bool)
    inlier[chosen[:, 0]] = True
    for _ in range(3):
        turn, shift = cv2.solvePnPRefineLM(objects[inlier], images[inlier], matrix, None, turn, shift)
        rotation = cv2.Rodrigues(turn)[0]
        local = objects @ rotation.T + shift[:, 0]
        front = local[:, 2] > 0
        image = focal * local[:, :2] / np.where(front, local[:, 2], 1.0)[:, None]
        inlier = front & (np.linalg.norm(image - images, axis=1) < threshold_px)
        if inlier.sum() < min_inliers:
            return None
    pose = np.eye(4)
    pose[:3, :3] = rotation.T
    pose[:3, 3] = middle - size * rotation.T @ shift[:, 0]
    inliers = np.zeros(len(xy), dtype=bool)
    inliers[known] = inlier
    return Resection(pose, inliers)


def resect_missing(
    observations: Observations, cameras: Cameras, points: np.ndarray, threshold_px: float = 6.0, min_inliers: int = 12
) -> Cameras:
    """A copy of the cameras with poses for those that had none and see enough of the points (p, 3)."""
    completed = cameras.copy()
    for index in np.flatnonzero(~cameras.solved):
        seen = observations[observations.frame == index]
        found = resect(cameras, int(index), points[seen.track], seen.xy, threshold_px, min_inliers)
        if found is not None:
            completed.world_from_camera[index] = found.world_from_camera
    return completed

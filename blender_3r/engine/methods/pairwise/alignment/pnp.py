"""The pose of a camera from the positions of its pixels, as the published alignments get it.

OpenCV's RANSAC around SQPNP with a fixed number of rounds and no refinement; solve/ uses geometry/resection.py, which
refines. Source: specs/dust3r.md sections 5.4 and 5.6.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

THRESHOLD_PX = 5.0
# Focal lengths tried when none is known: this many between these multiples of the longer side.
TRIED_FOCALS = 21
TRIED_RANGE = (0.5, 3.0)


class PointPose(NamedTuple):
    """world_from_camera: (4, 4) float64. focal: the one used or found, in pixels. inliers: how many pixels agree."""

    world_from_camera: np.ndarray
    focal: float
    inliers: int


def pose_from_points(
    points: np.ndarray,
    usable: np.ndarray,
    focal: float | None,
    principal_point: np.ndarray | tuple[float, float] | None = None,
    rounds: int = 10,
) -> PointPose | None:
    """The camera that sees points (H, W, 3), in any frame, at the pixels of their grid.

    usable: (H, W) bool. focal: in pixels; when None, the one of 21 in a geometric row from half to three times the
    longer side that has the most inliers. principal_point: the first pixel's centre at 0; (W / 2, H / 2) when None.
    rounds: of RANSAC. None when fewer than 4 points are usable or no pose was found.
    """
    height, width = points.shape[:2]
    usable = usable & np.isfinite(points).all(axis=-1)
    if np.count_nonzero(usable) < 4:
        return None
    rows, columns = np.indices((height, width))
    objects = np.ascontiguousarray(points[usable], dtype=np.float32)
    pixels = np.stack([columns, rows], axis=-1)[usable].astype(np.float32)
    center = (width / 2, height / 2) if principal_point is None else principal_point
    low, high = (max(height, width) * factor for factor in TRIED_RANGE)
    best = None
    for tried in [focal] if focal is not None else np.geomspace(low, high, TRIED_FOCALS).tolist():
        found = _ransac(objects, pixels, tried, center, rounds)
        if found is not None and (best is None or found.inliers > best.inliers):
            best = found
    return best


def _ransac(
    objects: np.ndarray, pixels: np.ndarray, focal: float, center: np.ndarray | tuple[float, float], rounds: int
) -> PointPose | None:
    matrix = np.array([[focal, 0.0, center[0]], [0.0, focal, center[1]], [0.0, 0.0, 1.0]], dtype=np.float32)
    try:
        found, turn, shift, chosen = cv2.solvePnPRansac(
            objects,
            pixels,
            matrix,
            None,
            iterationsCount=rounds,
            reprojectionError=THRESHOLD_PX,
            flags=cv2.SOLVEPNP_SQPNP,
        )
    except cv2.error:  # some degenerate clouds are an assertion there
        return None
    if not found or chosen is None or not (np.isfinite(turn).all() and np.isfinite(shift).all()):
        return None
    rotation = cv2.Rodrigues(turn)[0].astype(np.float64)
    pose = np.eye(4)
    pose[:3, :3] = rotation.T
    pose[:3, 3] = -rotation.T @ shift[:, 0]
    return PointPose(pose, float(focal), len(chosen))

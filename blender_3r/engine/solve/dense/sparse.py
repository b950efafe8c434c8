"""Sparse points for cameras that came without any: features matched between views and put into space."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ...media.frames import FrameSource
from ...reconstruction import Reconstruction, View

_FEATURES = 1500
_FEATURES_KEPT = 64
_VIDEO_STEPS = (1, 4, 12, 24)
_PAIRS_PER_PHOTO = 3
_MAX_EPIPOLAR_PX = 1.5
_MIN_ANGLE_DEG = 0.4


def triangulate_sparse(
    frames: FrameSource,
    reconstruction: Reconstruction,
    max_side: int,
    check_cancelled: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """(n, 3) float32 world points seen in pairs of solved views; n may be 0."""
    features: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    points = [np.zeros((0, 3))]
    for first, second in _pairs(reconstruction):
        for index in (first, second):
            check_cancelled()
            if index not in features:
                features[index] = _detect(frames.read(index, max_side=max_side, gray=True))
        points.append(
            _triangulate(reconstruction.views[first], reconstruction.views[second], features[first], features[second])
        )
        while len(features) > _FEATURES_KEPT:
            del features[next(iter(features))]
    return np.concatenate(points).astype(np.float32)


def _pairs(reconstruction: Reconstruction) -> list[tuple[int, int]]:
    """Pairs of solved views to match, ascending."""
    solved = reconstruction.solved
    if reconstruction.kind == "video":
        starts = range(0, len(solved), max(1, min(4, len(solved) // 8), len(solved) // 80))
        return [(solved[a], solved[a + s]) for a in starts for s in _VIDEO_STEPS if a + s < len(solved)]
    poses = np.array([reconstruction.views[i].world_from_camera for i in solved])
    pairs = set()
    for k, view in enumerate(solved):
        distance = np.linalg.norm(poses[:, :3, 3] - poses[k, :3, 3], axis=1)
        distance[(poses[:, :3, 2] @ poses[k, :3, 2] < 0.5) | (np.arange(len(solved)) == k)] = np.inf
        for other in np.argsort(distance, kind="stable")[:_PAIRS_PER_PHOTO]:
            if np.isfinite(distance[other]):
                pairs.add((min(view, solved[other]), max(view, solved[other])))
    return sorted(pairs)


def _detect(gray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions (n, 2) as shares of width and height, and descriptors (n, 128)."""
    keypoints, descriptors = cv2.SIFT_create(_FEATURES).detectAndCompute(gray, None)
    if not keypoints:
        return np.zeros((0, 2)), np.zeros((0, 128), dtype=np.float32)
    xy = np.array([k.pt for k in keypoints]) + 0.5
    return xy / gray.shape[::-1], descriptors


def _triangulate(
    first: View, second: View, a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """World points (n, 3) from the matches that the poses confirm."""
    if min(len(a[0]), len(b[0])) < 2:
        return np.zeros((0, 3))
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(a[1], b[1], k=2)
    kept = [m for m, n in pairs if m.distance < 0.8 * n.distance]
    pixels = [
        side[0][[getattr(m, name) for m in kept]] * (view.intrinsics.width, view.intrinsics.height)
        for side, view, name in ((a, first, "queryIdx"), (b, second, "trainIdx"))
    ]
    rays = [view.intrinsics.rays(xy) @ view.world_from_camera[:3, :3].T for view, xy in zip((first, second), pixels)]
    rays = [r / np.linalg.norm(r, axis=1, keepdims=True) for r in rays]
    points = _midpoints(first.world_from_camera[:3, 3], second.world_from_camera[:3, 3], *rays)
    good = (np.einsum("ij,ij->i", *rays) < np.cos(np.radians(_MIN_ANGLE_DEG))) & np.isfinite(points).all(axis=1)
    for view, xy in zip((first, second), pixels):
        camera = (points - view.world_from_camera[:3, 3]) @ view.world_from_camera[:3, :3]
        limit = _MAX_EPIPOLAR_PX * max(view.intrinsics.width, view.intrinsics.height) / 1000
        with np.errstate(invalid="ignore"):
            good &= (camera[:, 2] > 0) & (np.linalg.norm(view.intrinsics.project(camera) - xy, axis=1) < limit)
    return points[good]


def _midpoints(first: np.ndarray, second: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, 3) points halfway between rays a (n, 3) from first and b from second, unit length; nan where parallel."""
    base = second - first
    cosine = np.einsum("ij,ij->i", a, b)
    along_a, along_b = a @ base, b @ base
    with np.errstate(invalid="ignore", divide="ignore"):
        below = 1 - cosine**2
        s = (along_a - cosine * along_b) / below
        t = (cosine * along_a - along_b) / below
    return (first + a * s[:, None] + second + b * t[:, None]) / 2

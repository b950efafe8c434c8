"""Matches between two clouds of points in the same frame: points that are each other's nearest.

Source: specs/dust3r.md; fixture procedure_reciprocal3d.
"""

from __future__ import annotations

import cv2
import numpy as np

CANDIDATES = 4  # taken from the search in single precision and compared exactly


def reciprocal_matches(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mutual nearest neighbours of points (n, 3) and (m, 3).

    Returns (reciprocal (m,) bool: points of second whose nearest in first has them as its nearest; nearest (m,)
    int64: the index in first nearest to each point of second).
    """
    first_of_second = nearest(second, first)
    second_of_first = nearest(first, second)
    reciprocal = second_of_first[first_of_second] == np.arange(len(second))
    return reciprocal, first_of_second


def nearest(points: np.ndarray, among: np.ndarray) -> np.ndarray:
    """(n,) int64: index of the point of `among` (m, 3) nearest to each of points (n, 3)."""
    points, among = np.asarray(points, np.float64), np.asarray(among, np.float64)
    middle = among.mean(axis=0)
    tree = cv2.flann.Index((among - middle).astype(np.float32), {"algorithm": 4})  # one exact k-d tree
    found, _ = tree.knnSearch((points - middle).astype(np.float32), min(CANDIDATES, len(among)), params={"checks": -1})
    distance = np.linalg.norm(points[:, None] - among[found], axis=-1)
    return found[np.arange(len(points)), distance.argmin(axis=1)].astype(np.int64)

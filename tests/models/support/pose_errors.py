"""How far found cameras are from the true ones, whatever world they are in."""

from __future__ import annotations

import numpy as np

from blender_3r.engine.geometry.rotations import rotation_angle
from blender_3r.engine.geometry.similarity import fit_similarity


def pose_errors(found: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """(largest distance of a centre in per cent of the path, largest angle in degrees) between poses (n, 4, 4).

    The found world is moved onto the true one by the similarity that fits the centres best; rotations are compared
    after the rotation that fits them best on average, so that a path along a line will do.
    """
    moved = fit_similarity(found[:, :3, 3], truth[:, :3, 3]).apply(found[:, :3, 3])
    path = np.linalg.norm(np.diff(truth[:, :3, 3], axis=0), axis=1).sum()
    turns = truth[:, :3, :3] @ np.swapaxes(found[:, :3, :3], 1, 2)
    u, _, vt = np.linalg.svd(turns.sum(axis=0))
    mean = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
    angles = np.degrees(rotation_angle(np.swapaxes(turns, 1, 2) @ mean))
    return float(100 * np.linalg.norm(moved - truth[:, :3, 3], axis=1).max() / path), float(angles.max())


def trajectory_error(found: np.ndarray, truth: np.ndarray) -> float:
    """Root mean square distance of the centres in per cent of the path, after the best similarity: the ATE of
    benchmarks and published tables.
    """
    moved = fit_similarity(found[:, :3, 3], truth[:, :3, 3]).apply(found[:, :3, 3])
    path = np.linalg.norm(np.diff(truth[:, :3, 3], axis=0), axis=1).sum()
    return float(100 * np.sqrt(np.mean(np.sum((moved - truth[:, :3, 3]) ** 2, axis=1))) / path)

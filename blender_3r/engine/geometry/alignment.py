"""Rotations between bundles of rays."""

from __future__ import annotations

import numpy as np

from .rotations import nearest_rotation


def align_rays(a: np.ndarray, b: np.ndarray, scale: float, rounds: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """The rotation r with r a = b for unit rays (n, 3), robustly.

    scale: residual (radians) beyond which a ray loses weight (Cauchy). Returns (r (3, 3), residuals (n,) radians).
    """
    weight = np.ones(len(a))
    residual = np.zeros(len(a))
    rotation = np.eye(3)
    for number in range(rounds):
        rotation = nearest_rotation((b * weight[:, None]).T @ a)
        residual = np.linalg.norm(b - a @ rotation.T, axis=1)
        # From the middle of the residuals down to the scale: starts among many outliers, ends exact.
        width = max(scale, float(np.median(residual)) * (2.0 if number < rounds - 2 else 1.0))
        weight = 1.0 / (1.0 + (residual / width) ** 2)
    return rotation, residual

"""Losses that let go of what is far off, and what they are derived from."""

from __future__ import annotations

import numpy as np


def robust_loss(squares: np.ndarray, loss: str, scale: float | np.ndarray) -> np.ndarray:
    """Of squared residuals, in their unit. loss: "squared", "soft_l1" or "cauchy", turning to less at scale."""
    scale2 = scale**2
    if loss == "soft_l1":
        return 2 * scale2 * (np.sqrt(1 + squares / scale2) - 1)
    if loss == "cauchy":
        return scale2 * np.log1p(squares / scale2)
    return squares


def robust_weight(squares: np.ndarray, loss: str, scale: float | np.ndarray) -> np.ndarray:
    """Derivative of robust_loss() by the squared residual."""
    scale2 = scale**2
    if loss == "soft_l1":
        return 1 / np.sqrt(1 + squares / scale2)
    if loss == "cauchy":
        return 1 / (1 + squares / scale2)
    return np.ones_like(squares)

"""From a head's raw channels to points, confidences and descriptors; channels last, float32."""

from __future__ import annotations

import torch
from torch import Tensor

ConfidenceMode = tuple[str, float, float]


def activate_points(raw: Tensor, mode: str = "exp") -> Tensor:
    """(..., 3) to points: the direction is kept, the length d becomes e^d - 1 ("exp"), d^2 ("square") or d ("linear").

    Raises ValueError for another mode.
    """
    if mode == "linear":
        return raw
    length = raw.norm(dim=-1, keepdim=True)
    direction = raw / length.clip(min=1e-8)
    if mode == "exp":
        return direction * length.expm1()
    if mode == "square":
        return direction * length.square()
    raise ValueError(f"unknown way to read points: {mode!r}")


def activate_confidence(raw: Tensor, mode: ConfidenceMode = ("exp", 1.0, float("inf"))) -> Tensor:
    """(...) to confidences between the mode's two limits. Raises ValueError for an unknown mode."""
    kind, lowest, highest = mode
    if kind == "exp":
        return lowest + raw.exp().clip(max=highest - lowest)
    if kind == "sigmoid":
        return (highest - lowest) * torch.sigmoid(raw) + lowest
    raise ValueError(f"unknown way to read confidence: {kind!r}")


def activate_descriptors(raw: Tensor) -> Tensor:
    """(..., D) to unit length."""
    return raw / raw.norm(dim=-1, keepdim=True)

"""Point3R's memory: pointers, each a place in the world with a feature; new ones join those nearby.

Wu et al., "Point3R: Streaming 3D Reconstruction with Explicit Spatial Pointer Memory", arXiv 2507.02863.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Pointers(NamedTuple):
    """positions: (M, 3) in the world. features: (M, C)."""

    positions: Tensor
    features: Tensor


class Nearest(NamedTuple):
    """threshold: (), the distance from which on a new pointer stays one. distances, indices: (N,), of each new
    pointer to the nearest old one.
    """

    threshold: Tensor
    distances: Tensor
    indices: Tensor


def find_nearest(old: Tensor, new: Tensor, units: float) -> Nearest:
    """old: (M, 3), new: (N, 3) places. units: the threshold is so many times shorter than the diagonal of all."""
    both = torch.cat([old, new])
    threshold = ((both.amax(dim=0) - both.amin(dim=0)) / units).norm()
    # Of many points torch takes distances from products, as the model does; it shows next to the threshold only.
    distances, indices = torch.cdist(new, old).min(dim=1)
    return Nearest(threshold, distances, indices)


def merge(old: Pointers, new: Pointers, units: float) -> Pointers:
    """The old pointers in their order, then the new ones that are far from all of them, in theirs.

    An old pointer with new ones nearby is replaced by their mean. New ones are not compared with each other.
    """
    nearest = find_nearest(old.positions, new.positions, units)
    joins = nearest.distances < nearest.threshold
    target = nearest.indices[joins]
    received = torch.bincount(target, minlength=len(old.positions))[:, None]
    merged = []
    for before, added in zip(old, new, strict=True):
        total = torch.zeros_like(before).index_add(0, target, added[joins])
        merged.append(torch.cat([torch.where(received > 0, total / received.clip(min=1), before), added[~joins]]))
    return Pointers(*merged)


def append(old: Pointers, new: Pointers) -> Pointers:
    """Both, the old ones first."""
    return Pointers(*(torch.cat(parts) for parts in zip(old, new, strict=True)))

"""Depths along the rays of pixels: the one unknown per pixel that the fast aligner solves for in closed rounds.

A pixel's ray leaves its camera; every pair puts a point somewhere near it. With t the point's position along the ray
and b its distance from the ray, the distance from the point to the place tau on the ray is sqrt((tau - t)^2 + b^2), so
the loss of a pixel is a convex function of one variable.
"""

from __future__ import annotations

import torch
from torch import Tensor


def along_rays(points: Tensor, rays: Tensor) -> tuple[Tensor, Tensor]:
    """Positions t (K, N) along unit rays (3, N) and squared distances b^2 (K, N) from them, of points (K, 3, N)."""
    along = (points * rays).sum(dim=1)
    beside = points - along[:, None] * rays
    return along, beside.square_().sum(dim=1)


def first_places(along: Tensor, beside: Tensor, weights: Tensor) -> Tensor:
    """Places (N,) on the rays to begin with: the reweighted mean after two rounds."""
    place = (weights * along).sum(dim=0) / weights.sum(dim=0)
    for _ in range(2):
        pull = weights * (place - along).square_().add_(beside).rsqrt_()
        place = (pull * along).sum(dim=0) / pull.sum(dim=0)
    return place


def better_places(place: Tensor, along: Tensor, beside: Tensor, weights: Tensor, rounds: int) -> Tensor:
    """Places (N,) on the rays after rounds of Newton's steps, none longer than twice the reweighted mean's.

    beside: b^2 (K, N), above 0. weights: (K, N), above 0 somewhere on every ray. The reweighted mean minimises a
    parabola above the loss; up to twice its step the parabola, so the loss too, does not rise.
    """
    for _ in range(rounds):
        offset = place - along
        inverse = offset.square().add_(beside).rsqrt_()
        pull = weights * inverse
        slope = offset.mul_(pull).sum(dim=0)
        total = pull.sum(dim=0)
        curvature = pull.mul_(inverse.square_()).mul_(beside).sum(dim=0)
        place = place - slope / torch.maximum(curvature, 0.5 * total)
    return place

"""The robust distances of the sparse alignment, and projection with limits (spec mast3r_sfm, section 3.6)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .condense import Condensed
from .parameters import Geometry

# Depths below this count as this much; pixels farther out than these limits as the limits.
MIN_DEPTH = 1e-3
PIXEL_LIMITS = (-1000.0, 2000.0)


class Loss(NamedTuple):
    """main: of the matched pairs. fallback: of the others, not yet weighted. total: what is minimised."""

    main: Tensor
    fallback: Tensor
    total: Tensor


def gamma_curve(distance: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """(d + o)^gamma - o^gamma of distances d of any shape, and its slope.

    The offset o makes the slope 1 at 0, so gamma only says how far-off points count: less for gamma < 1.
    """
    if gamma == 1.0:
        return distance, torch.ones_like(distance)
    offset = (1.0 / gamma) ** (1.0 / (gamma - 1.0))
    shifted = distance + offset
    power = shifted ** (gamma - 1.0)
    return power * shifted - offset**gamma, gamma * power


class _WeightedSum(torch.autograd.Function):
    """Sum of weights (k,) times gamma_curve() of the lengths of columns (D, k); a length of 0 has the gradient 0."""

    @staticmethod
    def forward(ctx: Any, differences: Tensor, weights: Tensor, gamma: float) -> Tensor:
        distance = differences.square().sum(dim=0).sqrt()
        value, slope = gamma_curve(distance, gamma)
        factor = weights * slope / distance
        ctx.save_for_backward(differences, torch.where(distance > 0, factor, 0.0))
        return (weights * value).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        differences, factor = ctx.saved_tensors
        return gradient * factor * differences, None, None


def weighted_distance(differences: Tensor, weights: Tensor, gamma: float) -> Tensor:
    """Weighted mean of gamma_curve() of the lengths of columns (D, k); 0 where there is nothing."""
    total = weights.sum()
    if total == 0:
        return torch.zeros((), device=differences.device)
    return _WeightedSum.apply(differences, weights, gamma) / total


class _Exchange(torch.autograd.Function):
    """Columns (3, M) of the partners; partners are mutual, so gradients go back the same way."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, partner: Tensor) -> Tensor:
        ctx.save_for_backward(partner)
        return points.index_select(1, partner)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.index_select(1, *ctx.saved_tensors), None


def limited_pixels(homogeneous: Tensor) -> Tensor:
    """Pixels (2, k) of homogeneous ones (3, k), whose last row is the depth.

    Points behind the camera and far outside the image keep finite values (see MIN_DEPTH, PIXEL_LIMITS).
    """
    return (homogeneous[:2] / homogeneous[2:].clamp(min=MIN_DEPTH)).clamp(*PIXEL_LIMITS)


def match_pixels(condensed: Condensed, geometry: Geometry) -> Tensor:
    """(2, M) pixels at which an anchor's image sees the point of its partner."""
    return limited_pixels(geometry.into_images(_Exchange.apply(geometry.world_points, condensed.partner)))


def match_loss_3d(condensed: Condensed, geometry: Geometry, gamma: float = 1.5) -> Tensor:
    """Coarse: distances in the world between the two points of a match."""
    differences = geometry.world_points - _Exchange.apply(geometry.world_points, condensed.partner)
    return weighted_distance(differences, condensed.confidence, gamma)


def match_loss_2d(condensed: Condensed, geometry: Geometry, gamma: float = 0.5) -> Tensor:
    """Fine: distances in pixels between an anchor and the projection of its partner's point, both ways."""
    differences = match_pixels(condensed, geometry) - condensed.anchor_pixel[:2]
    return weighted_distance(differences, condensed.confidence, gamma)


def fallback_loss(condensed: Condensed, geometry: Geometry, gamma: float = 1.1) -> Tensor:
    """Distances between the anchors of an image and what an unmatched pair predicted for them."""
    if len(condensed.fallback_anchor) == 0:
        return torch.zeros((), device=condensed.core.device)
    predicted = geometry.into_world(condensed.fallback_points, condensed.fallbacks_per_camera)
    # Row by row: the gradient of selecting columns of a matrix is slow.
    anchors = torch.stack([row.index_select(0, condensed.fallback_anchor) for row in geometry.world_points])
    return weighted_distance(anchors - predicted, condensed.fallback_confidence, gamma)

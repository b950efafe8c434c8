"""The robust distances of the sparse alignment, and projection with limits (spec mast3r_sfm, section 3.6)."""

from __future__ import annotations

from typing import NamedTuple

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


def gamma_distance(first: Tensor, second: Tensor, gamma: float) -> Tensor:
    """(d + o)^gamma - o^gamma of the distances d between points (..., D) and (..., D): (...,).

    The offset o makes the slope 1 at 0, so gamma only says how far-off points count: less for gamma < 1.
    """
    distance = (first - second).norm(dim=-1)
    if gamma == 1.0:
        return distance
    offset = (1.0 / gamma) ** (1.0 / (gamma - 1.0))
    return (distance + offset) ** gamma - offset**gamma


def limited_pixels(homogeneous: Tensor) -> Tensor:
    """Pixels (k, 2) of homogeneous ones (k, 3), whose last entry is the depth.

    Points behind the camera and far outside the image keep finite values (see MIN_DEPTH, PIXEL_LIMITS).
    """
    return (homogeneous[:, :2] / homogeneous[:, 2:].clamp(min=MIN_DEPTH)).clamp(*PIXEL_LIMITS)


def match_pixels(condensed: Condensed, geometry: Geometry) -> Tensor:
    """(K, 2) pixels at which the image of a match's left end sees the point of its right end."""
    image = condensed.anchor_image[condensed.left]
    inside = geometry.into_cameras(geometry.world_points[condensed.right], image)
    xy = geometry.focal[image, None] * inside[:, :2] + geometry.center[image] * inside[:, 2:]
    return limited_pixels(torch.cat([xy, inside[:, 2:]], dim=1))


def _weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """0 where there is nothing."""
    if len(values) == 0:
        return torch.zeros((), device=values.device)
    return (values * weights).sum() / weights.sum()


def match_loss_3d(condensed: Condensed, geometry: Geometry, gamma: float = 1.5) -> Tensor:
    """Coarse: distances in the world between the two points of a match."""
    half = len(condensed.left) // 2  # the other half holds the same pairs the other way round
    left, right = condensed.left[:half], condensed.right[:half]
    points = geometry.world_points
    return _weighted_mean(gamma_distance(points[left], points[right], gamma), condensed.match_confidence[:half])


def match_loss_2d(condensed: Condensed, geometry: Geometry, gamma: float = 0.5) -> Tensor:
    """Fine: distances in pixels between a match's pixel and the projection of its partner's point."""
    pixels = condensed.anchor_pixel[condensed.left]
    distances = gamma_distance(pixels, match_pixels(condensed, geometry), gamma)
    return _weighted_mean(distances, condensed.match_confidence)


def fallback_loss(condensed: Condensed, geometry: Geometry, gamma: float = 1.1) -> Tensor:
    """Distances between the anchors of an image and what an unmatched pair predicted for them."""
    predicted = geometry.into_world(condensed.fallback_points, condensed.fallback_camera)
    distances = gamma_distance(geometry.world_points[condensed.fallback_anchor], predicted, gamma)
    return _weighted_mean(distances, condensed.fallback_confidence)

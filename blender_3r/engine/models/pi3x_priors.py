"""What is known of views before Pi3X sees them: depth, rays or intrinsics, poses; each for some views or for all.

Source: specs/pi3x.md section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

TINY = 1e-8
RAY_TINY = 1e-6
STATIC = 0.02  # cameras closer than this to the first, over the mean depth where there is one, are taken to stand still


@dataclass(frozen=True)
class Priors:
    """Of B scenes with S views each, in pixels of the network's pictures; None = not known.

    depth: (B, S, H, W) along z, 0 where not known. intrinsics: (B, S, 3, 3), the first pixel's middle at (0.5, 0.5), or
    rays: (B, S, H, W, 3), which take their place. world_from_camera: (B, S, 4, 4) rigid, OpenCV axes. use_depth,
    use_rays, use_poses: (B, S) bool, in which views; None = in all. Depth and poses share one scale, any.
    """

    depth: Tensor | None = None
    intrinsics: Tensor | None = None
    rays: Tensor | None = None
    world_from_camera: Tensor | None = None
    use_depth: Tensor | None = None
    use_rays: Tensor | None = None
    use_poses: Tensor | None = None


class PreparedPriors(NamedTuple):
    """As the network reads them. rays: (B, S, 2, H, W) x and y where z is 1. depth: (B, S, 2, H, W) over its mean, and
    where it is known. world_from_camera: (B, S, 4, 4) from the first view, at the depth's scale or their own. use_*:
    (B, S) bool.
    """

    rays: Tensor
    use_rays: Tensor
    depth: Tensor
    use_depth: Tensor
    world_from_camera: Tensor
    use_poses: Tensor


def prepare_priors(
    priors: Priors, views: tuple[int, int], size: tuple[int, int], device: torch.device | str
) -> PreparedPriors:
    """For (B, S) views of size (H, W). What is given is not changed."""
    use_depth = _mask(priors.use_depth, priors.depth, views, device)
    use_poses = _mask(priors.use_poses, priors.world_from_camera, views, device)
    given_rays = priors.intrinsics if priors.rays is None else priors.rays
    use_rays = _mask(priors.use_rays, given_rays, views, device)
    # One pose alone tells nothing.
    use_poses = use_poses & (use_poses.sum(dim=1, keepdim=True) != 1)
    depth = _or_zeros(priors.depth, (*views, *size), device)
    known = depth > 0
    count = known.sum(dim=(1, 2, 3))
    mean = (depth * known).sum(dim=(1, 2, 3)) / count.clip(min=1)
    depth = depth / torch.where(count > 0, mean + TINY, 1.0)[:, None, None, None]
    poses = torch.eye(4, device=device).expand(*views, 4, 4)
    if priors.world_from_camera is not None:
        poses = priors.world_from_camera.to(device).float()
        poses = torch.linalg.inv(poses[:, :1]) @ poses
    shift = poses[..., :3, 3] / torch.where(count > 0, mean, 1.0)[:, None, None]
    unit = _unit_of_movement(shift, use_depth)
    poses = torch.cat([poses[..., :3], pad(shift / unit[:, None, None], (0, 1), value=1.0)[..., None]], dim=-1)
    depth = depth / unit[:, None, None, None]
    rays = _rays(priors, views, size, device)
    return PreparedPriors(rays, use_rays, torch.stack([depth, known.float()], dim=2), use_depth, poses, use_poses)


def _unit_of_movement(shift: Tensor, use_depth: Tensor) -> Tensor:
    """(B,) by which lengths are divided where no depth sets the scale: the cameras' mean distance to the first."""
    if shift.shape[1] == 1:
        return shift.new_ones(len(shift))
    distance = shift[:, 1:].norm(dim=-1)
    moves = ~use_depth.any(dim=1) & (distance.amax(dim=1) >= STATIC)
    return torch.where(moves, distance.mean(dim=1) + TINY, 1.0)


def _rays(priors: Priors, views: tuple[int, int], size: tuple[int, int], device: torch.device | str) -> Tensor:
    if priors.rays is not None:
        rays = priors.rays.to(device).float()
        return (rays[..., :2] / (rays[..., 2:] + RAY_TINY)).permute(0, 1, 4, 2, 3)
    if priors.intrinsics is None:
        return torch.zeros(*views, 2, *size, device=device)
    rows, columns = (torch.arange(side, device=device, dtype=torch.float32) + 0.5 for side in size)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    pixels = torch.stack([x, y, torch.ones_like(x)]).flatten(1)
    inverse = torch.linalg.inv(priors.intrinsics.to(device).float())
    return (inverse @ pixels)[..., :2, :].unflatten(-1, size)


def _mask(mask: Tensor | None, given: Tensor | None, views: tuple[int, int], device: torch.device | str) -> Tensor:
    if given is None:
        return torch.zeros(views, dtype=torch.bool, device=device)
    return torch.ones(views, dtype=torch.bool, device=device) if mask is None else mask.to(device).bool()


def _or_zeros(given: Tensor | None, shape: tuple[int, ...], device: torch.device | str) -> Tensor:
    return torch.zeros(shape, device=device) if given is None else given.to(device).float()

"""Where between the pixels a match lies: at the top of the paraboloid through the similarities around it.

Whole pixels are off by up to half of one, the same way wherever a surface is seen at the same slant. Cameras close to
each other or over shallow scenes feel that more than the noise of a network's points. Not part of the published
program, whose matches are whole pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

FARTHEST = 0.499  # rounding gives the whole pixel back


def subpixel_shifts(orders: list[tuple[Tensor, Tensor]], xy1: Tensor, xy2: Tensor) -> Tensor:
    """(k, 2) float32 in pixels, to be added to the second pixel of each match; 0 where nothing clear is found.

    orders: unit descriptors (H1, W1, D) of image 1 and (H2, W2, D) of image 2, once for each order in which the pair
    was predicted; their similarities are added up. xy1, xy2: (k, 2) int64, whole pixels. Pixels at the image's border,
    and those whose surroundings have no top, stay where they are.
    """
    height, width = orders[0][1].shape[:2]
    x, y = xy2.unbind(1)
    inner = (x > 0) & (x < width - 1) & (y > 0) & (y < height - 1)
    rows = y.clamp(1, height - 2)[:, None, None] + torch.tensor([-1, 0, 1], device=xy2.device)[:, None]
    columns = x.clamp(1, width - 2)[:, None, None] + torch.tensor([-1, 0, 1], device=xy2.device)
    similar = torch.zeros(len(xy2), 3, 3, device=xy2.device)
    for first, second in orders:
        similar += (second[rows, columns] * first[xy1[:, 1], xy1[:, 0]][:, None, None]).sum(dim=-1)
    top, has_top = _top(similar)
    return torch.where((inner & has_top)[:, None], top, 0.0).clamp(-FARTHEST, FARTHEST)


def _top(values: Tensor) -> tuple[Tensor, Tensor]:
    """Of values (k, 3, 3) at -1, 0, 1 down and across: the paraboloid's top (k, 2) x and y, and where there is one."""
    slope_x, slope_y = (values[:, 1, 2] - values[:, 1, 0]) / 2, (values[:, 2, 1] - values[:, 0, 1]) / 2
    bend_x = values[:, 1, 2] - 2 * values[:, 1, 1] + values[:, 1, 0]
    bend_y = values[:, 2, 1] - 2 * values[:, 1, 1] + values[:, 0, 1]
    twist = (values[:, 2, 2] - values[:, 2, 0] - values[:, 0, 2] + values[:, 0, 0]) / 4
    determinant = bend_x * bend_y - twist**2
    has_top = (bend_x < 0) & (bend_y < 0) & (determinant > 0)
    safe = torch.where(has_top, determinant, 1.0)
    x, y = (twist * slope_y - bend_y * slope_x) / safe, (twist * slope_x - bend_x * slope_y) / safe
    return torch.stack([x, y], dim=1), has_top

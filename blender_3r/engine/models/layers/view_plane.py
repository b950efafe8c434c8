"""Where in its picture a pixel lies, on a plane whose half diagonal is 1: as two numbers, or as waves of them.

Source: specs/moge.md section 3.4; specs/vggt.md section 3.5.
"""

from __future__ import annotations

import torch
from torch import Tensor


def plane_axes(rows: int, columns: int, aspect: float) -> tuple[Tensor, Tensor]:
    """u of every column and v of every row, float64: the pixels' centres. aspect: of the picture, width / height."""
    diagonal = (1 + aspect**2) ** 0.5
    sides = []
    for count, extent in ((columns, aspect / diagonal), (rows, 1 / diagonal)):
        last = extent * (count - 1) / count
        sides.append(torch.linspace(-last, last, count, dtype=torch.float64))
    return sides[0], sides[1]


def append_plane(maps: Tensor, aspect: float) -> Tensor:
    """(B, C, h, w) with two more channels: u and v."""
    u, v = (axis.to(maps) for axis in plane_axes(maps.shape[-2], maps.shape[-1], aspect))
    size = (len(maps), 1, *maps.shape[-2:])
    return torch.cat([maps, u.expand(size), v[:, None].expand(size)], dim=1)


def add_plane_waves(maps: Tensor, aspect: float, strength: float = 0.1) -> Tensor:
    """(B, C, h, w) plus strength times sines and cosines: of u in the first half of the channels, of v in the second.

    Each half has C/4 frequencies 100^(-k / (C/4)), sines first.
    """
    quarter = maps.shape[1] // 4
    frequencies = 100.0 ** -(torch.arange(quarter, dtype=torch.float64) / quarter)
    u, v = (
        torch.cat([angles.sin(), angles.cos()]).to(maps) * strength
        for angles in (frequencies[:, None] * axis for axis in plane_axes(maps.shape[-2], maps.shape[-1], aspect))
    )
    across, down = maps.split(2 * quarter, dim=1)
    return torch.cat([across + u[:, None, :], down + v[:, :, None]], dim=1)

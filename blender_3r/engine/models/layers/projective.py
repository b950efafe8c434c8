"""Positions of patches told by the cameras that see them, as a turn of queries, keys, values and results.

Li et al., "Cameras as Relative Positional Encoding", arXiv 2507.10496; specs/pi3x.md section 4.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .heads import Grid

BASE = 100.0


class ViewGeometry(NamedTuple):
    """Of V views with a grid of patches each. Poses: (V, 4, 4). columns, rows: of every patch, (V * N,)."""

    world_from_camera: Tensor
    camera_from_world: Tensor
    columns: Tensor
    rows: Tensor

    def apply(self, tokens: Tensor, matrices: Tensor, back: bool = False) -> Tensor:
        """Tokens (B, heads, V * N, d), view by view: the first half of the channels by each view's matrix (V, 4, 4),
        four at a time, a quarter turned with the column and a quarter with the row; back: the other way round.

        In float32 whatever their type, which they keep.
        """
        with torch.autocast(tokens.device.type, enabled=False):
            values = tokens.float()
            quarter = values.shape[-1] // 4
            seen, across, down = values.split([2 * quarter, quarter, quarter], dim=-1)
            groups = seen.unflatten(2, (len(matrices), -1)).unflatten(-1, (-1, 4))
            seen = torch.einsum("vij,bhvngj->bhvngi", matrices.float(), groups).flatten(4).flatten(2, 3)
            turned = [_turn(part, at, back) for part, at in ((across, self.columns), (down, self.rows))]
            return torch.cat([seen, *turned], dim=-1).to(tokens.dtype)


def view_geometry(world_from_camera: Tensor, grid: Grid) -> ViewGeometry:
    """world_from_camera: (V, 4, 4) rigid, of views with that many rows and columns of patches."""
    pose = world_from_camera.float()
    rotation = pose[:, :3, :3].transpose(-1, -2)
    inverse = torch.eye(4, device=pose.device).repeat(len(pose), 1, 1)
    inverse[:, :3, :3] = rotation
    inverse[:, :3, 3:] = -rotation @ pose[:, :3, 3:]
    rows, columns = (torch.arange(side, device=pose.device, dtype=torch.float32) for side in grid)
    return ViewGeometry(
        pose,
        inverse,
        columns.repeat(len(pose) * len(rows)),
        rows.repeat_interleave(len(columns)).repeat(len(pose)),
    )


def _turn(values: Tensor, positions: Tensor, back: bool) -> Tensor:
    """Pairs of channels, one of each half, by angles that grow with the position."""
    first, second = values.chunk(2, dim=-1)
    count = first.shape[-1]
    frequencies = BASE ** -(torch.arange(count, device=values.device, dtype=torch.float32) / count)
    angles = positions[:, None] * (-frequencies if back else frequencies)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([first * cos + second * sin, second * cos - first * sin], dim=-1)

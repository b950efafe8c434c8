"""The DPT head on tokens of a vision transformer with 14-pixel patches, as VGGT has it.

Ranftl et al., 2021; specs/vggt.md section 3.5. It differs from layers.heads.DptHead in its names, in one norm for all
depths, in adding where a pixel lies, in resizing to the next level's size, and in units that keep what is rectified.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .heads import Grid, Scratch, upsample
from .patches import tokens_to_maps
from .view_plane import add_plane_waves

VIEWS_AT_ONCE = 8  # what a head holds for a view of 518 x 392 is about 250 MB


class VitDptHead(nn.Module):
    """Dense maps from tokens of four depths of one width.

    level_widths: channels at 4, 2, 1 and 1/2 times the token grid. features: channels while fusing. out_channels: of
    the result; None = a map of features, without waves of position and without a last step. shrink: the result's size
    is the picture's over this.
    """

    def __init__(
        self,
        token_width: int,
        level_widths: Sequence[int],
        features: int,
        out_channels: int | None,
        *,
        last_dim: int = 32,
        patch_size: int = 14,
        shrink: int = 1,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.patch_size, self.shrink, self.dense = patch_size, shrink, out_channels is not None
        first, second, _, fourth = level_widths
        self.norm = nn.LayerNorm(token_width, eps=eps)
        self.projects = nn.ModuleList(nn.Conv2d(token_width, width, 1) for width in level_widths)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(first, first, 4, stride=4),
                nn.ConvTranspose2d(second, second, 2, stride=2),
                nn.Identity(),
                nn.Conv2d(fourth, fourth, 3, stride=2, padding=1),
            ]
        )
        self.scratch = Scratch(level_widths, features, rectified=True)
        half = features // 2 if self.dense else features
        self.scratch.output_conv1 = nn.Conv2d(features, half, 3, padding=1)
        if out_channels is not None:
            self.scratch.output_conv2 = nn.Sequential(
                nn.Conv2d(half, last_dim, 3, padding=1), nn.ReLU(), nn.Conv2d(last_dim, out_channels, 1)
            )

    def forward(self, layers: Sequence[Tensor], grid: Grid) -> Tensor:
        """layers: the four depths' patch tokens, each (N, rows * columns, C), float32. Returns (N, c, H, W).

        Some views at a time, so that the memory it takes does not grow with their number.
        """
        parts = zip(*(layer.split(VIEWS_AT_ONCE) for layer in layers), strict=True)
        return torch.cat([self._some_views(part, grid) for part in parts])

    def _some_views(self, layers: Sequence[Tensor], grid: Grid) -> Tensor:
        scratch, aspect = self.scratch, grid[1] / grid[0]
        one, two, three, four = (
            getattr(scratch, f"layer{level + 1}_rn")(self._level(tokens, level, grid))
            for level, tokens in enumerate(layers)
        )
        maps = scratch.refinenet4(four, size=three.shape[-2:])
        maps = scratch.refinenet3(maps, scratch.refinenet3.resConfUnit1(three), two.shape[-2:])
        maps = scratch.refinenet2(maps, scratch.refinenet2.resConfUnit1(two), one.shape[-2:])
        maps = scratch.refinenet1(maps, scratch.refinenet1.resConfUnit1(one))
        height, width = (side * self.patch_size // self.shrink for side in grid)
        maps = upsample(scratch.output_conv1(maps), (height, width))
        return scratch.output_conv2(add_plane_waves(maps, aspect)) if self.dense else maps

    def _level(self, tokens: Tensor, level: int, grid: Grid) -> Tensor:
        maps = self.projects[level](tokens_to_maps(self.norm(tokens), grid))
        if self.dense:
            maps = add_plane_waves(maps, grid[1] / grid[0])
        return self.resize_layers[level](maps)

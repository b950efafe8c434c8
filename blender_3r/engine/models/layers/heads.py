"""How a dense map is read off tokens: patch by patch, or by the multi-scale DPT head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle

from .patches import tokens_to_maps

Grid = tuple[int, int]


def unfold_patches(channels: Tensor, grid: Grid, patch_size: int) -> Tensor:
    """Tokens whose channels are the pixels of their patch, (B, N, c * p * p), to maps (B, c, H, W)."""
    return pixel_shuffle(tokens_to_maps(channels, grid), patch_size)


class ResidualUnit(nn.Module):
    """x + conv(relu(conv(relu(x)))), 3x3. rectified: relu(x) + ... instead."""

    def __init__(self, width: int, rectified: bool = False) -> None:
        super().__init__()
        self.rectified = rectified
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        positive = maps.relu()
        return (positive if self.rectified else maps) + self.conv2(self.conv1(positive).relu())


class FusionBlock(nn.Module):
    """Adds a finer level to the coarser ones and doubles the size; the coarsest has nothing to be added to.

    rectified: see ResidualUnit.
    """

    def __init__(self, width: int, has_skip: bool, rectified: bool = False) -> None:
        super().__init__()
        if has_skip:
            self.resConfUnit1 = ResidualUnit(width, rectified)
        self.resConfUnit2 = ResidualUnit(width, rectified)
        self.out_conv = nn.Conv2d(width, width, 1)

    def forward(self, maps: Tensor, skip: Tensor | None = None, size: Grid | None = None) -> Tensor:
        """maps: (B, C, h, w); skip: the finer level, through resConfUnit1 already. Returns (B, C, 2h, 2w), or of the
        size (rows, columns) asked for.
        """
        if skip is not None:
            maps = maps + skip
        # A 1x1 convolution and a bilinear resize commute, and before it there are a quarter of the pixels.
        return upsample(self.out_conv(self.resConfUnit2(maps)), size)


def upsample(maps: Tensor, size: Grid | None = None) -> Tensor:
    """Twice the size, or the one given; bilinear, corners on corners."""
    factor = 2 if size is None else None
    return interpolate(maps, size, scale_factor=factor, mode="bilinear", align_corners=True)


class Scratch(nn.Module):
    """The reductions and fusions of a DPT; a module of its own because the published names have it.

    level_widths: of the four levels, finest first. rectified: see ResidualUnit.
    """

    def __init__(self, level_widths: Sequence[int], width: int, rectified: bool = False) -> None:
        super().__init__()
        for number, level_width in enumerate(level_widths, start=1):
            setattr(self, f"layer{number}_rn", nn.Conv2d(level_width, width, 3, padding=1, bias=False))
        for number in range(1, 5):
            setattr(self, f"refinenet{number}", FusionBlock(width, number < 4, rectified))


class DptHead(nn.Module):
    """Dense prediction from tokens of four depths (Ranftl et al., 2021; DUSt3R, section 3).

    token_widths: of the four depths. level_widths: channels at 4, 2, 1 and 1/2 times the token grid. feature_dim:
    channels while fusing. last_dim: channels before the last convolution. out_channels: of the result.
    """

    def __init__(
        self,
        token_widths: Sequence[int],
        level_widths: Sequence[int],
        feature_dim: int,
        last_dim: int,
        out_channels: int,
    ) -> None:
        super().__init__()
        first, second, third, fourth = level_widths
        self.act_postprocess = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(token_widths[0], first, 1), nn.ConvTranspose2d(first, first, 4, stride=4)),
                nn.Sequential(nn.Conv2d(token_widths[1], second, 1), nn.ConvTranspose2d(second, second, 2, stride=2)),
                nn.Sequential(nn.Conv2d(token_widths[2], third, 1)),
                nn.Sequential(nn.Conv2d(token_widths[3], fourth, 1), nn.Conv2d(fourth, fourth, 3, stride=2, padding=1)),
            ]
        )
        self.scratch = Scratch(level_widths, feature_dim)
        self.head = nn.Sequential(
            nn.Conv2d(feature_dim, feature_dim // 2, 3, padding=1),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            nn.Conv2d(feature_dim // 2, last_dim, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(last_dim, out_channels, 1),
        )

    def finest_level(self, tokens: Tensor, grid: Grid) -> Tensor:
        """What the first of the four depths contributes: (B, N, C) to (B, feature_dim, 4 rows, 4 columns).

        Where that depth is the encoder's output it is the same in every pair of an image, and a fifth of the work.
        """
        reduced = self.scratch.layer1_rn(self.act_postprocess[0](tokens_to_maps(tokens, grid)))
        return self.scratch.refinenet1.resConfUnit1(reduced)

    def forward(self, layers: Sequence[Tensor], grid: Grid, finest: Tensor | None = None) -> Tensor:
        """layers: the four depths' tokens, each (B, rows * columns, C). finest: finest_level() of the first of them,
        computed here unless given. Returns (B, out_channels, H, W).
        """
        scratch = self.scratch
        if finest is None:
            finest = self.finest_level(layers[0], grid)
        two, three, four = (
            reduce(process(tokens_to_maps(tokens, grid)))
            for reduce, process, tokens in zip(
                (scratch.layer2_rn, scratch.layer3_rn, scratch.layer4_rn),
                self.act_postprocess[1:],
                layers[1:],
                strict=True,
            )
        )
        # The coarsest level is rounded up where the grid is odd.
        maps = scratch.refinenet4(four)[..., : three.shape[-2], : three.shape[-1]]
        maps = scratch.refinenet3(maps, scratch.refinenet3.resConfUnit1(three))
        maps = scratch.refinenet2(maps, scratch.refinenet2.resConfUnit1(two))
        return self.head(scratch.refinenet1(maps, finest))


def dpt_hooks(depth: int) -> tuple[int, int, int, int]:
    """Which entries of the decoder's list of layers (0 is the encoder's output) the DPT head reads."""
    return (0, depth * 2 // 4, depth * 3 // 4, depth)


def without_autocast(tokens: Tensor) -> torch.autocast:
    """Heads and geometry stay in float32 whatever the rest runs in."""
    return torch.autocast(tokens.device.type, enabled=False)

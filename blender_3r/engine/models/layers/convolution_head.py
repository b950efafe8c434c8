"""Dense maps by convolutions that double the size three times: the head of MoGe-1, which WinT3R and Pi3X have too.

Wang et al., arXiv 2410.19115; specs/moge.md section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from .view_plane import append_plane

CHANNELS_PER_GROUP = 32


def _conv(width: int, out: int) -> nn.Conv2d:
    return nn.Conv2d(width, out, 3, padding=1, padding_mode="replicate")


class ConvolutionUnit(nn.Module):
    """x + two normed 3x3 convolutions by way of `hidden` channels."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(1, width),
            nn.ReLU(),
            _conv(width, hidden),
            nn.GroupNorm(hidden // CHANNELS_PER_GROUP, hidden),
            nn.ReLU(),
            _conv(hidden, width),
        )

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.layers(maps)


class ConvolutionHead(nn.Module):
    """width: of the first stage's input. stages: channels after each doubling. out_channels: of each output block.

    project_from: widths of the features that are each projected and then added up; empty = one feature, taken as it
    is. expansion: hidden over outer channels of a unit.
    """

    def __init__(
        self,
        width: int,
        stages: Sequence[int],
        out_channels: Sequence[int],
        *,
        project_from: Sequence[int] = (),
        units: int = 2,
        expansion: int = 1,
        last_dim: int = 32,
    ) -> None:
        super().__init__()
        self.projects = nn.ModuleList(nn.Conv2d(source, width, 1) for source in project_from)
        self.upsample_blocks = nn.ModuleList(
            nn.Sequential(
                nn.Sequential(nn.ConvTranspose2d(source + 2, stage, 2, stride=2), _conv(stage, stage)),
                *(ConvolutionUnit(stage, stage * expansion) for _ in range(units)),
            )
            for source, stage in zip([width, *stages], stages)
        )
        self.output_block = nn.ModuleList(
            nn.Sequential(_conv(stages[-1] + 2, last_dim), nn.ReLU(), nn.Conv2d(last_dim, out, 1))
            for out in out_channels
        )

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """features: maps (B, C, h, w), one for each projection. size: (H, W) of the result and shape of the picture.

        Returns (B, c, H, W), the output blocks' channels one after another.
        """
        aspect = size[1] / size[0]
        if self.projects:
            maps = torch.stack([project(map_) for project, map_ in zip(self.projects, features, strict=True)]).sum(0)
        else:
            (maps,) = features
        for stage in self.upsample_blocks:
            maps = stage(append_plane(maps, aspect))
        maps = append_plane(interpolate(maps, size, mode="bilinear", align_corners=False), aspect)
        return torch.cat([block(maps) for block in self.output_block], dim=1)

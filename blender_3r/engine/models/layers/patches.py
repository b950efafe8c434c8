"""Images to tokens and back."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PatchEmbed(nn.Module):
    """One token per patch, by a convolution as wide as its stride; row by row."""

    def __init__(self, patch_size: int, width: int, channels: int = 3) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(channels, width, patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """images: (B, 3, H, W). Returns (B, H/p * W/p, C). Raises ValueError unless p divides H and W."""
        height, width = images.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(f"an image of {width} x {height} does not divide into patches of {self.patch_size}")
        return self.proj(images).flatten(2).transpose(1, 2)


def grid_positions(batch: int, rows: int, columns: int, device: torch.device, special: int = 0) -> Tensor:
    """(B, special + rows * columns, 2) integer positions (y, x) of a grid of tokens.

    special: tokens in front of it; they are at (0, 0), and the grid then begins at (1, 1).
    """
    y, x = torch.meshgrid(torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij")
    grid = torch.stack([y, x], dim=-1).reshape(-1, 2)
    if special:
        grid = torch.cat([grid.new_zeros(special, 2), grid + 1])
    return grid.expand(batch, -1, -1)


def tokens_to_maps(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, rows * columns, C) to (B, C, rows, columns)."""
    return tokens.transpose(1, 2).unflatten(2, grid)

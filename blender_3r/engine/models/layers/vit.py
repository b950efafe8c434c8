"""The vision transformer of DINOv2, the encoder of several models.

Oquab et al., arXiv 2304.07193; with registers: Darcet et al., arXiv 2309.16588; specs/common_dinov2.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, silu

from .blocks import EncoderBlock
from .patches import PatchEmbed

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


def normalise_images(images: Tensor) -> Tensor:
    """Pictures in 0..1, (..., 3, H, W), by ImageNet's mean and deviation."""
    return (images - images.new_tensor(IMAGE_MEAN).view(3, 1, 1)) / images.new_tensor(IMAGE_STD).view(3, 1, 1)


class VitFeatures(NamedTuple):
    """Tokens by their kind: of the class (B, C), registers (B, R, C), patches (B, N, C) row by row."""

    class_token: Tensor
    registers: Tensor
    patches: Tensor


class SwiGlu(nn.Module):
    """The MLP of the giant model: w3(silu(a) * b), a and b the halves of w12(x)."""

    def __init__(self, width: int, mlp_ratio: float) -> None:
        super().__init__()
        hidden = (int(width * mlp_ratio * 2 / 3) + 7) // 8 * 8
        self.w12 = nn.Linear(width, 2 * hidden)
        self.w3 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        first, second = self.w12(tokens).chunk(2, dim=-1)
        return self.w3(silu(first) * second)


class VisionTransformer(nn.Module):
    """Pictures to tokens: one of the class, the registers, the patches.

    table_side: rows and columns of the stored table of positions (37 = 518 pixels). swiglu: the giant's MLP.
    offset, antialias: how the table is resampled to another grid; see table_for(). Published models with registers
    have 0 and True, which is the default for them, those without 0.1 and False.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        *,
        registers: int = 0,
        table_side: int = 37,
        patch_size: int = 14,
        channels: int = 3,
        mlp_ratio: float = 4,
        swiglu: bool = False,
        eps: float = 1e-6,
        offset: float | None = None,
        antialias: bool | None = None,
    ) -> None:
        super().__init__()
        self.offset = (0.0 if registers else 0.1) if offset is None else offset
        self.antialias = registers > 0 if antialias is None else antialias
        self.patch_embed = PatchEmbed(patch_size, width, channels)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + table_side**2, width))
        if registers:
            self.register_tokens = nn.Parameter(torch.zeros(1, registers, width))
        self.registers = registers
        self.blocks = nn.ModuleList(
            EncoderBlock(
                width, heads, mlp_ratio, eps, layer_scale=True, mlp=SwiGlu(width, mlp_ratio) if swiglu else None
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width, eps=eps)

    @staticmethod
    def adapt_state_dict(state: dict[str, Any]) -> dict[str, Any]:
        """Without the token that stands for hidden patches in training."""
        return {name: value for name, value in state.items() if name.split(".")[-1] != "mask_token"}

    def forward(self, images: Tensor) -> VitFeatures:
        """images: (B, 3, H, W), normalised, sides multiples of the patch.

        Raises ValueError for other sizes.
        """
        tokens = self.embed(images)
        for block in self.blocks:
            tokens = block(tokens)
        return self._split(self.norm(tokens))

    def intermediate(self, images: Tensor, blocks: int | Sequence[int]) -> list[VitFeatures]:
        """What some blocks give, each after the last norm. blocks: their numbers from 0, or how many of the last."""
        chosen = range(len(self.blocks) - blocks, len(self.blocks)) if isinstance(blocks, int) else blocks
        tokens = self.embed(images)
        features = []
        for number, block in enumerate(self.blocks):
            tokens = block(tokens)
            if number in chosen:
                features.append(self._split(self.norm(tokens)))
        return features

    def embed(self, images: Tensor) -> Tensor:
        """The first block's input: (B, 1 + R + N, C)."""
        tokens = self.patch_embed(images)
        batch, grid = len(images), (images.shape[-2] // self._patch, images.shape[-1] // self._patch)
        # Under autocast patches come in half precision; joined with the class they are as precise as the weights.
        tokens = torch.cat([self.cls_token.expand(batch, -1, -1), tokens], dim=1)
        tokens = tokens + self.table_for(grid).to(tokens.dtype)
        if not self.registers:
            return tokens
        # Registers have no position.
        return torch.cat([tokens[:, :1], self.register_tokens.expand(batch, -1, -1), tokens[:, 1:]], dim=1)

    def table_for(self, grid: tuple[int, int]) -> Tensor:
        """Positions of the class and of a grid of (rows, columns), (1, 1 + N, C) float32, by bicubic resampling.

        With an offset the table is sampled at (i + 0.5) M / (n + offset) - 0.5, else at (i + 0.5) M / n - 0.5; M the
        table's side, n the grid's.
        """
        table = self.pos_embed.float()
        side = round((table.shape[1] - 1) ** 0.5)
        if grid == (side, side):
            return table
        maps = table[:, 1:].transpose(1, 2).unflatten(2, (side, side))
        if self.offset:
            rows, columns = ((length + self.offset) / side for length in grid)
            where = {"scale_factor": (rows, columns)}
        else:
            where = {"size": grid}
        maps = interpolate(maps, mode="bicubic", antialias=self.antialias, **where)
        return torch.cat([table[:, :1], maps.flatten(2).transpose(1, 2)], dim=1)

    @property
    def _patch(self) -> int:
        return self.patch_embed.patch_size

    def _split(self, tokens: Tensor) -> VitFeatures:
        first = 1 + self.registers
        return VitFeatures(tokens[:, 0], tokens[:, 1:first], tokens[:, first:])

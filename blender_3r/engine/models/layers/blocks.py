"""Transformer blocks, pre-norm: those of the CroCo family and those of vision transformers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .attention import CrossAttention, KeysValues, SelfAttention
from .rope import RopeTables


class Mlp(nn.Module):
    """Linear, GELU (exact), linear; on the last axis."""

    def __init__(self, width: int, hidden: int, out: int | None = None) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, width if out is None else out)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(tokens)))


class LayerScale(nn.Module):
    """One learned factor per channel, `gamma`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens * self.gamma


def token_head(width: int, out: int) -> nn.Sequential:
    """Linear, GELU (exact), linear, numbered; for tokens of two kinds side by side."""
    return nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, out))


class EncoderBlock(nn.Module):
    """Self-attention and MLP: (B, N, C) to (B, N, C).

    layer_scale: both are scaled (`ls1`, `ls2`) before they are added. mlp: another MLP. The rest: see SelfAttention.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_ratio: float,
        eps: float,
        *,
        layer_scale: bool = False,
        mlp: nn.Module | None = None,
        qk_norm_eps: float | None = None,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = SelfAttention(width, heads, qk_norm_eps, scale)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = Mlp(width, int(width * mlp_ratio)) if mlp is None else mlp
        self.ls1, self.ls2 = (LayerScale(width) if layer_scale else nn.Identity() for _ in range(2))

    def forward(self, tokens: Tensor, rope: RopeTables | None = None, mask: Tensor | None = None) -> Tensor:
        """mask: see attend()."""
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens), rope, mask))
        return tokens + self.ls2(self.mlp(self.norm2(tokens)))


class DecoderBlock(nn.Module):
    """Self-attention, cross-attention to the other view's tokens (left as they are), MLP."""

    def __init__(self, width: int, heads: int, mlp_ratio: float, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = SelfAttention(width, heads)
        self.norm_y = nn.LayerNorm(width, eps=eps)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.cross_attn = CrossAttention(width, heads)
        self.norm3 = nn.LayerNorm(width, eps=eps)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def forward(
        self,
        tokens: Tensor,
        memory: Tensor | KeysValues,
        rope: RopeTables | None = None,
        memory_rope: RopeTables | None = None,
    ) -> Tensor:
        """tokens: (B, N, C); memory: (B, M, C), or what keys_values() makes of it. Returns (B, N, C)."""
        tokens = tokens + self.attn(self.norm1(tokens), rope)
        memory = self.norm_y(memory) if isinstance(memory, Tensor) else memory
        tokens = tokens + self.cross_attn(self.norm2(tokens), memory, rope, memory_rope)
        return tokens + self.mlp(self.norm3(tokens))

    def keys_values(self, memory: Tensor, rope: RopeTables | None = None) -> KeysValues:
        """A memory that several sets of tokens read: (B, M, C)."""
        return self.cross_attn.keys_values(self.norm_y(memory), rope)

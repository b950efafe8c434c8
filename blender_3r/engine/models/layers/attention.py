"""Multi-head attention, within one set of tokens and from one set to another.

The products go through `attend`, the one place where attention weights exist: a model that needs cross-attention
logits or re-weights attention replaces that call.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from .rope import RopeTables, apply_rope

MASKED_ROWS = 64  # queries that are masked at once


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, scale: float | None = None) -> Tensor:
    """Softmax of q k^T / sqrt(d) over the keys, times v: (B, heads, N, d) each; returns (B, N, heads * d).

    mask: bool, True where a query may read a key, anything that broadcasts to (B, heads, N, M). scale: instead of
    1 / sqrt(d).
    """
    if mask is None or mask.ndim > 2 or len(mask) <= MASKED_ROWS:
        return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale).transpose(1, 2).flatten(2)
    # With a mask all weights may lie in memory at once, N x M for each head: so no more than some rows of them.
    parts = [
        scaled_dot_product_attention(some, key, value, attn_mask=rows, scale=scale)
        for some, rows in zip(query.split(MASKED_ROWS, dim=2), mask.split(MASKED_ROWS), strict=True)
    ]
    return torch.cat(parts, dim=2).transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Attention among the tokens of a set. Weights: `qkv` (q, k, v; each head-major), `proj`, and where queries and
    keys are normed `q_norm`, `k_norm`.

    qk_norm_eps: norm each head's queries and keys before they turn; None = not. scale: see attend().
    """

    def __init__(self, width: int, heads: int, qk_norm_eps: float | None = None, scale: float | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.scale = scale
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm, self.k_norm = (
            nn.Identity() if qk_norm_eps is None else nn.LayerNorm(width // heads, eps=qk_norm_eps) for _ in range(2)
        )
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor, rope: RopeTables | None = None, mask: Tensor | None = None) -> Tensor:
        """tokens: (B, N, C). mask: see attend(). Returns (B, N, C)."""
        query, key, value = self.project(tokens)
        if rope is not None:
            query, key = apply_rope(query, rope), apply_rope(key, rope)
        return self.proj(attend(query, key, value, mask, self.scale))

    def project(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, N, C) to queries, keys and values, (B, heads, N, d) each and of one type."""
        batch, count, width = tokens.shape
        qkv = self.qkv(tokens).view(batch, count, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        # Norms answer in float32 under autocast.
        return self.q_norm(query).to(value.dtype), self.k_norm(key).to(value.dtype), value


class KeysValues(NamedTuple):
    """What a memory is read by, (B, heads, M, d) each; made once for all that read it."""

    keys: Tensor
    values: Tensor

    def without(self, first: int, count: int) -> KeysValues:
        """All tokens but `count` from `first` on."""
        parts = ((part[:, :, :first], part[:, :, first + count :]) for part in self)
        return KeysValues(*(torch.cat(part, dim=2) for part in parts))


class CrossAttention(nn.Module):
    """Attention from one view's tokens to another's. Weights: `projq`, `projk`, `projv`, `proj`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projq = nn.Linear(width, width)
        self.projk = nn.Linear(width, width)
        self.projv = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(
        self,
        tokens: Tensor,
        memory: Tensor | KeysValues,
        rope: RopeTables | None = None,
        memory_rope: RopeTables | None = None,
    ) -> Tensor:
        """tokens: (B, N, C) that ask; memory: (B, M, C) that are read, or their keys_values(), for which memory_rope is
        of no effect. Returns (B, N, C).
        """
        if isinstance(memory, Tensor):
            memory = self.keys_values(memory, memory_rope)
        query = self._heads(self.projq(tokens))
        query = query if rope is None else apply_rope(query, rope)
        return self.proj(attend(query, memory.keys, memory.values))

    def keys_values(self, memory: Tensor, rope: RopeTables | None = None) -> KeysValues:
        """Of a memory (B, M, C) at the positions of rope."""
        keys = self._heads(self.projk(memory))
        return KeysValues(keys if rope is None else apply_rope(keys, rope), self._heads(self.projv(memory)))

    def _heads(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)

"""Rotary position embedding on a grid: half of each head's channels turn with y, half with x."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class RopeTables(NamedTuple):
    """cos, sin: (B, 1, N, d) float32, one row per token; made once for all layers that share positions.

    pieces: widths of the groups of channels that turn with one coordinate each. rounding: some models were trained with
    queries and keys rounded to half precision before they are turned.
    """

    cos: Tensor
    sin: Tensor
    pieces: tuple[int, ...]
    rounding: torch.dtype | None = None


def rope_tables(positions: Tensor, head_dim: int, base: float = 100.0) -> RopeTables:
    """Tables for integer positions (B, N, 2) in the order (y, x).

    Channels [0, d/2) of a head turn with y, [d/2, d) with x; within each half of size D, channel k is paired with
    k + D/2 and turns by position * base^(-2k/D). Raises ValueError unless head_dim is a multiple of 4.
    """
    if head_dim % 4:
        raise ValueError(f"head width {head_dim} is not a multiple of 4")
    half = head_dim // 2
    exponents = torch.arange(0, half, 2, device=positions.device, dtype=torch.float32) / half
    angles = positions[..., None].float() * base**-exponents  # (B, N, 2, D/2)
    angles = torch.cat([angles, angles], dim=-1).flatten(2)[:, None]
    return RopeTables(angles.cos(), angles.sin(), (half, half))


def apply_rope(tokens: Tensor, tables: RopeTables) -> Tensor:
    """Turn queries or keys (B, heads, N, d); computed in float32 whatever their type, since angles are large."""
    values = tokens.float() if tables.rounding is None else tokens.to(tables.rounding).float()
    turned = torch.cat([_quarter_turn(piece) for piece in values.split(tables.pieces, dim=-1)], dim=-1)
    return (values * tables.cos + turned * tables.sin).to(tokens.dtype)


def _quarter_turn(values: Tensor) -> Tensor:
    first, second = values.chunk(2, dim=-1)
    return torch.cat([-second, first], dim=-1)

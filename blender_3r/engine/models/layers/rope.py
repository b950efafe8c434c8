"""Rotary position embedding. On a grid half of each head's channels turn with y, half with x."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

HALVES = ("", "input", "kernel", "table")


class RopeTables(NamedTuple):
    """cos, sin: (B, 1, N, d) float32, one row per token; made once for all layers that share positions.

    pieces: widths of the groups of channels that turn with one coordinate each. half: what is rounded to half
    precision, as some published models do whatever the rest is in: "" nothing; "input" queries and keys before they
    are turned; "kernel" these and the result; "table" these and the angles (cos and sin are float16 then).
    """

    cos: Tensor
    sin: Tensor
    pieces: tuple[int, ...]
    half: str = ""


def rope_tables(positions: Tensor, head_dim: int, base: float = 100.0, half: str = "") -> RopeTables:
    """Tables for integer positions (B, N, 2) in the order (y, x). half: see RopeTables.

    Channels [0, d/2) of a head turn with y, [d/2, d) with x; within each part of size D, channel k is paired with
    k + D/2 and turns by position * base^(-2k/D). Raises ValueError unless head_dim is a multiple of 4, and for an
    unknown half.
    """
    if head_dim % 4:
        raise ValueError(f"head width {head_dim} is not a multiple of 4")
    if half not in HALVES:
        raise ValueError(f"unknown rounding {half!r}")
    part = head_dim // 2
    exponents = torch.arange(0, part, 2, device=positions.device, dtype=torch.float32) / part
    angles = positions[..., None].float() * base**-exponents  # (B, N, 2, D/2)
    angles = torch.cat([angles, angles], dim=-1).flatten(2)[:, None]
    angles = angles.half() if half == "table" else angles
    return RopeTables(angles.cos(), angles.sin(), (part, part), half)


def rope_tables_in_space(positions: Tensor, head_dim: int, bases: Sequence[float], untouched: int = 0) -> RopeTables:
    """Tables for places in space (B, N, 3), in any unit: a third of a head's channels turns with each of x, y, z.

    The result of turning is the mean over several bases. A piece of odd width does not turn properly, as published:
    its two parts, which are to be exchanged, differ in width. untouched: tokens in front that have no place; they stay
    as they are. Source: Point3R (arXiv 2507.02863), specification section 3.1.
    """
    third = head_dim // 3
    pieces = (third, third, head_dim - 2 * third)
    angles = torch.cat([_angles(positions[..., axis], width, bases) for axis, width in enumerate(pieces)], dim=-1)
    cos, sin = angles.cos().mean(dim=0), angles.sin().mean(dim=0)  # a mean of turns is the turn by mean tables
    cos, sin = pad(cos, (0, 0, untouched, 0), value=1.0), pad(sin, (0, 0, untouched, 0))
    return RopeTables(cos[:, None], sin[:, None], pieces)


def _angles(coordinates: Tensor, width: int, bases: Sequence[float]) -> Tensor:
    """(bases, B, N, width) of coordinates (B, N)."""
    exponents = torch.arange(0, width, 2, device=coordinates.device, dtype=torch.float32) / width
    frequencies = coordinates.new_tensor(bases, dtype=torch.float32)[:, None] ** -exponents
    angles = coordinates.float()[None, ..., None] * frequencies[:, None, None]
    return torch.cat([angles, angles], dim=-1)[..., :width]


def repeat_tables(tables: RopeTables, times: int) -> RopeTables:
    """For several sets of tokens at the same positions, one behind the other."""
    return tables._replace(cos=tables.cos.repeat(1, 1, times, 1), sin=tables.sin.repeat(1, 1, times, 1))


def apply_rope(tokens: Tensor, tables: RopeTables) -> Tensor:
    """Turn queries or keys (B, heads, N, d); computed in float32 whatever their type, since angles are large. What the
    tables have in half precision is the exception.
    """
    values = tokens.half().float() if tables.half else tokens.float()
    turned = torch.cat([_quarter_turn(piece) for piece in values.split(tables.pieces, dim=-1)], dim=-1)
    if tables.half == "table":
        values, turned = values.half(), turned.half()
    result = values * tables.cos + turned * tables.sin
    return (result.half() if tables.half == "kernel" else result).to(tokens.dtype)


def _quarter_turn(values: Tensor) -> Tensor:
    width = values.shape[-1]
    first, second = values.split(((width + 1) // 2, width // 2), dim=-1)
    return torch.cat([-second, first], dim=-1)

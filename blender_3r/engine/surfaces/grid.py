"""Places on an endless grid as sorted 64-bit keys: only what is used takes memory."""

from __future__ import annotations

import numpy as np

BLOCK = 8  # samples along each side of a block
_BITS = 21
_OFFSET = 1 << (_BITS - 1)
LARGEST = _OFFSET - 2  # a coordinate's limit


def pack(places: np.ndarray) -> np.ndarray:
    """Integer coordinates (..., 3) to keys (...,) int64 that sort by x, then y, then z."""
    x, y, z = (places[..., axis].astype(np.int64) + _OFFSET for axis in range(3))
    return x << 2 * _BITS | y << _BITS | z


def unpack(keys: np.ndarray) -> np.ndarray:
    """The inverse of pack: (..., 3) int64."""
    mask = (1 << _BITS) - 1
    return np.stack([keys >> 2 * _BITS, keys >> _BITS & mask, keys & mask], axis=-1) - _OFFSET


def neighbour_blocks(blocks: np.ndarray, keys: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the neighbours of keys by step lie in the sorted blocks: index (n,), and whether they are there (n,)."""
    wanted = keys + (pack(step) - pack(np.zeros(3, np.int64)))
    index = np.minimum(np.searchsorted(blocks, wanted), len(blocks) - 1)
    return index, blocks[index] == wanted

"""The zero surface of a field sampled on a sparse grid: naive surface nets.

Source: S. Gibson, "Constrained Elastic Surface Nets" (1998), without the relaxation: a vertex in every cell that the
surface crosses, at the mean of the crossings of the cell's edges; a square across every grid edge that it crosses.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .grid import BLOCK, neighbour_blocks, pack, unpack
from .mesh import Mesh

JUMP = 1.0  # corners of a cell that differ by more (of the truncation) lie on two surfaces, not on either side of one
_CORNERS = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)])
_EDGES = np.array([(a, b) for a in range(8) for b in range(a + 1, 8) if np.abs(_CORNERS[a] - _CORNERS[b]).sum() == 1])
_CHUNK = 2048  # blocks at a time


def extract(blocks: np.ndarray, field: np.ndarray, known: np.ndarray) -> Mesh:
    """blocks: sorted keys (b,) int64 (grid.py). field, known: (b, BLOCK, BLOCK, BLOCK) float32 and bool.

    The field is positive outside. Returns a mesh in steps of the grid: multiply by the voxel's size.
    """
    cells, places, signs = [], [], []
    for chosen in _chunks(len(blocks)):
        for part in _cells(blocks, field, known, chosen):
            for found, new in zip((cells, places, signs), part, strict=True):
                found.append(new)
    if not cells or not sum(map(len, cells)):
        return Mesh(np.empty((0, 3), np.float32), np.empty((0, 3), np.int32))
    cell = np.concatenate(cells)
    order = np.argsort(cell)
    cell, place, sign = cell[order], np.concatenate(places)[order], np.concatenate(signs)[order]
    vertices = (unpack(cell) + place).astype(np.float32)
    return Mesh(vertices, _squares_to_triangles(vertices, np.concatenate(list(_squares(cell, sign)))))


def _chunks(count: int) -> Iterator[slice]:
    for start in range(0, count, _CHUNK):
        yield slice(start, start + _CHUNK)


def _cells(
    blocks: np.ndarray, field: np.ndarray, known: np.ndarray, chosen: slice
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Keys of the cells that the surface crosses, the place in each (0..1), whether its corners are inside (n, 8)."""
    values, is_known = _with_next_layer(blocks, field, known, chosen)
    corners = [tuple(slice(int(c), int(c) + BLOCK) for c in corner) for corner in _CORNERS]
    inside = np.stack([values[:, *corner] < 0 for corner in corners], axis=-1)
    whole = np.logical_and.reduce([is_known[:, *corner] for corner in corners])
    mixed = whole & inside.any(axis=-1) & ~inside.all(axis=-1)
    block, *at = np.nonzero(mixed)
    if not len(block):
        return
    sampled = np.stack([values[block, at[0] + x, at[1] + y, at[2] + z] for x, y, z in _CORNERS], axis=-1)
    one = np.ptp(sampled, axis=-1) <= JUMP
    block, at, sampled = block[one], np.stack(at, axis=-1)[one], sampled[one]
    key = pack(unpack(blocks[chosen][block]) * BLOCK + at)
    yield key, _crossing(sampled), sampled < 0


def _with_next_layer(
    blocks: np.ndarray, field: np.ndarray, known: np.ndarray, chosen: slice
) -> tuple[np.ndarray, np.ndarray]:
    """The chosen blocks' samples with the first layers of the seven blocks after them: (n, BLOCK + 1, ...) each."""
    keys = blocks[chosen]
    side = (len(keys), BLOCK + 1, BLOCK + 1, BLOCK + 1)
    values, is_known = np.zeros(side, np.float32), np.zeros(side, bool)
    for step in _CORNERS:
        index, there = neighbour_blocks(blocks, keys, step)
        target = tuple(slice(BLOCK, None) if s else slice(0, BLOCK) for s in step)
        origin = tuple(slice(0, 1) if s else slice(0, BLOCK) for s in step)
        values[:, *target][there] = field[index[there]][:, *origin]
        is_known[:, *target][there] = known[index[there]][:, *origin]
    return values, is_known


def _crossing(sampled: np.ndarray) -> np.ndarray:
    """The mean (n, 3) of where the twelve edges of cells with corner values (n, 8) cross zero."""
    total, count = np.zeros((len(sampled), 3), np.float32), np.zeros(len(sampled), np.float32)
    for a, b in _EDGES:
        first, second = sampled[:, a], sampled[:, b]
        crosses = (first < 0) != (second < 0)
        share = np.where(crosses, first / np.where(crosses, first - second, 1), 0)
        point = _CORNERS[a] + share[:, None] * (_CORNERS[b] - _CORNERS[a])
        total += np.where(crosses[:, None], point, 0).astype(np.float32)
        count += crosses
    return total / count[:, None]


def _squares(cell: np.ndarray, inside: np.ndarray) -> Iterator[np.ndarray]:
    """Squares (n, 4) of vertices around the grid edges that begin at a cell's first corner, and are crossed."""
    corner = {tuple(c): i for i, c in enumerate(_CORNERS.tolist())}
    for axis in range(3):
        step = [0, 0, 0]
        step[axis] = 1
        starts, ends = inside[:, 0], inside[:, corner[tuple(step)]]
        crossed = np.flatnonzero(starts != ends)
        around = np.eye(3, dtype=np.int64)[[(axis + 1) % 3, (axis + 2) % 3]]
        steps = [np.zeros(3, np.int64), -around[0], -around[0] - around[1], -around[1]]
        place = unpack(cell[crossed])
        square = np.empty((len(crossed), 4), np.int64)
        there = np.ones(len(crossed), bool)
        for number, offset in enumerate(steps):
            key = pack(place + offset)
            index = np.minimum(np.searchsorted(cell, key), len(cell) - 1)
            there &= cell[index] == key
            square[:, number] = index
        square = np.where(starts[crossed, None], square, square[:, ::-1])
        yield square[there]


def _squares_to_triangles(vertices: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """(2 n, 3) int32: each square cut along its shorter diagonal."""
    a, b, c, d = squares.T
    first = np.linalg.norm(vertices[a] - vertices[c], axis=1)
    second = np.linalg.norm(vertices[b] - vertices[d], axis=1)
    short = (first <= second)[:, None]
    one = np.where(short, np.stack([a, b, c], axis=1), np.stack([a, b, d], axis=1))
    other = np.where(short, np.stack([a, c, d], axis=1), np.stack([b, c, d], axis=1))
    return np.concatenate([one, other]).astype(np.int32)

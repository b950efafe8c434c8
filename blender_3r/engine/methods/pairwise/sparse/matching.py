"""Fast reciprocal nearest neighbours between two descriptor maps (MASt3R, arXiv 2406.09756, section 3.3).

Pixels are named by (x, y) or by the flat index x + width * y.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..alignment.scene import Check, no_check

# After this many walks to and fro a point that has not found a mutual pair is given up.
ROUNDS = 10
# Similarities held at once: 4 MB on the CPU, where more leaves the caches and takes four times as long, 256 MB on
# accelerators.
CPU_SIMILARITIES = 1 << 20
DEVICE_SIMILARITIES = 1 << 26
BLOCK = 8192


class Matches(NamedTuple):
    """k pixel pairs. xy1, xy2: (k, 2) int64 pixels of the first and the second image. confidence: (k,) float32."""

    xy1: Tensor
    xy2: Tensor
    confidence: Tensor


def nearest(queries: Tensor, base: Tensor, check_cancelled: Check = no_check) -> Tensor:
    """Exhaustive search: for each of queries (q, D) the row of base (b, D) with the largest inner product, (q,) int64.

    For unit vectors that is the nearest in the Euclidean sense. Works in blocks, so the memory taken does not depend
    on q and b; the first of equally good rows wins. check_cancelled is called many times a second.
    """
    limit = CPU_SIMILARITIES if queries.device.type == "cpu" else DEVICE_SIMILARITIES
    columns = min(BLOCK, len(base))
    rows = max(1, min(BLOCK, limit // max(columns, 1)))
    found = torch.zeros(len(queries), dtype=torch.int64, device=queries.device)
    for start in range(0, len(queries), rows):
        check_cancelled()
        some = queries[start : start + rows]
        best = torch.full((len(some),), -torch.inf, dtype=some.dtype, device=some.device)
        index = found[start : start + rows]
        for offset in range(0, len(base), columns):
            value, place = _largest(some @ base[offset : offset + columns].T)
            better = value > best
            best = torch.where(better, value, best)
            index[better] = place[better] + offset
    return found


def _largest(similarities: Tensor) -> tuple[Tensor, Tensor]:
    """Largest value of each row and where it is."""
    if similarities.device.type != "cpu":
        return similarities.max(dim=1)
    place = torch.from_numpy(similarities.numpy().argmax(axis=1))  # ten times as fast as torch's
    return similarities.gather(1, place[:, None])[:, 0], place


class NeighbourTable:
    """Nearest neighbours between two descriptor maps, both ways, each looked up at most once.

    Points that walk to the same pair ask for the same neighbours; so do the searches from either side.
    """

    def __init__(self, first: Tensor, second: Tensor, check_cancelled: Check = no_check) -> None:
        """first: (H1, W1, D), second: (H2, W2, D), unit vectors on one device."""
        self._check_cancelled = check_cancelled
        self._features = tuple(side.detach().reshape(-1, side.shape[-1]).contiguous() for side in (first, second))
        self._known = tuple(
            torch.full((len(side),), -1, dtype=torch.int64, device=side.device) for side in self._features
        )
        self.widths = (first.shape[1], second.shape[1])
        self.heights = (first.shape[0], second.shape[0])
        self.device = first.device

    def neighbours(self, pixels: Tensor, side: int) -> Tensor:
        """Flat indices (k,) in the other image of the neighbours of pixels (k,), flat indices in image 0 or 1."""
        known = self._known[side]
        missing = torch.unique(pixels[known[pixels] < 0])
        if len(missing):
            known[missing] = nearest(self._features[side][missing], self._features[1 - side], self._check_cancelled)
        return known[pixels]


def grid_points(height: int, width: int, subsample: int) -> Tensor:
    """Flat indices, ascending, of the pixels on the grid subsample // 2, + subsample, ... in both directions."""
    y = torch.arange(subsample // 2, height, subsample)
    x = torch.arange(subsample // 2, width, subsample)
    return (y[:, None] * width + x[None]).flatten()


def reciprocal_matches(
    table: NeighbourTable,
    subsample: int = 8,
    start: Tensor | None = None,
    pixel_tol: float = 0.0,
    reverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """Mutual nearest neighbours that can be walked to from a grid of pixels, or from given ones.

    start: (k, 2) int64 pixels (x, y) of the image searched from, instead of the grid; they get one round only.
    pixel_tol: with more than 0, there is one round only too; a start whose way back ends less than that many pixels
    off counts as matched, and the start itself is reported. reverse: search from
    the second image; the result is still (first, second).
    Returns pixels (k, 2) int64 of the first and of the second image, unique, sorted by the flat index of the image
    searched from, then of the other. Source: spec mast3r, section 5.1.
    """
    side = 1 if reverse else 0
    width = table.widths[side]
    if start is None:
        points = grid_points(table.heights[side], width, subsample).to(table.device)
    else:
        points = torch.unique(start[:, 0] + width * start[:, 1]).to(table.device)
    here, there, matched = _walk(table, points, side, ROUNDS if start is None and pixel_tol <= 0 else 1)
    if pixel_tol > 0:
        matched = (_pixels(here, width) - _pixels(points, width)).double().norm(dim=1) < pixel_tol
        here = points
    here, there = _unique_pairs(here[matched], there[matched])
    ends = _pixels(here, width), _pixels(there, table.widths[1 - side])
    return (ends[1], ends[0]) if reverse else ends


def _walk(table: NeighbourTable, points: Tensor, side: int, rounds: int) -> tuple[Tensor, Tensor, Tensor]:
    """Go to and fro until mutual: where each point is, its partner, and whether the two are mutual."""
    here, there = points.clone(), torch.full_like(points, -1)
    active = torch.ones_like(points, dtype=torch.bool)
    for _ in range(rounds):
        going = active.nonzero()[:, 0]
        if len(going) == 0:
            break
        reached = table.neighbours(here[going], side)
        fixed = reached == there[going]
        active[going[fixed]] = False
        there[going] = reached
        going, reached = going[~fixed], reached[~fixed]
        back = table.neighbours(reached, 1 - side)
        active[going[back == here[going]]] = False
        here[going] = back
    return here, there, ~active


def _unique_pairs(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Without repetitions, sorted by the first index, then by the second."""
    pairs = torch.unique(torch.stack([first, second], dim=1), dim=0)
    return pairs[:, 0], pairs[:, 1]


def _pixels(index: Tensor, width: int) -> Tensor:
    return torch.stack([index % width, index // width], dim=1)


def _at(values: Tensor, xy: Tensor) -> Tensor:
    return values[xy[:, 1], xy[:, 0]]


def _merged(runs: list[tuple[Tensor, Tensor]], confidences: list[Tensor], shapes: tuple[int, int]) -> Matches:
    """Runs concatenated, each pair once with the confidence of the first run that has it; sorted by pixel index."""
    xy1 = torch.cat([run[0] for run in runs])
    xy2 = torch.cat([run[1] for run in runs])
    confidence = torch.cat(confidences)
    key = (xy1[:, 0] + shapes[0] * xy1[:, 1]) << 32 | (xy2[:, 0] + shapes[1] * xy2[:, 1])
    order = torch.argsort(key, stable=True)
    first = torch.ones_like(order, dtype=torch.bool)
    first[1:] = key[order][1:] != key[order][:-1]
    kept = order[first]
    return Matches(xy1[kept], xy2[kept], confidence[kept])


def match_once(
    first: Tensor,
    second: Tensor,
    confidence1: Tensor,
    confidence2: Tensor,
    subsample: int = 8,
    pixel_tol: float = 0.0,
) -> Matches:
    """Matches of a pair that was predicted in one order: searched from both images and merged.

    first, second: (H, W, D) unit descriptors. confidence1, confidence2: (H, W) descriptor confidences; a match gets
    the smaller one. Source: spec mast3r, section 5.2.
    """
    table = NeighbourTable(first, second)
    runs = [reciprocal_matches(table, subsample, None, pixel_tol, reverse) for reverse in (False, True)]
    confidences = [torch.minimum(_at(confidence1, xy1), _at(confidence2, xy2)) for xy1, xy2 in runs]
    return _merged(runs, confidences, (first.shape[1], second.shape[1]))


def match_symmetric(
    first_order: tuple[Tensor, Tensor],
    second_order: tuple[Tensor, Tensor],
    confidences1: tuple[Tensor, Tensor],
    confidences2: tuple[Tensor, Tensor],
    subsample: int = 8,
    check_cancelled: Check = no_check,
) -> Matches:
    """Matches of a pair that was predicted in both orders: four searches, merged.

    first_order: descriptors (H, W, D) of image 1 and of image 2, predicted with image 1 first; second_order: of image
    1 and of image 2 too, with image 2 first. confidences1, confidences2: (H, W), in the same arrangement. A match
    gets the geometric mean of its two confidences. Source: spec mast3r_sfm, section 3.1.
    """
    runs, confidences = [], []
    for maps, (confidence1, confidence2) in ((first_order, confidences1), (second_order, confidences2)):
        table = NeighbourTable(*maps, check_cancelled)
        for reverse in (False, True):
            xy1, xy2 = reciprocal_matches(table, subsample, reverse=reverse)
            runs.append((xy1, xy2))
            confidences.append((_at(confidence1, xy1) * _at(confidence2, xy2)).sqrt())
    return _merged(runs, confidences, (first_order[0].shape[1], first_order[1].shape[1]))

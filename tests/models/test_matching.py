"""Reciprocal matching against a search by hand."""

from __future__ import annotations

import pytest
import torch

from blender_3r.engine.methods.pairwise.sparse import matching
from blender_3r.engine.methods.pairwise.sparse.matching import (
    NeighbourTable,
    grid_points,
    match_once,
    match_symmetric,
    nearest,
    reciprocal_matches,
)


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return values / values.norm(dim=-1, keepdim=True)


def shifted(height: int, width: int, by: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two windows of one descriptor map, the second `by` pixels to the right in it."""
    whole = unit(height, width + by, 16)
    return whole[:, :width], whole[:, by:]


def test_nearest_is_the_largest_product_whatever_the_blocks(monkeypatch):
    queries, base = unit(70, 8), unit(333, 8, seed=1)
    expected = (queries @ base.T).argmax(dim=1)
    assert torch.equal(nearest(queries, base), expected)
    monkeypatch.setattr(matching, "BLOCK", 16)
    monkeypatch.setattr(matching, "CPU_SIMILARITIES", 100)
    assert torch.equal(nearest(queries, base), expected)


def test_blocks_bound_the_memory(monkeypatch):
    sizes = []
    matmul = torch.Tensor.__matmul__

    def counted(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        result = matmul(left, right)
        sizes.append(result.numel())
        return result

    monkeypatch.setattr(matching, "CPU_SIMILARITIES", 1000)
    monkeypatch.setattr(torch.Tensor, "__matmul__", counted)
    nearest(unit(200, 4), unit(500, 4))
    assert max(sizes) <= 1000
    assert sum(sizes) == 200 * 500


def test_a_shift_is_found_everywhere():
    first, second = shifted(40, 56, 5)
    table = NeighbourTable(first, second)
    for reverse in (False, True):
        xy1, xy2 = reciprocal_matches(table, reverse=reverse)
        right = (xy1 - xy2 == torch.tensor([5, 0])).all(dim=1)
        # Points whose partner lies outside the other window end at pairs of chance.
        assert right.sum() >= 30
        assert (~right).sum() <= 10


def test_matches_are_mutual_and_sorted():
    first, second = unit(24, 32, 6), unit(16, 40, 6, seed=1)
    xy1, xy2 = reciprocal_matches(NeighbourTable(first, second), subsample=3)
    there = (first.reshape(-1, 6) @ second.reshape(-1, 6).T).argmax(dim=1)
    back = (second.reshape(-1, 6) @ first.reshape(-1, 6).T).argmax(dim=1)
    index1, index2 = xy1[:, 0] + 32 * xy1[:, 1], xy2[:, 0] + 40 * xy2[:, 1]
    assert len(index1) > 5
    assert torch.equal(there[index1], index2)
    assert torch.equal(back[index2], index1)
    assert (index1.diff() > 0).all()


def test_given_points_report_themselves_within_the_tolerance():
    first, second = shifted(24, 32, 4)
    start = torch.tensor([[10, 3], [20, 20], [10, 3]])
    xy1, xy2 = reciprocal_matches(NeighbourTable(first, second), start=start, pixel_tol=2)
    assert xy1.tolist() == [[10, 3], [20, 20]]
    assert xy2.tolist() == [[6, 3], [16, 20]]


@pytest.mark.parametrize(("height", "width", "count"), [(8, 8, 1), (16, 24, 6), (4, 4, 0)])
def test_grid_points(height, width, count):
    points = grid_points(height, width, 8)
    assert len(points) == count
    assert (points.diff() > 0).all()


def test_merged_matches_are_unique_and_keep_the_first_confidence():
    first, second = shifted(32, 48, 3)
    one, two = torch.rand(32, 48), torch.rand(32, 48)
    once = match_once(first, second, one, two)
    assert len(torch.unique(torch.cat([once.xy1, once.xy2], dim=1), dim=0)) == len(once.xy1)
    x1, y1 = once.xy1.T
    x2, y2 = once.xy2.T
    assert torch.equal(once.confidence, torch.minimum(one[y1, x1], two[y2, x2]))
    both = match_symmetric((first, second), (first, second), (one, two), (one * 9, two * 9))
    assert torch.equal(both.xy1, once.xy1)
    assert torch.allclose(both.confidence, (one[y1, x1] * two[y2, x2]).sqrt())


def test_nothing_to_match_gives_nothing():
    matches = match_once(unit(4, 4, 3), unit(4, 4, 3), torch.ones(4, 4), torch.ones(4, 4))
    assert matches.xy1.shape == matches.xy2.shape == (0, 2)
    assert matches.confidence.shape == (0,)

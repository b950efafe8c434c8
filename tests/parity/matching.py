"""Fast reciprocal matching: every list of matches, exact; confidences within the tolerance of networks."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor

from blender_3r.engine.methods.pairwise.sparse.matching import (
    Matches,
    NeighbourTable,
    match_once,
    match_symmetric,
    nearest,
    reciprocal_matches,
)

from .checking import Fixture, Result, close, same


def checks(fixture: Fixture) -> Iterator[Result]:
    for name in fixture.files:
        if name.endswith(".safetensors") and {"desc1", "desc2"} <= set(fixture.tensor_names(name)):
            yield from _matching(fixture.tensors(name))


def _matching(data: dict[str, Tensor]) -> Iterator[Result]:
    first, second = data["desc1"], data["desc2"]
    flat1, flat2 = first.reshape(-1, first.shape[-1]), second.reshape(-1, second.shape[-1])
    if "nn_1to2" in data:
        yield same("nearest 1 to 2", nearest(flat1, flat2), data["nn_1to2"])
        yield same("nearest 2 to 1", nearest(flat2, flat1), data["nn_2to1"])
    table = NeighbourTable(first, second)
    for name in data:
        if found := re.fullmatch(r"((?:dot|l2tree)_sub(\d+))_xy1", name):
            yield from _pixels(found[1], reciprocal_matches(table, int(found[2])), data)
        elif found := re.fullmatch(r"(query_tol(\d+))_xy1", name):
            start = torch.stack([data["query_x"], data["query_y"]], dim=1)
            yield from _pixels(found[1], reciprocal_matches(table, start=start, pixel_tol=int(found[2])), data)
        elif found := re.fullmatch(r"(nonsym(?:_tol(\d+))?)_xy1", name):
            ours = match_once(first, second, data["conf11"], data["conf21"], pixel_tol=int(found[2] or 0))
            yield from _merged(found[1], ours, data)
    if "sym_xy1" in data:
        ours = match_symmetric(
            (first, second),
            (data["desc1_second"], data["desc2_second"]),
            (data["conf11"], data["conf21"]),
            (data["conf12"], data["conf22"]),
        )
        yield from _merged("sym", ours, data)


def _pixels(name: str, ours: tuple[Tensor, Tensor], data: dict[str, Tensor]) -> Iterator[Result]:
    for number, (xy, side) in enumerate(zip(ours, (data["desc1"], data["desc2"])), start=1):
        if f"{name}_xy{number}" in data:
            yield same(f"{name} pixels {number}", xy, data[f"{name}_xy{number}"], f"{len(xy)} matches")
        if f"{name}_idx{number}" in data:
            index = xy[:, 0] + side.shape[1] * xy[:, 1]
            yield same(f"{name} indices {number}", index, data[f"{name}_idx{number}"].long())


def _merged(name: str, ours: Matches, data: dict[str, Tensor]) -> Iterator[Result]:
    yield from _pixels(name, (ours.xy1, ours.xy2), data)
    yield close(f"{name} confidence", ours.confidence, data[f"{name}_conf"])

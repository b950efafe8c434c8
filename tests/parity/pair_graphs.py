"""Pair graphs: procedure_pairs.json, as a list of cases (DUSt3R) or by "graph|n=..|symmetrize=.." (MonST3R)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from blender_3r.engine.methods.pairwise.graph import make_pairs

from .checking import Fixture, Result, same

FILE = "procedure_pairs.json"
# Graphs whose pairs the published program keeps in a set, so that their order means nothing.
UNORDERED = ("swin", "logwin")


def checks(fixture: Fixture) -> Iterator[Result]:
    if not fixture.has(FILE):
        return
    cases = fixture.json(FILE)
    if isinstance(cases, dict):
        for name, pairs in cases.items():
            graph, count, symmetrize = _taken_apart(name)
            ours = make_pairs(count, graph, symmetrize, family="monst3r")
            yield _compare(f"pairs {name}", graph, ours, pairs)
    else:
        for case in cases:
            yield _check(case)


def _check(case: dict[str, Any]) -> Result:
    graph, count, symmetrize, prefilter = (case.get(key) for key in ("scene_graph", "n", "symmetrize", "prefilter"))
    ours = make_pairs(count, graph, symmetrize, prefilter)
    name = f"pairs {graph} n={count}{' symmetrized' if symmetrize else ''}{f' {prefilter}' if prefilter else ''}"
    return _compare(name, graph, ours, case["pairs"])


def _taken_apart(name: str) -> tuple[str, int, bool]:
    graph, count, symmetrize = name.split("|")
    return graph, int(count.removeprefix("n=")), symmetrize.removeprefix("symmetrize=") == "True"


def _compare(name: str, graph: str, ours: list[tuple[int, int]], reference: list[list[int]]) -> Result:
    """In order where it means something; otherwise each pair as often, and swapped pairs behind in the same order."""
    expected = [tuple(pair) for pair in reference]
    if not graph.startswith(UNORDERED):
        return same(name, ours, expected)
    return same(name, (sorted(ours), _mirrored(ours)), (sorted(expected), _mirrored(expected)))


def _mirrored(pairs: list[tuple[int, int]]) -> bool:
    half = len(pairs) // 2
    return len(pairs) % 2 == 0 and [(j, i) for i, j in pairs[:half]] == pairs[half:]

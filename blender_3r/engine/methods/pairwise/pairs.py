"""Which pairs of a source's images are predicted, chosen so that they fit the memory. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import EngineError
from .estimate import Budget, automatic_graph
from .graph import make_pairs

Edge = tuple[int, int]


@dataclass(frozen=True)
class Pairs:
    """graph: its name. edges: directed pairs, a pair next to its mirror image, none of an image with itself (but for a
    single image). warnings: sentences for the user.
    """

    graph: str
    edges: list[Edge]
    warnings: tuple[str, ...] = ()


def both_ways(pairs: Sequence[Edge]) -> list[Edge]:
    """Every pair of two images once in each direction, side by side, in the order in which it first comes."""
    undirected = dict.fromkeys((min(pair), max(pair)) for pair in pairs if pair[0] != pair[1])
    return [edge for i, j in undirected for edge in ((i, j), (j, i))]


def graph_pairs(count: int, graph: str) -> list[Edge]:
    """The directed pairs of a named graph. Raises EngineError("usage") for a name that is not understood."""
    if count == 1:
        return [(0, 0)]
    return both_ways(make_pairs(count, graph))


def choose_pairs(graph: str, kind: str, budget: Budget) -> Pairs:
    """The pairs of the graph asked for, or of the largest automatic one that fits the budget.

    kind: "video" or "photos". Raises EngineError: "machine" with what would fit when the graph does not, "unsolved"
    when it has no pair.
    """
    count = len(budget.sizes)
    warnings: tuple[str, ...] = ()
    chosen = automatic_graph(count, kind) if graph == "auto" else graph
    edges = graph_pairs(count, chosen)
    if graph == "auto" and not budget.fits(edges):
        smaller = budget.graph_that_fits(kind)
        if smaller is not None:
            warnings = (f"Only the pairs of the scene graph {smaller} are used: those of {chosen} do not fit.",)
            chosen, edges = smaller, graph_pairs(count, smaller)
    budget.refuse(chosen, edges, kind)
    if not edges:
        raise EngineError("usage", f"The scene graph {chosen} has no pairs.", "Use complete, or a wider window.")
    return Pairs(chosen, edges, warnings)

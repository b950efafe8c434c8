"""Which pairs of a source's images are predicted, chosen so that they fit the memory. No torch here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import EngineError
from .estimate import Budget, automatic_graph
from .graph import make_pairs

Edge = tuple[int, int]
RETRIEVAL = "retrieval"
RETRIEVED = (20, 10)  # key images, and neighbours of each image, the image itself among them


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


def is_retrieval(graph: str) -> bool:
    """Whether the pairs of this scene graph are chosen by what the images show."""
    return graph.split("-")[0] == RETRIEVAL


def graph_pairs(count: int, graph: str) -> list[Edge]:
    """The directed pairs of a named graph; of a retrieval graph, whose pairs are known only when the images were
    encoded, as many as there can be. Raises EngineError("usage") for a name that is not understood.
    """
    if count == 1:
        return [(0, 0)]
    if is_retrieval(graph):
        every = make_pairs(count, "complete", symmetrize=False)
        return both_ways(every[: _most_retrieved(count, graph)])
    return both_ways(make_pairs(count, graph))


def _most_retrieved(count: int, graph: str) -> int:
    """Undirected pairs of retrieval-N-K at most: all pairs of N key images, K - 1 others of each image."""
    found = re.fullmatch(rf"{RETRIEVAL}(-(\d+))?(-(\d+))?", graph)
    if found is None:
        raise EngineError(
            "usage",
            f"The scene graph {graph!r} is not of the form retrieval-N-K.",
            "Give the number of key images and of neighbours, for example retrieval-20-10.",
        )
    keys, neighbours = (int(given or usual) for given, usual in zip(found.group(2, 4), RETRIEVED))
    keys = min(keys, count)
    return keys * (keys - 1) // 2 + (count - keys if keys else 0) + count * max(0, neighbours - 1)


def choose_pairs(graph: str, kind: str, budget: Budget) -> Pairs:
    """The pairs of the graph asked for, or of the largest automatic one that fits the budget.

    kind: "video" or "photos". Raises EngineError: "machine" with what would fit when the graph does not, "usage"
    when it has no pair or is not known.
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

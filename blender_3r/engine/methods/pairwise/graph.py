"""Which pairs of images are looked at.

Source: DUSt3R, specs/dust3r.md section 5.1; MonST3R, specs/monst3r.md section 5.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ...errors import EngineError

Pairs = list[tuple[int, int]]

DEFAULT_WINDOW = 3
FAMILIES = ("dust3r", "monst3r")
# Steps from an image to its partners, per kind of window.
WINDOWS = {
    "swin": lambda window: range(1, window + 1),
    "swinstride": lambda window: range(1, 2 * window + 1, 2),
    "swin2stride": lambda window: range(1, 3 * window + 1, 3),
    "swinskip_start": lambda window: range(2, window + 2),
    "logwin": lambda window: [2**power for power in range(window)],
}
KINDS = ("complete", "oneref", *WINDOWS)
_GRAMMAR = re.compile(r"(?P<kind>[a-z0-9_]+)(-(?P<number>\d+))?(?P<open>-noncyclic)?")


@dataclass(frozen=True)
class SceneGraph:
    """A graph's name taken apart. number: the window, or the reference image; None when not given."""

    kind: str
    number: int | None
    cyclic: bool


def parse_graph(name: str) -> SceneGraph:
    """KIND[-NUMBER][-noncyclic]; raises EngineError "usage" for what is not of this form or an unknown kind."""
    found = _GRAMMAR.fullmatch(name)
    if found is None or found["kind"] not in KINDS or (found["kind"] == "complete" and name != "complete"):
        raise EngineError(
            "usage",
            f"There is no scene graph {name!r}.",
            f"Use complete, oneref-IMAGE, or one of {', '.join(WINDOWS)} with -WINDOW and perhaps -noncyclic.",
        )
    number = None if found["number"] is None else int(found["number"])
    if found["kind"] in WINDOWS and number == 0:
        raise EngineError("usage", f"The scene graph {name!r} has an empty window.", "Give a window of 1 or more.")
    return SceneGraph(found["kind"], number, found["open"] is None)


def make_pairs(
    count: int,
    scene_graph: str = "complete",
    symmetrize: bool = True,
    prefilter: str | None = None,
    family: str = "dust3r",
) -> Pairs:
    """The pairs (i, j) of images 0 .. count-1 that a graph holds; one image makes a pair with itself.

    scene_graph: "complete"; "swin[-W]" (partners up to W images on), "swinstride", "swin2stride", "swinskip_start"
    (the same with gaps), "logwin[-W]" (1, 2, 4, ... images to both sides, W of them), all over the ends of the row
    unless "-noncyclic" follows; "oneref[-R]" (image R with all others). W is 3 and R is 0 when not given.
    symmetrize: the swapped pairs follow behind. prefilter: "seqK" keeps pairs at most K images apart, "cycK" the same
    around the ends. family: "monst3r" also pairs the reference with itself, swaps neither "oneref" nor names that
    begin with "swin-1", and always swaps when there are two images.
    Cyclic windows as long as the row pair an image with itself. Raises EngineError "usage" for an unknown name, or a
    reference that does not exist.
    """
    graph = parse_graph(scene_graph)
    if family not in FAMILIES:
        raise EngineError("usage", f"There is no family of graphs {family!r}.", f"Use one of {', '.join(FAMILIES)}.")
    keep = _filter(prefilter, count)
    if count == 1:
        return [(0, 0)]
    if graph.kind == "complete":
        pairs = [(i, j) for i in range(count) for j in range(i)]
    elif graph.kind == "oneref":
        pairs = _around_reference(graph.number or 0, count, with_itself=family == "monst3r")
    else:
        pairs = _windows(graph, count)
    swapped = symmetrize
    if family == "monst3r":
        one_way = graph.kind == "oneref" or scene_graph.startswith("swin-1")
        swapped = (symmetrize and not one_way) or count == 2
    if swapped:
        pairs = pairs + [(j, i) for i, j in pairs]
    return [(i, j) for i, j in pairs if keep(i, j)]


def _around_reference(reference: int, count: int, with_itself: bool) -> Pairs:
    if reference >= count:
        raise EngineError(
            "usage", f"The reference image {reference} does not exist.", f"Images are numbered 0 to {count - 1} here."
        )
    return [(reference, j) for j in range(count) if with_itself or j != reference]


def _windows(graph: SceneGraph, count: int) -> Pairs:
    """Unordered pairs, the smaller number first, each once."""
    steps = list(WINDOWS[graph.kind](graph.number or DEFAULT_WINDOW))
    if graph.kind == "logwin":
        steps += [-step for step in steps]
    pairs = set()
    for i in range(count):
        for step in steps:
            j = (i + step) % count if graph.cyclic else i + step
            if 0 <= j < count and not (graph.kind == "logwin" and i == j):
                pairs.add((min(i, j), max(i, j)))
    return sorted(pairs)


def _filter(prefilter: str | None, count: int) -> Callable[[int, int], bool]:
    if not prefilter:
        return lambda i, j: True
    found = re.fullmatch(r"(seq|cyc)(\d+)", prefilter)
    if found is None:
        raise EngineError("usage", f"There is no prefilter {prefilter!r}.", "Use seqK or cycK with a number K.")
    limit = int(found[2])
    if found[1] == "seq":
        return lambda i, j: abs(i - j) <= limit
    return lambda i, j: min(abs(i - j), count - abs(i - j)) <= limit

"""What a job needs, said before it starts: memory of the pair maps, images that fit, the graph that would fit.

No torch at the top: settings are judged before it is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..memory import DoesNotFit, in_gigabytes

Size = tuple[int, int]
Edge = tuple[int, int]
PairsOf = Callable[[int, str], Sequence[Edge]]  # (number of images, name of the graph) to directed pairs

BYTES_PER_PIXEL = 16  # a point and a confidence in float32
# Memory at the aligner's peak, as multiples of the pair maps' own size (measured: 1.4, and 6.2 with what automatic
# differentiation keeps).
DENSE_COPIES = {"global": 1.5, "optimal": 1.5, "reference": 6.5}
# An alignment of matches keeps, per pixel of an image, its tokens and canonical view, and, per pixel of an undirected
# pair, its matches (measured: 70 and 18).
SPARSE_IMAGE_BYTES, SPARSE_PAIR_BYTES = 100, 20
COMPLETE_UP_TO = 16  # images of which all pairs are taken


def pair_map_bytes(sizes: Sequence[Size], edges: Sequence[Edge]) -> int:
    """Size of the pointmaps and confidences of directed pairs."""
    pixels = [height * width for height, width in sizes]
    return BYTES_PER_PIXEL * sum(pixels[i] + pixels[j] for i, j in edges)


def automatic_graph(count: int, kind: str) -> str:
    """The scene graph for a number of images: all pairs of few, of footage a window, of photos a widening one.

    kind: "video" or "photos".
    """
    if count <= COMPLETE_UP_TO:
        return "complete"
    return "swin-5-noncyclic" if kind == "video" else "logwin-5"


def smaller_graphs(kind: str) -> tuple[str, ...]:
    """Graphs with ever fewer pairs, for when the one asked for does not fit."""
    if kind == "video":
        return ("swin-5-noncyclic", "swin-3-noncyclic", "swin-1-noncyclic")
    return ("logwin-5", "logwin-3", "swin-3", "swin-1")


class Budget:
    """What fits into so many bytes."""

    def __init__(self, sizes: Sequence[Size], alignment: str, available: int | None, pairs_of: PairsOf) -> None:
        """sizes: of the images at hand. alignment: one of options.ALIGNMENTS but "auto". available: bytes, None = any
        number. pairs_of: the pairs of a graph.
        """
        self.sizes = list(sizes)
        self.alignment = alignment
        self.available = None if available is None else int(available)
        self.pairs_of = pairs_of

    def needed(self, edges: Sequence[Edge], count: int | None = None) -> int:
        """Bytes that aligning these pairs of the first `count` images takes at its peak."""
        sizes = self.sizes[:count]
        if self.alignment == "sparse":
            pixels = sum(height * width for height, width in sizes)
            pairs = len(edges) / 2 * pixels / max(1, len(sizes))
            return int(SPARSE_IMAGE_BYTES * pixels + SPARSE_PAIR_BYTES * pairs)
        return int(DENSE_COPIES[self.alignment] * pair_map_bytes(sizes, edges))

    def fits(self, edges: Sequence[Edge], count: int | None = None) -> bool:
        return self.available is None or self.needed(edges, count) <= self.available

    def images_that_fit(self, graph: str) -> int:
        """How many of the images could be taken with this graph."""
        low, high = 0, len(self.sizes)
        while low < high:
            middle = (low + high + 1) // 2
            if self.fits(self.pairs_of(middle, graph), middle):
                low = middle
            else:
                high = middle - 1
        return low

    def graph_that_fits(self, kind: str) -> str | None:
        """The first of the smaller graphs with which all images fit."""
        count = len(self.sizes)
        return next((graph for graph in smaller_graphs(kind) if self.fits(self.pairs_of(count, graph))), None)

    def refuse(self, graph: str, edges: Sequence[Edge], kind: str) -> None:
        """Raise DoesNotFit when the pairs do not fit, with the number of images and the graph that do."""
        if self.available is None or self.fits(edges):
            return
        count = len(self.sizes)
        message = (
            f"{count} images with the scene graph {graph} ({len(edges)} pairs) need about "
            f"{in_gigabytes(self.needed(edges))} of memory, and {in_gigabytes(self.available)} may be used."
        )
        hints = [f"With this graph {self.images_that_fit(graph)} images fit"]
        smaller = self.graph_that_fits(kind)
        if smaller is not None:
            hints.append(f"all {count} fit with the scene graph {smaller}")
        hints.append("a smaller image size needs less")
        raise DoesNotFit(message, "; ".join(hints) + ".")

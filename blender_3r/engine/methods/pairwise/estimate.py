"""What a job needs, said before it starts: memory of the pair maps, images that fit, the graph that would fit.

No torch at the top: settings are judged before it is loaded.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ...errors import EngineError

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
USABLE = 0.85  # of the free memory
COMPLETE_UP_TO = 16  # images of which all pairs are taken

_CGROUP = Path("/sys/fs/cgroup")


class DoesNotFit(EngineError):
    """A job that needs more memory than there is."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__("machine", message, hint)


def in_gigabytes(count: float) -> str:
    """1234567890 as "1.2 GB"."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"


def free_memory(device: str = "cpu", number: int | None = None) -> int | None:
    """Bytes that a job may still take on a device ("cpu", "cuda", "mps"); None where the system does not tell.

    What PyTorch holds in reserve on a graphics card counts as free.
    """
    if device != "cuda":
        return _free_main_memory()  # Apple's graphics processors share the computer's memory
    import torch

    free, _ = torch.cuda.mem_get_info(number)
    return free + torch.cuda.memory_reserved(number) - torch.cuda.memory_allocated(number)


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


# -- the computer's memory


def _free_main_memory() -> int | None:
    found = [value for value in (_system_free(), _container_free()) if value is not None]
    return min(found) if found else None


def _system_free() -> int | None:
    if sys.platform == "win32":
        return _windows_free()
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    try:  # no system call tells what is free on macOS: half of what is built in is a careful guess
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, OSError, ValueError):
        return None


def _container_free() -> int | None:
    """What the control group that this process runs in still allows."""
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
        facts = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        return max(0, int(limit) - used + int(facts.get("inactive_file", 0)))
    except (OSError, ValueError):  # no such group, or its limit is "max"
        return None


def _windows_free() -> int | None:
    class Status(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
            (name, ctypes.c_ulonglong)
            for name in ("total", "free", "page", "page_free", "virtual", "virtual_free", "x")
        ]

    status = Status()
    status.length = ctypes.sizeof(Status)
    if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return int(status.free)

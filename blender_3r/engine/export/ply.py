"""Point clouds as binary PLY."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..errors import EngineError
from ..jobfolder import JobFolder
from ..reconstruction import Reconstruction
from . import ONLY, ExportOptions
from .cloud import Block, dense_blocks, no_points, sparse_block, told_moving
from .folder import whole_file

_VERTEX = [("xyz", "<f4", 3), ("rgb", "u1", 3), ("quality", "<f4")]


def write_cloud(job: JobFolder, result: Reconstruction, out: Path, options: ExportOptions) -> None:
    """The dense points of all views with "confidence"; where there are none, the sparse ones with "error" in pixels.

    One view is in memory at a time. A limit of points keeps an even random share of every view.
    Raises EngineError("input") when there are no points.
    """
    blocks = dense_blocks(job, result, options)
    first = next(blocks, None)
    if first is not None:
        write_dense(itertools.chain([first], blocks), out, told_moving(job, result, options))
        return
    if options.moving == ONLY:
        raise EngineError("input", "Nothing is known to move in this job.", "Export what stands: leave out --moving.")
    sparse = sparse_block(job, options.points)
    if sparse is None:
        raise no_points(job)
    write_sparse(sparse, out)


def write_dense(blocks: Iterable[Block], out: Path, told: str = "") -> None:
    """Dense points with their confidence. told: a line of comment."""
    _write(out, "confidence", blocks, told)


def write_sparse(sparse: Block, out: Path) -> None:
    """The sparse cloud with its reprojection error."""
    _write(out, "error", [sparse])


def _vertices(block: Block) -> np.ndarray:
    vertices = np.empty(len(block.points), dtype=_VERTEX)
    vertices["xyz"], vertices["rgb"], vertices["quality"] = block.points, block.color, block.quality
    return vertices


def _write(out: Path, quality: str, blocks: Iterable[Block], told: str = "") -> None:
    """Stream blocks of vertices; the count in the header is filled in at the end (it has a fixed width)."""
    header = (
        "ply\nformat binary_little_endian 1.0\ncomment OpenCV axes: x right, y down, z forward\n"
        + (f"comment {told}\n" if told else "")
        + "element vertex {count:010d}\nproperty float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\n"
        f"property float {quality}\nend_header\n"
    )
    with whole_file(out) as temporary, open(temporary, "wb") as file:
        file.write(header.format(count=0).encode())
        count = 0
        for block in blocks:
            file.write(_vertices(block).tobytes())
            count += len(block.points)
        file.seek(0)
        file.write(header.format(count=count).encode())

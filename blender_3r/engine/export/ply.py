"""Point clouds as binary PLY."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import EngineError
from ..jobfolder import JobFolder
from ..reconstruction import Reconstruction, depth_to_points
from . import ExportOptions

_VERTEX = [("xyz", "<f4", 3), ("rgb", "u1", 3), ("quality", "<f4")]


def write_cloud(job: JobFolder, result: Reconstruction, out: Path, options: ExportOptions) -> None:
    """The dense points of all views with "confidence"; where there are none, the sparse ones with "error" in pixels.

    One view is in memory at a time. A limit of points keeps an even random share of every view.
    """
    indices = [index for index in job.view_indices() if result.views[index].is_solved]
    total = sum(_kept(job, index, options.min_confidence) for index in indices)
    if total:
        share = min(1.0, options.points / total) if options.points else 1.0
        blocks = (_dense_block(job, result, index, options.min_confidence, share) for index in indices)
        _write(out, "confidence", blocks)
        return
    sparse = job.read_sparse()
    if sparse is None or not len(sparse["points"]):
        raise EngineError("input", f"The job in {job.path} has no points.", "A tripod shot has none; see info.")
    write_sparse(sparse, out, options.points)


def write_sparse(sparse: dict[str, np.ndarray], out: Path, at_most: int | None = None) -> None:
    """The sparse cloud (arrays of JobFolder.read_sparse) with its reprojection error; the best points when limited."""
    order = np.argsort(sparse["error"], kind="stable")[:at_most] if at_most else slice(None)
    block = _block(sparse["points"][order], sparse["color"][order], sparse["error"][order])
    _write(out, "error", iter([block]))


def _kept(job: JobFolder, index: int, min_confidence: float) -> int:
    arrays = job.read_view(index)
    return int(np.count_nonzero((arrays["depth"] > 0) & (arrays["confidence"] >= min_confidence)))


def _dense_block(job: JobFolder, result: Reconstruction, index: int, min_confidence: float, share: float) -> np.ndarray:
    arrays = job.read_view(index)
    points, pixels = depth_to_points(result.views[index], arrays["depth"], arrays["confidence"], min_confidence)
    if share < 1.0:
        # floor + seeded choice: never more than asked for, and the same points every time
        chosen = np.random.default_rng(index).permutation(len(pixels))[: int(len(pixels) * share)]
        points, pixels = points[chosen], pixels[chosen]
    color = arrays["color"].reshape(-1, 3)[pixels]
    return _block(points, color, arrays["confidence"].reshape(-1)[pixels])


def _block(points: np.ndarray, color: np.ndarray, quality: np.ndarray) -> np.ndarray:
    block = np.empty(len(points), dtype=_VERTEX)
    block["xyz"], block["rgb"], block["quality"] = points, color, quality
    return block[np.isfinite(block["xyz"]).all(axis=1)]


def _write(out: Path, quality: str, blocks: Iterator[np.ndarray]) -> None:
    """Stream blocks of vertices; the count in the header is filled in at the end (it has a fixed width)."""
    header = (
        "ply\nformat binary_little_endian 1.0\ncomment OpenCV axes: x right, y down, z forward\n"
        "element vertex {count:010d}\nproperty float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\n"
        f"property float {quality}\nend_header\n"
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".tmp-{out.name}")
    try:
        with open(temporary, "wb") as file:
            file.write(header.format(count=0).encode())
            count = 0
            for block in blocks:
                file.write(block.tobytes())
                count += len(block)
            file.seek(0)
            file.write(header.format(count=count).encode())
        os.replace(temporary, out)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise

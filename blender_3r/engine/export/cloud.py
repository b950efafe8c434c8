"""Which points of a job an export holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..errors import EngineError
from ..geometry.voxels import VoxelThinner
from ..jobfolder import JobFolder
from ..reconstruction import Reconstruction, depth_to_points
from . import ALL, ONLY, STATIC, ExportOptions


@dataclass(frozen=True)
class Block:
    """Points (n, 3) float32 in world axes, color (n, 3) uint8 sRGB; quality (n,): confidence 0..1, or error in pixels.

    index: the view they are of; None for the sparse points.
    """

    index: int | None
    points: np.ndarray
    color: np.ndarray
    quality: np.ndarray


def dense_views(job: JobFolder, result: Reconstruction) -> list[int]:
    """Solved views that have a depth map."""
    return [index for index in job.view_indices() if result.views[index].is_solved]


def knows_moving(job: JobFolder, result: Reconstruction) -> bool:
    """Whether any dense view tells of something that moves by itself."""
    masks = (job.read_extra(index, "moving") for index in dense_views(job, result))
    return any(mask is not None and mask.any() for mask in masks)


def view_at(result: Reconstruction, indices: list[int], frame: int) -> int:
    """Which of these views, by time, shows at a frame: the newest that is not later, else the first one.

    Raises EngineError("usage") for photos.
    """
    if result.kind != "video":
        raise EngineError("usage", "Photos have no frames, and nothing is known to move in them.", "Leave it out.")
    earlier = [index for index in indices if result.views[index].frame <= frame]
    return max(earlier or indices[:1], key=lambda index: result.views[index].frame)


def read_shown(job: JobFolder, result: Reconstruction, index: int, options: ExportOptions) -> dict[str, np.ndarray]:
    """The arrays of a dense view, without depth where options.moving leaves it out. Raises as view_at."""
    arrays = job.read_view(index)
    if options.moving == ALL:
        return arrays
    if isinstance(options.moving, int) and view_at(result, dense_views(job, result), options.moving) == index:
        return arrays
    moving = job.read_extra(index, "moving")
    moving = np.zeros(arrays["depth"].shape, bool) if moving is None else np.asarray(moving, bool)
    left_out = ~moving if options.moving == ONLY else moving
    return {**arrays, "depth": np.where(left_out, np.float32(0), arrays["depth"])} if left_out.any() else arrays


def told_moving(job: JobFolder, result: Reconstruction, options: ExportOptions) -> str:
    """A few words on what moves by itself, for those who read the file; empty where nothing is known to move."""
    if options.moving == ALL or not knows_moving(job, result):
        return ""
    if options.moving == ONLY:
        return "only what moves by itself"
    return "without what moves by itself" + ("" if options.moving == STATIC else f", but for frame {options.moving}")


def count_dense(
    job: JobFolder, result: Reconstruction, indices: list[int], options: ExportOptions, stride: int = 1
) -> int:
    """How many points the views have, of every stride-th pixel in both directions."""
    total = 0
    for index in indices:
        arrays = read_shown(job, result, index, options)
        part = (slice(stride // 2, None, stride),) * 2  # the pixels that depth_to_points takes
        total += np.count_nonzero((arrays["depth"][part] > 0) & (arrays["confidence"][part] >= options.min_confidence))
    return int(total)


def dense_blocks(job: JobFolder, result: Reconstruction, options: ExportOptions) -> Iterator[Block]:
    """The dense points, one view in memory at a time; a limit of points keeps an even random share of every view.

    Of what it leaves, one point per voxel stays. Yields nothing when there are none.
    Raises EngineError("usage") when the voxels are too small for the scene.
    """
    blocks = _all_dense_blocks(job, result, options)
    return blocks if options.voxel is None else _one_per_voxel(blocks, options.voxel)


def _one_per_voxel(blocks: Iterator[Block], size: float) -> Iterator[Block]:
    thinner = VoxelThinner(size)
    for block in blocks:
        try:
            kept = thinner.keep(block.points, block.quality)
        except ValueError as error:
            raise EngineError(
                "usage", f"Voxels of {size:g} are too small for this scene.", "Choose larger ones, or none."
            ) from error
        if len(kept):
            yield Block(block.index, block.points[kept], block.color[kept], block.quality[kept])


def _all_dense_blocks(job: JobFolder, result: Reconstruction, options: ExportOptions) -> Iterator[Block]:
    indices = dense_views(job, result)
    total = count_dense(job, result, indices, options) if options.points else 0
    limit = min(options.points or 0, total)
    seen = 0
    for index in indices:
        arrays = read_shown(job, result, index, options)
        points, pixels = depth_to_points(
            result.views[index], arrays["depth"], arrays["confidence"], options.min_confidence
        )
        if limit:
            # of all points so far, their share: never more than asked for in the end
            quota = (seen + len(pixels)) * limit // total - seen * limit // total
            seen += len(pixels)
            # seeded: the same points every time
            chosen = np.sort(np.random.default_rng(index).permutation(len(pixels))[:quota])
            points, pixels = points[chosen], pixels[chosen]
        color, confidence = arrays["color"].reshape(-1, 3)[pixels], arrays["confidence"].reshape(-1)[pixels]
        block = _finite(Block(index, points, color, confidence))
        if len(block.points):
            yield block


def sparse_block(job: JobFolder, at_most: int | None = None) -> Block | None:
    """The sparse points with their reprojection error, the best ones when limited; None when there are none."""
    sparse = job.read_sparse()
    if sparse is None or not len(sparse["points"]):
        return None
    order = np.argsort(sparse["error"], kind="stable")[:at_most] if at_most else slice(None)
    return _finite(Block(None, sparse["points"][order], sparse["color"][order], sparse["error"][order]))


def no_points(job: JobFolder) -> EngineError:
    """What to raise when there is neither a dense nor a sparse point."""
    return EngineError("input", f"The job in {job.path} has no points.", "A tripod shot has none; see info.")


def _finite(block: Block) -> Block:
    good = np.isfinite(block.points).all(axis=1)
    return Block(block.index, block.points[good], block.color[good], block.quality[good])

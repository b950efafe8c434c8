"""All matches of all pairs in a handful of tensors: the input of the sparse alignment (spec mast3r_sfm, 3.3, 3.6)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .canonical import CanonicalImage

# Rows of the fallback at most. Above, every so many rows are left out: they repeat what their neighbours say.
FALLBACK_ROWS = 2_000_000


@dataclass(frozen=True)
class PairMatches:
    """Matches of the pair of images (first, second): pixels (k, 2) integer and confidence (k,)."""

    first: int
    second: int
    xy_first: Tensor
    xy_second: Tensor
    confidence: Tensor

    def is_matched(self, threshold: float) -> bool:
        """Whether the best of the matches is above the threshold."""
        return len(self.confidence) > 0 and bool(self.confidence.max() > threshold)


@dataclass(frozen=True)
class Fallback:
    """Blocks of one image in the frame of another camera: points (blocks, 3), confidence (blocks,), row by row."""

    points: Tensor
    confidence: Tensor

    @classmethod
    def sampled(cls, points: Tensor, confidence: Tensor, subsample: int) -> Fallback:
        """From a pointmap (H, W, 3) and its confidence (H, W): the first pixel of each block, on the CPU.

        Not the centre, unlike everywhere else; the published program does so.
        """
        points, confidence = points[::subsample, ::subsample], confidence[::subsample, ::subsample]
        return cls(points.reshape(-1, 3).cpu().clone(), confidence.reshape(-1).cpu().clone())


@dataclass(frozen=True)
class Condensed:
    """n images with B blocks and M anchors in all, K directed matches, F rows of the fallback; one device.

    size: (n, 2) width and height. base_focal: (n,). median_depth: (n,) of the core depths. core: (B,) core depth
    over the median, image after image; block_image: (B,).
    Anchors are the matched pixels, image after image, neighbour after neighbour: anchor_image: (M,); anchor_pixel:
    (M, 2) float; anchor_block: (M,) index into core; anchor_offset: (M,) depth over that of the block's centre.
    slices: (i, j) -> first and last + 1 of the anchors of i matched with j.
    left, right: (K,) anchors of both ends of a match; the second half is the first with the ends exchanged.
    match_confidence: (K,).
    fallback_anchor: (F,) an anchor; fallback_points: (F, 3) where an unmatched pair sees it, in the frame of camera
    fallback_camera: (F,); fallback_confidence: (F,).
    """

    size: Tensor
    base_focal: Tensor
    mean_confidence: Tensor
    median_depth: Tensor
    core: Tensor
    block_image: Tensor
    anchor_image: Tensor
    anchor_pixel: Tensor
    anchor_block: Tensor
    anchor_offset: Tensor
    slices: dict[tuple[int, int], tuple[int, int]]
    left: Tensor
    right: Tensor
    match_confidence: Tensor
    fallback_anchor: Tensor
    fallback_camera: Tensor
    fallback_points: Tensor
    fallback_confidence: Tensor

    @property
    def count(self) -> int:
        return len(self.base_focal)


def condense(
    images: list[CanonicalImage],
    pairs: list[PairMatches],
    fallbacks: dict[tuple[int, int], Fallback],
    threshold: float = 0.0,
    device: torch.device | str = "cpu",
) -> Condensed:
    """pairs: each undirected pair once. fallbacks: (i, j) -> blocks of image i in the frame of camera j, both ways of
    every pair. threshold: pairs whose best match is not above it count as unmatched.
    """
    block_start = torch.tensor([0] + [image.blocks for image in images]).cumsum(0)
    anchors, slices = _anchors(images, pairs, block_start)
    matched = [pair for pair in pairs if pair.is_matched(threshold)]
    matched_ends = [(pair.first, pair.second) for pair in matched]
    ends = matched_ends + [(second, first) for first, second in matched_ends]
    confidences = [pair.confidence.float() for pair in matched] * 2
    cores = [image.core_depth.reshape(-1) for image in images]
    medians = torch.stack([core.median() for core in cores])
    fallback = _fallback(pairs, fallbacks, slices, anchors, block_start, threshold)
    tensors = {
        "size": torch.tensor([[image.width, image.height] for image in images], dtype=torch.float32),
        "base_focal": torch.tensor([image.focal for image in images], dtype=torch.float32),
        "mean_confidence": torch.stack([image.confidence.mean() for image in images]),
        "median_depth": medians,
        "core": torch.cat([core / median for core, median in zip(cores, medians, strict=True)]),
        "block_image": torch.repeat_interleave(torch.arange(len(images)), block_start.diff()),
        **anchors,
        "left": _ranges([slices[i, j] for i, j in ends]),
        "right": _ranges([slices[j, i] for i, j in ends]),
        "match_confidence": torch.cat([torch.zeros(0), *confidences]),
        **fallback,
    }
    return Condensed(slices=slices, **{name: tensor.to(device) for name, tensor in tensors.items()})


def _anchors(
    images: list[CanonicalImage], pairs: list[PairMatches], block_start: Tensor
) -> tuple[dict[str, Tensor], dict[tuple[int, int], tuple[int, int]]]:
    """The anchors of all images, neighbours in the order of the symmetrised pairs, and where each pair's lie."""
    directed = [(pair.first, pair.second, pair.xy_first) for pair in pairs]
    directed += [(pair.second, pair.first, pair.xy_second) for pair in pairs]
    slices: dict[tuple[int, int], tuple[int, int]] = {}
    numbers, pixels, blocks, offsets = [], [torch.zeros(0, 2)], [], []
    done = 0
    for i, image in enumerate(images):
        for first, second, xy in directed:
            if first != i:
                continue
            block, offset = image.anchors(xy)
            slices[i, second] = (done, done + len(xy))
            done += len(xy)
            numbers.append(torch.full((len(xy),), i))
            pixels.append(xy.float())
            blocks.append(block + block_start[i])
            offsets.append(offset)
    empty = torch.zeros(0, dtype=torch.int64)
    return {
        "anchor_image": torch.cat([empty, *numbers]),
        "anchor_pixel": torch.cat(pixels),
        "anchor_block": torch.cat([empty, *blocks]),
        "anchor_offset": torch.cat([torch.zeros(0), *offsets]),
    }, slices


def _fallback(
    pairs: list[PairMatches],
    fallbacks: dict[tuple[int, int], Fallback],
    slices: dict[tuple[int, int], tuple[int, int]],
    anchors: dict[str, Tensor],
    block_start: Tensor,
    threshold: float,
) -> dict[str, Tensor]:
    """All anchors of image i for each unmatched directed pair (i, j)."""
    unmatched = [(pair.first, pair.second) for pair in pairs if not pair.is_matched(threshold)]
    unmatched += [(second, first) for first, second in unmatched]
    bounds = torch.searchsorted(anchors["anchor_image"], torch.arange(len(block_start)))
    total = sum(int(bounds[i + 1] - bounds[i]) for i, _ in unmatched)
    step = 1 + total // FALLBACK_ROWS
    empty = torch.zeros(0, dtype=torch.int64)
    rows, cameras, points, confidences = [empty], [empty], [torch.zeros(0, 3)], [torch.zeros(0)]
    for i, j in unmatched:
        row = torch.arange(int(bounds[i]), int(bounds[i + 1]), step)
        block = anchors["anchor_block"][row] - block_start[i]
        rows.append(row)
        cameras.append(torch.full((len(row),), j))
        points.append(fallbacks[i, j].points[block])
        confidences.append(fallbacks[i, j].confidence[block])
    return {
        "fallback_anchor": torch.cat(rows),
        "fallback_camera": torch.cat(cameras),
        "fallback_points": torch.cat(points),
        "fallback_confidence": torch.cat(confidences),
    }


def _ranges(bounds: list[tuple[int, int]]) -> Tensor:
    return torch.cat([torch.zeros(0, dtype=torch.int64), *(torch.arange(start, stop) for start, stop in bounds)])

"""All matches of all pairs in a handful of tensors: the input of the sparse alignment (spec mast3r_sfm, 3.3, 3.6)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .canonical import CanonicalImage

# Rows of the fallback at most. Above, every so many rows are left out: they repeat what their neighbours say.
FALLBACK_ROWS = 2_000_000


@dataclass(frozen=True)
class PairMatches:
    """Matches of the pair of images (first, second): pixels (k, 2) integer and confidence (k,).

    shift_second: (k, 2) what the place in the second image is off its whole pixel, below half of one; None = nothing.
    """

    first: int
    second: int
    xy_first: Tensor
    xy_second: Tensor
    confidence: Tensor
    shift_second: Tensor | None = None

    def is_matched(self, threshold: float) -> bool:
        """Whether the best of the matches is above the threshold."""
        return len(self.confidence) > 0 and bool(self.confidence.max() > threshold)

    def strongest(self, count: int) -> PairMatches:
        """The matches with most confidence, `count` at most, in their order."""
        if len(self.confidence) <= count:
            return self
        kept = self.confidence.topk(count).indices.sort().values
        shift = None if self.shift_second is None else self.shift_second[kept]
        return replace(
            self,
            xy_first=self.xy_first[kept],
            xy_second=self.xy_second[kept],
            confidence=self.confidence[kept],
            shift_second=shift,
        )


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
    """n images with B blocks and M anchors in all, F rows of the fallback; one device.

    size: (n, 2) width and height. base_focal: (n,). median_depth: (n,) of the core depths. core: (B,) core depth
    over the median, image after image; block_image: (B,).
    Anchors are the matched places, image after image (anchors_per_image), neighbour after neighbour. anchor_pixel:
    (3, M) x, y, 1, less than half a pixel off a whole one; anchor_block: (M,) index into core; anchor_offset: (M,)
    depth of the whole pixel over that of the block's centre.
    partner: (M,) the anchor at a match's other end. confidence: (M,) of the match, 0 in pairs that count as unmatched.
    slices: (i, j) -> first and last + 1 of the anchors of i matched with j.
    fallback_anchor: (F,) an anchor; fallback_points: (3, F) where an unmatched pair sees it, in the frame of one
    camera after the other (fallbacks_per_camera); fallback_confidence: (F,).
    """

    size: Tensor
    base_focal: Tensor
    mean_confidence: Tensor
    median_depth: Tensor
    core: Tensor
    block_image: Tensor
    anchor_pixel: Tensor
    anchor_block: Tensor
    anchor_offset: Tensor
    partner: Tensor
    confidence: Tensor
    fallback_anchor: Tensor
    fallback_points: Tensor
    fallback_confidence: Tensor
    anchors_per_image: list[int]
    fallbacks_per_camera: list[int]
    slices: dict[tuple[int, int], tuple[int, int]]

    @property
    def count(self) -> int:
        return len(self.base_focal)

    @property
    def anchor_image(self) -> Tensor:
        """(M,) int64, the image of each anchor."""
        return _repeated(self.anchors_per_image)

    @property
    def fallback_camera(self) -> Tensor:
        """(F,) int64, the camera in whose frame each row of the fallback is."""
        return _repeated(self.fallbacks_per_camera)


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
    per_image = [0] * len(images)
    for (i, _), (start, stop) in slices.items():
        per_image[i] += stop - start
    fallback, per_camera = _fallback(pairs, fallbacks, per_image, anchors["anchor_block"], block_start, threshold)
    cores = [image.core_depth.reshape(-1) for image in images]
    medians = torch.stack([core.median() for core in cores])
    tensors = {
        "size": torch.tensor([[image.width, image.height] for image in images], dtype=torch.float32),
        "base_focal": torch.tensor([image.focal for image in images], dtype=torch.float32),
        "mean_confidence": torch.stack([image.confidence.mean() for image in images]),
        "median_depth": medians,
        "core": torch.cat([core / median for core, median in zip(cores, medians, strict=True)]),
        "block_image": _repeated(block_start.diff().tolist()),
        **anchors,
        **_ends(pairs, slices, threshold),
        **fallback,
    }
    placed = {name: tensor.to(device) for name, tensor in tensors.items()}
    return Condensed(**placed, anchors_per_image=per_image, fallbacks_per_camera=per_camera, slices=slices)


def _anchors(
    images: list[CanonicalImage], pairs: list[PairMatches], block_start: Tensor
) -> tuple[dict[str, Tensor], dict[tuple[int, int], tuple[int, int]]]:
    """The anchors of all images, neighbours in the order of the symmetrised pairs, and where each pair's lie."""
    neighbours: list[list[tuple[int, Tensor, Tensor | None]]] = [[] for _ in images]
    for pair in pairs:
        neighbours[pair.first].append((pair.second, pair.xy_first, None))
    for pair in pairs:
        neighbours[pair.second].append((pair.first, pair.xy_second, pair.shift_second))
    slices: dict[tuple[int, int], tuple[int, int]] = {}
    pixels, blocks, offsets = [torch.zeros(0, 2)], [torch.zeros(0, dtype=torch.int64)], [torch.zeros(0)]
    done = 0
    for i, image in enumerate(images):
        for second, xy, shift in neighbours[i]:
            block, offset = image.anchors(xy)
            slices[i, second] = (done, done + len(xy))
            done += len(xy)
            pixels.append(xy.float() if shift is None else xy + shift.float())
            blocks.append(block + block_start[i])
            offsets.append(offset)
    xy = torch.cat(pixels)
    return {
        "anchor_pixel": torch.cat([xy.T, torch.ones(1, len(xy))]),
        "anchor_block": torch.cat(blocks),
        "anchor_offset": torch.cat(offsets),
    }, slices


def _ends(
    pairs: list[PairMatches], slices: dict[tuple[int, int], tuple[int, int]], threshold: float
) -> dict[str, Tensor]:
    """What joins the two anchors of each match."""
    count = sum(stop - start for start, stop in slices.values())
    partner, confidence = torch.zeros(count, dtype=torch.int64), torch.zeros(count)
    for pair in pairs:
        left, right = (torch.arange(*slices[ends]) for ends in ((pair.first, pair.second), (pair.second, pair.first)))
        partner[left], partner[right] = right, left
        if pair.is_matched(threshold):
            confidence[left] = confidence[right] = pair.confidence.float()
    return {"partner": partner, "confidence": confidence}


def _fallback(
    pairs: list[PairMatches],
    fallbacks: dict[tuple[int, int], Fallback],
    anchors_per_image: list[int],
    anchor_block: Tensor,
    block_start: Tensor,
    threshold: float,
) -> tuple[dict[str, Tensor], list[int]]:
    """All anchors of image i for each unmatched directed pair (i, j), sorted by j; and the number of rows per j."""
    ends = [(pair.first, pair.second) for pair in pairs if not pair.is_matched(threshold)]
    ends = sorted(ends + [(second, first) for first, second in ends], key=lambda pair: pair[1])
    bounds = np.concatenate([[0], np.cumsum(anchors_per_image)])
    step = 1 + sum(anchors_per_image[i] for i, _ in ends) // FALLBACK_ROWS
    rows, points, confidences = [torch.zeros(0, dtype=torch.int64)], [torch.zeros(0, 3)], [torch.zeros(0)]
    per_camera = [0] * len(anchors_per_image)
    for i, j in ends:
        row = torch.arange(int(bounds[i]), int(bounds[i + 1]), step)
        block = anchor_block[row] - block_start[i]
        rows.append(row)
        points.append(fallbacks[i, j].points[block])
        confidences.append(fallbacks[i, j].confidence[block])
        per_camera[j] += len(row)
    return {
        "fallback_anchor": torch.cat(rows),
        "fallback_points": torch.cat(points).T.contiguous(),
        "fallback_confidence": torch.cat(confidences),
    }, per_camera


def _repeated(counts: list[int]) -> Tensor:
    """0 counts[0] times, 1 counts[1] times ..."""
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts, dtype=torch.int64))

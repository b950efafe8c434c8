"""The pairwise problem as a handful of tensors: what pairs predict, the unknowns, and the loss between them.

Residuals are short where the alignment starts, so their directions and with them the gradients depend on how numbers
are rounded; the order of operations is that of the published program, to the bit.
Source: DUSt3R (arXiv 2312.14132) section 3.3; specs/dust3r.md sections 5.5 and 5.8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..predictions import PairPredictions

LOG_MEAN_SCALE = float(np.log(0.5))  # the scales of the pairs have this mean, which fixes the scale of the scene
FOCAL_CODE = 20.0  # focals are stored as 20 * log(focal)
CENTER_CODE = 10.0  # principal points are stored as offsets from (W / 2, H / 2), divided by 10


@dataclass
class Problem:
    """E pairs of n images, pixels flattened row by row and padded to A, the largest image's number of pixels.

    sizes: (H, W) per image. first, second: (E,) int64, images i and j of each pair. points_i, points_j: (E, A, 3) in
    camera i's frame. weights_i, weights_j: (E, A), log confidence, 0 in the padding and where a prediction is not
    finite. share_i, share_j: (E,), factor of each pair's sum in the loss. confidence: (n, A), per pixel the largest
    over all pairs and roles. pixels: (n, A, 2) x and y, the first pixel's centre at 0. centers: (n, 2), the middles of
    the images. inside: (n, A) bool, false in the padding.
    """

    sizes: list[tuple[int, int]]
    first: Tensor
    second: Tensor
    points_i: Tensor
    points_j: Tensor
    weights_i: Tensor
    weights_j: Tensor
    share_i: Tensor
    share_j: Tensor
    confidence: Tensor
    pixels: Tensor
    centers: Tensor
    inside: Tensor

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.sizes)

    @property
    def edges(self) -> list[tuple[int, int]]:
        """The pairs (i, j)."""
        return list(zip(self.first.tolist(), self.second.tolist()))

    def image(self, values: Tensor, index: int) -> Tensor:
        """A row (A, ...) of values of an image as (H, W, ...), without the padding."""
        height, width = self.sizes[index]
        return values[: height * width].reshape(height, width, *values.shape[1:])


@dataclass
class Parameters:
    """The unknowns, float32, in the published coding.

    pair_poses: (E, 8) quaternion (x, y, z, w) of any length, translation in signed-log coding, log scale.
    poses: (n, 7), world_from_camera, quaternion and translation likewise. log_depth: (n, A), 0 in the padding.
    focals: (n, 1), or (1, 1) when shared. centers: (n, 2), principal points. The
    published stretches of pairs ("adaptors") are always 1 there and left out here.
    """

    pair_poses: Tensor
    poses: Tensor
    log_depth: Tensor
    focals: Tensor
    centers: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> Parameters:
        """The parameters with function applied to each tensor."""
        return replace(self, **{name: function(value) for name, value in vars(self).items()})


def build_problem(predictions: PairPredictions, equal_pairs: bool = False) -> Problem:
    """Tensors of all pairs, on the predictions' device.

    equal_pairs: every pair counts the same in the loss (the published modular aligner); otherwise every pixel does
    (the published aligner).
    """
    sizes = list(predictions.sizes)
    device = predictions.points_i[0].device
    areas = torch.tensor([height * width for height, width in sizes], device=device)
    first = torch.tensor([i for i, _ in predictions.edges], device=device)
    second = torch.tensor([j for _, j in predictions.edges], device=device)
    largest = int(areas.max())
    points_i, weights_i, raw_i = _side(predictions.points_i, predictions.confidence_i, largest)
    points_j, weights_j, raw_j = _side(predictions.points_j, predictions.confidence_j, largest)
    confidence = torch.zeros(len(sizes), largest, device=device)
    for (i, j), of_i, of_j in zip(predictions.edges, raw_i, raw_j):
        confidence[i] = torch.maximum(confidence[i], of_i)
        confidence[j] = torch.maximum(confidence[j], of_j)
    pixels = torch.stack([_pixels(size, largest) for size in sizes]).to(device)
    area_i, area_j = areas[first].float(), areas[second].float()
    whole_i, whole_j = (area * len(first) if equal_pairs else area.sum().expand_as(area) for area in (area_i, area_j))
    return Problem(
        sizes,
        first,
        second,
        points_i,
        points_j,
        weights_i,
        weights_j,
        1.0 / whole_i,
        1.0 / whole_j,
        confidence,
        pixels,
        torch.tensor([[width / 2, height / 2] for height, width in sizes], device=device),
        torch.arange(largest, device=device) < areas[:, None],
    )


def _side(points: list[Tensor], confidence: list[Tensor], largest: int) -> tuple[Tensor, Tensor, Tensor]:
    """Padded (points (E, A, 3), weights (E, A), confidence (E, A)) of one role."""
    padded = _padded([value.reshape(-1, 3) for value in points], largest)
    raw = _padded([value.reshape(-1) for value in confidence], largest)
    bad = ~(torch.isfinite(padded).all(dim=-1) & torch.isfinite(raw))
    if bad.any():
        padded.masked_fill_(bad[..., None], 0.0)
        raw.masked_fill_(bad, 0.0)
    return padded, raw.clamp_min(1.0).log(), raw


def _padded(rows: list[Tensor], largest: int) -> Tensor:
    """Rows (k, ...) of different lengths as one float32 tensor (E, largest, ...), filled up with 0."""
    whole = rows[0].new_zeros((len(rows), largest, *rows[0].shape[1:]), dtype=torch.float32)
    for number, row in enumerate(rows):
        whole[number, : len(row)] = row
    return whole


def _pixels(size: tuple[int, int], largest: int) -> Tensor:
    height, width = size
    grid = torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy")
    pixels = torch.zeros(largest, 2)
    pixels[: height * width] = torch.stack(grid, dim=-1).reshape(-1, 2).float()
    return pixels


def encode_translation(translation: Tensor) -> Tensor:
    """The signed-log coding of translations: sign(t) log(1 + |t|)."""
    return translation.sign() * translation.abs().log1p()


def decode_translation(coded: Tensor) -> Tensor:
    """The translations of a signed-log coding."""
    return coded.sign() * coded.abs().expm1()


def rotation_matrices(quaternions: Tensor) -> Tensor:
    """Quaternions (..., 4), x y z w, of any length but 0, to matrices (..., 3, 3)."""
    x, y, z, w = (quaternions / quaternions.norm(dim=-1, keepdim=True)).unbind(-1)
    x2, y2, z2, w2 = x * x, y * y, z * z, w * w
    xy, xz, yz, xw, yw, zw = x * y, x * z, y * z, x * w, y * w, z * w
    rows = [
        x2 - y2 - z2 + w2,
        2 * (xy - zw),
        2 * (xz + yw),
        2 * (xy + zw),
        -x2 + y2 - z2 + w2,
        2 * (yz - xw),
        2 * (xz - yw),
        2 * (yz + xw),
        -x2 - y2 + z2 + w2,
    ]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def quaternions(rotations: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) to unit quaternions (..., 4), x y z w; the largest component is positive."""
    flat = rotations.reshape(-1, 3, 3)
    diagonal = flat.diagonal(dim1=-2, dim2=-1)
    trace = diagonal.sum(dim=-1, keepdim=True)
    squares = torch.cat([1 - trace + 2 * diagonal, 1 + trace], dim=-1)  # 4 times the squared components
    upper, lower = flat[:, (0, 0, 1), (1, 2, 2)], flat[:, (1, 2, 2), (0, 0, 1)]
    (xy, xz, yz), (zw, yw, xw) = (upper + lower).unbind(-1), (lower - upper).unbind(-1)
    yw = -yw
    x2, y2, z2, w2 = squares.unbind(-1)
    rows = torch.stack([x2, xy, xz, xw, xy, y2, yz, yw, xz, yz, z2, zw, xw, yw, zw, w2], dim=-1).unflatten(-1, (4, 4))
    best = rows[torch.arange(len(flat), device=flat.device), squares.argmax(dim=-1)]
    return (best / best.norm(dim=-1, keepdim=True)).reshape(*rotations.shape[:-2], 4)


def encode_poses(poses: Tensor) -> Tensor:
    """Poses (..., 4, 4) in the coding of Parameters.poses (..., 7)."""
    return torch.cat([quaternions(poses[..., :3, :3]), encode_translation(poses[..., :3, 3])], dim=-1)


def camera_poses(parameters: Parameters) -> tuple[Tensor, Tensor]:
    """(rotations (n, 3, 3), centres (n, 3)) of world_from_camera."""
    return rotation_matrices(parameters.poses[:, :4]), decode_translation(parameters.poses[:, 4:7])


def pair_scales(parameters: Parameters, normalized: bool) -> Tensor:
    """(E,) scales of the pairs; normalized: brought to the geometric mean 0.5."""
    logs = parameters.pair_poses[:, 7]
    return logs.exp() * (LOG_MEAN_SCALE - logs.mean()).exp() if normalized else logs.exp()


def pair_transforms(parameters: Parameters, normalized: bool) -> tuple[Tensor, Tensor]:
    """(scaled rotations (E, 3, 3), scaled translations (E, 3)) that take a pair's points to the world."""
    scales = pair_scales(parameters, normalized)
    rotations = scales[:, None, None] * rotation_matrices(parameters.pair_poses[:, :4])
    return rotations, scales[:, None] * decode_translation(parameters.pair_poses[:, 4:7])


def focal_lengths(problem: Problem, parameters: Parameters) -> Tensor:
    """(n,) focal lengths in pixels."""
    return (parameters.focals[:, 0] / FOCAL_CODE).exp().expand(problem.count)


def principal_points(problem: Problem, parameters: Parameters) -> Tensor:
    """(n, 2) in pixels, the first pixel's centre at 0."""
    return problem.centers + CENTER_CODE * parameters.centers


def world_points(problem: Problem, parameters: Parameters) -> Tensor:
    """(n, A, 3): every image's pixels in the world; meaningless in the padding."""
    depth = parameters.log_depth.exp()[..., None]
    offsets = problem.pixels - principal_points(problem, parameters)[:, None]
    rotations, centers = camera_poses(parameters)
    local = torch.cat([depth * offsets / focal_lengths(problem, parameters)[:, None, None], depth], dim=-1)
    return torch.baddbmm(centers[:, None], local, rotations.mT)


def alignment_loss(problem: Problem, parameters: Parameters, normalized: bool) -> Tensor:
    """Weighted mean distance between the views' points and the pairs' points put into the world; a scalar.

    normalized: pair scales are brought to their fixed mean (false with known poses).
    """
    world = world_points(problem, parameters)
    turned, shifted = pair_transforms(parameters, normalized)
    total = world.new_zeros(())
    for image, points, weights, share in (
        (problem.first, problem.points_i, problem.weights_i, problem.share_i),
        (problem.second, problem.points_j, problem.weights_j, problem.share_j),
    ):
        difference = world.index_select(0, image) - torch.baddbmm(shifted[:, None], points, turned.mT)
        distance = torch.linalg.vector_norm(difference, dim=-1)
        total = total + ((distance * weights).sum(dim=1) * share).sum()
    return total

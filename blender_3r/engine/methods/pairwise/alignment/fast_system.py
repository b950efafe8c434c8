"""The loss of the fast aligner around one place: its value, its gradient, and a quadratic form that lies above it.

The distance |r| of every observation is replaced by |r|^2 / (2 |r0|) (Weiszfeld), which makes the loss a weighted sum
of squares. The depths of the pixels, each of which touches one image only, are eliminated from its normal equations
(Schur complement), so what remains has 7 numbers per pair and 7 per image. All is written in the frame of the camera
that looks, where the ray of a pixel does not move; numbers stay small there wherever the world's origin is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .fast_depth import along_rays, better_places, first_places
from .fast_sample import ImageSample, like, summed
from .fast_variables import PAIR, Unknowns, Variables
from .scene import Check

TINY = 1e-20  # keeps divisions defined where nothing weighs anything
DEPTH_ROUNDS = 3  # of each evaluation, from the depths before
FIRST_ROUNDS = 8  # where there are none before
SMALLEST = 1e-6  # depths stay above this share of the typical one

# A pair's points y move by omega x y + t + sigma y. LEVER[c, m, p]: how parameter p moves coordinate c, per coordinate
# m of (y, 1).
LEVER = np.zeros((3, 4, PAIR))
for _c, _i, _m in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
    LEVER[_c, _m, _i], LEVER[_c, _i, _m] = 1.0, -1.0
for _c in range(3):
    LEVER[_c, 3, 3 + _c] = LEVER[_c, _c, 6] = 1.0


@dataclass
class System:
    """loss; gradient (m,) over all unknowns but the depths, which are eliminated; the form as a sum of blocks, one per
    image: (columns (b,), matrix (b, b)).
    """

    loss: float
    gradient: np.ndarray
    blocks: list[tuple[np.ndarray, np.ndarray]]


@dataclass
class Seen:
    """Observations of one image in its camera's frame.

    rays: (3, N) of depth 1. arms: (K, 4, N), a pair's points minus its anchor, and 1. anchors: (K, 3). weights: (K, N).
    rated: whether the weights go down as the pairs' scales go up.
    """

    rays: Tensor
    arms: Tensor
    anchors: Tensor
    weights: Tensor
    rated: bool


def see(sample: ImageSample, unknowns: Unknowns, variables: Variables, image: int) -> Seen:
    """What the pairs put before a camera."""
    linear, shift = variables.seen_by(image, sample.pairs)
    offset = -np.einsum("kij,kj->ki", linear, variables.middles[sample.pairs])
    arms = sample.points.new_ones(len(sample.pairs), 4, sample.points.shape[-1])
    arms[:, :3] = torch.baddbmm(like(offset, arms)[:, :, None], like(linear, arms), sample.points)
    rays = torch.cat([sample.pixels / float(variables.focals[image]), sample.pixels.new_ones(1, arms.shape[-1])])
    rates = like(unknowns.rates(variables)[sample.pairs], arms)[:, None]
    return Seen(rays, arms, like(shift - offset, arms), sample.weights * rates, not unknowns.normalized)


def settle(
    seen: Seen, depth: Tensor | None, softening: float, rounds: int, smallest: float, faint: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """(depths (N,), positions along the rays (K, N), squared distances from them (K, N)).

    From the depths given, or from scratch, after so many rounds. softening: residuals below it count as 0. smallest:
    distance from the camera that places keep. faint: what is added to all weights.
    """
    length = seen.rays.norm(dim=0)
    along, beside = along_rays(seen.arms[:, :3] + seen.anchors[:, :, None], seen.rays / length)
    softened, weights = beside + softening**2, seen.weights + max(faint, TINY)
    place = first_places(along, softened, weights) if depth is None else depth * length
    place = better_places(place, along, softened, weights, rounds).clamp_min(smallest)
    return place / length, place - along, beside


def evaluate(
    samples: list[ImageSample],
    unknowns: Unknowns,
    variables: Variables,
    depths: list[Tensor] | None,
    softening: float,
    check_cancelled: Check,
    rounds: int | None = None,
) -> tuple[float, list[Tensor]]:
    """(loss, depths (N,) per image after a few rounds from those given or from scratch), residuals softened near 0."""
    total, found = 0.0, []
    rounds = rounds or (FIRST_ROUNDS if depths is None else DEPTH_ROUNDS)
    for image, sample in enumerate(samples):
        check_cancelled()
        seen, before = see(sample, unknowns, variables, image), None if depths is None else depths[image]
        depth, offset, beside = settle(seen, before, softening, rounds, SMALLEST * variables.size)
        total += summed(seen.weights * (offset.square() + beside + softening**2).sqrt())
        found.append(depth)
    return total, found


def linearise(
    samples: list[ImageSample],
    unknowns: Unknowns,
    variables: Variables,
    depths: list[Tensor],
    softening: float,
    check_cancelled: Check,
) -> System:
    """The quadratic form at these variables and depths."""
    loss = 0.0
    gradient, blocks = np.zeros(unknowns.count), []
    for image, sample in enumerate(samples):
        check_cancelled()
        part, pull, curvature = _image_system(see(sample, unknowns, variables, image), depths[image], softening)
        turn = world_axes(variables.rotations[image], len(sample.pairs))
        columns = unknowns.columns(image, sample.pairs)
        loss += part
        np.add.at(gradient, columns, turn @ pull)
        blocks.append((columns, turn @ curvature @ turn.T))
    return System(loss, gradient, blocks)


def world_axes(rotation: np.ndarray, pairs: int) -> np.ndarray:
    """(7 + 7 K, 7 + 7 K): turns an image's unknowns from its camera's axes to those of Unknowns, the pairs' only."""
    turn = np.eye(PAIR * (1 + pairs))
    for first in range(PAIR, len(turn), PAIR):
        turn[first : first + 3, first : first + 3] = rotation
        turn[first + 3 : first + 6, first + 3 : first + 6] = rotation
    return turn


def forces(seen: Seen, depth: Tensor, softening: float) -> tuple[float, Tensor, Tensor, Tensor]:
    """(loss, pulls (K, N), force on each pixel's place (3, N), gradient (7 + 7 K,) with the depths held).

    pulls: weights divided by distances. In the camera's axes.
    """
    spot = depth * seen.rays
    residual = spot - seen.anchors[:, :, None] - seen.arms[:, :3]
    distance = (residual.square().sum(dim=1) + softening**2).sqrt_()
    shares = (seen.weights * distance).sum(dim=1)
    pulls = seen.weights / distance
    residual.mul_(pulls[:, None])
    force = residual.sum(dim=0)
    of_pairs = -torch.einsum("kmc,cmp->kp", seen.arms @ residual.mT, like(LEVER, spot))
    of_camera = torch.einsum("pcn,cn->p", camera_jacobian(spot), force)
    if seen.rated:
        of_pairs[:, 6] -= shares
    return float(shares.cpu().double().sum()), pulls, force, torch.cat([of_camera, of_pairs.reshape(-1)])


def _image_system(seen: Seen, depth: Tensor, softening: float) -> tuple[float, np.ndarray, np.ndarray]:
    """(loss, gradient (7 + 7 K,), quadratic form) of one image: its camera, its focal, its pairs."""
    pairs, _, count = seen.arms.shape
    loss, weight, force, gradient = forces(seen, depth, softening)
    spot = depth * seen.rays
    weighted = seen.arms * weight[:, None]
    camera, lever, total = camera_jacobian(spot), like(LEVER, spot), weight.sum(dim=0)

    form = spot.new_zeros(PAIR * (1 + pairs), PAIR * (1 + pairs))
    form[:PAIR, :PAIR] = (camera * total).reshape(PAIR, -1) @ camera.reshape(PAIR, -1).T
    blocks = torch.einsum("cmp,kml,clq->kpq", lever, weighted @ seen.arms.mT, lever)
    moments = (camera.reshape(3 * PAIR, count) @ weighted.reshape(4 * pairs, count).T).reshape(PAIR, 3, pairs, 4)
    cross = torch.einsum("pckm,cmq->pkq", moments, lever).reshape(PAIR, -1)
    form[:PAIR, PAIR:], form[PAIR:, :PAIR] = -cross, -cross.T
    for number in range(pairs):
        own = slice(PAIR * (1 + number), PAIR * (2 + number))
        form[own, own] = blocks[number]

    # Eliminate the logarithms of the depths.
    root = (total * spot.square().sum(dim=0) + TINY).rsqrt_()
    aim = spot * root
    slope = (aim * force).sum(dim=0)
    coupling = spot.new_empty(1 + pairs, PAIR, count)
    coupling[0] = torch.einsum("pcn,cn->pn", camera, aim * total)
    coupling[1:, :3] = -torch.linalg.cross(weighted[:, :3], aim.expand(pairs, 3, count), dim=1)
    coupling[1:, 3:6] = -weighted[:, 3:] * aim
    coupling[1:, 6] = -(weighted[:, :3] * aim).sum(dim=1)
    flat = coupling.reshape(-1, count)
    form -= flat @ flat.T
    gradient -= flat @ slope
    return loss, gradient.cpu().double().numpy(), form.cpu().double().numpy()


def camera_jacobian(spot: Tensor) -> Tensor:
    """(7, 3, N): how points (3, N) in a camera's frame move with its turn, its shift and the logarithm of its focal."""
    x, y, z = spot
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    rows = [
        [zero, -z, y],
        [z, zero, -x],
        [-y, x, zero],
        [one, zero, zero],
        [zero, one, zero],
        [zero, zero, one],
        [-x, -y, zero],
    ]
    return torch.stack([torch.stack(row) for row in rows])

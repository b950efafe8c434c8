"""All pixels at once for the fast aligner, in chunks: loss, gradient, and the depth maps.

Little is held beside the predictions: one depth per pixel and one chunk of observations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..predictions import PairPredictions
from .fast_sample import ImageSample, Role, log_weights, summed, usable
from .fast_system import SMALLEST, forces, see, settle, world_axes
from .fast_variables import PAIR, Unknowns, Variables
from .scene import Check

# Observations of one chunk: few enough for the processor's cache and for cancelling in time.
CHUNK = 1 << 16
DEVICE_CHUNK = 1 << 21  # of an accelerator, which wants more at a time
# Weight of what no pair is sure of, as a share of a sure one's: such pixels get a depth too, with no part in the loss.
FAINT = 1e-6


@dataclass
class Survey:
    """loss: what is minimised; plain_loss: the published one, without softening or rates. gradient: (m,), depths at
    their best. depths: (H W,) per image.
    """

    loss: float
    plain_loss: float
    gradient: np.ndarray
    depths: list[Tensor]


@dataclass
class AllPixels:
    """The whole predictions as the aligner looks at them. centers: (n, 2), principal points."""

    predictions: PairPredictions
    roles: list[list[Role]]
    centers: np.ndarray
    check_cancelled: Check

    def survey(
        self,
        unknowns: Unknowns,
        variables: Variables,
        depths: list[Tensor] | None,
        softening: float,
        rounds: int,
    ) -> Survey:
        """Loss and gradient at these variables, after rounds of bettering the depths (from scratch when None)."""
        found = Survey(0.0, 0.0, np.zeros(unknowns.count), [])
        smallest = SMALLEST * variables.size
        for image, own in enumerate(self.roles):
            depth = self._blank(image)
            slope = np.zeros(PAIR * (1 + len(own)))
            faint = FAINT * max(role.share for role in own) * float(unknowns.rates(variables).max())
            pairs = np.array([role.pair for role in own])
            for part, chunk, _ in self._chunks(image):
                seen = see(chunk, unknowns, variables, image)
                before = None if depths is None else depths[image][part]
                best, offset, beside = settle(seen, before, softening, rounds, smallest, faint)
                loss, _, _, gradient = forces(seen, best, softening)
                found.loss += loss
                found.plain_loss += summed(chunk.weights * (offset.square_() + beside).sqrt_())
                slope += gradient.cpu().double().numpy()
                depth[part] = best
            turn = world_axes(variables.rotations[image], len(own))
            np.add.at(found.gradient, unknowns.columns(image, pairs), turn @ slope)
            found.depths.append(depth)
        return found

    def confidence(self, image: int) -> np.ndarray:
        """(H, W) float32: the largest confidence that any pair has in each pixel."""
        best = self._blank(image)
        for part, _, certain in self._chunks(image):
            best[part] = certain.amax(dim=0)
        return best.reshape(self.predictions.sizes[image]).cpu().numpy()

    def _blank(self, image: int) -> Tensor:
        height, width = self.predictions.sizes[image]
        return torch.zeros(height * width, device=self.predictions.points_i[0].device)

    def _chunks(self, image: int) -> Iterator[tuple[slice, ImageSample, Tensor]]:
        """(pixels counted row by row, what is said of them, its confidence (K, N)), all pixels of an image in turn."""
        (height, width), own = self.predictions.sizes[image], self.roles[image]
        device = self.predictions.points_i[0].device
        pairs = np.array([role.pair for role in own])
        share = torch.tensor([role.share for role in own], device=device, dtype=torch.float32)[:, None]
        center_x, center_y = (float(value) for value in self.centers[image])
        step = max(1, (CHUNK if device.type == "cpu" else DEVICE_CHUNK) // len(own))
        for begin in range(0, height * width, step):
            self.check_cancelled()
            part = slice(begin, min(begin + step, height * width))
            number = torch.arange(part.start, part.stop, device=device)
            x, y = number % width, number.div(width, rounding_mode="floor")
            certain = torch.stack([role.confidence(self.predictions)[part] for role in own]).float()
            points = torch.stack([role.points(self.predictions)[part] for role in own]).float().mT
            points, certain = usable(points, certain)
            pixels = torch.stack([x.float() - center_x, y.float() - center_y])
            yield part, ImageSample(pairs, pixels, points, log_weights(certain) * share), certain

"""What the fast aligner looks at: a few thousand pixels of every image, with all that the pairs say about them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..predictions import PairPredictions
from .scene import AlignSettings

# The plastic number's powers: steps that spread points evenly over the unit square, whatever their number, and that
# share no period with the patches of a network. Source: Roberts, The unreasonable effectiveness of quasirandom
# sequences, 2018.
PLASTIC = 1.32471795724474602596


@dataclass
class Role:
    """A pair as one of its two images sees it. share: factor of the pair's sum over this image in the loss."""

    pair: int
    second: bool
    share: float

    def points(self, predictions: PairPredictions) -> Tensor:
        """(H W, 3) points of the image's pixels, in the frame of the pair's first camera."""
        return (predictions.points_j if self.second else predictions.points_i)[self.pair].reshape(-1, 3)

    def confidence(self, predictions: PairPredictions) -> Tensor:
        """(H W,) confidence of the image's pixels."""
        return (predictions.confidence_j if self.second else predictions.confidence_i)[self.pair].reshape(-1)


@dataclass
class ImageSample:
    """Some pixels of one image and what its K roles say about them.

    pairs: (K,) numpy, the pair of each role. pixels: (2, N) x and y minus the principal point. points: (K, 3, N).
    weights: (K, N), factors of the distances in the loss. Float32 on the predictions' device.
    """

    pairs: np.ndarray
    pixels: Tensor
    points: Tensor
    weights: Tensor


def roles_of_images(predictions: PairPredictions, equal_pairs: bool) -> list[list[Role]]:
    """For each image its part in every pair. equal_pairs: as in AlignSettings."""
    areas = [height * width for height, width in predictions.sizes]
    edges = predictions.edges
    whole_i, whole_j = sum(areas[i] for i, _ in edges), sum(areas[j] for _, j in edges)
    roles: list[list[Role]] = [[] for _ in areas]
    for number, (i, j) in enumerate(edges):
        roles[i].append(Role(number, False, 1.0 / (areas[i] * len(edges) if equal_pairs else whole_i)))
        roles[j].append(Role(number, True, 1.0 / (areas[j] * len(edges) if equal_pairs else whole_j)))
    return roles


def principal_points(predictions: PairPredictions, settings: AlignSettings) -> np.ndarray:
    """(n, 2) in network pixels, the first pixel's centre at 0: those that are known, else the middles of the images."""
    middles = np.array([[width / 2, height / 2] for height, width in predictions.sizes])
    if settings.known_principal_points is None:
        return middles
    known = np.asarray(settings.known_principal_points, dtype=np.float64)
    return np.where(np.isfinite(known), known, middles)


def spread_pixels(size: tuple[int, int], count: int) -> np.ndarray:
    """Flat indices of about count pixels spread evenly over an image (height, width); all when count is near that."""
    height, width = size
    if 2 * count >= height * width:
        return np.arange(height * width)
    number = np.arange(1, count + 1)[:, None]
    place = (number / np.array([PLASTIC, PLASTIC**2])) % 1.0
    rows, columns = (place * (height, width)).astype(np.int64).T
    return np.unique(rows * width + columns)


def sample_images(
    predictions: PairPredictions, roles: list[list[Role]], centers: np.ndarray, count: int
) -> list[ImageSample]:
    """About count pixels of each image; weights stand for all pixels, so that sums estimate the whole loss."""
    samples = []
    for size, center, own in zip(predictions.sizes, centers, roles):
        chosen = spread_pixels(size, count)
        where = torch.from_numpy(chosen).to(predictions.points_i[0].device)
        points = torch.stack([role.points(predictions)[where] for role in own]).mT.float().contiguous()
        confidence = torch.stack([role.confidence(predictions)[where] for role in own]).float()
        points, confidence = usable(points, confidence)
        factor = size[0] * size[1] / len(chosen)
        weights = log_weights(confidence)
        weights *= like(np.array([role.share * factor for role in own]), weights)[:, None]
        pixels = np.stack([chosen % size[1], chosen // size[1]]) - center[:, None]
        samples.append(ImageSample(np.array([role.pair for role in own]), like(pixels, points), points, weights))
    return samples


def usable(points: Tensor, confidence: Tensor) -> tuple[Tensor, Tensor]:
    """Points (K, 3, N) and confidence (K, N), both 0 where anything is not finite."""
    good = torch.isfinite(points.sum(dim=1)) & torch.isfinite(confidence)
    if bool(good.all()):
        return points, confidence
    return torch.where(good[:, None], points, 0.0), torch.where(good, confidence, 0.0)


def log_weights(confidence: Tensor) -> Tensor:
    """What distances count by: the logarithm of the confidence, not below 0."""
    return confidence.clamp_min(1.0).log()


def like(values: np.ndarray, tensor: Tensor) -> Tensor:
    """An array as float32 on a tensor's device."""
    return torch.from_numpy(np.asarray(values, dtype=np.float32)).to(tensor.device)


def summed(values: Tensor) -> float:
    """The sum of (K, N) values; rows on their device, their sums in float64 on the processor."""
    return float(values.sum(dim=1).cpu().double().sum())

"""Matching cost of depth planes: how alike a view and its sources look when they are projected through each."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from .pictures import Picture
from .semiglobal import COST_MAX

WINDOW = (5, 5)
# Variance (grey levels squared) below which a window counts as noise: correlation fades out instead of amplifying it.
NOISE_VARIANCE = 2.0
UNSEEN = 255
# The part of the cost that is difference in detail, and the difference (grey levels) that counts as complete.
DETAIL_COST = np.float32(0.35 * COST_MAX)
CORRELATION_COST = COST_MAX - DETAIL_COST
DETAIL_LIMIT = np.float32(25)
# A point nearer to the source than this share of its depth in the view counts as behind the source.
MIN_DEPTH_RATIO = 0.02


class Projector:
    """Where the pixels of one view land in the flat picture of another, for any inverse depth."""

    def __init__(self, reference: Picture, source: Picture) -> None:
        source_from_reference = np.linalg.inv(source.world_from_camera) @ reference.world_from_camera
        # Half a pixel less: cv2.remap counts from the first pixel's centre, we from the picture's corner.
        matrix = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]]) @ source.flat_matrix
        far = reference.rays @ (matrix @ source_from_reference[:3, :3]).T.astype(np.float32)
        self.far = [np.ascontiguousarray(far[..., i]) for i in range(3)]
        self.shift = [np.float32(value) for value in matrix @ source_from_reference[:3, 3]]

    def __call__(self, inverse: np.float32 | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Project all pixels at one inverse depth, or at one of their own (h, w).

        Returns x and y (h, w) float32 for cv2.remap, far outside where the point is behind the source, and the point's
        depth there times its inverse depth here.
        """
        z = inverse * self.shift[2] + self.far[2]
        scale = np.reciprocal(z if z.min() > MIN_DEPTH_RATIO else np.where(z > MIN_DEPTH_RATIO, z, np.float32(1e-6)))
        x = inverse * self.shift[0] + self.far[0]
        y = inverse * self.shift[1] + self.far[1]
        x *= scale
        y *= scale
        return x, y, z


class Correlator:
    """Cost of a view's pixels against warped pictures of its sources.

    Normalised cross-correlation of the windows, blind to exposure, and with a smaller share the difference in detail
    (grey level less the window's mean), which is sharper at edges and bears flat walls.
    """

    def __init__(self, reference: np.ndarray) -> None:
        """reference: (h, w) float32 grey levels."""
        self.reference = reference
        self.mean = cv2.blur(reference, WINDOW)
        self.detail = reference - self.mean
        variance = np.maximum(cv2.blur(reference * reference, WINDOW) - self.mean * self.mean, 0)
        self.weight = -CORRELATION_COST / np.sqrt(variance + NOISE_VARIANCE)

    def cost(self, warped: np.ndarray) -> np.ndarray:
        """(h, w) uint8: 0 for the same, COST_MAX for nothing in common, UNSEEN where warped == 0."""
        covariance = cv2.blur(cv2.multiply(warped, self.reference, dtype=cv2.CV_32F), WINDOW)
        mean = cv2.boxFilter(warped, cv2.CV_32F, WINDOW)
        variance = cv2.sqrBoxFilter(warped, cv2.CV_32F, WINDOW)
        detail = cv2.subtract(warped, mean, dtype=cv2.CV_32F)
        detail -= self.detail
        np.abs(detail, out=detail)
        np.minimum(detail, DETAIL_LIMIT, out=detail)
        detail *= DETAIL_COST / DETAIL_LIMIT
        covariance -= mean * self.mean
        mean *= mean
        variance -= mean
        np.maximum(variance, 0, out=variance)
        variance += NOISE_VARIANCE
        np.sqrt(variance, out=variance)
        covariance *= self.weight
        covariance /= variance
        covariance += CORRELATION_COST
        np.clip(covariance, 0, CORRELATION_COST, out=covariance)
        covariance += detail
        cost = covariance.astype(np.uint8)
        cost[warped == 0] = UNSEEN
        return cost


def cost_volume(
    reference: Picture,
    sources: list[Picture],
    planes: np.ndarray,
    check_cancelled: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """(h, labels, w) uint8 cost of each plane (inverse depths, float32).

    Per pixel and label the better half of the sources is averaged, so that a source in which the point is hidden, out
    of the picture or covered by something that moved does not count.
    """
    height, width = reference.shape
    correlator = Correlator(reference.gray)
    projectors = [Projector(reference, source) for source in sources]
    volume = np.empty((height, len(planes), width), dtype=np.uint8)
    for label, inverse in enumerate(planes):
        check_cancelled()
        costs = []
        for source, projector in zip(sources, projectors, strict=True):
            x, y, _ = projector(inverse)
            costs.append(correlator.cost(cv2.remap(source.flat, x, y, cv2.INTER_LINEAR)))
        volume[:, label] = _mean_of_better_half(costs)
    return volume


def _mean_of_better_half(costs: list[np.ndarray]) -> np.ndarray:
    """(h, w) uint8 mean of the lower half (rounded up) of the costs that are not UNSEEN; COST_MAX where all are."""
    keep = (len(costs) + 1) // 2
    best: list[np.ndarray] = []
    for cost in costs:
        for rank, other in enumerate(best):
            best[rank], cost = cv2.min(other, cost), cv2.max(other, cost)
        if len(best) < keep:
            best.append(cost)
    if keep == 1:
        return np.minimum(best[0], COST_MAX)
    seen = np.zeros(costs[0].shape, dtype=np.uint8)
    for cost in costs:
        seen += cost != UNSEEN
    total = best[0].astype(np.float32)
    count = np.ones(total.shape, dtype=np.float32)
    for rank in range(1, keep):
        used = seen > 2 * rank
        total += best[rank] * used
        count += used
    total /= count
    return np.minimum(total, COST_MAX).astype(np.uint8)

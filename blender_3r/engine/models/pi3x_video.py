"""Long videos with Pi3X: overlapping chunks, each moved onto the one before by the frames that both have.

Source: specs/pi3x.md section 5.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..geometry.edges import depth_normal_edges
from ..geometry.similarity import Similarity, fit_similarity
from .pi3x import Pi3X

CHUNK, OVERLAP = 16, 6
LEAST_CONFIDENCE = 0.05
LEAST_PIXELS = 10  # with fewer a chunk's best tenth is taken, and two chunks are not moved onto each other
BEST_SHARE = 0.1


class VideoPart(NamedTuple):
    """The frames that a chunk adds, from number `start` on, in the first chunk's frame and scale.

    points: (n, H, W, 3), confidence: (n, H, W) in 0..1, 0 at edges. chunk_poses: (n, 4, 4) rigid world_from_camera of
    the chunk by itself; world_from_chunk: what moves it, whose move_cameras() gives the poses in the world.
    """

    start: int
    points: np.ndarray
    confidence: np.ndarray
    chunk_poses: np.ndarray
    world_from_chunk: Similarity


class Pi3XVideo:
    """Takes chunks in their order; keeps of each what the next overlaps.

    size, overlap: frames of a chunk and of what two share. Raises ValueError when a chunk would add nothing.
    """

    def __init__(self, network: Pi3X, size: int = CHUNK, overlap: int = OVERLAP) -> None:
        if not 0 < overlap < size:
            raise ValueError(f"chunks of {size} frames cannot overlap by {overlap}")
        self.network, self.size, self.overlap = network, size, overlap
        self._points: np.ndarray | None = None  # of the frames that the next chunk begins with
        self._usable: np.ndarray | None = None

    def chunks(self, frames: int) -> list[tuple[int, int]]:
        """First and last frame (past the end) of every chunk of a video."""
        starts = range(0, max(1, frames), self.size - self.overlap)
        ends = [(start, min(frames, start + self.size)) for start in starts]
        return [(start, end) for start, end in ends if start == 0 or end - start > self.overlap]

    def run(self, patches: Tensor, picture_size: tuple[int, int]) -> Iterator[VideoPart]:
        """All parts of a video of encoded frames (n, N, C), see Pi3.encode(), of pictures (H, W)."""
        for start, end in self.chunks(len(patches)):
            yield self.add(patches[start:end], picture_size, start)

    @torch.no_grad()
    def add(self, patches: Tensor, picture_size: tuple[int, int], start: int) -> VideoPart:
        """The next chunk, (n, N, C); every chunk but the first begins with the last one's last `overlap` frames."""
        prediction = self.network.predict(patches[None], picture_size)
        local, points, poses = (
            tensor[0].float().cpu().numpy()
            for tensor in (prediction.local_points, prediction.points, prediction.world_from_camera)
        )
        confidence = prediction.confidence[0].float().sigmoid().cpu().numpy()
        confidence[depth_normal_edges(local, confidence > LEAST_CONFIDENCE)] = 0.0
        usable = usable_pixels(confidence)
        moved, skip = Similarity(np.float64(1.0), np.eye(3), np.zeros(3)), 0
        if self._points is not None and self._usable is not None:
            skip = self.overlap
            both = usable[:skip] & self._usable
            if np.count_nonzero(both) >= LEAST_PIXELS:
                moved = fit_similarity(points[:skip][both], self._points[both])
            points = moved.apply(points)
        self._points, self._usable = points[-self.overlap :], usable[-self.overlap :]
        return VideoPart(start + skip, points[skip:], confidence[skip:], poses[skip:].astype(np.float64), moved)


def usable_pixels(confidence: np.ndarray) -> np.ndarray:
    """(n, H, W) bool: where confidence is enough, or where a whole chunk has little of it the best of every frame."""
    usable = confidence > LEAST_CONFIDENCE
    if np.count_nonzero(usable) >= LEAST_PIXELS:
        return usable
    return confidence >= np.quantile(confidence, 1 - BEST_SHARE, axis=(1, 2), keepdims=True)

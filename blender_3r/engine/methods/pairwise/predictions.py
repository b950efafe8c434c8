"""What pairs of images predict: the input of every alignment."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class PairPredictions:
    """Pointmaps of directed pairs of n images, all on one device, float32.

    sizes: (height, width) of each image in network pixels. edges: E pairs (i, j).
    points_i[e]: (H_i, W_i, 3), the pixels of image i in camera i's frame; points_j[e]: (H_j, W_j, 3), the pixels of
    image j in camera i's frame too; OpenCV axes, each edge in a scale of its own.
    confidence_i[e], confidence_j[e]: (H, W), from 1 upwards.
    """

    sizes: list[tuple[int, int]]
    edges: list[tuple[int, int]]
    points_i: list[Tensor]
    points_j: list[Tensor]
    confidence_i: list[Tensor]
    confidence_j: list[Tensor]

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.sizes)

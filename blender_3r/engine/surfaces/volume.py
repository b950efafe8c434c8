"""A truncated signed distance field around what the views see, in blocks: what is far from any surface has none.

Sources: B. Curless and M. Levoy, "A Volumetric Method for Building Complex Models from Range Images" (1996); blocks
after M. Niessner et al., "Real-time 3D Reconstruction at Scale using Voxel Hashing" (2013). Distances are those to the
plane through a pixel's point, not along its ray, so that slanted floors come out smooth.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from .grid import BLOCK, pack, unpack
from .mesh import Mesh
from .nets import extract
from .views import ViewMap

BYTES_PER_BLOCK = 8 * BLOCK**3  # distance and weight
_CHUNK = 1024  # blocks at a time
_OFFSETS = np.stack(np.meshgrid(*[np.arange(BLOCK)] * 3, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.float32)
_CORNERS = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float32)


def blocks_of(view: ViewMap, voxel: float, truncation: float) -> np.ndarray:
    """Sorted keys of the blocks within truncation (along the rays) of a view's points, and a voxel around that."""
    points = view.points[view.known]
    sight = points - view.centre
    sight /= np.linalg.norm(sight, axis=1, keepdims=True)
    reach = max(1, int(np.ceil(truncation / (voxel * BLOCK / 2))))
    found = []
    for share in np.linspace(-1, 1, 2 * reach + 1, dtype=np.float32):
        places = (points + share * np.float32(truncation) * sight) / np.float32(voxel)
        rough = np.unique(pack(np.floor(places / 2).astype(np.int64)))  # many pixels fall into one place
        middle = unpack(rough).astype(np.float32) * 2 + 1
        found += [np.unique(pack(np.floor((middle + 2 * c) / BLOCK).astype(np.int64))) for c in _CORNERS]
    return np.unique(np.concatenate(found))


class Volume:
    """blocks: sorted keys (b,). Distances are shares of the truncation, positive in front of surfaces."""

    def __init__(self, blocks: np.ndarray, voxel: float, truncation: float) -> None:
        """Raises MemoryError when there is no room for the blocks."""
        self.blocks, self.voxel, self.truncation = blocks, voxel, truncation
        self.distance = np.zeros((len(blocks), BLOCK**3), np.float32)
        self.weight = np.zeros((len(blocks), BLOCK**3), np.float32)

    def integrate(self, view: ViewMap, near: np.ndarray, check: Callable[[], None] = lambda: None) -> None:
        """Take a view in: around its points, and as empty space what it looks through.

        near: keys of the blocks around its points, all among self.blocks. check: called often, may raise.
        """
        index = np.searchsorted(self.blocks, near)
        for start in range(0, len(index), _CHUNK):
            check()
            self._add_surface(view, index[start : start + _CHUNK])
        others = np.setdiff1d(np.arange(len(self.blocks)), index, assume_unique=True)
        self._add_emptiness(view, others)

    def surface(self, least_weight: float = 0.0) -> Mesh:
        """Where the field is zero, in world units, without colours. Samples of no more than that weight are unknown."""
        side = (len(self.blocks), BLOCK, BLOCK, BLOCK)
        mesh = extract(self.blocks, self.distance.reshape(side), (self.weight > least_weight).reshape(side))
        return Mesh(mesh.vertices * np.float32(self.voxel), mesh.faces)

    def _add_surface(self, view: ViewMap, index: np.ndarray) -> None:
        origin = unpack(self.blocks[index]).astype(np.float32) * BLOCK
        points = ((origin[:, None] + _OFFSETS) * np.float32(self.voxel)).reshape(-1, 3)
        pixel, _ = view.locate(points)
        seen = np.flatnonzero(pixel >= 0)
        seen = seen[view.depth[pixel[seen]] > 0]
        pixel = pixel[seen]
        offset = points[seen] - view.points[pixel]
        share = np.einsum("ij,ij->i", offset, view.normals[pixel]) / np.float32(self.truncation)
        there = share > -1
        seen, pixel, share = seen[there], pixel[there], share[there]
        # Behind the surface a view knows less and less.
        weight = view.weight[pixel] * np.minimum(1, 1 + share)
        block, sample = np.divmod(seen, BLOCK**3)
        self._blend((index[block], sample), np.minimum(share, 1), weight)

    def _add_emptiness(self, view: ViewMap, index: np.ndarray) -> None:
        """Whole blocks that lie in front of everything the view sees around their middle."""
        half = np.float32(BLOCK * self.voxel / 2)
        middle = (unpack(self.blocks[index]).astype(np.float32) * BLOCK + (BLOCK - 1) / 2) * np.float32(self.voxel)
        pixel, z = view.locate(middle)
        # A pixel without depth says nothing, nor do those beside it.
        shape = (view.height, view.width)
        nearest = cv2.erode(view.depth.reshape(shape), np.ones((5, 5), np.uint8)).reshape(-1)
        clear = (pixel >= 0) & (nearest[pixel] - z > 2 * half + self.truncation)
        index, pixel = index[clear], pixel[clear]
        self._blend(index, np.float32(1), view.weight[pixel][:, None])

    def _blend(
        self, where: np.ndarray | tuple[np.ndarray, np.ndarray], value: np.ndarray | np.float32, weight: np.ndarray
    ) -> None:
        old = self.weight[where]
        total = old + weight
        share = weight / np.where(total > 0, total, 1)
        self.distance[where] += share * (value - self.distance[where])
        self.weight[where] = total

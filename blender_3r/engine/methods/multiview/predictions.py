"""What a pass over some views gives, whatever the network: cameras, depth, confidence. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ...geometry.similarity import Similarity
from .chunks import Chunk

FOLLOWED = ("view", "track", "xy", "sure")  # the arrays of Followed
JOINED_PIXELS = 16384  # of a view: about the most that joining is given


@dataclass(frozen=True)
class Followed:
    """Points that a network followed through views. view: (n,) which of the source's pictures. track: (n,) which
    point, counted within the pass. xy: (n, 2) pixels of the original frames, whose corner is at 0. sure: (n,) 0..1.
    """

    view: np.ndarray
    track: np.ndarray
    xy: np.ndarray
    sure: np.ndarray


@dataclass(frozen=True)
class Prediction:
    """n views in a world and scale of their own.

    views: their numbers among the source's pictures, ascending. world_from_camera: (n, 4, 4) rigid, nan where no pose
    was found. focals, principal_points: (n, 2) in x and y, pixels of the network's pictures, the first one's centre at
    0. depth: of each view, (h, w) float32 along z. confidence: of each view, (h, w) float32 in 0..1; kept: (h, w) bool,
    the pixels worth keeping by the model's own rule. extras: of each view, named arrays of the model's own, in the
    pass's world (see gaussians.py); followed: points followed, None where there are none.
    """

    views: list[int]
    world_from_camera: np.ndarray
    focals: np.ndarray
    principal_points: np.ndarray
    depth: list[np.ndarray]
    confidence: list[np.ndarray]
    kept: list[np.ndarray]
    extras: list[dict[str, np.ndarray]] = field(default_factory=list)
    followed: Followed | None = None

    @property
    def posed(self) -> np.ndarray:
        """(n,) bool: which views have a pose."""
        return np.isfinite(self.world_from_camera).all(axis=(1, 2))

    def local_points(self, k: int) -> np.ndarray:
        """(h, w, 3) of view number k of these, in its own camera's frame."""
        depth = self.depth[k]
        rows, columns = np.indices(depth.shape, dtype=np.float32)
        focal, center = self.focals[k], self.principal_points[k]
        x, y = (columns - center[0]) / focal[0], (rows - center[1]) / focal[1]
        return (np.stack([x, y, np.ones_like(x)], axis=-1) * depth[..., None]).astype(np.float32)

    def world_points(self, k: int) -> np.ndarray:
        """(h, w, 3) of view number k of these, in the world of the pass."""
        pose = self.world_from_camera[k]
        return self.local_points(k) @ pose[:3, :3].T + pose[:3, 3]

    def as_chunk(self) -> Chunk:
        """For joining: the views that have a pose, and of their pixels those that are kept; of large pictures some."""
        chosen = np.flatnonzero(self.posed)
        steps = [max(1, int((self.depth[k].size / JOINED_PIXELS) ** 0.5)) for k in chosen]
        every = [(slice(None, None, step), slice(None, None, step)) for step in steps]
        return Chunk(
            [self.views[k] for k in chosen],
            self.world_from_camera[chosen],
            [self.local_points(k)[part] for k, part in zip(chosen, every, strict=True)],
            [np.where(self.kept[k], self.confidence[k], 0)[part] for k, part in zip(chosen, every, strict=True)],
        )

    def moved(self, move: Similarity) -> Prediction:
        """The same, cameras and depth, in another world; extras stay as they are."""
        scale = np.float32(move.scale)
        return replace(
            self,
            world_from_camera=move.move_cameras(self.world_from_camera),
            depth=[scale * depth for depth in self.depth],
        )

"""A VGGT that knows the answer: true cameras, depth and tracks plus noise, each pass in a world and scale of its own.

It stands where the real one does, behind encode(), aggregate() and predict(), and recognises images by their pixels.
"""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import torch

from blender_3r.engine.geometry.pose_encoding import encode_pose
from blender_3r.engine.geometry.rotations import rotation_from_vector
from blender_3r.engine.methods.multiview.pictures import prepare_for_vggt
from blender_3r.engine.models.vggt import HEADS, VggtPrediction
from blender_3r.engine.models.vggt_track import Tracks
from tests.models.support.pair_scene import PairScene

ENLARGED = 2  # photos are that much larger than what the network sees


class TrueVggt:
    """Noise: depth, relative; turn in degrees and shift over the scale of a camera; tracks in pixels."""

    def __init__(
        self,
        scene: PairScene,
        photos: list[np.ndarray],
        depth: float = 0.01,
        turn: float = 0.0,
        shift: float = 0.0,
        tracks: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.scene, self.config = scene, SimpleNamespace(heads=HEADS)
        self.noise = SimpleNamespace(depth=depth, turn=turn, shift=shift, tracks=tracks)
        self.passes: list[list[int]] = []
        self._view = {
            prepare_for_vggt(photo, side=photo.shape[1] // ENLARGED).tensor.tobytes(): k
            for k, photo in enumerate(photos)
        }
        self._rng = np.random.default_rng(seed)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        view = self._view[images[0].numpy().tobytes()]
        return torch.full((1, 1, 1), float(view))

    def aggregate(self, patches: torch.Tensor, size: tuple[int, int]) -> SimpleNamespace:
        views = [int(view) for view in patches[0, :, 0, 0]]
        self.passes.append(views)
        return SimpleNamespace(views=views, size=size)

    def predict(self, aggregated, heads, query_points: torch.Tensor | None = None) -> VggtPrediction:
        views, size = aggregated.views, aggregated.size
        if heads == ("track",):
            return VggtPrediction(*[None] * 5, self._follow(views, query_points[0].numpy()))
        scale = np.exp(0.5 * self._rng.normal())
        first = np.linalg.inv(self.scene.world_from_camera[views[0]])
        poses = np.stack([first @ self.scene.world_from_camera[view] for view in views])
        poses[:, :3, :3] = poses[:, :3, :3] @ rotation_from_vector(
            np.radians(self.noise.turn) * self._rng.normal(size=(len(views), 3))
        )
        poses[:, :3, 3] += self.noise.shift * self._rng.normal(size=(len(views), 3))
        poses[:, :3, 3] *= scale
        matrices = np.zeros((len(views), 3, 3))
        matrices[:, 0, 0] = matrices[:, 1, 1] = self.scene.focals[views]
        encoding = encode_pose(np.linalg.inv(poses), matrices, size)
        depth = np.stack([self.scene.depth[view] for view in views])
        depth = scale * depth * (1 + self.noise.depth * self._rng.normal(size=depth.shape))
        confidence = self._rng.uniform(3, 9, depth.shape)
        return VggtPrediction(
            *(torch.from_numpy(v.astype(np.float32))[None] for v in (encoding, depth, confidence)), None, None
        )

    def _follow(self, views: list[int], queries: np.ndarray) -> Tracks:
        """True places of the first view's points in all views; seen where nothing is in front."""
        x, y = np.rint(queries).astype(int).T
        depth = self.scene.depth[views[0]][y, x]
        points = self._rays(views[0], np.stack([x, y], axis=-1)) * depth[:, None]
        pose = self.scene.world_from_camera[views[0]]
        world = points @ pose[:3, :3].T + pose[:3, 3]
        positions, seen = [], []
        for view in views:
            inverse = np.linalg.inv(self.scene.world_from_camera[view])
            local = world @ inverse[:3, :3].T + inverse[:3, 3]
            height, width = self.scene.depth[view].shape
            xy = self.scene.focals[view] * local[:, :2] / local[:, 2:] + np.array([width / 2, height / 2])
            column, row = np.clip(np.rint(xy).astype(int), 0, [width - 1, height - 1]).T
            seen.append(np.abs(local[:, 2] / self.scene.depth[view][row, column] - 1) < 0.05)
            positions.append(xy + self.noise.tracks * self._rng.normal(size=xy.shape))
        positions[0] = np.stack([x, y], axis=-1).astype(np.float64)
        place, sure = (torch.from_numpy(np.stack(v).astype(np.float32))[None] for v in (positions, seen))
        return Tracks(place, sure, torch.ones_like(sure), place[None])

    def _rays(self, view: int, pixels: np.ndarray) -> np.ndarray:
        height, width = self.scene.depth[view].shape
        moved = (pixels - np.array([width / 2, height / 2])) / self.scene.focals[view]
        return np.concatenate([moved, np.ones((len(moved), 1))], axis=1)


def textured_photos(scene: PairScene, seed: int = 0) -> list[np.ndarray]:
    """Noise with corners all over, another for each view."""
    rng = np.random.default_rng(seed)
    photos = []
    for depth in scene.depth:
        height, width = depth.shape
        coarse = rng.integers(0, 255, (height // 4, width // 4, 3)).astype(np.uint8)
        photos.append(cv2.resize(coarse, (ENLARGED * width, ENLARGED * height), interpolation=cv2.INTER_CUBIC))
    return photos

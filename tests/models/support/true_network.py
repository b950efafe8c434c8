"""A network that knows the answer: true pointmaps plus noise, and descriptors that mean places in the world.

It stands where a real one does, behind encode() and predict(), and recognises images by their pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import torch

from blender_3r.engine.methods.pairwise.pictures import prepare
from blender_3r.engine.models.dust3r import Encoded
from blender_3r.engine.models.outputs import ViewPrediction
from tests.models.support.pair_scene import PairScene

PATCH = 16
CHANNELS = 24
ENLARGED = 1.5  # photos are that much larger than what the network sees
MARGIN = 4  # rows of the scaled photo above and below the network's picture


class TrueNetwork:
    """encoded: how often each view was encoded. decoded: the pairs asked for, in order.

    groups: a number per view; views of different groups see nothing of each other. largest_batch: larger ones run out
    of memory. noise: standard deviation of each coordinate over the depth. scales: whether each pair has its own scale.
    """

    def __init__(
        self,
        scene: PairScene,
        images: list[np.ndarray],
        size: int,
        noise: float = 0.02,
        groups: list[int] | None = None,
        scales: bool = True,
        largest_batch: int | None = None,
        descriptors: bool = True,
        seed: int = 0,
    ) -> None:
        self.scene, self.noise, self.scales = scene, noise, scales
        self.groups = groups or [0] * len(images)
        self.largest_batch, self.descriptors = largest_batch, descriptors
        self.encoded: Counter[int] = Counter()
        self.decoded: list[tuple[int, int]] = []
        self._view = {prepare(image, size).tensor.tobytes(): k for k, image in enumerate(images)}
        self._rng = np.random.default_rng(seed)
        self._waves = self._rng.normal(size=(3, CHANNELS)) * 2.0, self._rng.uniform(0, 2 * np.pi, CHANNELS)

    def encode(self, images: torch.Tensor) -> Encoded:
        views = [self._view[image.numpy().tobytes()] for image in images]
        self.encoded.update(views)
        rows, columns = images.shape[-2] // PATCH, images.shape[-1] // PATCH
        grid = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
        tokens = torch.tensor(views, dtype=torch.float32)[:, None, None].expand(-1, rows * columns, 4).contiguous()
        return Encoded(tokens, grid[None].repeat(len(images), 1, 1), (rows, columns))

    def predict(self, first: Encoded, second: Encoded) -> tuple[ViewPrediction, ViewPrediction]:
        if self.largest_batch is not None and len(first.tokens) > self.largest_batch:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        pairs = [(int(i), int(j)) for i, j in zip(first.tokens[:, 0, 0], second.tokens[:, 0, 0])]
        self.decoded += pairs
        sides = zip(*(self._pair(i, j) for i, j in pairs))
        return tuple(ViewPrediction(*(_stacked(maps) for maps in zip(*side))) for side in sides)

    def _pair(self, i: int, j: int) -> tuple[tuple, tuple]:
        scale = self._rng.uniform(0.5, 2.0) if self.scales else 1.0
        camera = np.linalg.inv(self.scene.world_from_camera[i])
        overlap = self.groups[i] == self.groups[j]
        return tuple(self._view_of(k, camera, scale, overlap or k == i) for k in (i, j))

    def _view_of(self, k: int, camera: np.ndarray, scale: float, is_seen: bool) -> tuple:
        world = world_points(self.scene, k)
        points = world @ camera[:3, :3].T + camera[:3, 3]
        noise = self.noise * self.scene.depth[k][..., None] * self._rng.normal(size=points.shape)
        confidence = self._rng.uniform(5, 9, points.shape[:2])
        if not is_seen:
            noise, confidence = noise + self._rng.normal(size=points.shape), np.full(points.shape[:2], 1.0001)
        values = [scale * (points + noise), confidence]
        if self.descriptors:
            waves, phases = self._waves
            features = np.cos(world @ waves + phases)
            values += [features / np.linalg.norm(features, axis=-1, keepdims=True), 0.5 * confidence]
            if not is_seen:
                values[2] = _unit(self._rng.normal(size=features.shape))
        return tuple(values)


def world_points(scene: PairScene, k: int) -> np.ndarray:
    """(H, W, 3) of view k."""
    depth, pose = scene.depth[k], scene.world_from_camera[k]
    height, width = depth.shape
    v, u = np.indices(depth.shape)
    rays = np.stack([(u - width / 2) / scene.focals[k], (v - height / 2) / scene.focals[k], np.ones_like(depth)], -1)
    return (depth[..., None] * rays) @ pose[:3, :3].T + pose[:3, 3]


def make_photos(scene: PairScene, seed: int = 0) -> list[np.ndarray]:
    """Smooth noise, another for each view: larger than what the network sees, of which some rows are cut off."""
    rng = np.random.default_rng(seed)
    photos = []
    for depth in scene.depth:
        height, width = depth.shape
        size = [round(ENLARGED * width), round(ENLARGED * height)]
        size[0 if height > width else 1] += round(ENLARGED * 2 * MARGIN)
        photos.append(cv2.resize(rng.integers(0, 255, (12, 16, 3)).astype(np.uint8), size))
    return photos


def write_photos(folder: Path, photos: list[np.ndarray], name: str = "photo_{:02d}.png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for k, photo in enumerate(photos):
        (folder / name.format(k)).write_bytes(cv2.imencode(".png", photo[..., ::-1])[1].tobytes())
    return folder


@contextmanager
def as_loaded(network: object) -> Iterator[object]:
    """What network.loaded() is to a job."""
    yield network


def _stacked(maps: tuple) -> torch.Tensor:
    return torch.from_numpy(np.stack(maps).astype(np.float32))


def _unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=-1, keepdims=True)

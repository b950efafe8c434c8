"""A stand-in for MASt3R: the pairs of a PairScene with descriptors that only depend on the place in the world."""

from __future__ import annotations

import numpy as np
import torch

from blender_3r.engine.methods.pairwise.sparse import SparseCollector
from blender_3r.engine.models.outputs import ViewPrediction
from tests.models.support.pair_scene import PairScene

CHANNELS = 24


def described(scene: PairScene, seed: int = 0) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Descriptors (H, W, 24), unit length, and their confidences (H, W) of each view; the sky is noise."""
    rng = np.random.default_rng(seed)
    middle = np.median(np.concatenate([depth[depth > 0] for depth in scene.depth]))
    waves = rng.normal(size=(3, CHANNELS)) * 6.0 / middle
    phases = rng.uniform(0, 2 * np.pi, CHANNELS)
    descriptors, confidences = [], []
    for pose, focal, depth in zip(scene.world_from_camera, scene.focals, scene.depth):
        rows, columns = np.indices(depth.shape)
        local = np.stack(
            [columns - depth.shape[1] / 2, rows - depth.shape[0] / 2, np.full(depth.shape, focal)], axis=-1
        )
        world = local / focal * depth[..., None] @ pose[:3, :3].T + pose[:3, 3]
        features = np.cos(world @ waves + phases)
        sky = depth <= 0
        features[sky] = rng.normal(size=(np.count_nonzero(sky), CHANNELS))
        features /= np.linalg.norm(features, axis=-1, keepdims=True)
        descriptors.append(torch.from_numpy(features.astype(np.float32)))
        confidences.append(torch.from_numpy(np.where(sky, 0.01, 8.0).astype(np.float32)))
    return descriptors, confidences


def view_pairs(scene: PairScene) -> dict[tuple[int, int], tuple[ViewPrediction, ViewPrediction]]:
    """(i, j) -> views of i and of j as predicted with i first; all in the scale of the world, like a metric network."""
    descriptors, confidences = described(scene)
    data = scene.predictions
    pairs = {}
    for e, (i, j) in enumerate(data.edges):
        seen = torch.from_numpy(scene.depth[i] > 0)
        scale = (data.points_i[e][..., 2][seen] / torch.from_numpy(scene.depth[i])[seen]).median().float()
        pairs[i, j] = (
            ViewPrediction(data.points_i[e] / scale, data.confidence_i[e], descriptors[i], confidences[i]),
            ViewPrediction(data.points_j[e] / scale, data.confidence_j[e], descriptors[j], confidences[j]),
        )
    return pairs


def collect(scene: PairScene, skipped: set[tuple[int, int]] = frozenset(), **options: object) -> SparseCollector:
    """All pairs of a scene but the skipped ones (i, j), i > j, given to a collector."""
    collector = SparseCollector(scene.predictions.sizes, **options)
    pairs = view_pairs(scene)
    for i, j in pairs:
        if i > j and (i, j) not in skipped:
            collector.add_pair(i, j, pairs[i, j], pairs[j, i])
    return collector

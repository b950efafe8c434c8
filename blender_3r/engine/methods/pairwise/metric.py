"""Metres for a scene whose alignment has a scale of its own, from pairs that were predicted in metres."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .alignment.scene import Scene
from .predictions import PairPredictions

_STEP = 8  # every so many pixels in both directions are enough for a median
_SURE = 0.5  # share of a view's pixels, the surest, that are asked


def metric_scale(scene: Scene, predictions: PairPredictions) -> float:
    """The factor that makes the scene as large as its pairs say: the median over pairs of the median over pixels of
    the first view's predicted depth over the scene's. 1 where no pair can tell.
    """
    ratios = []
    for edge, (i, _) in enumerate(predictions.edges):
        depth = scene.depth[i][::_STEP, ::_STEP]
        predicted = predictions.points_i[edge][::_STEP, ::_STEP, 2].cpu().numpy()
        confidence = predictions.confidence_i[edge][::_STEP, ::_STEP].cpu().numpy()
        good = (depth > 0) & (predicted > 0) & np.isfinite(predicted) & (confidence >= np.quantile(confidence, _SURE))
        if good.any():
            ratios.append(np.median(predicted[good] / depth[good]))
    return float(np.median(ratios)) if ratios else 1.0


def scaled(scene: Scene, factor: float) -> Scene:
    """The scene, cameras and depth, that many times as large."""
    poses = scene.world_from_camera.copy()
    poses[:, :3, 3] *= factor
    return replace(scene, world_from_camera=poses, depth=[values * np.float32(factor) for values in scene.depth])

"""One or two images: cameras and depth straight from the predictions, without an optimisation.

Source: specs/dust3r.md section 5.4.
"""

from __future__ import annotations

import numpy as np

from ....geometry.focal import estimate_focal
from ..predictions import PairPredictions
from .pnp import pose_from_points
from .scene import Scene

ROUNDS = 100


def view_pair(predictions: PairPredictions, min_confidence: float = 3.0) -> Scene:
    """The scene of one image (a pair with itself) or of two (both directions; one suffices).

    The camera of the stronger pair's first view is the world. min_confidence: pixels above it take part in the other
    camera's pose, which stays at the world's when none is found. Raises ValueError for more images or no pair.
    """
    if predictions.count == 1 and predictions.edges:
        return _view_single(predictions)
    edges = {edge: number for number, edge in enumerate(predictions.edges) if edge[0] != edge[1]}
    if predictions.count != 2 or not edges:
        raise ValueError(f"{predictions.count} images with {len(predictions.edges)} pairs")
    confidence = _highest(predictions, list(edges.values()))
    focals = [_focal(predictions, edges, image) for image in (0, 1)]
    scores = [_score(predictions, edges, image) for image in (0, 1)]
    world = 0 if scores[0] > scores[1] else 1
    other = 1 - world
    if focals[other] is None and max(predictions.sizes[0]) == max(predictions.sizes[1]):
        focals[other] = focals[world]  # most likely the same camera, and closer than a row of focals tried on points
    edge = edges[(world, other)]
    points = predictions.points_j[edge].cpu().numpy()
    found = pose_from_points(points, confidence[other] > min_confidence, focals[other], rounds=ROUNDS)
    if focals[other] is None:
        focals[other] = float(max(points.shape[:2])) if found is None else found.focal
    poses = np.tile(np.eye(4), (2, 1, 1))
    if found is not None:
        poses[other] = found.world_from_camera
    depth: list[np.ndarray] = [np.zeros(0)] * 2
    depth[world] = predictions.points_i[edge].cpu().numpy()[..., 2].copy()
    depth[other] = ((points - poses[other, :3, 3]) @ poses[other, :3, 2]).astype(np.float32)
    return _scene(predictions, poses, focals, depth, confidence)


def _view_single(predictions: PairPredictions) -> Scene:
    points = predictions.points_i[0].cpu().numpy()
    confidence = _highest(predictions, list(range(len(predictions.edges))))
    return _scene(predictions, np.eye(4)[None], [estimate_focal(points)], [points[..., 2].copy()], confidence)


def _score(predictions: PairPredictions, edges: dict[tuple[int, int], int], image: int) -> float:
    """Strength of the pair with this image first, below all others when there is none."""
    edge = edges.get((image, 1 - image))
    if edge is None:
        return -1.0
    return float(predictions.confidence_i[edge].mean() * predictions.confidence_j[edge].mean())


def _focal(predictions: PairPredictions, edges: dict[tuple[int, int], int], image: int) -> float | None:
    """From the image's points in its own frame; None when no pair has them."""
    edge = edges.get((image, 1 - image))
    return None if edge is None else estimate_focal(predictions.points_i[edge].cpu().numpy())


def _highest(predictions: PairPredictions, edges: list[int]) -> list[np.ndarray]:
    """Per image and pixel the highest confidence over these pairs and both roles."""
    highest = [np.zeros(size, dtype=np.float32) for size in predictions.sizes]
    for edge in edges:
        i, j = predictions.edges[edge]
        np.maximum(highest[i], predictions.confidence_i[edge].cpu().numpy(), out=highest[i])
        np.maximum(highest[j], predictions.confidence_j[edge].cpu().numpy(), out=highest[j])
    return highest


def _scene(
    predictions: PairPredictions,
    poses: np.ndarray,
    focals: list[float],
    depth: list[np.ndarray],
    confidence: list[np.ndarray],
) -> Scene:
    centers = np.array([[width / 2, height / 2] for height, width in predictions.sizes])
    return Scene(poses, np.array(focals, dtype=np.float64), centers, depth, confidence)

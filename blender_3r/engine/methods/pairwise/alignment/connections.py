"""Which images pairs connect, how strongly, and along which tree."""

from __future__ import annotations

import numpy as np
import torch

from ..predictions import PairPredictions


def edge_scores(predictions: PairPredictions) -> np.ndarray:
    """(E,) float64: the product of the mean confidences of a pair's two views; 0 where one is not finite."""
    sides = [[float(value.mean()) for value in side] for side in (predictions.confidence_i, predictions.confidence_j)]
    scores = np.prod(np.array(sides, dtype=np.float64).reshape(2, -1), axis=0)
    return np.where(np.isfinite(scores), scores, 0.0)


def spanning_tree(count: int, edges: list[tuple[int, int]], scores: np.ndarray) -> list[int]:
    """Numbers of the edges of the maximum spanning tree (or forest), strongest first.

    Of two edges between the same images the stronger is used, in its direction. Pairs of an image with itself never
    belong to it.
    """
    group = list(range(count))

    def root(image: int) -> int:
        while group[image] != image:
            group[image] = group[group[image]]
            image = group[image]
        return image

    tree = []
    for number in np.argsort(-scores, kind="stable").tolist():
        i, j = (root(image) for image in edges[number])
        if i != j:
            group[i] = j
            tree.append(number)
    return tree


def joining(predictions: PairPredictions, confidence: float, share: float) -> np.ndarray:
    """(E,) bool: pairs in which at least `share` of the pixels of both views have at least this confidence.

    Views that do not overlap have next to no such pixels in the view that is predicted in the other's frame.
    """
    rows = []
    for of_i, of_j in zip(predictions.confidence_i, predictions.confidence_j):
        rows.append(min(float((value >= confidence).float().mean()) for value in (of_i, of_j)) >= share)
    return np.array(rows, dtype=bool)


def connected_parts(predictions: PairPredictions, confidence: float, share: float) -> list[list[int]]:
    """The images in parts that pairs connect, the largest part first, images in ascending order.

    confidence, share: what a pair needs to connect, see joining(). Of parts of the same size the one with the
    strongest pairs comes first.
    """
    edges = [edge for edge, joins in zip(predictions.edges, joining(predictions, confidence, share)) if joins]
    label = np.arange(predictions.count)
    for number in spanning_tree(predictions.count, edges, np.zeros(len(edges))):
        i, j = edges[number]
        label[label == label[i]] = label[j]
    parts = [np.flatnonzero(label == name).tolist() for name in np.unique(label)]
    scores = edge_scores(predictions)
    strength = [sum(s for (i, j), s in zip(predictions.edges, scores) if i in part and j in part) for part in parts]
    order = sorted(range(len(parts)), key=lambda k: (-len(parts[k]), -strength[k], parts[k][0]))
    return [parts[k] for k in order]


def select_images(predictions: PairPredictions, images: list[int]) -> PairPredictions:
    """The predictions of the pairs among some of the images, which are numbered anew in the order given."""
    position = {image: number for number, image in enumerate(images)}
    kept = [e for e, (i, j) in enumerate(predictions.edges) if i in position and j in position]

    def chosen(rows: list[torch.Tensor]) -> list[torch.Tensor]:
        return [rows[e] for e in kept]

    return PairPredictions(
        sizes=[predictions.sizes[image] for image in images],
        edges=[(position[predictions.edges[e][0]], position[predictions.edges[e][1]]) for e in kept],
        points_i=chosen(predictions.points_i),
        points_j=chosen(predictions.points_j),
        confidence_i=chosen(predictions.confidence_i),
        confidence_j=chosen(predictions.confidence_j),
    )

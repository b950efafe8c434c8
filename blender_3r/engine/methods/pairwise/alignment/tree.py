"""Grows a scene along the spanning tree of the pairs: every image's points in one world.

Source: DUSt3R; specs/dust3r.md section 5.6, steps 1 to 4.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from ....errors import EngineError
from ....geometry.focal import estimate_focal
from ....geometry.similarity import fit_similarity
from ..predictions import PairPredictions
from .connections import edge_scores, spanning_tree
from .scene import AlignSettings


@dataclass
class Growth:
    """edges: all pairs; points_i, points_j (H, W, 3) and confidence_i, confidence_j (H, W) of each, as arrays.

    points: per image (H, W, 3) in the world. poses: per image (4, 4) world_from_camera or None. focals: per image in
    pixels or None. centers: per image a known principal point or None. order: the tree's pairs as they were used.
    """

    edges: list[tuple[int, int]]
    points_i: list[np.ndarray]
    points_j: list[np.ndarray]
    confidence_i: list[np.ndarray]
    confidence_j: list[np.ndarray]
    points: list[np.ndarray]
    poses: list[np.ndarray | None]
    focals: list[float | None]
    centers: list[np.ndarray | None]
    order: list[tuple[int, int]]


def grow(predictions: PairPredictions, settings: AlignSettings, scores: np.ndarray | None = None) -> Growth:
    """The scene along the tree from its strongest pair on; raises EngineError "unsolved" when pairs do not connect all.

    Images that are never the first of a pair used have no pose yet, and those never the first of any pair no focal.
    """
    count, edges = predictions.count, predictions.edges
    scores = edge_scores(predictions) if scores is None else scores
    tree = spanning_tree(count, edges, scores)
    if not tree or len(tree) < count - 1:
        raise EngineError("unsolved", "The pairs do not connect all images.", "Use a graph with more pairs.")
    arrays = [
        [value.detach().cpu().numpy() for value in side]
        for side in (predictions.points_i, predictions.points_j, predictions.confidence_i, predictions.confidence_j)
    ]
    growth = Growth(list(edges), *arrays, [None] * count, [None] * count, _known(settings, count), [], [])
    growth.centers = _centers(settings, count)
    _follow(growth, tree, settings.published_start)
    for edge in np.argsort(-scores, kind="stable").tolist():
        _set_focal(growth, edges[edge][0], edge)
    return growth


def _known(settings: AlignSettings, count: int) -> list[float | None]:
    """Focals to begin with. The published start looks at known ones only when it is through."""
    known = settings.known_focals
    if known is None or settings.published_start:
        return [None] * count
    return [float(focal) if np.isfinite(focal) else None for focal in known]


def _centers(settings: AlignSettings, count: int) -> list[np.ndarray | None]:
    known = settings.known_principal_points
    if known is None or settings.published_start:
        return [None] * count
    return [center if np.isfinite(center).all() else None for center in np.asarray(known)]


def _follow(growth: Growth, tree: list[int], published: bool) -> None:
    """Place all images, pair by pair; a pair with no image placed yet waits behind the weakest."""
    queue = deque(tree)
    used = queue.popleft()
    i, j = growth.edges[used]
    growth.points[i], growth.points[j] = growth.points_i[used], growth.points_j[used]
    growth.poses[i] = np.eye(4)
    growth.order.append((i, j))
    _set_focal(growth, i, used)
    while queue:
        edge = queue.popleft()
        i, j = growth.edges[edge]
        _set_focal(growth, i, used if published else edge)
        if growth.points[i] is not None:
            source, target, weights = growth.points_i[edge], growth.points[i], growth.confidence_i[edge]
        elif growth.points[j] is not None:
            source, target, weights = growth.points_j[edge], growth.points[j], growth.confidence_j[edge]
        else:
            queue.append(edge)
            continue
        moved = fit_similarity(source.reshape(-1, 3), target.reshape(-1, 3), weights.reshape(-1))
        if growth.points[i] is None:
            growth.points[i] = moved.apply(growth.points_i[edge])
        else:
            growth.points[j] = moved.apply(growth.points_j[edge])
        if growth.poses[i] is None:
            growth.poses[i] = np.eye(4)
            growth.poses[i][:3, :3], growth.poses[i][:3, 3] = moved.rotation, moved.translation
        growth.order.append((i, j))
        used = edge


def _set_focal(growth: Growth, image: int, edge: int) -> None:
    """The focal of an image that has none, from the first view of a pair."""
    if growth.focals[image] is not None:
        return
    focal = estimate_focal(growth.points_i[edge], growth.centers[image])
    height, width = growth.points_i[edge].shape[:2]
    growth.focals[image] = focal if np.isfinite(focal) and focal > 0 else float(max(height, width))

"""Where an alignment starts: parameters from a spanning tree of the pairs, or from poses that are known.

Source: DUSt3R (arXiv 2312.14132) section 3.3; specs/dust3r.md sections 5.6 to 5.8.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ....errors import EngineError
from ....geometry.similarity import Similarity, fit_cameras, fit_similarity
from ..predictions import PairPredictions
from .pnp import pose_from_points
from .problem import (
    CENTER_CODE,
    FOCAL_CODE,
    LOG_MEAN_SCALE,
    Parameters,
    Problem,
    encode_poses,
    encode_translation,
    quaternions,
)
from .scene import AlignSettings
from .tree import Growth, grow


@dataclass
class Start:
    """Initial parameters, and what of them an alignment may change.

    normalized: the pairs' scales are to keep their mean, which fixes the scale of the scene; false when poses are
    known. free_poses: (n,) bool; free_focals: (n,) or (1,) bool. order: the tree's pairs (i, j) as they were used.
    poses, points: before the scale is normalised, (n, 4, 4) and per image (H, W, 3); empty for a start from known
    poses. by_points: images whose pose comes from PnP. searches: how many PnP problems were solved.
    """

    parameters: Parameters
    normalized: bool
    free_poses: Tensor
    free_focals: Tensor
    order: list[tuple[int, int]] = field(default_factory=list)
    poses: np.ndarray = field(default_factory=lambda: np.zeros((0, 4, 4)))
    points: list[np.ndarray] = field(default_factory=list)
    by_points: list[int] = field(default_factory=list)
    searches: int = 0


def make_start(
    predictions: PairPredictions, problem: Problem, settings: AlignSettings, scores: np.ndarray | None = None
) -> Start:
    """The start that the settings ask for. scores: (E,) how strong each pair is, from the predictions when None.

    Raises EngineError: "unsolved" when the pairs do not connect the images or predict nothing usable, "usage" when
    what is known does not suffice for it (a single pose; not all poses and focals for a start from known poses).
    """
    if not (problem.weights_i.any() and problem.weights_j.any()):
        raise EngineError(
            "unsolved", "The pairs predict no points an alignment could use.", "Use other images or another model."
        )
    settings.check_known(problem.count)
    known = _known_images(settings.known_poses)
    if settings.start == "known_poses":
        return _start_from_poses(predictions, problem, settings, known)
    if len(known) == 1:
        raise EngineError("usage", "Only one camera's pose is known.", "Give none, or two or more.")
    return _start_from_tree(predictions, problem, settings, known, scores)


def _known_images(poses: np.ndarray | None) -> list[int]:
    return [] if poses is None else np.flatnonzero(np.isfinite(poses).all(axis=(1, 2))).tolist()


def _start_from_tree(
    predictions: PairPredictions,
    problem: Problem,
    settings: AlignSettings,
    known: list[int],
    scores: np.ndarray | None,
) -> Start:
    growth = grow(predictions, settings, scores)
    searches, by_points = _pose_the_rest(growth, problem, settings)
    poses, points = np.stack(growth.poses), growth.points
    if known:
        moved = fit_cameras(poses[known], np.asarray(settings.known_poses)[known])
        poses, points = moved.move_cameras(poses), [moved.apply(value) for value in points]
    pairs = [
        fit_similarity(p.reshape(-1, 3), points[i].reshape(-1, 3), c.reshape(-1))
        for (i, _), p, c in zip(growth.edges, growth.points_i, growth.confidence_i)
    ]
    scale = 1.0 if known else float(np.exp(LOG_MEAN_SCALE - np.mean([np.log(pair.scale) for pair in pairs])))
    scaled = poses.copy()
    scaled[:, :3, 3] *= scale
    depth = [_depth(pose, scale * value) for pose, value in zip(scaled, points)]
    start = _start(problem, settings, known, scaled, np.array(growth.focals), depth, pairs)
    start.order, start.poses, start.points = growth.order, poses, points
    start.by_points, start.searches = by_points, searches
    return start


def _pose_the_rest(growth: Growth, problem: Problem, settings: AlignSettings) -> tuple[int, list[int]]:
    """Poses from world points for images the tree gave none; (number of PnP problems solved, these images)."""
    searches, by_points = 0, []
    for image, pose in enumerate(growth.poses):
        if pose is not None:
            continue
        height, width = growth.points[image].shape[:2]
        usable = problem.image(problem.confidence[image], image).cpu().numpy() > settings.min_confidence
        center = None if settings.published_start else growth.centers[image]
        focal = growth.focals[image]
        if focal is None and not settings.published_start:
            focal = _focal_of_alike(growth, image)
        found = pose_from_points(growth.points[image], usable, focal, center)
        searches += 1
        by_points.append(image)
        growth.poses[image] = np.eye(4) if found is None else found.world_from_camera
        if growth.focals[image] is None:
            growth.focals[image] = float(max(height, width)) if found is None else found.focal
    return searches, by_points


def _focal_of_alike(growth: Growth, image: int) -> float | None:
    """The median focal of images as large: a closer guess than a row of focals tried on points; None without such."""
    side = max(growth.points[image].shape[:2])
    alike = [f for f, points in zip(growth.focals, growth.points) if f is not None and max(points.shape[:2]) == side]
    return float(np.median(alike)) if alike else None


def _start_from_poses(
    predictions: PairPredictions, problem: Problem, settings: AlignSettings, known: list[int]
) -> Start:
    """Each pair put on its two known poses; depth from each image's most confident pair."""
    focals = settings.known_focals
    if len(known) < problem.count or focals is None or not np.isfinite(focals).all():
        raise EngineError(
            "usage", "A start from known poses needs all poses and all focal lengths.", "Use the other start."
        )
    poses = np.asarray(settings.known_poses, dtype=np.float64)
    centers = _known_centers(problem, settings)
    pairs, best, depth = [], {}, {}
    for e, (i, j) in enumerate(predictions.edges):
        points_i, points_j = (value[e].cpu().numpy() for value in (predictions.points_i, predictions.points_j))
        lens = i if settings.published_start else j
        found = pose_from_points(points_j, np.ones(points_j.shape[:2], bool), float(focals[lens]), centers[lens])
        relative = np.stack([np.eye(4), np.eye(4) if found is None else found.world_from_camera])
        pair = fit_cameras(relative, poses[[i, j]])
        pairs.append(pair)
        score = float(predictions.confidence_i[e].mean())
        if score > best.get(i, -np.inf):
            best[i], depth[i] = score, points_i[..., 2] * float(pair.scale)
        if j not in best and j not in depth:  # only until a pair has it first
            depth[j] = _depth(poses[j], pair.apply(points_j))
    missing = [image for image in range(problem.count) if image not in depth]
    if missing:
        raise EngineError("unsolved", f"No pair holds image {missing[0] + 1}.", "Use a graph that reaches every image.")
    depths = [depth[image] for image in range(problem.count)]
    return _start(problem, settings, known, poses, np.asarray(focals, dtype=np.float64), depths, pairs)


def _depth(pose: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(H, W): z of world points in the camera."""
    return (points - pose[:3, 3]) @ pose[:3, 2]


def _known_centers(problem: Problem, settings: AlignSettings) -> np.ndarray:
    """(n, 2) principal points, the middle of the image where none is known."""
    middle = problem.centers.cpu().numpy().astype(np.float64)
    known = settings.known_principal_points
    return middle if known is None else np.where(np.isfinite(known), known, middle)


def _start(
    problem: Problem,
    settings: AlignSettings,
    known: list[int],
    poses: np.ndarray,
    focals: np.ndarray,
    depth: list[np.ndarray],
    pairs: list[Similarity],
) -> Start:
    """Everything in the coding of Parameters; what is known replaces what was found."""
    device = problem.points_i.device
    count = problem.count
    poses = poses.copy()
    if known:
        poses[known] = np.asarray(settings.known_poses)[known]
    given = np.full(count, np.nan) if settings.known_focals is None else np.asarray(settings.known_focals, np.float64)
    has_focal = np.isfinite(given)
    if settings.shared_focal:
        focals = np.array([given[has_focal].mean() if has_focal.any() else focals.mean()])
        free_focals = torch.tensor([not has_focal.any()])
    else:
        focals = np.where(has_focal, given, focals)
        free_focals = torch.from_numpy(~has_focal)
    log_depth = torch.zeros_like(problem.confidence)
    for image, values in enumerate(depth):
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.nan_to_num(np.log(values.reshape(-1)), nan=0.0, posinf=0.0, neginf=0.0)
        log_depth[image, : logs.size] = torch.from_numpy(logs).to(log_depth)
    free_poses = torch.ones(count, dtype=torch.bool)
    free_poses[known] = False
    centers = (_known_centers(problem, settings) - problem.centers.cpu().numpy()) / CENTER_CODE
    parameters = Parameters(
        _pair_poses(pairs),
        encode_poses(torch.from_numpy(poses)),
        log_depth,
        torch.from_numpy(FOCAL_CODE * np.log(focals))[:, None],
        torch.from_numpy(centers),
    )
    return Start(
        parameters.map(lambda value: value.float().to(device)),
        normalized=not known,
        free_poses=free_poses.to(device),
        free_focals=free_focals.to(device),
    )


def _pair_poses(pairs: list[Similarity]) -> Tensor:
    scales = torch.from_numpy(np.array([pair.scale for pair in pairs]))
    rotations = torch.from_numpy(np.stack([pair.rotation for pair in pairs]))
    translations = torch.from_numpy(np.stack([pair.translation for pair in pairs])) / scales[:, None]
    return torch.cat([quaternions(rotations), encode_translation(translations), scales.log()[:, None]], dim=1)

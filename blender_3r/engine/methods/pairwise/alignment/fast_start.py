"""Where the fast aligner begins: the pairs joined along the strongest tree, on the sampled pixels only."""

from __future__ import annotations

import cv2
import numpy as np

from ....errors import EngineError
from ....geometry.similarity import Similarity, fit_cameras, fit_similarity
from ..predictions import PairPredictions
from .connections import edge_scores, spanning_tree
from .fast_sample import ImageSample, Role
from .fast_variables import Variables, known_rows, normalized
from .scene import AlignSettings, Check, no_check

REWEIGHTINGS = 5  # of each similarity, from squares towards distances: streamers and wrong pairs lose their pull
FOCAL_ROUNDS = 10
# Focals tried, in units of max(W, H), where no pair shows an image in its own frame.
FOCALS_TRIED = np.geomspace(0.5, 3.0, 21)
PNP_POINTS = 500


class Views:
    """The samples on the processor in float64, looked up by pair and role."""

    def __init__(self, samples: list[ImageSample], roles: list[list[Role]]) -> None:
        self.points: dict[tuple[int, bool], np.ndarray] = {}
        self.weights: dict[tuple[int, bool], np.ndarray] = {}
        self.pixels = [sample.pixels.cpu().double().numpy() for sample in samples]
        for sample, own in zip(samples, roles):
            points, weights = sample.points.mT.cpu().double().numpy(), sample.weights.cpu().double().numpy()
            for number, role in enumerate(own):
                self.points[role.pair, role.second] = points[number]
                self.weights[role.pair, role.second] = weights[number]

    def whole(self, pair: int) -> tuple[np.ndarray, np.ndarray]:
        """(points, weights) of both images of a pair, one after the other."""
        both = (pair, False), (pair, True)
        return np.concatenate([self.points[key] for key in both]), np.concatenate([self.weights[key] for key in both])


def start(
    predictions: PairPredictions,
    samples: list[ImageSample],
    roles: list[list[Role]],
    settings: AlignSettings,
    check_cancelled: Check = no_check,
) -> Variables:
    """Cameras and pairs from the strongest tree of pairs; known poses and focals as they are known.

    Raises EngineError when the pairs do not connect all images. Source: DUSt3R (arXiv 2312.14132) section 3.3;
    specs/dust3r.md section 5.6, with reweighted similarities and each camera placed by a pair that begins with it.
    """
    views = Views(samples, roles)
    scores = edge_scores(predictions)
    world = _joined(predictions, views, scores, check_cancelled)
    focals = _focals(predictions, views, scores, settings, check_cancelled)
    poses = _poses(predictions, views, scores, world, focals, check_cancelled)
    pairs = []
    for number, (i, j) in enumerate(predictions.edges):
        check_cancelled()
        points, weights = views.whole(number)
        pairs.append(_robust(points, np.concatenate([world[i], world[j]]), weights))
    middles = np.stack([_middle(views, number) for number in range(len(pairs))])
    linear = np.stack([pair.scale * pair.rotation for pair in pairs])
    shift = np.stack([pair.translation for pair in pairs])
    variables = Variables(linear, shift, middles, poses[:, :3, :3], poses[:, :3, 3], focals)
    known = known_rows(settings.known_poses, predictions.count)
    if known.sum() < 2:
        variables = normalized(variables)
    return onto_known(variables, settings.known_poses, known) if known.any() else variables


def onto_known(variables: Variables, poses: np.ndarray, known: np.ndarray) -> Variables:
    """The world moved so that cameras fit their known poses, which then replace what was found."""
    poses = np.asarray(poses, dtype=np.float64)
    found = variables.world_from_camera
    if known.sum() > 1:
        move = fit_cameras(found[known], poses[known])
    else:
        one = poses[known][0] @ np.linalg.inv(found[known][0])
        move = Similarity(np.ones(()), one[:3, :3], one[:3, 3])
    moved = np.where(known[:, None, None], poses, move.move_cameras(found))
    return Variables(
        move.scale * move.rotation @ variables.linear,
        move.apply(variables.shift),
        variables.middles,
        moved[:, :3, :3],
        moved[:, :3, 3],
        variables.focals,
    )


def _robust(source: np.ndarray, target: np.ndarray, weights: np.ndarray) -> Similarity:
    """The similarity with about the least weighted sum of distances."""
    found = fit_similarity(source, target, weights)
    for _ in range(REWEIGHTINGS):
        distance = np.linalg.norm(found.apply(source) - target, axis=1)
        floor = 1e-3 * float(np.median(distance)) + 1e-12
        found = fit_similarity(source, target, weights / np.maximum(distance, floor))
    return found


def _middle(views: Views, pair: int) -> np.ndarray:
    points, weights = views.whole(pair)
    return np.average(points, axis=0, weights=weights) if weights.sum() > 0 else points.mean(axis=0)


def _joined(predictions: PairPredictions, views: Views, scores: np.ndarray, check_cancelled: Check) -> list[np.ndarray]:
    """World points (N, 3) of every image's sample, from the strongest tree of pairs."""
    tree = _tree(predictions, scores)
    first, tree = tree[0], tree[1:]
    i, j = predictions.edges[first]
    world: dict[int, np.ndarray] = {i: views.points[first, False], j: views.points[first, True]}
    while tree:
        check_cancelled()
        # The strongest pair that touches what is placed already.
        number = next(e for e in tree if set(predictions.edges[e]) & set(world))
        tree.remove(number)
        i, j = predictions.edges[number]
        known, second = (i, False) if i in world else (j, True)
        fit = _robust(views.points[number, second], world[known], views.weights[number, second])
        world[i if second else j] = fit.apply(views.points[number, not second])
    return [world[image] for image in range(predictions.count)]


def _tree(predictions: PairPredictions, scores: np.ndarray) -> list[int]:
    """Numbers of the pairs of the strongest tree, strongest first."""
    tree = spanning_tree(predictions.count, predictions.edges, scores)
    if len(tree) != predictions.count - 1:
        raise EngineError(
            "unsolved",
            "The pairs do not connect all images.",
            "Choose a pair graph with more pairs, or leave out the images that see nothing of the others.",
        )
    return tree


def _focals(
    predictions: PairPredictions, views: Views, scores: np.ndarray, settings: AlignSettings, check_cancelled: Check
) -> np.ndarray:
    """(n,) focals: known, or from the pairs that begin with the image; nan where there is neither."""
    focals = np.full(predictions.count, np.nan)
    for image in range(predictions.count):
        check_cancelled()
        own = [number for number, (i, _) in enumerate(predictions.edges) if i == image]
        if own:
            votes = [
                _focal(views.points[number, False], views.weights[number, False], views.pixels[image]) for number in own
            ]
            focals[image] = _weighted_median(np.array(votes), scores[own])
    known = known_rows(settings.known_focals, predictions.count)
    if known.any():
        focals[known] = np.asarray(settings.known_focals, dtype=np.float64)[known]
    if settings.shared_focal:
        focals[:] = np.nanmedian(focals[known] if known.any() else focals)
    return focals


def _focal(points: np.ndarray, weights: np.ndarray, pixels: np.ndarray) -> float:
    """The focal with the least weighted sum of distances between pixels (2, N) and points (N, 3) seen by it; nan when
    no point lies before the camera.
    """
    good = (points[:, 2] > 0) & (weights > 0)
    if not good.any():
        return float("nan")
    rays, pixels, weights = points[good, :2].T / points[good, 2], pixels[:, good], weights[good]
    across, along = (rays * pixels).sum(axis=0), (rays * rays).sum(axis=0)
    pull = weights
    for _ in range(FOCAL_ROUNDS):
        focal = float(pull @ across) / float(pull @ along)
        pull = weights / np.maximum(np.linalg.norm(pixels - focal * rays, axis=0), 1e-8)
    return focal


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    good = np.isfinite(values) & (values > 0)
    if not good.any():
        return float("nan")
    order = np.argsort(values[good])
    sums = np.cumsum(weights[good][order])
    return float(values[good][order][np.searchsorted(sums, 0.5 * sums[-1])])


def _poses(
    predictions: PairPredictions,
    views: Views,
    scores: np.ndarray,
    world: list[np.ndarray],
    focals: np.ndarray,
    check_cancelled: Check,
) -> np.ndarray:
    """(n, 4, 4) world_from_camera; focals still missing are filled in."""
    poses = np.tile(np.eye(4), (predictions.count, 1, 1))
    for image in range(predictions.count):
        check_cancelled()
        own = [number for number, (i, _) in enumerate(predictions.edges) if i == image]
        if own:
            number = max(own, key=lambda e: scores[e])
            fit = _robust(views.points[number, False], world[image], views.weights[number, False])
            poses[image, :3, :3], poses[image, :3, 3] = fit.rotation, fit.translation
        if not own or not np.isfinite(focals[image]):
            weights = np.sum(
                [
                    value
                    for (pair, second), value in views.weights.items()
                    if predictions.edges[pair][int(second)] == image
                ],
                axis=0,
            )
            height, width = predictions.sizes[image]
            tried = [focals[image]] if np.isfinite(focals[image]) else FOCALS_TRIED * max(height, width)
            poses[image], focals[image] = _resected(world[image], views.pixels[image], weights, tried)
    return poses


def _resected(
    world: np.ndarray, pixels: np.ndarray, weights: np.ndarray, focals: list[float] | np.ndarray
) -> tuple[np.ndarray, float]:
    """(world_from_camera, focal) of the tried focal that sees the most certain points with the least error."""
    chosen = np.argsort(-weights, kind="stable")[: max(PNP_POINTS, len(weights) // 2)]
    world, pixels = world[chosen], pixels[:, chosen].T
    best = (np.inf, np.eye(4), float(focals[len(focals) // 2]))
    for focal in focals:
        kept = np.ones(len(world), dtype=bool)
        for _ in range(3):
            good, turn, shift = cv2.solvePnP(
                world[kept],
                np.ascontiguousarray(pixels[kept]),
                np.diag([focal, focal, 1.0]),
                None,
                flags=cv2.SOLVEPNP_SQPNP,
            )
            if not good:
                break
            rotation = cv2.Rodrigues(turn)[0]
            seen = world @ rotation.T + shift.ravel()
            with np.errstate(divide="ignore", invalid="ignore"):
                error = np.linalg.norm(focal * seen[:, :2] / seen[:, 2:] - pixels, axis=1)
            error[(seen[:, 2] <= 0) | ~np.isfinite(error)] = np.inf
            middle = float(np.median(error))
            if middle < best[0]:
                pose = np.eye(4)
                pose[:3, :3], pose[:3, 3] = rotation.T, -rotation.T @ shift.ravel()
                best = (middle, pose, float(focal))
            kept = error <= 3.0 * middle
            if kept.sum() < 4:
                break
    return best[1], best[2]

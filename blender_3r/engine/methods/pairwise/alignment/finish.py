"""Whether the published steps ended near enough to the minimum they make for, and the minimum where they did not.

A result has to hold: cameras within 1 % of the path and half a degree. What it is off has two sources that know nothing
of each other: how far the steps ended from the minimum, which second-order steps measure, and how far the minimum
itself is from the truth, which is what it moves by when the pairs get other weights by chance (Bayesian bootstrap:
Rubin, The Annals of Statistics 9, 1981). The published result stands while both together are expected to hold.

A limit on the distance from the minimum alone would have to guess what the minimum is worth, which is next to nothing
where a scene is deep and all that a result may be off where it is shallow.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ....geometry.rotations import nearest_rotation, rotation_angle
from ....geometry.similarity import fit_similarity
from ..predictions import PairPredictions
from .fast import LEVELS, lowest, minimise, most_pixels
from .fast_sample import ImageSample, like, principal_points, roles_of_images, sample_images
from .fast_variables import Unknowns, Variables
from .scene import AlignSettings, Check, Report, no_check, no_report

STAGE = "Finishing the alignment"
# What cameras must hold: share of the path through all of them, degrees.
HELD_PATH, HELD_DEGREES = 0.01, 0.5
# A result no further from the minimum than this share of it stands: it is as good as the minimum.
NEAR = 0.2
# Sets of weights drawn, and how far they spread about 1: little, for what is moved is to answer in proportion.
DRAWS, SPREAD = 6, 0.25


def finished(
    predictions: PairPredictions,
    settings: AlignSettings,
    found: Variables,
    report: Report = no_report,
    check_cancelled: Check = no_check,
) -> Variables:
    """What the published steps found, or the minimum of their loss where what was found is not expected to hold.

    Contradicting pairs may have no minimum; then what was found stands.
    """
    report(STAGE, 0, DRAWS + 1)
    try:
        best = minimise(predictions, settings, found, check_cancelled)[0].variables
        if not (np.isfinite(best.world_from_camera).all() and np.isfinite(found.world_from_camera).all()):
            return found
        is_held = stands(predictions, settings, found.world_from_camera, best, report, check_cancelled)
    except (np.linalg.LinAlgError, torch.linalg.LinAlgError):
        return found
    except (RuntimeError, ValueError) as error:  # of torch, of SciPy
        if "overflow" not in str(error) and "infs or NaNs" not in str(error):
            raise
        return found
    return found if is_held else best


def stands(
    predictions: PairPredictions,
    settings: AlignSettings,
    poses: np.ndarray,
    best: Variables,
    report: Report = no_report,
    check_cancelled: Check = no_check,
) -> bool:
    """Whether poses (n, 4, 4), which come from these predictions, are expected to hold, judged from their minimum."""
    missing = shares_of_held(poses, best.world_from_camera)
    if missing.max() <= NEAR:
        return True
    if missing.max() > 1.0:
        return False
    return bool(np.hypot(missing, doubt(predictions, settings, best, report, check_cancelled)).max() <= 1.0)


def shares_of_held(poses: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(2, n): how far each camera of poses (n, 4, 4) is from its target, place and turn, after the best similarity, in
    units of what must hold.
    """
    moved = fit_similarity(poses[:, :3, 3], target[:, :3, 3]).apply(poses[:, :3, 3])
    path = np.linalg.norm(np.diff(target[:, :3, 3], axis=0), axis=1).sum()
    shift = np.linalg.norm(moved - target[:, :3, 3], axis=1) / max(path, np.finfo(float).tiny)
    turn = nearest_rotation(np.einsum("nij,nkj->ik", target[:, :3, :3], poses[:, :3, :3]))
    rest = np.einsum("nji,jk,nkl->nil", target[:, :3, :3], turn, poses[:, :3, :3])
    return np.stack([shift / HELD_PATH, np.degrees(np.abs(rotation_angle(rest))) / HELD_DEGREES])


def doubt(
    predictions: PairPredictions,
    settings: AlignSettings,
    best: Variables,
    report: Report = no_report,
    check_cancelled: Check = no_check,
) -> np.ndarray:
    """(2, n): how far each camera of the minimum is expected to be from the truth, in the units of shares_of_held().

    The two directions of a pair see the same pixels, so they get one weight. Errors that all pairs of an image share
    are not seen.
    """
    roles = roles_of_images(predictions, settings.equal_pairs)
    unknowns = Unknowns.of(len(predictions.edges), predictions.count, settings)
    count, most = LEVELS[-1]
    centers = principal_points(predictions, settings)
    samples = sample_images(predictions, roles, centers, min(count, most_pixels(roles)))
    both = np.unique(np.sort(predictions.edges, axis=1), axis=0, return_inverse=True)[1].ravel()
    random = np.random.default_rng(0)
    total = np.zeros((2, predictions.count))
    for draw in range(DRAWS):
        report(STAGE, 1 + draw, DRAWS + 1)
        weights = random.gamma(SPREAD**-2, SPREAD**2, both.max() + 1)[both]
        drawn = [_weighted(sample, weights) for sample in samples]
        state = lowest(drawn, unknowns, best, most, check_cancelled, lambda: None)
        total += shares_of_held(state.variables.world_from_camera, best.world_from_camera) ** 2
    return np.sqrt(total / DRAWS) / SPREAD


def _weighted(sample: ImageSample, weights: np.ndarray) -> ImageSample:
    return replace(sample, weights=sample.weights * like(weights[sample.pairs], sample.weights)[:, None])

"""Whether the published steps ended near enough to the minimum they make for, and the minimum where they did not.

A result has to hold: cameras within 1 % of the path and half a degree. The published number of steps is enough for that
where a scene is deep. Over shallow ones it can end farther from the minimum than all that a result may be off; then
where it ended says nothing of the scene, and second-order steps go the rest of the way.
"""

from __future__ import annotations

import numpy as np
import torch

from ....geometry.rotations import nearest_rotation, rotation_angle
from ....geometry.similarity import fit_similarity
from ..predictions import PairPredictions
from .fast import minimise
from .fast_variables import Variables
from .scene import AlignSettings, Check, Report, no_check, no_report

STAGE = "Finishing the alignment"
# What cameras must hold: share of the path through all of them, degrees.
HELD_PATH, HELD_DEGREES = 0.01, 0.5


def finished(
    predictions: PairPredictions,
    settings: AlignSettings,
    found: Variables,
    report: Report = no_report,
    check_cancelled: Check = no_check,
) -> Variables:
    """What the published steps found, or the minimum of their loss where that is farther off than a result may be.

    Contradicting pairs may have no minimum; then what was found stands.
    """
    report(STAGE, 0, 1)
    try:
        best = minimise(predictions, settings, found, check_cancelled)[0].variables
        if not (np.isfinite(best.world_from_camera).all() and np.isfinite(found.world_from_camera).all()):
            return found
        is_held = shares_of_held(found.world_from_camera, best.world_from_camera).max() <= 1.0
    except (np.linalg.LinAlgError, torch.linalg.LinAlgError):
        return found
    except (RuntimeError, ValueError) as error:  # of torch, of SciPy
        if "overflow" not in str(error) and "infs or NaNs" not in str(error):
            raise
        return found
    return found if is_held else best


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

"""Refined cameras in a network's world, and what they say of the frames that could not be refined themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..geometry.cameras import Cameras
from ..geometry.interpolation import interpolate_poses
from ..geometry.rotations import nearest_rotation
from ..reconstruction import Reconstruction, View
from ..solve.solution import Solution

ON_THE_SPOT = (
    "The camera only turns (tripod): it stands in one place now, and the depth is the network's alone, which nothing "
    "in the footage can confirm."
)


def turned_on_the_spot(solution: Solution, given: Cameras) -> None:
    """Put a tripod's cameras, in place, into the middle of the given ones, turned as these are on the whole."""
    both = solution.cameras.solved & given.solved
    cameras = solution.cameras.world_from_camera
    if both.any():
        turns = given.world_from_camera[both, :3, :3] @ cameras[both, :3, :3].transpose(0, 2, 1)
        turn = nearest_rotation(turns.sum(axis=0))
        cameras[:, :3, :3] = turn @ cameras[:, :3, :3]
        cameras[solution.cameras.solved, :3, 3] = np.median(given.world_from_camera[both, :3, 3], axis=0)
        solution.points = solution.points @ turn.T
    solution.warnings = [ON_THE_SPOT, *solution.warnings[1:]]  # in place of what a tripod is told as


def corrected_views(predicted: Reconstruction, refined: Reconstruction) -> tuple[list[View], list[str]]:
    """(The refined views with all that were predicted, sentences about those that could not be refined).

    Frames of footage that are predicted and not refined move as the refined ones before and after them did. Others, and
    those that are told apart (another shot), stay as predicted.
    """
    views = list(refined.views)
    lost = [k for k, view in enumerate(views) if not view.is_solved and predicted.views[k].is_solved]
    moved = {k: predicted.views[k].world_from_camera for k in lost}
    both = [k for k in refined.solved if predicted.views[k].is_solved]
    near = [k for k in lost if predicted.kind == "video" and both and both[0] <= k <= both[-1]]
    if near:
        changes = np.array(
            [np.linalg.inv(predicted.views[k].world_from_camera) @ views[k].world_from_camera for k in both]
        )
        between = interpolate_poses(np.array(both), changes, np.array(near))
        moved |= {k: predicted.views[k].world_from_camera @ change for k, change in zip(near, between, strict=True)}
    for k in lost:
        is_near = k in near
        lens = views[k].intrinsics if is_near else predicted.views[k].intrinsics
        views[k] = replace(
            views[k], intrinsics=lens, world_from_camera=moved[k], error_px=None, note="", interpolated=is_near
        )
    told = []
    if near:
        told.append(
            f"{len(near)} frames hold too few points: their cameras are the network's, moved with their neighbours'."
        )
    if len(lost) > len(near):
        pictures = "frames" if predicted.kind == "video" else "photos"
        told.append(f"{len(lost) - len(near)} {pictures} could not be refined: their cameras are the network's.")
    return views, told

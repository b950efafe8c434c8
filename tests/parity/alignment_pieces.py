"""What the checks of DUSt3R's alignments share: reading pairs and parameters, comparing poses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from blender_3r.engine.geometry.rotations import rotation_angle
from blender_3r.engine.methods.pairwise.alignment.problem import Parameters, Problem, alignment_loss
from blender_3r.engine.methods.pairwise.alignment.scene import Scene
from blender_3r.engine.methods.pairwise.alignment.start import Start
from blender_3r.engine.methods.pairwise.predictions import PairPredictions

from .checking import NETWORK_TOLERANCE, Result, close

Tensors = dict[str, torch.Tensor]

FACTS = "procedure_align.json"
INPUT = "procedure_align_input.safetensors"
LOSS_LIMIT = 1e-5  # loss and gradients from stored parameters
POINT_POSE_LIMIT = 1e-2  # of the size of the scene, for what depends on OpenCV's PnP
RESULT_LIMIT = 1e-2  # poses, depth and focals after all steps
FINAL_LOSS_LIMIT = 1e-3
# Our names of parameters and those of the fixtures.
FIELDS = (("pair_poses", "pw_poses"), ("poses", "im_poses"), ("log_depth", "im_depthmaps"), ("focals", "im_focals"))


def predictions_of(tensors: Tensors) -> PairPredictions:
    """The pairs of a fixture: edges, and per edge pred1, pred2, conf1, conf2."""
    edges = [(int(i), int(j)) for i, j in tensors["edges"]]
    sides = {name: [tensors[f"{name}_{e}"] for e in range(len(edges))] for name in ("pred1", "pred2", "conf1", "conf2")}
    sizes = {}
    for (i, j), first, second in zip(edges, sides["conf1"], sides["conf2"]):
        sizes[i], sizes[j] = tuple(first.shape), tuple(second.shape)
    return PairPredictions([sizes[image] for image in range(len(sizes))], edges, *sides.values())


def with_parameters(start: Start, tensors: Tensors) -> Start:
    """A start from the fixture's init_ parameters, free as in ours."""
    values = {ours: tensors[f"init_{theirs}"] for ours, theirs in FIELDS}
    return Start(
        Parameters(**values, centers=start.parameters.centers), start.normalized, start.free_poses, start.free_focals
    )


def loss_of(problem: Problem, start: Start, parameters: Parameters | None = None) -> torch.Tensor:
    """The loss of a start, or of other parameters in the same problem."""
    with torch.no_grad():
        return alignment_loss(problem, parameters or start.parameters, start.normalized)


def gradients_of(problem: Problem, start: Start) -> Parameters:
    """The loss's gradients by all parameters, frozen ones too."""
    parameters = start.parameters.map(lambda value: value.clone().requires_grad_())
    alignment_loss(problem, parameters, start.normalized).backward()
    return parameters.map(lambda value: torch.zeros_like(value) if value.grad is None else value.grad)


def extent(points: list[np.ndarray]) -> float:
    """Diagonal of the box around all points."""
    flat = np.concatenate([np.asarray(value, dtype=np.float64).reshape(-1, 3) for value in points])
    return float(np.linalg.norm(flat.max(axis=0) - flat.min(axis=0)))


def scene_extent(scene: Scene) -> float:
    """Diagonal of the box around all points of a scene."""
    return extent([scene.world_points(image) for image in range(scene.count)])


def start_limits(count: int, by_points: list[int]) -> list[tuple[float, str]]:
    """Per image what may be off in what belongs to it after the start, and why."""
    loose, tight = (POINT_POSE_LIMIT, "pose from PnP"), (NETWORK_TOLERANCE, "")
    return [loose if image in by_points else tight for image in range(count)]


def compare_poses(
    name: str, ours: np.ndarray, reference: np.ndarray, size: float, limits: list[tuple[float, str]]
) -> Iterator[Result]:
    """Per camera the larger of the error of its centre, of the scene's size, and of its rotation in radians."""
    for image, (mine, theirs) in enumerate(zip(ours, reference)):
        shift = float(np.linalg.norm(mine[:3, 3] - theirs[:3, 3])) / size
        turn = float(rotation_angle(mine[:3, :3].astype(np.float64).T @ theirs[:3, :3].astype(np.float64)))
        yield Result(f"{name} {image}", max(shift, turn), *limits[image])


def compare_pair_poses(
    name: str, ours: torch.Tensor, reference: torch.Tensor, limit: float = NETWORK_TOLERANCE
) -> Result:
    """Coded pair poses; a quaternion and its negative are the same rotation."""
    sign = (ours[:, :4] * reference[:, :4]).sum(dim=1, keepdim=True).sign()
    return close(name, torch.cat([sign * ours[:, :4], ours[:, 4:]], dim=1), reference, limit)

"""The published global alignment: Adam on all parameters, every pixel of every pair in every step.

Source: DUSt3R (arXiv 2312.14132) section 3.3; specs/dust3r.md section 5.5.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from ..predictions import PairPredictions
from .problem import (
    Parameters,
    Problem,
    alignment_loss,
    build_problem,
    camera_poses,
    focal_lengths,
    principal_points,
)
from .scene import AlignSettings, Check, Report, Scene, no_check, no_report
from .start import Start, make_start

STAGE = "Aligning views"
BETAS = (0.9, 0.9)


def align_reference(
    predictions: PairPredictions, settings: AlignSettings, report: Report = no_report, check_cancelled: Check = no_check
) -> Scene:
    """A scene from three or more connected images (two are enough when poses or focals are known).

    Raises EngineError: "unsolved" when the pairs do not connect the images or predict nothing finite, "usage" when
    known poses do not suffice for the start asked for. Whatever check_cancelled raises ends it between two steps.
    """
    problem = build_problem(predictions, settings.equal_pairs)
    start = make_start(predictions, problem, settings)
    parameters, _ = optimize(problem, start, settings, report, check_cancelled)
    with torch.no_grad():
        loss = float(alignment_loss(problem, parameters, start.normalized))
    return scene_from(problem, parameters, loss)


def learning_rate(settings: AlignSettings, step: int) -> float:
    """The rate of step 0, 1, ... of settings.iterations."""
    part = step / settings.iterations
    if settings.schedule == "cosine":
        share = (1.0 + math.cos(math.pi * part)) / 2.0
    else:
        share = 1.0 - part
    return settings.last_rate + (settings.learning_rate - settings.last_rate) * share


def optimize(
    problem: Problem,
    start: Start,
    settings: AlignSettings,
    report: Report = no_report,
    check_cancelled: Check = no_check,
) -> tuple[Parameters, list[float]]:
    """Adam from the start's parameters, which stay as they are; (parameters, loss before each step).

    Ends early where the loss is no longer finite, with the parameters before that.
    """
    parameters = start.parameters.map(lambda value: value.detach().clone())
    trained = [parameters.pair_poses, parameters.log_depth]
    for values, free in ((parameters.poses, start.free_poses), (parameters.focals, start.free_focals)):
        if free.any():
            trained.append(values)
    for values in trained:
        values.requires_grad_(True)
    optimizer = torch.optim.Adam(trained, lr=settings.learning_rate, betas=BETAS)
    losses: list[float] = []
    before = [value.detach().clone() for value in trained]
    for step in range(settings.iterations):
        check_cancelled()
        report(STAGE, step, settings.iterations)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(settings, step)
        optimizer.zero_grad()
        loss = alignment_loss(problem, parameters, start.normalized)
        loss.backward()
        value = loss.item()
        if not math.isfinite(value):
            _go_back(trained, before)
            break
        losses.append(value)
        for values, free in ((parameters.poses, start.free_poses), (parameters.focals, start.free_focals)):
            if values.grad is not None:  # with a gradient of 0 Adam leaves a row where it is
                values.grad[~free] = 0.0
        for kept, values in zip(before, trained):
            kept.copy_(values.detach())
        optimizer.step()
    if not all(bool(values.isfinite().all()) for values in trained):
        _go_back(trained, before)
    report(STAGE, settings.iterations, settings.iterations)
    return parameters.map(lambda value: value.detach()), losses


def _go_back(trained: list[torch.Tensor], before: list[torch.Tensor]) -> None:
    with torch.no_grad():
        for values, kept in zip(trained, before):
            values.copy_(kept)


def scene_from(problem: Problem, parameters: Parameters, loss: float) -> Scene:
    """The scene that parameters describe."""
    with torch.no_grad():
        # In double precision on the CPU: not every device has it.
        rotations, centers = camera_poses(parameters.map(lambda value: value.cpu().double()))
        poses = np.tile(np.eye(4), (problem.count, 1, 1))
        poses[:, :3, :3], poses[:, :3, 3] = rotations.numpy(), centers.numpy()
        depth = parameters.log_depth.exp()
        return Scene(
            world_from_camera=poses,
            focals=focal_lengths(problem, parameters).cpu().double().numpy(),
            principal_points=principal_points(problem, parameters).cpu().double().numpy(),
            depth=[problem.image(row, image).cpu().numpy().copy() for image, row in enumerate(depth)],
            confidence=[problem.image(row, image).cpu().numpy().copy() for image, row in enumerate(problem.confidence)],
            loss=loss,
        )

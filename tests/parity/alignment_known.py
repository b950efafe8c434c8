"""The global alignments of DUSt3R with something known: its modular variant, and its start from known poses.

Some of these fixtures hold the parameters after the last step where they say those of the start: the program that
wrote them kept references to tensors that Adam changed. Which of the two they hold is told by their loss. With the
last ones, loss and result are checked from our own start, and the loss of the stored parameters is the final one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from blender_3r.engine.methods.pairwise.alignment.problem import Problem, build_problem, pair_scales
from blender_3r.engine.methods.pairwise.alignment.reference import optimize, scene_from
from blender_3r.engine.methods.pairwise.alignment.scene import AlignSettings
from blender_3r.engine.methods.pairwise.alignment.start import Start, make_start

from .alignment_pieces import (
    FACTS,
    FIELDS,
    FINAL_LOSS_LIMIT,
    INPUT,
    LOSS_LIMIT,
    POINT_POSE_LIMIT,
    RESULT_LIMIT,
    Tensors,
    compare_pair_poses,
    compare_poses,
    gradients_of,
    loss_of,
    predictions_of,
    scene_extent,
    start_limits,
    with_parameters,
)
from .checking import NETWORK_TOLERANCE, Fixture, Result, close, same

MODULAR = "procedure_align_modular.safetensors"
KNOWN_POSES = "procedure_align_known_poses.safetensors"
# Residuals are short at the start; their directions, which make the gradients, differ when our own start does in the
# last digits.
OWN_START_GRADIENT_LIMIT = 5e-2


def checks(fixture: Fixture) -> Iterator[Result]:
    if fixture.has(FACTS, INPUT, MODULAR):
        yield from _modular(fixture.json(FACTS), fixture.tensors(INPUT), fixture.tensors(MODULAR))
    if fixture.has(KNOWN_POSES):
        yield from _known_poses(fixture.tensors(KNOWN_POSES))


def _modular(facts: dict[str, Any], inputs: Tensors, raw: Tensors) -> Iterator[Result]:
    predictions = predictions_of(inputs)
    count = predictions.count
    poses, focals = np.full((count, 4, 4), np.nan), np.full(count, np.nan)
    for image in facts["modular_known_pose_images"]:
        poses[image] = inputs[f"true_cam2world_{image}"].numpy()
    for image in facts["modular_known_focal_images"]:
        focals[image] = float(inputs["true_focals"][image])
    settings = AlignSettings(
        algorithm="reference", published_start=True, equal_pairs=True, known_poses=poses, known_focals=focals
    )
    problem = build_problem(predictions, equal_pairs=True)
    start = make_start(predictions, problem, settings)
    yield same("modular: scale is normalised", start.normalized, facts["modular_norm_pw_scale"])
    tensors = _stacked(raw, problem)
    # Poses from PnP among the known ones move the whole scene.
    moved = set(start.by_points) & set(facts["modular_known_pose_images"])
    by_points = list(range(count)) if moved else start.by_points
    origin, results = _origin("modular", tensors, problem, start, by_points)
    yield from results
    yield from _gradients(raw, problem, origin, LOSS_LIMIT if origin is not start else OWN_START_GRADIENT_LIMIT)
    parameters, curve = optimize(problem, origin, settings)
    yield close("modular loss before the last step", curve[-1], raw["cosine_last_iteration_loss"], FINAL_LOSS_LIMIT)
    loss = loss_of(problem, origin, parameters)
    yield close("modular final loss", loss, raw["cosine_final_loss"], FINAL_LOSS_LIMIT)
    scene = scene_from(problem, parameters, float(loss))
    yield close("modular intrinsics", scene.intrinsics, raw["final_intrinsics"], RESULT_LIMIT)
    reference, limits = raw["final_cam2world"].numpy(), [(RESULT_LIMIT, "")] * count
    yield from compare_poses("modular final pose", scene.world_from_camera, reference, scene_extent(scene), limits)


def _stacked(raw: Tensors, problem: Problem) -> Tensors:
    """The same with the parameters that are kept per image as those of all images, padded."""
    tensors = dict(raw)
    area = problem.pixels.shape[1]
    for _, plural in FIELDS[1:]:
        name = f"init_{plural.removesuffix('s')}"
        rows = [raw[f"{name}_{image}"].flatten() for image in range(problem.count)]
        width = area if plural == "im_depthmaps" else len(rows[0])
        tensors[f"init_{plural}"] = torch.stack([torch.nn.functional.pad(row, (0, width - len(row))) for row in rows])
    return tensors


def _gradients(raw: Tensors, problem: Problem, start: Start, limit: float) -> Iterator[Result]:
    """Of whatever is not frozen."""
    gradients = gradients_of(problem, start)
    for ours, theirs in FIELDS:
        if f"grad_{theirs}" in raw:
            yield close(f"modular gradient of {theirs}", getattr(gradients, ours), raw[f"grad_{theirs}"], limit)
        names = {image: f"grad_{theirs.removesuffix('s')}_{image}" for image in range(problem.count)}
        pairs = [
            (problem.image(row, image) if ours == "log_depth" else row, raw[names[image]])
            for image, row in enumerate(getattr(gradients, ours)[: problem.count])
            if names[image] in raw
        ]
        if pairs:
            mine, reference = (torch.cat([row.flatten() for row in rows]) for rows in zip(*pairs))
            yield close(f"modular gradients of {theirs}", mine, reference, limit)


def _known_poses(tensors: Tensors) -> Iterator[Result]:
    predictions = predictions_of(tensors)
    settings = AlignSettings(
        algorithm="reference",
        start="known_poses",
        published_start=True,
        known_poses=tensors["known_cam2world"].double().numpy(),
        known_focals=tensors["known_focals"].double().numpy(),
    )
    problem = build_problem(predictions)
    start = make_start(predictions, problem, settings)
    origin, results = _origin("known poses", tensors, problem, start, list(range(problem.count)))
    yield from results
    parameters, _ = optimize(problem, origin, settings)
    loss = loss_of(problem, origin, parameters)
    yield close("known poses final loss", loss, tensors["cosine_final_loss"], FINAL_LOSS_LIMIT)
    scales = pair_scales(parameters, origin.normalized)
    yield close("known poses pair scales", scales, tensors["final_pw_scale"], RESULT_LIMIT)
    for image, depth in enumerate(scene_from(problem, parameters, 0.0).depth):
        yield close(f"known poses depth {image}", depth, tensors[f"final_depth_{image}"], RESULT_LIMIT)


def _origin(
    name: str, tensors: Tensors, problem: Problem, start: Start, by_points: list[int]
) -> tuple[Start, list[Result]]:
    """(where steps are to begin, what can be said of our start).

    The stored parameters when they are those of the start, otherwise our own start.
    """
    stored = with_parameters(start, tensors)
    first, last = tensors["init_loss"], tensors["cosine_final_loss"]
    loss = loss_of(problem, stored)
    if abs(loss - last) < abs(loss - first):
        limit = POINT_POSE_LIMIT if by_points else FINAL_LOSS_LIMIT
        return start, [
            close(f"{name} loss from stored parameters", loss, last, LOSS_LIMIT, "those after the last step"),
            close(f"{name} loss at the start", loss_of(problem, start), first, limit, "our own start"),
        ]
    results = [close(f"{name} loss from stored parameters", loss, first, LOSS_LIMIT)]
    ours, theirs = start.parameters, stored.parameters
    limit = POINT_POSE_LIMIT if len(by_points) == problem.count else NETWORK_TOLERANCE
    results.append(compare_pair_poses(f"{name} start pair poses", ours.pair_poses, theirs.pair_poses, limit))
    results.append(close(f"{name} start focals, coded", ours.focals, theirs.focals))
    mine, reference = scene_from(problem, ours, 0.0), scene_from(problem, theirs, 0.0)
    size, limits = scene_extent(reference), start_limits(problem.count, by_points)
    results += compare_poses(f"{name} start pose", mine.world_from_camera, reference.world_from_camera, size, limits)
    for image, (limit, note) in enumerate(limits):
        error = float(np.abs(mine.depth[image] - reference.depth[image]).max()) / size
        results.append(Result(f"{name} start depth {image}", error, limit, note))
    return stored, results

"""The global alignment of DUSt3R with nothing known: tree, start, loss, gradients, steps and result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from blender_3r.engine.methods.pairwise.alignment.connections import edge_scores, spanning_tree
from blender_3r.engine.methods.pairwise.alignment.problem import (
    FOCAL_CODE,
    Problem,
    build_problem,
    pair_scales,
    pair_transforms,
)
from blender_3r.engine.methods.pairwise.alignment.reference import optimize, scene_from
from blender_3r.engine.methods.pairwise.alignment.scene import AlignSettings, Scene
from blender_3r.engine.methods.pairwise.alignment.start import Start, make_start
from blender_3r.engine.methods.pairwise.predictions import PairPredictions

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
    extent,
    gradients_of,
    loss_of,
    predictions_of,
    scene_extent,
    start_limits,
    with_parameters,
)
from .checking import NETWORK_TOLERANCE, Fixture, Result, close, same

EXPECTED = "procedure_align_pco.safetensors"


def checks(fixture: Fixture) -> Iterator[Result]:
    if not fixture.has(INPUT, EXPECTED):
        return
    predictions = predictions_of(fixture.tensors(INPUT))
    tensors = fixture.tensors(EXPECTED)
    problem = build_problem(predictions)
    start = make_start(predictions, problem, AlignSettings(algorithm="reference", published_start=True))
    if fixture.has(FACTS):
        yield from _tree(fixture.json(FACTS), predictions, start)
    for image in range(problem.count):
        ours = problem.image(problem.confidence[image], image)
        yield close(f"confidence of image {image}", ours, tensors[f"im_conf_{image}"], 0.0)
    yield from _spanned(tensors, start)
    yield from _initial(tensors, problem, start)
    stored = with_parameters(start, tensors)
    yield close("loss from stored parameters", loss_of(problem, stored), tensors["init_loss"], LOSS_LIMIT)
    gradients = gradients_of(problem, stored)
    for ours, key in FIELDS:
        yield close(f"gradient of {key}", getattr(gradients, ours), tensors[f"grad_{key}"], LOSS_LIMIT)
    # Both schedules begin with the full rate.
    moved, _ = optimize(problem, stored, AlignSettings(algorithm="reference", iterations=1))
    for ours, key in FIELDS:
        yield close(f"after one step {key}", getattr(moved, ours), tensors[f"after_1_step_{key}"])
    for schedule in ("cosine", "linear"):
        if f"{schedule}_loss_curve" in tensors:
            yield from _result(tensors, problem, stored, schedule)


def _tree(facts: dict[str, Any], predictions: PairPredictions, start: Start) -> Iterator[Result]:
    scores = edge_scores(predictions)
    expected = {(i, j): score for i, j, score in facts["edge_scores"]}
    yield close("pair scores", scores, [expected[edge] for edge in predictions.edges])
    tree = [predictions.edges[e] for e in spanning_tree(predictions.count, predictions.edges, scores)]
    yield same("tree, strongest first", tree, [(i, j) for i, j, _ in facts["mst_edges_strongest_first"]])
    yield same("tree, as used", start.order, [tuple(edge) for edge in facts["mst_edges_in_order_used"]])
    own = {i for i, _ in predictions.edges} >= set(range(predictions.count))
    limit = NETWORK_TOLERANCE if own else POINT_POSE_LIMIT  # an image that is never first gets its focal from PnP
    yield close("tree focals", (start.parameters.focals[:, 0] / FOCAL_CODE).exp(), facts["mst_focals"], limit)
    yield same("PnP problems solved", start.searches, facts["n_pnp_calls_in_mst"])


def _spanned(tensors: Tensors, start: Start) -> Iterator[Result]:
    """The scene along the tree before its scale is normalised."""
    expected = [tensors[f"mst_pts3d_{image}"].numpy() for image in range(len(start.points))]
    for image, points in enumerate(start.points):
        yield close(f"tree points {image}", points, expected[image])
    limits = start_limits(len(expected), start.by_points)
    yield from compare_poses("tree pose", start.poses, tensors["mst_cam2world"].numpy(), extent(expected), limits)


def _initial(tensors: Tensors, problem: Problem, start: Start) -> Iterator[Result]:
    """Parameters after the start, decoded where their coding is not unique."""
    ours = start.parameters
    yield compare_pair_poses("start pair poses", ours.pair_poses, tensors["init_pw_poses"])
    yield close("start pair scales", pair_scales(ours, start.normalized), tensors["init_pw_scale"])
    rotations, translations = pair_transforms(ours, start.normalized)
    yield close("start pair rotations, scaled", rotations, tensors["init_pw_poses_4x4"][:, :3, :3])
    yield close("start pair translations, scaled", translations, tensors["init_pw_poses_4x4"][:, :3, 3])
    scene = scene_from(problem, ours, 0.0)
    limits = start_limits(problem.count, start.by_points)
    for image, (limit, note) in enumerate(limits):
        focal = tensors["init_im_focals"][image]
        yield close(f"start focal {image}, coded", ours.focals[image], focal, limit, note)
    points = [tensors[f"init_pts3d_{image}"].numpy() for image in range(problem.count)]
    size = extent(points)
    yield from compare_poses("start pose", scene.world_from_camera, tensors["init_cam2world"].numpy(), size, limits)
    for image, (limit, note) in enumerate(limits):
        depth = problem.image(tensors["init_im_depthmaps"][image].exp(), image).numpy()
        yield Result(f"start depth {image}", float(np.abs(scene.depth[image] - depth).max()) / size, limit, note)
        error = float(np.abs(scene.world_points(image) - points[image]).max()) / size
        yield Result(f"start points {image}", error, limit, note)


def _result(tensors: Tensors, problem: Problem, start: Start, schedule: str) -> Iterator[Result]:
    """All steps of a schedule from the stored parameters."""
    expected = tensors[f"{schedule}_loss_curve"]
    settings = AlignSettings(algorithm="reference", schedule=schedule, iterations=len(expected))
    parameters, curve = optimize(problem, start, settings)
    drift = float((torch.tensor(curve) - expected).abs().mean() / expected.mean())
    yield Result(f"{schedule} loss curve", drift, RESULT_LIMIT, "mean difference; Adam magnifies rounding on the way")
    loss = loss_of(problem, start, parameters)
    yield close(f"{schedule} final loss", loss, tensors[f"{schedule}_final_loss"], FINAL_LOSS_LIMIT)
    scene = scene_from(problem, parameters, float(loss))
    yield close(f"{schedule} focals", scene.focals[:, None], tensors[f"{schedule}_final_focals"], RESULT_LIMIT)
    size = scene_extent(scene)
    poses = tensors[f"{schedule}_final_cam2world"].numpy()
    limits = [(RESULT_LIMIT, "")] * problem.count
    yield from compare_poses(f"{schedule} pose", scene.world_from_camera, poses, size, limits)
    yield from _dense_result(tensors, scene, schedule, size)
    if f"{schedule}_final_pw_poses_4x4" in tensors:
        rotations, translations = pair_transforms(parameters, start.normalized)
        ours = torch.cat([rotations, translations[..., None]], dim=-1)
        transforms = tensors[f"{schedule}_final_pw_poses_4x4"][:, :3]
        yield close(f"{schedule} pair transforms", ours, transforms, RESULT_LIMIT)


def _dense_result(tensors: Tensors, scene: Scene, schedule: str, size: float) -> Iterator[Result]:
    for image in range(scene.count):
        for name, ours in (("depth", scene.depth[image]), ("pts3d", scene.world_points(image))):
            key = f"{schedule}_final_{name}_{image}"
            if key in tensors:
                error = float(np.abs(ours - tensors[key].numpy()).max()) / size
                yield Result(f"{schedule} {name} {image}", error, RESULT_LIMIT, "of the scene's size")

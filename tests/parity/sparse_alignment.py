"""MASt3R-SfM's alignment: canonical views, condensed matches, trees, losses and gradients, results.

The optimisation amplifies round-off, and nothing fixes the world: whole runs are compared by their losses, by focals
and by poses relative to camera 0, with the looser tolerances of the fixtures' README.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blender_3r.engine.methods.pairwise.alignment.clean import clean_confidences
from blender_3r.engine.methods.pairwise.sparse.canonical import Canonical, CanonicalImage, CanonicalSum, condensed_image
from blender_3r.engine.methods.pairwise.sparse.condense import Condensed, Fallback, PairMatches, condense
from blender_3r.engine.methods.pairwise.sparse.dense import dense_depth
from blender_3r.engine.methods.pairwise.sparse.losses import gamma_curve, limited_pixels
from blender_3r.engine.methods.pairwise.sparse.optimise import (
    COARSE,
    FINE,
    SparseOptimiser,
    SparseResult,
    SparseSettings,
)
from blender_3r.engine.methods.pairwise.sparse.parameters import Forward, Geometry
from blender_3r.engine.methods.pairwise.sparse.tree import KinematicTree, build_tree

from .checking import Fixture, Result, close, same

FINAL_LOSS, RELATIVE_POSE, FOCAL, MIDDLE_OF_RUN = 1e-3, 1e-2, 5e-3, 3e-2
# What the runs change against the defaults.
_RUNS: dict[str, dict[str, Any]] = {
    "default": {},
    "kin_mst": {"tree": "mst"},
    "shared": {"shared_intrinsics": True},
    "nodepth": {"optimise_depth": False},
    "thr0": {"matching_threshold": 0.0},
}
_PARAMETERS = {
    "pp": "center",
    "log_focal": "log_focal",
    "quat": "quaternion",
    "trans": "translation",
    "log_size": "log_size",
    "core_depth": "core",
}


@dataclass
class _Scene:
    """What the fixture gives, prepared by our code."""

    facts: dict[str, Any]
    data: dict[str, Tensor]
    images: list[CanonicalImage]
    pairs: list[PairMatches]
    fallbacks: dict[tuple[int, int], Fallback]

    def condensed(self, threshold: float) -> Condensed:
        return condense(self.images, self.pairs, self.fallbacks, threshold)

    @property
    def scores(self) -> np.ndarray:
        matrix = np.zeros((len(self.images), len(self.images)))
        for pair in self.pairs:
            matrix[pair.first, pair.second] = matrix[pair.second, pair.first] = len(pair.confidence)
        return matrix

    def tree(self, mode: str) -> KinematicTree:
        return build_tree(self.scores, np.array([image.blocks for image in self.images]), mode)


def checks(fixture: Fixture) -> Iterator[Result]:
    if fixture.has("procedure_sfm_losses.safetensors"):
        yield from _losses(fixture.tensors("procedure_sfm_losses.safetensors"))
    if not fixture.has("procedure_sfm.json", "procedure_sfm_input.safetensors"):
        return
    facts, data = fixture.json("procedure_sfm.json"), fixture.tensors("procedure_sfm_input.safetensors")
    scene, views = _prepare(facts, data)
    if fixture.has("procedure_sfm_canonical.safetensors"):
        yield from _canonical(scene, views, fixture.tensors("procedure_sfm_canonical.safetensors"))
    if fixture.has("procedure_sfm_condensed.safetensors"):
        yield from _condensed(scene, fixture.tensors("procedure_sfm_condensed.safetensors"))
    yield from _trees(scene)
    if fixture.has("procedure_sfm_optim.safetensors"):
        settings = _settings(fixture.config)
        yield from _runs(scene, settings, fixture.tensors("procedure_sfm_optim.safetensors"))


def _settings(config: dict[str, Any]) -> SparseSettings:
    names = {
        "kinematic_mode": "tree",
        "lr1": "coarse_rate",
        "niter1": "coarse_iterations",
        "loss1_gamma": "coarse_gamma",
        "lr2": "fine_rate",
        "niter2": "fine_iterations",
        "loss2_gamma": "fine_gamma",
        "fallback_gamma": "fallback_gamma",
        "fallback_weight": "fallback_weight",
        "matching_conf_thr": "matching_threshold",
        "depth_mode": "depth_mode",
    }
    given = {ours: config[theirs] for theirs, ours in names.items() if theirs in config}
    return SparseSettings(optimise_center=True, optimise_focal=True, **given)


def _losses(data: dict[str, Tensor]) -> Iterator[Result]:
    for name in sorted(data):
        if found := re.fullmatch(r"gamma_([\d.]+)", name):
            value, _ = gamma_curve((data["x"] - data["y"]).norm(dim=-1), float(found[1]))
            yield close(f"distance, gamma {found[1]}", value, data[name])
    if "reproj2d" in data:
        points = torch.cat([data["pts"], torch.ones(len(data["pts"]), 1)], dim=1)
        yield close("projection with limits", limited_pixels(data["proj"] @ points.T).T, data["reproj2d"])


def _prepare(facts: dict[str, Any], data: dict[str, Tensor]) -> tuple[_Scene, list[list[tuple[Tensor, Tensor]]]]:
    """Also the pointmaps and confidences of each image, in the order of its neighbours."""
    subsample = facts["subsample"]
    ends = [tuple(pair) for pair in facts["undirected_pairs_first_second"]]
    directed = ends + [(second, first) for first, second in ends]
    views: list[list[tuple[Tensor, Tensor]]] = [[] for _ in facts["imshapes"]]
    for i, j in directed:
        views[i].append((data[f"X_{i}_{j}"], data[f"C_{i}_{j}"]))
    images = [condensed_image(_summed(maps, subsample), subsample) for maps in views]
    pairs = [
        PairMatches(i, j, *(data[f"match_{i}_{j}_{part}"] for part in ("xy_first", "xy_second", "conf")))
        for i, j in ends
    ]
    fallbacks = {(j, i): Fallback.sampled(data[f"X2_{i}_{j}"], data[f"C2_{i}_{j}"], subsample) for i, j in directed}
    return _Scene(facts, data, images, pairs, fallbacks), views


def _summed(maps: list[tuple[Tensor, Tensor]], subsample: int, mode: str = "avg-angle") -> Canonical:
    total = CanonicalSum(*maps[0][1].shape, subsample, mode)
    for points, confidence in maps:
        total.add(points, confidence)
    return total.result()


def _canonical(scene: _Scene, views: list[list[tuple[Tensor, Tensor]]], data: dict[str, Tensor]) -> Iterator[Result]:
    subsample = scene.facts["subsample"]
    yield same("match counts", scene.scores, data["pairwise_scores"].double())
    for i, (image, maps) in enumerate(zip(scene.images, views)):
        ours = _summed(maps, subsample)
        yield close(f"canonical points {i}", ours.points, data[f"canon_{i}"])
        yield close(f"relative depth {i}", ours.relative_depth, data[f"canon2_{i}"])
        yield close(f"canonical confidence {i}", ours.confidence, data[f"canon_conf_{i}"])
        yield close(f"base focal {i}", [image.focal], data[f"focal_{i}"].reshape(1))
        yield close(f"core depth {i}", image.core_depth, data[f"core_depth_{i}"])
        if f"single_count_canon_{i}" in data:
            yield close(f"canonical points {i}, each once", ours.points, data[f"single_count_canon_{i}"])
            yield close(f"relative depth {i}, each once", ours.relative_depth, data[f"single_count_canon2_{i}"])
            yield close(f"canonical confidence {i}, each once", ours.confidence, data[f"single_count_conf_{i}"])
        if f"reldepth_canon2_{i}" in data:
            other = _summed(maps, subsample, "avg-reldepth")
            yield close(f"relative depth {i}, mean of ratios", other.relative_depth, data[f"reldepth_canon2_{i}"])
    for pair in scene.pairs:
        for i, j, xy in ((pair.first, pair.second, pair.xy_first), (pair.second, pair.first, pair.xy_second)):
            block, offset = scene.images[i].anchors(xy)
            yield same(f"anchors {i} {j}", block, data[f"anchor_idx_{i}_{j}"])
            yield close(f"anchor offsets {i} {j}", offset, data[f"anchor_offset_{i}_{j}"])
            yield same(f"matched pixels {i} {j}", xy, data[f"match_pix_{i}_{j}"])


def _condensed(scene: _Scene, data: dict[str, Tensor]) -> Iterator[Result]:
    everything, nothing = scene.condensed(-np.inf), scene.condensed(np.inf)
    bounds = torch.searchsorted(everything.anchor_image, torch.arange(len(scene.images) + 1))
    start = torch.tensor([0] + [image.blocks for image in scene.images]).cumsum(0)
    yield same("image sizes", everything.size.long(), data["imsizes_wh"])
    yield close("principal points", everything.size / 2, data["principal_points"])
    yield close("base focals", everything.base_focal, data["base_focals"])
    for i in range(len(scene.images)):
        rows = slice(int(bounds[i]), int(bounds[i + 1]))
        yield same(f"anchor pixels {i}", everything.anchor_pixel.T[rows].long(), data[f"anchors_pixels_{i}"].long())
        yield same(f"anchor blocks {i}", everything.anchor_block[rows] - start[i], data[f"anchors_idx_{i}"])
        yield close(f"anchor offsets {i}", everything.anchor_offset[rows], data[f"anchors_offset_{i}"])
    for entry in scene.facts["slices"]:
        i, j = entry["img1"], entry["img2"]
        ours = [
            [stop - int(bounds[image]) for stop in everything.slices[ends]]
            for image, ends in ((i, (i, j)), (j, (j, i)))
        ]
        yield same(f"slices {i} {j}", ours, [entry["slice1"], entry["slice2"]])
        confidence = everything.confidence[slice(*everything.slices[i, j])]
        yield close(f"match confidences {i} {j}", confidence, data[f"pair_conf_{i}_{j}"])
        yield close(f"sum of match confidences {i} {j}", confidence.sum(), entry["confs_sum"])
        rows = (nothing.anchor_image[nothing.fallback_anchor] == i) & (nothing.fallback_camera == j)
        yield close(f"fallback points {i} in {j}", nothing.fallback_points.T[rows], data[f"fallback_pts_{i}_in_{j}"])
        yield close(
            f"fallback confidence {i} in {j}", nothing.fallback_confidence[rows], data[f"fallback_conf_{i}_in_{j}"]
        )


def _trees(scene: _Scene) -> Iterator[Result]:
    for name, entry in scene.facts.items():
        if not isinstance(entry, dict) or "edges" not in entry:
            continue
        is_mst = name in ("mst_mode_mst", "kin_mst_tree")
        tree = scene.tree("mst" if is_mst else "hclust-ward")
        edges = [tuple(edge) for edge in entry["edges"]]
        yield same(f"tree {name}", (tree.root, tree.edges), (entry["root"], edges))


def _runs(scene: _Scene, defaults: SparseSettings, data: dict[str, Tensor]) -> Iterator[Result]:
    for name in sorted(key[: -len("_loss_curve")] for key in data if key.endswith("_loss_curve")):
        if name not in _RUNS:
            yield Result(f"run {name}", float("inf"), 0.0, "no such run is known")
            continue
        settings = replace(defaults, **_RUNS[name])
        condensed, tree = scene.condensed(settings.matching_threshold), scene.tree(settings.tree)
        yield from _stage_starts(name, SparseOptimiser(_in_float64(condensed), tree, settings), data)
        yield from _results(name, SparseOptimiser(condensed, tree, settings), data)
        if name == "default":
            yield from _dense(scene, Forward(condensed, tree, settings.depth_mode), data)


def _in_float64(holder: Condensed) -> Condensed:
    """With its numbers in float64: then only the reference's round-off counts."""
    values = {field.name: getattr(holder, field.name) for field in fields(holder)}
    floats = {name: value for name, value in values.items() if isinstance(value, Tensor) and value.is_floating_point()}
    return replace(holder, **{name: value.double() for name, value in floats.items()})


def _stacked(data: dict[str, Tensor], prefix: str, count: int) -> Tensor | None:
    """The tensors prefix_0, prefix_1 ... in one flat tensor."""
    names = [f"{prefix}_{i}" for i in range(count)]
    return torch.cat([data[name].reshape(-1) for name in names]) if names[0] in data else None


def _stage_starts(run: str, optimiser: SparseOptimiser, data: dict[str, Tensor]) -> Iterator[Result]:
    """First iteration of each stage, from the parameters that the fixture holds, or the initial ones."""
    count = optimiser.condensed.count
    for stage in (COARSE, FINE):
        prefix = f"{run}_{stage}0"
        known = {ours: _stacked(data, f"{prefix}_{theirs}", count) for theirs, ours in _PARAMETERS.items()}
        if stage == COARSE:
            for theirs, ours in _PARAMETERS.items():
                if known[ours] is not None:
                    mine = getattr(optimiser.parameters, ours).reshape(-1)
                    yield close(f"{prefix} {theirs}", mine, known[ours])
        elif any(values is None for values in known.values()):
            continue  # the start of the second stage is a result of the first
        for name, values in known.items():
            if values is not None:
                setattr(optimiser.parameters, name, values.double().reshape(getattr(optimiser.parameters, name).shape))
        geometry, loss = optimiser.gradients(stage)
        for part, ours in (("main", loss.main), ("fallback", loss.fallback), ("total", loss.total)):
            if f"{prefix}_loss_{part}" in data:
                yield close(f"{prefix} loss {part}", ours, data[f"{prefix}_loss_{part}"])
        yield from _geometry(prefix, geometry.detached(), data)
        for theirs, ours in _PARAMETERS.items():
            expected = _stacked(data, f"{prefix}_grad_{theirs}", count)
            if expected is not None:
                gradient = getattr(optimiser.parameters, ours).grad
                yield close(f"{prefix} gradient of {theirs}", gradient.reshape(-1), expected)


def _geometry(prefix: str, geometry: Geometry, data: dict[str, Tensor]) -> Iterator[Result]:
    count = len(geometry.focal)
    for name, ours in (("K", geometry.intrinsics), ("cam2world", geometry.world_from_camera)):
        if f"{prefix}_{name}" in data:
            yield close(f"{prefix} {name}", ours, data[f"{prefix}_{name}"])
    for name, ours in (("depth", geometry.depth), ("pts3d", geometry.world_points.T)):
        if (expected := _stacked(data, f"{prefix}_{name}", count)) is not None:
            yield close(f"{prefix} {name}", ours.reshape(-1), expected)


def _results(run: str, optimiser: SparseOptimiser, data: dict[str, Tensor]) -> Iterator[Result]:
    """A whole run."""
    result = SparseResult(optimiser.forward(optimiser.parameters))
    last = {}
    for stage in (COARSE, FINE):
        if stage == FINE and f"{run}_{FINE}0_loss_main" in data and f"{run}_{FINE}0_quat_0" not in data:
            _, loss = optimiser.evaluate(FINE)
            for part, ours in (("main", loss.main), ("fallback", loss.fallback)):
                reference = data[f"{run}_{FINE}0_loss_{part}"]
                yield close(f"{run}_{FINE}0 loss {part}", ours, reference, MIDDLE_OF_RUN, "after our first stage")
        optimiser.run_stage(stage, result)
        last[stage] = len(result.losses) - 1
    losses, reference = result.losses, data[f"{run}_loss_curve"]
    yield close(f"{run} rates", result.rates, data[f"{run}_lr_curve"])
    yield close(f"{run} losses", losses, reference, MIDDLE_OF_RUN, "relative to the largest")
    if len(losses) == len(reference):
        for stage, at in last.items():
            yield close(f"{run} last loss, {stage}", losses[at], reference[at], FINAL_LOSS)
    for stage, geometry in result.stages.items():
        if f"{run}_{stage}_K" in data:
            yield from _cameras(f"{run}_{stage}", geometry, data)


def _cameras(name: str, geometry: Geometry, data: dict[str, Tensor]) -> Iterator[Result]:
    """Focals, and poses relative to camera 0."""
    focals = data[f"{name}_K"][:, 0, 0]
    error = float(((geometry.focal - focals) / focals).abs().max())
    yield Result(f"{name} focals", error, FOCAL, "largest relative difference")
    centers = geometry.intrinsics[:, :2, 2]
    yield close(f"{name} principal points", centers, data[f"{name}_K"][:, :2, 2], FOCAL)
    ours, theirs = (_relative(poses.double()) for poses in (geometry.world_from_camera, data[f"{name}_cam2world"]))
    yield close(f"{name} relative positions", ours[:, :3, 3], theirs[:, :3, 3], RELATIVE_POSE)
    turn = ours[:, :3, :3].mT @ theirs[:, :3, :3]
    sine = torch.stack([turn[:, a, b] - turn[:, b, a] for a, b in ((2, 1), (0, 2), (1, 0))], dim=1).norm(dim=1)
    angle = torch.atan2(sine, turn.diagonal(dim1=1, dim2=2).sum(dim=1) - 1.0)
    yield Result(f"{name} relative rotations", float(angle.max()), RELATIVE_POSE, "largest angle, radians")


def _relative(poses: Tensor) -> Tensor:
    return torch.linalg.inv(poses[0]) @ poses


def _dense(scene: _Scene, forward: Forward, data: dict[str, Tensor]) -> Iterator[Result]:
    """Points of anchors and of all pixels, from the cameras and depths that the fixture ends with."""
    count = len(scene.images)
    poses, lenses = data["default_fine_cam2world"], data["default_fine_K"]
    depth = _stacked(data, "default_fine_core_depthmap", count)
    center, rotation, position = lenses[:, :2, 2], poses[:, :3, :3], poses[:, :3, 3]
    counts = forward.condensed.anchors_per_image
    geometry = Geometry(lenses[:, 0, 0], center, rotation, position, depth, torch.empty(3, 0), counts)
    world = forward.anchor_points(geometry)
    yield close("points of the anchors", world.T.reshape(-1), _stacked(data, "default_fine_pts3d", count))
    if "dense_depth_0" not in data:
        return
    confidences, depths = [image.confidence.numpy() for image in scene.images], []
    for i, image in enumerate(scene.images):
        depths.append(dense_depth(i, image, forward.condensed, geometry))
        yield close(f"dense depth {i}", depths[i].reshape(-1), data[f"dense_depth_{i}"].reshape(-1))
        yield close(f"dense confidence {i}", confidences[i], data[f"dense_conf_{i}"])
        y, x = torch.meshgrid(torch.arange(image.height), torch.arange(image.width), indexing="ij")
        xy = (torch.stack([x, y], dim=-1).reshape(-1, 2) - lenses[i, :2, 2]) / lenses[i, 0, 0]
        local = torch.cat([xy, torch.ones(len(xy), 1)], dim=1) * torch.from_numpy(depths[i]).reshape(-1, 1)
        points = local @ poses[i, :3, :3].T + poses[i, :3, 3]
        yield close(f"dense points {i}", points, data[f"dense_pts3d_{i}"])
    if "dense_conf_cleaned_0" in data:
        points = [data[f"dense_pts3d_{i}"].reshape(*depths[i].shape, 3).numpy() for i in range(count)]
        cleaned = clean_confidences(confidences, depths, points, lenses.numpy(), poses.numpy())
        for i, ours in enumerate(cleaned):
            yield close(f"dense confidence, cleaned {i}", ours, data[f"dense_conf_cleaned_{i}"])

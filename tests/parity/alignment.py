"""Focal lengths, pair viewer, mutual neighbours, cleaning, and the global alignments of DUSt3R."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from blender_3r.engine.geometry.focal import estimate_focal
from blender_3r.engine.methods.pairwise.alignment.clean import clean_confidences, trusted
from blender_3r.engine.methods.pairwise.alignment.neighbours import reciprocal_matches
from blender_3r.engine.methods.pairwise.alignment.viewer import view_pair

from . import alignment_global, alignment_known
from .alignment_pieces import POINT_POSE_LIMIT, predictions_of
from .checking import Fixture, Result, close, same

CLEAN_SHARE = 1e-3  # pixels that may fall to the other side of a rounding
MIN_CONFIDENCE = 3.0


def checks(fixture: Fixture) -> Iterator[Result]:
    if fixture.has("procedure_focal.safetensors"):
        yield from _focal(fixture.tensors("procedure_focal.safetensors"))
    if fixture.has("procedure_pairviewer.safetensors"):
        yield from _viewer(fixture.tensors("procedure_pairviewer.safetensors"))
    if fixture.has("procedure_reciprocal3d.safetensors"):
        yield from _reciprocal(fixture.tensors("procedure_reciprocal3d.safetensors"))
    if fixture.has("procedure_clean.safetensors"):
        yield from _clean(fixture.tensors("procedure_clean.safetensors"))
    yield from alignment_global.checks(fixture)
    yield from alignment_known.checks(fixture)


def _focal(tensors: dict[str, torch.Tensor]) -> Iterator[Result]:
    points, center = tensors["pts3d"].numpy(), tensors["pp"].numpy()
    shifted = tensors.get("pp_shifted")
    for name, reference in tensors.items():
        if name in ("pts3d", "pp", "pp_shifted"):
            continue
        centers = shifted.numpy() if name.endswith("_pp_shifted") else center
        mode = "median" if name.startswith("median") else "weiszfeld"
        limits = (0.0, np.inf)
        if "_clip_" in name:
            low, high = name.split("_clip_")[1].split("_")
            limits = float(low.removeprefix("min")), float(high.removeprefix("max"))
        ours = [estimate_focal(cloud, pp, mode, limits) for cloud, pp in zip(points, centers)]
        yield close(f"focal {name}", ours, reference)


def _viewer(tensors: dict[str, torch.Tensor]) -> Iterator[Result]:
    scene = view_pair(predictions_of(tensors), MIN_CONFIDENCE)
    yield close("pair viewer focals", scene.focals, tensors["focals"])
    yield close("pair viewer intrinsics", scene.intrinsics, tensors["intrinsics"])
    yield close("pair viewer poses", scene.world_from_camera, tensors["cam2world"], POINT_POSE_LIMIT)
    masks = trusted(scene, MIN_CONFIDENCE)
    for image in range(scene.count):
        yield close(f"pair viewer depth {image}", scene.depth[image], tensors[f"depth_{image}"], POINT_POSE_LIMIT)
        yield close(
            f"pair viewer points {image}", scene.world_points(image), tensors[f"pts3d_{image}"], POINT_POSE_LIMIT
        )
        yield close(f"pair viewer confidence {image}", scene.confidence[image], tensors[f"im_conf_{image}"])
        yield same(f"pair viewer mask {image}", masks[image], tensors[f"mask_{image}"].bool())


def _reciprocal(tensors: dict[str, torch.Tensor]) -> Iterator[Result]:
    reciprocal, nearest = reciprocal_matches(tensors["P1"].numpy(), tensors["P2"].numpy())
    yield same("mutual neighbours, nearest", nearest, tensors["nn2_in_P1"])
    yield same("mutual neighbours, which", reciprocal, tensors["reciprocal_in_P2"].bool())
    yield same("mutual neighbours, count", int(reciprocal.sum()), int(tensors["count"]))


def _clean(tensors: dict[str, torch.Tensor]) -> Iterator[Result]:
    count = len(tensors["cam2world"])
    confidence, depth, points = (
        [tensors[f"{name}_{image}"].numpy() for image in range(count)] for name in ("conf", "depth", "pts3d")
    )
    cases = {name.rsplit("_", 1)[0] for name in tensors if name.startswith("cleaned")}
    for case in sorted(cases):
        options = {}
        for part in case.split("_")[1:]:
            for name, option in (("tol", "tolerance"), ("bad", "bad_confidence")):
                if part.startswith(name):
                    options[option] = float(part.removeprefix(name))
        ours = clean_confidences(
            confidence, depth, points, tensors["K"].numpy(), tensors["cam2world"].numpy(), **options
        )
        for image, values in enumerate(ours):
            expected = tensors[f"{case}_{image}"].numpy()
            share = float(np.mean(np.abs(values - expected) > 1e-5 * np.abs(expected).max()))
            changed = int(np.sum(expected != confidence[image]))
            yield Result(f"{case} {image}", share, CLEAN_SHARE, f"share of pixels; {changed} changed by cleaning")

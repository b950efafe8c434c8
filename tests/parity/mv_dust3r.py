"""MV-DUSt3R and MV-DUSt3R+: both networks, a batch of scenes, cameras from their points, the order of views."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from blender_3r.engine.geometry.focal import estimate_focal
from blender_3r.engine.methods.multiview.cameras import lowest_confidence, pose_by_default_ransac
from blender_3r.engine.models.config import config_from_dict
from blender_3r.engine.models.mv_dust3r import MvDust3r, MvDust3rConfig, MvDust3rPrediction, view_order

from .checking import Fixture, Result, close, same
from .networks import load_strictly, published_keys, recorded

WEIGHTS, IO = "weights.safetensors", "io.safetensors"
DEMO, ORDER = "procedure_demo.safetensors", "procedure_view_order.json"
RANSAC_TOLERANCE = 1e-3
# Names that a head's outputs are stored by.
GAUSSIANS = {"rgb": "color", "opacity": "opacity", "scale": "scale", "rotation": "rotation"}


def checks(fixture: Fixture) -> Iterator[Result]:
    if fixture.has("config.json", WEIGHTS, IO):
        names = fixture.tensor_names(WEIGHTS)
        if any(name.startswith("downstream_GS_head.") for name in names) and "n_ref" in fixture.config:
            yield from _networks(fixture)
    if fixture.has(DEMO) and "first_threshold" in fixture.tensor_names(DEMO):
        yield from _demo(fixture)
    if fixture.has(ORDER):
        for count, order in fixture.json(ORDER).items():
            yield same(f"order of {count} views", view_order(int(count)), order)
    yield from published_keys(
        fixture, "mv_dust3r", lambda keys: any(name.startswith("downstream_GS_head.") for name in keys)
    )


def _networks(fixture: Fixture) -> Iterator[Result]:
    weights, io = fixture.tensors(WEIGHTS), fixture.tensors(IO)
    several = config_from_dict(MvDust3rConfig, fixture.config)
    plain_weights = {name: value for name, value in weights.items() if not name.startswith("dec_same_view_blocks.")}
    plain = load_strictly(MvDust3r(replace(several, n_ref=1)), plain_weights)
    images = _images(io, "in.img.")
    yield from _run(plain, images, _run_of(io, "A"), "A.")
    if len(plain_weights) == len(weights):
        return
    plus = load_strictly(MvDust3r(several), weights)
    yield from _run(plus, images, _run_of(io, "B"), "B.")
    if any(name.startswith("C.in.img_second.") for name in io):
        both = torch.cat([images, _images(io, "C.in.img_second.")])
        yield from _scenes(plus, both, _run_of(io, "C"))


def _images(io: dict[str, Tensor], prefix: str) -> Tensor:
    """(1, S, 3, H, W)"""
    count = sum(name.startswith(prefix) for name in io)
    return torch.stack([io[f"{prefix}{view}"] for view in range(count)], dim=1)


def _run_of(io: dict[str, Tensor], run: str) -> dict[str, Tensor]:
    return {name[len(run) + 1 :]: tensor for name, tensor in io.items() if name.startswith(f"{run}.")}


@torch.no_grad()
def _run(network: MvDust3r, images: Tensor, stored: dict[str, Tensor], run: str) -> Iterator[Result]:
    paths, views = network.config.n_ref, images.shape[1]
    names = [name for name, _ in network.named_modules() if re.fullmatch(r"(enc|dec)\w*_blocks2?\.\d+", name)]
    kept = [*names, "patch_embed.proj", "enc_norm", "downstream_head1.proj"]
    kept += ["downstream_head1.skip_proj", "downstream_head2.skip_proj"]
    with recorded(network, kept) as seen:
        tokens = network.encode(images.flatten(0, 1))
        prediction = network.predict(tokens[None], images, all_paths=True)
    ours = {
        "mid.patch_embed_conv": seen["patch_embed.proj"][0],
        "mid.enc_norm": seen["enc_norm"][0],
        "mid.head1_proj": seen["downstream_head1.proj"][0],
        "mid.head1_skip": seen["downstream_head1.skip_proj"][0],
        # The second head takes several views at once: of every path, the first of them.
        "mid.head2_skip": seen["downstream_head2.skip_proj"][0].unflatten(0, (paths, -1))[:, 0],
        **{f"mid.enc_block.{layer}": seen[f"enc_blocks.{layer}"][0] for layer in range(len(network.enc_blocks))},
    }
    for layer in range(len(network.dec_blocks)):
        ours |= _layer(seen, layer, paths, views)
    decoded = network.decode(tokens[None], network.grid(images.shape[-2:]), all_paths=True)
    for path in range(paths):
        # Stored before views 0 and r change places.
        decoded[path, [0, path]] = decoded[path, [path, 0]]
    ours |= {f"mid.dec_norm.view.{view}": decoded[:, view] for view in range(views)}
    ours |= _outputs(prediction, views)
    for name, reference in stored.items():
        if name in ours:
            yield close(run + name, ours[name][: len(reference)], reference)


def _layer(seen: dict[str, list[Tensor]], layer: int, paths: int, views: int) -> dict[str, Tensor]:
    """What the blocks of a layer gave, under the names of the stored calls: one call a view, ours one a slot."""
    found = {}
    for path, tensor in enumerate(seen[f"dec_blocks.{layer}"][0].split(1)):
        found[f"mid.dec_ref.{layer}.call.{path}"] = tensor
    call = 0
    for path in range(paths):
        for view in (view for view in range(views) if view != path):
            slot = path if view == 0 else view
            found[f"mid.dec_src.{layer}.call.{call}"] = seen[f"dec_blocks2.{layer}"][slot - 1][path : path + 1]
            call += 1
    for path, by_view in enumerate(seen.get(f"dec_same_view_blocks.{layer}", [])):
        for view, tensor in enumerate(by_view.split(1)):
            found[f"mid.cross_ref.{layer}.call.{view * paths + path}"] = tensor
    return found


def _outputs(prediction: MvDust3rPrediction, views: int) -> dict[str, Tensor]:
    found = {}
    for view in range(views):
        found[f"out.view{view}.pts"] = prediction.points[:, view]
        found[f"out.view{view}.conf"] = prediction.confidence[:, view]
        for theirs, ours in GAUSSIANS.items():
            found[f"out.view{view}.{theirs}"] = getattr(prediction.gaussians, ours)[:, view]
    return found


@torch.no_grad()
def _scenes(network: MvDust3r, images: Tensor, stored: dict[str, Tensor]) -> Iterator[Result]:
    """Means by slot and row, a row being a scene's path."""
    prediction = network(images, all_paths=True)
    confidence = prediction.confidence.mean(dim=(2, 3)).T
    points = prediction.points.mean(dim=(2, 3)).transpose(0, 1)
    yield close("C.out.conf_mean_rows", confidence, stored["out.conf_mean_rows"])
    yield close("C.out.pts_mean_rows", points, stored["out.pts_mean_rows"])


def _demo(fixture: Fixture) -> Iterator[Result]:
    data = {name: tensor.numpy() for name, tensor in fixture.tensors(DEMO).items()}
    confidence, points = data["conf"], data["pts"]
    least, first = lowest_confidence(confidence), lowest_confidence(confidence[0])
    yield close("confidence threshold", least, data["conf_threshold"])
    yield same("pixels kept", np.count_nonzero(confidence >= least), int(data["mask_count"]))
    yield close("threshold of the first view", first, data["first_threshold"])
    focal = estimate_focal(points[0], usable=confidence[0] >= first)
    yield close("focal", [focal], data["focal"])
    cloud = data["pnp_points"]
    pose = pose_by_default_ransac(cloud, np.ones(cloud.shape[:2], bool), data["pnp_K"])
    yield close("pose", np.eye(4) if pose is None else pose.world_from_camera, data["pnp_c2w"], RANSAC_TOLERANCE)

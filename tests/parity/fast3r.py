"""Fast3R: the network with views of one and of several sizes, cameras from its points, local points moved onto them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from blender_3r.engine.methods.multiview.cameras import align_local_points, cameras_from_points, cameras_one_by_one
from blender_3r.engine.models.config import config_from_dict
from blender_3r.engine.models.fast3r import Fast3r, Fast3rConfig, index_table

from .checking import Fixture, Result, close
from .networks import load_strictly, published_keys, recorded

WEIGHTS, IO = "weights.safetensors", "io.safetensors"
POSES = "procedure_pose_alignment.safetensors"
RANSAC_TOLERANCE, FOCAL_TOLERANCE = 1e-3, 1e-6
SEARCHED_FOCAL_ROUNDS = 10

MODULES = {
    "decoder_tokens_embedded": "decoder.decoder_embed",
    "decoder_last_normed": "decoder.dec_norm",
    "global_dpt_path4": "downstream_head.dpt.scratch.refinenet4",
    "local_dpt_path4": "downstream_head_local.dpt.scratch.refinenet4",
}


def checks(fixture: Fixture) -> Iterator[Result]:
    if fixture.has("config.json", WEIGHTS, IO):
        names = fixture.tensor_names(WEIGHTS)
        if any(name.startswith("downstream_head_local.") for name in names) and "decoder.dec_norm.weight" in names:
            yield from _network(fixture)
    if fixture.has(POSES) and any(name.startswith("in.view0.") for name in fixture.tensor_names(POSES)):
        yield from _poses(fixture)
    yield from published_keys(fixture, "fast3r", lambda keys: "decoder.decoder_embed.weight" in keys)


def _network(fixture: Fixture) -> Iterator[Result]:
    network = load_strictly(Fast3r(config_from_dict(Fast3rConfig, fixture.config)), fixture.tensors(WEIGHTS))
    io = fixture.tensors(IO)
    for case in sorted(name.partition(".")[0] for name in io if name.endswith(".image_ids")):
        stored = {name[len(case) + 1 :]: tensor for name, tensor in io.items() if name.startswith(f"{case}.")}
        yield from _case(network, stored, case)
    table = io.get("image_index_table_first_rows")
    if table is not None:
        yield close("index table", index_table(torch.arange(len(table)), table.shape[1]), table)


@torch.no_grad()
def _case(network: Fast3r, stored: dict[str, Tensor], case: str) -> Iterator[Result]:
    numbers = stored["image_ids"]
    images = [stored[f"image{view}"] for view in range(len(numbers))]
    modules = {name: module for name, module in MODULES.items() if name in stored}
    for name in stored:
        if match := re.fullmatch(r"decoder_block(\d+)", name):
            modules[name] = f"decoder.dec_blocks.{match[1]}"
    with (
        recorded(network, sorted(modules.values())) as seen,
        recorded(network, ["decoder.dec_blocks.0"], inputs=True) as given,
    ):
        views = [network.encode(image) for image in images]
        predictions = network.predict(views, numbers)
    ours = {name: torch.cat(seen[module]) for name, module in modules.items()}
    ours["decoder_tokens_plus_index_embedding"] = given["decoder.dec_blocks.0"][0]
    if "encoder_out" in stored:
        ours["encoder_out"] = torch.cat([view.tokens for view in views])
    for view, prediction in enumerate(predictions):
        ours |= {
            f"out{view}.pts3d_in_other_view": prediction.points,
            f"out{view}.conf": prediction.confidence,
            f"out{view}.pts3d_local": prediction.local_points,
            f"out{view}.conf_local": prediction.local_confidence,
        }
    for name, tensor in ours.items():
        if name in stored:
            yield close(f"{case}.{name}", tensor, stored[name])


def _poses(fixture: Fixture) -> Iterator[Result]:
    data = {name: tensor.numpy() for name, tensor in fixture.tensors(POSES).items()}
    count = sum(name.endswith(".pts3d_local") for name in data)
    views = [
        {key: data[f"in.view{view}.{key}"] for key in ("pts3d_in_other_view", "conf", "pts3d_local")}
        for view in range(count)
    ]
    for name, reference in data.items():
        if match := re.fullmatch(r"aligned_percentile(\d+)\.view(\d+)", name):
            view = views[int(match[2])]
            moved = align_local_points(view["pts3d_local"], view["pts3d_in_other_view"], view["conf"], int(match[1]))
            yield close(name, moved, reference)
    points = [view["pts3d_in_other_view"] for view in views]
    cameras = cameras_from_points(points, [view["conf"] for view in views])
    yield close("focal of the first view", cameras.focals[0], data["focal_view0"], FOCAL_TOLERANCE)
    yield close("focals", cameras.focals, data["pnp_focals"], FOCAL_TOLERANCE)
    yield close("poses", cameras.world_from_camera, data["pnp_cam_to_world"], RANSAC_TOLERANCE)
    if "pnp_individual_focals" in data:
        ours = cameras_one_by_one(points, SEARCHED_FOCAL_ROUNDS)
        yield close("focals searched", np.log(ours.focals), np.log(data["pnp_individual_focals"]), 0.5, "a lottery")

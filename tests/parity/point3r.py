"""Point3R: the network, a sequence with pointers and pose memory after every view, and the pointers by themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from blender_3r.engine.geometry.similarity import fit_similarity
from blender_3r.engine.models.config import config_from_dict
from blender_3r.engine.models.dust3r import Encoded
from blender_3r.engine.models.layers.patches import grid_positions
from blender_3r.engine.models.layers.rope import apply_rope, rope_tables_in_space
from blender_3r.engine.models.point3r import Point3r, Point3rConfig, Point3rState
from blender_3r.engine.models.point3r_memory import Pointers, find_nearest, merge

from .checking import Fixture, Result, close, same
from .cut3r import outputs
from .networks import indices, load_strictly, published_keys, recorded

_PROCEDURE = "procedure_memory.safetensors"


def checks(fixture: Fixture) -> Iterator[Result]:
    if fixture.has("config.json", "weights.safetensors") and "memory_dec_num_heads" in fixture.config:
        config = config_from_dict(Point3rConfig, fixture.config)
        network = load_strictly(Point3r(config), fixture.tensors("weights.safetensors"))
        if fixture.has("io.safetensors"):
            yield from _sequence(network, fixture.tensors("io.safetensors"))
        if fixture.has(_PROCEDURE):
            yield from _procedures(network, fixture.tensors(_PROCEDURE))
    yield from published_keys(fixture, "point3r", lambda keys: "pts_patch_embed.proj.weight" in keys)


@torch.no_grad()
def _sequence(network: Point3r, io: dict[str, Tensor]) -> Iterator[Result]:
    with recorded(network, ["patch_embed.proj"]) as seen:
        views = [network.encode(io[f"in.img.{i}"]) for i in indices(io, r"in\.img\.(\d+)")]
    for name, tensor in (("patch_embed_conv", seen["patch_embed.proj"][0]), ("enc_norm", views[0].tokens)):
        if f"mid.{name}" in io:
            yield close(f"mid.{name}", tensor, io[f"mid.{name}"])
    state = network.start()
    for i, view in enumerate(views):
        yield from _inside(network, view, state, io, i)
        prediction, new = network.step(view, state)
        yield from outputs(prediction, io, f"out.{i}.")
        yield from _state(network, state, new, io, i)
        state = new
    state = network.start()
    for i, view in enumerate(views):
        prediction, state = network.step(view, state, merging=False)
        yield from outputs(prediction, io, f"nomerge.{i}.")


def _inside(network: Point3r, view: Encoded, state: Point3rState, io: dict[str, Tensor], i: int) -> Iterator[Result]:
    """Intermediates of one step, on a run of their own that also takes the pointers through their last block."""
    mean = view.tokens.mean(dim=1, keepdim=True)
    query = network.pose_token if i == 0 else network.pose_retriever.read(mean, state.pose_memory)
    if f"pose_query.{i}" in io:
        yield close(f"pose_query.{i}", query, io[f"pose_query.{i}"])
    wanted = [name for name in io if name.startswith(f"step{i}.")]
    if not wanted:
        return
    modules = {name: _module_of(name.partition(".")[2]) for name in wanted}
    with recorded(network, sorted(set(modules.values()))) as seen:
        layers = network.decode(view, state, query, whole=True)
        prediction = network.downstream_head(layers, view)
        network.make_pointers(view, layers[-1][:, 1:], prediction.world_points)
    for name, module in modules.items():
        yield close(name, seen[module][0].reshape(io[name].shape), io[name])


def _module_of(name: str) -> str:
    patterns = {
        r"dec_img\.(\d+)": "dec_blocks.{}",
        r"dec_mem\.(\d+)": "dec_blocks_memory.{}",
        r"value_block\.(\d+)": "value_encoder.{}",
        r"final_transform\.(\d+)": "downstream_head.final_transform.{}",
        r"dec_norm_img()": "dec_norm",
        r"memory_key()": "memory_attn_head",
        r"pts_patch_conv()": "pts_patch_embed.proj",
        r"value_out()": "value_out",
        r"pose_raw()": "downstream_head.pose_head",
    }
    for pattern, module in patterns.items():
        if found := re.fullmatch(pattern, name):
            return module.format(found[1])
    raise ValueError(f"no module gives {name}")


def _state(
    network: Point3r, before: Point3rState, state: Point3rState, io: dict[str, Tensor], i: int
) -> Iterator[Result]:
    ours = {
        f"pose_mem.{i}": state.pose_memory,
        f"step.{i}.img_pos": state.seen,
        f"step.{i}.memory_pos": state.pointers.positions,
        f"step.{i}.memory_feat": state.pointers.features,
    }
    if before.pointers is not None:
        nearest = find_nearest(before.pointers.positions, state.seen, network.config.merge_units)
        ours |= {f"step.{i}.threshold": nearest.threshold, f"step.{i}.min_dist": nearest.distances}
        if f"step.{i}.nearest" in io:
            yield same(f"step.{i}.nearest", nearest.indices, io[f"step.{i}.nearest"])
    for name, tensor in ours.items():
        if name in io:
            yield close(name, tensor, io[name])


@torch.no_grad()
def _procedures(network: Point3r, data: dict[str, Tensor]) -> Iterator[Result]:
    config = network.config
    pointers: Pointers | None = None
    for i in indices(data, r"(\d+)\.pts3d"):
        points = data[f"{i}.pts3d"]
        grid = (points.shape[1] // config.patch_size, points.shape[2] // config.patch_size)
        view = Encoded(data[f"{i}.enc_feat"], grid_positions(1, *grid, points.device), grid)
        new = network.make_pointers(view, data[f"{i}.dec_feat"], points)
        pointers = new if pointers is None else merge(pointers, new, config.merge_units)
        yield close(f"{i}.img_pos", new.positions, data[f"{i}.img_pos"])
        yield close(f"{i}.memory_pos", pointers.positions, data[f"{i}.memory_pos"])
        yield close(f"{i}.memory_feat", pointers.features, data[f"{i}.memory_feat"])
    for name in [key.removesuffix(".tokens") for key in data if key.endswith(".tokens")]:
        tokens = data[f"{name}.tokens"]
        for case in indices(data, re.escape(name) + r"\.pos(\d+)"):
            untouched = tokens.shape[2] - case
            tables = rope_tables_in_space(data[f"{name}.pos{case}"], tokens.shape[-1], config.rope3d_bases, untouched)
            yield close(f"{name}.out{case}", apply_rope(tokens, tables), data[f"{name}.out{case}"])
    if "procrustes.T" in data:
        fitted = fit_similarity(*(data[f"procrustes.{part}"].numpy() for part in "ABw"), rigid=True)
        ours = np.tile(np.eye(4), (len(fitted.scale), 1, 1))
        ours[:, :3, :3], ours[:, :3, 3] = fitted.rotation, fitted.translation
        yield close("procrustes.T", ours, data["procrustes.T"])

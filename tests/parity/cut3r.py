"""CUT3R: the network, runs through sequences with the state after every view, and the procedures around them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor

from blender_3r.engine.geometry.focal import estimate_focal
from blender_3r.engine.geometry.poses import move_points, poses_from_encoding
from blender_3r.engine.geometry.rays import ray_map
from blender_3r.engine.models.config import config_from_dict
from blender_3r.engine.models.cut3r import (
    Cut3r,
    Cut3rConfig,
    Cut3rState,
    alignment_edges,
    alignment_sequences,
    state_positions,
)
from blender_3r.engine.models.dust3r import Encoded
from blender_3r.engine.models.outputs import StreamPrediction

from .checking import Fixture, Result, close, same
from .networks import indices, load_strictly, published_keys, recorded

OUTPUTS = {
    "pts3d_in_self_view": "own_points",
    "conf_self": "own_confidence",
    "pts3d_in_other_view": "world_points",
    "conf": "world_confidence",
    "camera_pose": "pose",
    "rgb": "color",
}
_SEQUENCES = "procedure_ga_sequences.json"
_DEMO = "procedure_demo.safetensors"


def checks(fixture: Fixture) -> Iterator[Result]:
    if fixture.has("config.json", "weights.safetensors", "io.safetensors") and "ray_enc_depth" in fixture.config:
        yield from _networks(fixture)
    if fixture.has(_SEQUENCES) and all("edges_sorted" in known for known in fixture.json(_SEQUENCES).values()):
        for count, expected in fixture.json(_SEQUENCES).items():
            sequences = alignment_sequences(int(count))
            yield same(f"sequences of {count}", sequences, expected["sequences"])
            edges = [list(edge) for edge in alignment_edges(sequences)]
            yield same(f"edges of {count}", edges, expected["edges_sorted"])
    if fixture.has(_DEMO) and "ray.map" in fixture.tensor_names(_DEMO):
        yield from _demo(fixture)
    yield from published_keys(fixture, "cut3r", lambda keys: "enc_norm_ray_map.weight" in keys)


@torch.no_grad()
def _networks(fixture: Fixture) -> Iterator[Result]:
    weights, io = fixture.tensors("weights.safetensors"), fixture.tensors("io.safetensors")
    network = load_strictly(Cut3r(config_from_dict(Cut3rConfig, fixture.config)), weights)
    places = state_positions(network.config.state_size)
    yield same("A.state_pos", places.int(), io["A.state_pos"].int())
    yield from _encoder(network, io)
    yield from _images_with_flags(network, io)
    for run, masked in (("B", True), ("C", False)):
        yield from _with_rays(network, io, run, masked)
    yield from _run(network, io, "E", [network.encode(io[f"E.in.img.{i}"]) for i in indices(io, r"E\.in\.img\.(\d+)")])
    if fixture.has("weights_linear_head.safetensors", "io_linear.safetensors"):
        body = {name: value for name, value in weights.items() if not name.startswith("downstream_head.")}
        config = config_from_dict(Cut3rConfig, {**fixture.config, "head_type": "linear"})
        linear = load_strictly(Cut3r(config), {**body, **fixture.tensors("weights_linear_head.safetensors")})
        outputs = fixture.tensors("io_linear.safetensors")
        views = [linear.encode(io[f"in.img.{i}"]) for i in indices(outputs, r"L\.out\.(\d+)\..*")]
        yield from _run(linear, outputs, "L", views)


def _encoder(network: Cut3r, io: dict[str, Tensor]) -> Iterator[Result]:
    count = len(io["mid.enc_norm"])
    blocks = [f"enc_blocks.{i}" for i in range(network.config.enc_depth)]
    with recorded(network, ["patch_embed.proj", *blocks]) as seen:
        encoded = network.encode(torch.cat([io[f"in.img.{i}"] for i in range(count)]))
    if "mid.patch_embed_conv" in io:
        yield close("mid.patch_embed_conv", seen["patch_embed.proj"][0], io["mid.patch_embed_conv"])
    for number, block in enumerate(blocks):
        if f"mid.enc_block.{number}" in io:
            yield close(f"mid.enc_block.{number}", seen[block][0], io[f"mid.enc_block.{number}"])
    yield close("mid.enc_norm", encoded.tokens, io["mid.enc_norm"])


def _images_with_flags(network: Cut3r, io: dict[str, Tensor]) -> Iterator[Result]:
    """Run A, every intermediate of the steps that have them, and the query of its last state (run D)."""
    views = [network.encode(io[f"in.img.{i}"]) for i in range(len(io["A.update"]))]
    flags = [(bool(update), bool(reset)) for update, reset in zip(io["A.update"], io["A.reset"], strict=True)]
    depth = network.config.dec_depth
    modules = {f"dec_img.{i}": f"dec_blocks.{i}" for i in range(depth)}
    modules |= {f"dec_state.{i}": f"dec_blocks_state.{i}" for i in range(depth)}
    modules |= {f"final_transform.{i}": f"downstream_head.final_transform.{i}" for i in range(2)}
    modules |= {"decoder_embed": "decoder_embed", "dec_norm_img": "dec_norm", "pose_raw": "downstream_head.pose_head"}
    with recorded(network, list(modules.values())) as seen:
        yield from _run(network, io, "A", views, flags)
    for name in sorted(io):
        if found := re.fullmatch(r"A\.step(\d+)\.(.*)", name):
            ours = seen[modules[found[2]]][int(found[1])]
            yield close(name, ours.reshape(io[name].shape), io[name])
    for first in indices(io, r"in\.ray_map\.(\d+)")[:1]:
        rays = network.encode_rays(io[f"in.ray_map.{first}"])
        state = Cut3rState(io[f"A.state.{len(views)}"], io[f"A.mem.{len(views)}"], len(views))
        yield from outputs(network.query(rays, state), io, "D.out.0.")


def _with_rays(network: Cut3r, io: dict[str, Tensor], run: str, masked: bool) -> Iterator[Result]:
    """The first view that has a ray map has nothing else and leaves the state; later ones have their image as well."""
    with_rays = indices(io, r"in\.ray_map\.(\d+)")
    views, flags = [], []
    for i in indices(io, rf"{run}\.out\.(\d+)\..*"):
        rays = network.encode_rays(io[f"in.ray_map.{i}"]) if i in with_rays else None
        image = network.encode(io[f"in.img.{i}"]) if i != with_rays[0] else None
        views.append(network.join(image, rays, masked))
        flags.append((image is not None, False))
        if f"{run}.enc_feat.{i}" in io:
            yield close(f"{run}.enc_feat.{i}", views[-1].tokens, io[f"{run}.enc_feat.{i}"])
    yield from _run(network, io, run, views, flags)


def _run(
    network: Cut3r,
    io: dict[str, Tensor],
    run: str,
    views: list[Encoded],
    flags: list[tuple[bool, bool]] | None = None,
) -> Iterator[Result]:
    state = network.start()
    yield from _state(state, io, run)
    for i, view in enumerate(views):
        if f"{run}.pose_query.{i}" in io:
            query = network.pose_retriever.read(view.tokens.mean(dim=1, keepdim=True), state.memory)
            yield close(f"{run}.pose_query.{i}", query, io[f"{run}.pose_query.{i}"])
        prediction, state = network.step(view, state, *(flags[i] if flags else (True, False)))
        yield from outputs(prediction, io, f"{run}.out.{i}.")
        yield from _state(state, io, run)


def _state(state: Cut3rState, io: dict[str, Tensor], run: str) -> Iterator[Result]:
    for name, ours in ((f"{run}.state.{state.views}", state.tokens), (f"{run}.mem.{state.views}", state.memory)):
        if name in io:
            yield close(name, ours, io[name])


def outputs(prediction: StreamPrediction, io: dict[str, Tensor], prefix: str) -> Iterator[Result]:
    """Stored outputs whose names begin with prefix."""
    for theirs, ours in OUTPUTS.items():
        if prefix + theirs in io:
            yield close(prefix + theirs, getattr(prediction, ours), io[prefix + theirs])


def _demo(fixture: Fixture) -> Iterator[Result]:
    data = {name: tensor.numpy() for name, tensor in fixture.tensors(_DEMO).items()}
    points, centers = data["focal.pts3d_self"], data["focal.pp"]
    for mode in ("weiszfeld", "median"):
        ours = [estimate_focal(one, center, mode) for one, center in zip(points, centers, strict=True)]
        yield close(f"focal.{mode}", ours, data[f"focal.{mode}"])
    yield close("pose.c2w", poses_from_encoding(data["pose.encoding"]), data["pose.c2w"])
    height, width = data["ray.map"].shape[:2]
    rays = ray_map(data["ray.K"], data["ray.c2w2"], data["ray.c2w1"], (height, width))
    yield close("ray.map", rays, data["ray.map"])
    if fixture.has("io.safetensors") and "world.pts" in data:
        io = fixture.tensors("io.safetensors")
        pose = poses_from_encoding(io["A.out.0.camera_pose"].numpy())
        own = io["A.out.0.pts3d_in_self_view"].numpy()
        yield close("world.pts", move_points(pose[0], own), data["world.pts"])

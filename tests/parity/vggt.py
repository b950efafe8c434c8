"""VGGT: the network, its track head alone, pose encodings, and how pictures are fitted to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from blender_3r.engine.geometry.pose_encoding import decode_pose, encode_pose, unproject_depth
from blender_3r.engine.methods.multiview.pictures import prepare_for_vggt
from blender_3r.engine.models.config import config_from_dict
from blender_3r.engine.models.vggt import Vggt, VggtConfig, activate_pose, heads_in
from blender_3r.engine.models.vggt_track import TrackConfig, TrackHead, position_table, wave_movement

from .checking import Fixture, Result, close, same
from .networks import load_strictly, published_keys, recorded

# A network that wanders by its own rounding, so that what it moves is compared more loosely (specs/vggt_track.md 5).
TRACK_TOLERANCE = 1e-2
WEIGHTS, IO = "weights.safetensors", "io.safetensors"
POSES = "procedure_pose_encoding.safetensors"
PICTURES = "procedure_preprocess.safetensors"


def checks(fixture: Fixture) -> Iterator[Result]:
    if fixture.has("config.json", WEIGHTS, IO):
        names = fixture.tensor_names(WEIGHTS)
        if any(name.startswith("aggregator.frame_blocks.") for name in names):
            yield from _network(fixture)
        elif "tracker.updateformer.input_transform.weight" in names:
            yield from _track_head(fixture)
    if fixture.has(POSES) and "pose_enc" in fixture.tensor_names(POSES):
        yield from _pose_encoding(fixture)
    if fixture.has(PICTURES):
        yield from _pictures(fixture)
    yield from published_keys(fixture, "vggt", lambda keys: "aggregator.camera_token" in keys)


@torch.no_grad()
def _network(fixture: Fixture) -> Iterator[Result]:
    weights, io = fixture.tensors(WEIGHTS), fixture.tensors(IO)
    config = replace(config_from_dict(VggtConfig, fixture.config), heads=heads_in(weights))
    network = load_strictly(Vggt(config), weights)
    images = io["images"]
    size = tuple(images.shape[-2:])
    modules = {
        "patch_embed": "aggregator.patch_embed.patch_embed",
        "encoder_out": "aggregator.patch_embed.norm",
        "camera_token_normed": "camera_head.token_norm",
        "depth_dpt_output_conv1": "depth_head.scratch.output_conv1",
    }
    for name in io:
        if match := re.fullmatch(r"(frame|global)_block(\d+)", name):
            modules[name] = f"aggregator.{match[1]}_blocks.{match[2]}"
        elif match := re.fullmatch(r"(depth|point)_dpt_layer(\d)", name):
            modules[name] = f"{match[1]}_head.resize_layers.{int(match[2]) - 1}"
        elif match := re.fullmatch(r"(depth|point)_dpt_refinenet(\d)", name):
            modules[name] = f"{match[1]}_head.scratch.refinenet{match[2]}"
    with (
        recorded(network, sorted(set(modules.values()))) as seen,
        recorded(
            network,
            ["aggregator.patch_embed.blocks.0", "aggregator.frame_blocks.0", "depth_head.scratch.output_conv2"],
            inputs=True,
        ) as given,
    ):
        patches = network.encode(images.flatten(0, 1)).unflatten(0, images.shape[:2])
        aggregated = network.aggregate(patches, size)
        prediction = network.predict(aggregated)
        raw_poses = network.camera_head(aggregated.last[:, :, 0])
    ours = {name: torch.cat(seen[module]) for name, module in modules.items() if name in io and module in seen}
    ours |= {
        "encoder_tokens_with_pos": given["aggregator.patch_embed.blocks.0"][0],
        "aggregator_tokens_in": given["aggregator.frame_blocks.0"][0],
        "aggregator_last": aggregated.last,
        "camera_token_normed": seen["camera_head.token_norm"][0],
        "camera_pose_enc_iters": activate_pose(raw_poses),
    }
    if last := given["depth_head.scratch.output_conv2"]:
        ours["depth_dpt_before_output_conv2_view0"] = last[0][:1]
    yield same("positions", network.aggregator.positions(aggregated.grid, images.device)[0], io["aggregator_positions"])
    for name, tensor in ours.items():
        if name in io:
            yield close(name, tensor, io[name])
    camera_from_world, intrinsics = decode_pose(prediction.pose_encoding.numpy(), size)
    outputs = {
        "pose_enc": prediction.pose_encoding,
        "depth_conf": prediction.depth_confidence,
        "world_points": prediction.points,
        "world_points_conf": prediction.confidence,
        "extrinsic_cam_from_world": camera_from_world[..., :3, :],
        "intrinsic": intrinsics,
    }
    if prediction.depth is not None:
        outputs["depth"] = prediction.depth[..., None]
        unprojected = unproject_depth(prediction.depth.numpy(), intrinsics, camera_from_world)
        outputs["points_by_unprojection"] = unprojected.reshape(-1, *unprojected.shape[2:])
    for name, tensor in outputs.items():
        if f"out.{name}" in io:
            yield close(f"out.{name}", tensor, io[f"out.{name}"])


@torch.no_grad()
def _track_head(fixture: Fixture) -> Iterator[Result]:
    config = config_from_dict(TrackConfig, fixture.config)
    network = load_strictly(TrackHead(config), fixture.tensors(WEIGHTS))
    io = fixture.tensors(IO)
    grid = tuple(fixture.config[f"image_{side}"] // config.patch_size for side in ("height", "width"))
    chosen = fixture.config.get("intermediate_layer_idx", range(4))
    if any(f"tokens_level{level}" not in io for level in chosen):
        chosen = range(4)  # only those that are read are stored
    levels = [io[f"tokens_level{level}"] for level in chosen]
    layers = [level[:, :, level.shape[2] - grid[0] * grid[1] :] for level in levels]
    former = "tracker.updateformer"
    first = {
        "time_block0": f"{former}.time_blocks.0",
        "virtual2point0": f"{former}.space_virtual2point_blocks.0",
        "space_virtual0": f"{former}.space_virtual_blocks.0",
        "point2virtual0": f"{former}.space_point2virtual_blocks.0",
        "updateformer_out": former,
    }
    before = {"corr_mlp_in": "tracker.corr_mlp", "updateformer_in": former}
    kept = [*first.values(), "feature_extractor", "tracker.fmap_norm"]
    with recorded(network, kept) as seen, recorded(network, [*before.values()], inputs=True) as given:
        tracks = network(layers, grid, io["query_points"])
    batch, views = levels[0].shape[:2]
    yield close("features", seen["feature_extractor"][0].unflatten(0, (batch, views)), io["features"])
    yield close("features_normed", seen["tracker.fmap_norm"][0].permute(0, 1, 4, 2, 3), io["features_normed"])
    for name, reference in sorted(io.items()):
        if not (match := re.fullmatch(r"iter(\d+)\.(\w+)", name)):
            continue
        number, what = int(match[1]), match[2]
        ours = seen[first[what]][number] if what in first else given[before[what]][number]
        # What wandered for a round is compared as what comes out of it.
        yield close(name, ours.reshape(reference.shape), reference, 1e-4 if number == 0 else TRACK_TOLERANCE)
    start = io["query_points"][:, None]
    yield close(
        "displacement per round",
        tracks.rounds - start,
        io["out.displacement_per_iteration"],
        TRACK_TOLERANCE,
    )
    yield close("tracks per round", tracks.rounds, io["out.tracks_per_iteration"], TRACK_TOLERANCE)
    yield close("visibility", tracks.visibility, io["out.visibility"], TRACK_TOLERANCE)
    yield close("confidence", tracks.confidence, io["out.confidence"], TRACK_TOLERANCE)
    embedding = io["helper.flow_embedding"]
    yield close("movement waves", wave_movement(io["helper.flow"], embedding.shape[-1] // 2), embedding)
    table: Tensor = io["helper.position_embedding"]
    yield close("position table", position_table(*table.shape[2:], table.shape[1]), table)


def _pose_encoding(fixture: Fixture) -> Iterator[Result]:
    data = fixture.tensors(POSES)
    intrinsics = data["intrinsics"]
    # The principal point is the picture's middle.
    size = tuple(round(2 * float(intrinsics.flatten(0, -3)[0, row, 2])) for row in (1, 0))
    encoding = encode_pose(data["extrinsics"].numpy(), intrinsics.numpy(), size)
    yield close("pose encoding", encoding, data["pose_enc"])
    poses, matrices = decode_pose(data["pose_enc"].numpy(), size)
    yield close("poses decoded", poses[..., :3, :], data["extrinsics"])
    yield close("intrinsics decoded", matrices, data["decoded_intrinsics"])
    scaled = data["pose_enc"].numpy().copy()
    scaled[..., 3:7] *= 1.7
    yield close(
        "poses of longer quaternions",
        decode_pose(scaled, size)[0][..., :3, :],
        data["decoded_extrinsics_from_scaled_quat"],
    )


def _pictures(fixture: Fixture) -> Iterator[Result]:
    """K.image_uint8 -> K.MODE.shape, K.MODE.out_every_Nth, K.MODE.mean."""
    names = fixture.tensor_names(PICTURES)
    cases = sorted(match.groups() for name in names if (match := re.fullmatch(r"(\d+)\.(crop|pad)\.shape", name)))
    if not cases:
        return
    data = fixture.tensors(PICTURES)
    for number, mode in cases:
        name = f"{number}.{mode}"
        picture = prepare_for_vggt(data[f"{number}.image_uint8"].numpy(), mode)
        yield same(f"preprocess {name} size", list(picture.size), data[f"{name}.shape"].tolist())
        yield close(f"preprocess {name} mean", picture.tensor.mean(axis=(1, 2), dtype=float), data[f"{name}.mean"])
        for key, reference in data.items():
            if match := re.fullmatch(re.escape(name) + r"\.out_every_(\d+)th", key):
                step = int(match[1])
                yield close(f"preprocess {name}", picture.tensor[:, ::step, ::step], reference)

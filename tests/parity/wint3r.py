"""WinT3R: the network window by window, whole sequences, encoders with rounding, and the procedures around them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from blender_3r.engine.geometry.edges import depth_edges
from blender_3r.engine.geometry.poses import move_points, poses_from_encoding, relative_encodings
from blender_3r.engine.methods.streaming.pictures import prepare_for_wint3r
from blender_3r.engine.models.config import config_from_dict
from blender_3r.engine.models.cut3r import state_positions
from blender_3r.engine.models.layers.patches import grid_positions
from blender_3r.engine.models.wint3r import WinT3r, WinT3rConfig
from blender_3r.engine.models.wint3r_stream import WindowResult, WinT3rStream, plan_windows, slots_of_views

from .checking import Fixture, Result, close, same
from .networks import indices, load_strictly, published_keys, recorded

_HALF = "procedure_half_rope.safetensors"
_POSE = "procedure_pose.safetensors"
_PICTURES = "procedure_preprocess.safetensors"
_WINDOWS = "procedure_windows.json"


def checks(fixture: Fixture) -> Iterator[Result]:
    if fixture.has("config.json", "weights.safetensors", "io.safetensors") and "cam_iterations" in fixture.config:
        config, weights = fixture.config, fixture.tensors("weights.safetensors")
        io = fixture.tensors("io.safetensors")
        if "state_init" in io:
            yield from _windows(load_strictly(WinT3r(config_from_dict(WinT3rConfig, config)), weights), io)
            if fixture.has(_HALF):
                yield from _half(config, weights, io["images"], fixture.tensors(_HALF))
    if fixture.has(_POSE) and "relative" in fixture.tensor_names(_POSE):
        yield from _geometry(fixture.tensors(_POSE))
    if fixture.has(_PICTURES) and "0.out_sub8" in fixture.tensor_names(_PICTURES):
        yield from _pictures(fixture.tensors(_PICTURES))
    if fixture.has(_WINDOWS) and all("slots_per_view" in known for known in fixture.json(_WINDOWS).values()):
        for count, expected in fixture.json(_WINDOWS).items():
            windows = plan_windows(int(count), len(expected["windows"][0]))
            yield same(f"windows of {count}", windows, expected["windows"])
            yield same(f"slots of {count}", slots_of_views(windows), expected["slots_per_view"])
    yield from published_keys(fixture, "wint3r", lambda keys: "cam_token" in keys)


class _Sequence(NamedTuple):
    """A whole sequence, assembled from its windows as WindowResult says. poses: of every view's last and first place,
    relative to those of the first view. slots: the place whose points were taken."""

    windows: list[WindowResult]
    points: Tensor
    confidence: Tensor
    poses: np.ndarray
    first_poses: np.ndarray
    slots: list[int]
    states: list[Tensor]
    pools: list[Tensor]


def _run(network: WinT3r, images: Tensor) -> _Sequence:
    stream = WinT3rStream(network)
    results, states, pools = [], [], []
    for i in range(len(images) + 1):
        result = stream.finish() if i == len(images) else stream.push(network.encode(images[i : i + 1]))
        if result is not None:
            results.append(result)
            states.append(stream.state.tokens)
            pools.append(stream.state.pool)
    slots, last, first = {}, {}, {}
    places = [(result, place) for result in results for place in range(len(result.views))]
    for slot, (result, place) in enumerate(places):
        view = result.views[place]
        last[view] = result.poses[place].numpy()
        first.setdefault(view, last[view])
        if result.improves[place]:
            slots[view] = slot
    count = len(images)
    chosen = [places[slots[view]] for view in range(count)]
    return _Sequence(
        results,
        torch.stack([result.points[place] for result, place in chosen]),
        torch.stack([result.confidence[place] for result, place in chosen]),
        relative_encodings(np.stack([last[view] for view in range(count)]), last[0]),
        relative_encodings(np.stack([first[view] for view in range(count)]), first[0]),
        [slots[view] for view in range(count)],
        states,
        pools,
    )


@torch.no_grad()
def _windows(network: WinT3r, io: dict[str, Tensor]) -> Iterator[Result]:
    size = network.config.window_size
    shown = plan_windows(len(io["images"]), size)[0]
    blocks = {f"window0.decoder_block{i}_out": f"dec_blocks.{i - 1}" for i in range(1, network.config.dec_depth + 1)}
    modules = ["patch_embed", "pts_head.upsample_blocks.0", "cam_head", "dec_norm", *blocks.values()]
    yield close("state_init", network.start()[0], io["state_init"])
    yield same("state_positions", state_positions(network.config.state_size)[0], io["state_positions"])
    with recorded(network, modules) as seen:
        encoded = network.encode(io["images"][shown])
    yield close("patch_embed", seen["patch_embed"][0], io["patch_embed"])
    yield close("encoder_out", encoded.tokens, io["encoder_out"])
    positions = grid_positions(size, *encoded.grid, io["images"].device, special=1)
    yield same("window0.token_positions", positions, io["window0.token_positions"])
    with recorded(network, modules) as seen, recorded(network, ["dec_blocks.0"], inputs=True) as given:
        sequence = _run(network, io["images"])
    yield close("window0.tokens_in", given["dec_blocks.0"][0][0], io["window0.tokens_in"])
    for name, module in blocks.items():
        if name in io:
            yield close(name, seen[module][0][0].flatten(0, 2), io[name])
    yield close("window0.head_upsample0", seen[modules[1]][0][:1], io["window0.head_upsample0"])
    for i, result in enumerate(sequence.windows):
        ours = {
            "state_out": sequence.states[i][0],
            "decoder_out": seen["dec_norm"][i].flatten(0, 2),
            "decoder_inner_out": seen[f"dec_blocks.{network.config.dec_depth - 1}"][i][1].flatten(0, 2),
            "conf": result.confidence,
            "camera_pool": sequence.pools[i][0],
            "camera_pose_enc_iters": seen["cam_head"][i][:, 0],
        }
        for name, tensor in ours.items():
            if f"window{i}.{name}" in io:
                yield close(f"window{i}.{name}", tensor, io[f"window{i}.{name}"])
    yield same("out.selected_slot", sequence.slots, io["out.selected_slot"].tolist())
    yield close("out.pts_local", sequence.points, io["out.pts_local"])
    yield close("out.conf", sequence.confidence, io["out.conf"])
    yield close("out.camera_pose_enc", sequence.poses, io["out.camera_pose_enc"])
    yield close("out_first_pred.camera_pose_enc", sequence.first_poses, io["out_first_pred.camera_pose_enc"])
    poses = poses_from_encoding(sequence.poses, "xyzw")
    world = [move_points(pose, points.numpy()) for pose, points in zip(poses, sequence.points, strict=True)]
    yield close("out.pts_world", np.stack(world), io["out.pts_world"])


@torch.no_grad()
def _half(config: dict, weights: dict[str, Tensor], images: Tensor, expected: dict[str, Tensor]) -> Iterator[Result]:
    for name, half in (("fused_half", "kernel"), ("table_half", "table")):
        network = load_strictly(WinT3r(config_from_dict(WinT3rConfig, {**config, "encoder_half": half})), dict(weights))
        encoded = network.encode(images[plan_windows(len(images), network.config.window_size)[0]])
        sequence = _run(network, images)
        ours = {"encoder_out": encoded.tokens, "camera_pose_enc": sequence.poses, "conf": sequence.confidence}
        for part, tensor in ours.items():
            yield close(f"{name}.{part}", tensor, expected[f"{name}.{part}"])


def _geometry(data: dict[str, Tensor]) -> Iterator[Result]:
    encodings = data["pose_enc"].numpy()
    relative = relative_encodings(encodings, encodings[0])
    yield close("pose relative", relative, data["relative"])
    yield close("pose matrices", poses_from_encoding(relative, "xyzw")[:, :3], data["matrices"])
    depth = data["depth"].numpy()
    for name in _edges(data):
        ratio = float(name.removeprefix("edge_rtol_").replace("_", ".", 1))
        yield same(name, depth_edges(depth, np.ones(depth.shape, dtype=bool), ratio), data[name])


def _edges(data: dict[str, Tensor]) -> list[str]:
    """edge_rtol_0_05: with a ratio of 0.05."""
    return [name for name in data if name.startswith("edge_rtol_")]


def _pictures(data: dict[str, Tensor]) -> Iterator[Result]:
    for i in indices(data, r"(\d+)\.image_uint8"):
        picture = prepare_for_wint3r(data[f"{i}.image_uint8"].numpy())
        tensor, corner = picture.tensor, data[f"{i}.out_corner"]
        yield same(f"preprocess {i} size", list(picture.size), data[f"{i}.shape_out"].tolist())
        yield close(f"preprocess {i}.out_sub8", tensor[:, ::8, ::8], data[f"{i}.out_sub8"])
        yield close(f"preprocess {i}.out_corner", tensor[:, : corner.shape[1], : corner.shape[2]], corner)
        yield close(f"preprocess {i}.out_mean", tensor.mean(axis=(1, 2), dtype=np.float64), data[f"{i}.out_mean"])

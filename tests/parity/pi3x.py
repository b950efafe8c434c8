"""Pi3X: the network with and without priors, the similarity between chunks of a video, a video in chunks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from blender_3r.engine.geometry.similarity import fit_similarity
from blender_3r.engine.models.config import config_from_dict
from blender_3r.engine.models.pi3x import Pi3X, Pi3XConfig
from blender_3r.engine.models.pi3x_priors import Priors
from blender_3r.engine.models.pi3x_video import Pi3XVideo, VideoPart

from .checking import Fixture, Result, close, same
from .networks import load_strictly, published_keys, recorded
from .pi3 import IO, WEIGHTS, modules_of, outputs_of

SIMILARITY, VIDEO = "procedure_sim3.safetensors", "procedure_vo.safetensors"
CASES = ("images_only", "all_conditions", "partial", "pose_no_depth")


def checks(fixture: Fixture) -> Iterator[Result]:
    if fixture.has("config.json", WEIGHTS) and "metric_token" in fixture.tensor_names(WEIGHTS):
        network = load_strictly(Pi3X(config_from_dict(Pi3XConfig, fixture.config)), fixture.tensors(WEIGHTS))
        if fixture.has(IO):
            yield from _network(network, fixture.tensors(IO))
        if fixture.has(VIDEO) and "chunk_lengths" in fixture.tensor_names(VIDEO):
            yield from _video(network, fixture)
    if fixture.has(SIMILARITY) and "src_mask" in fixture.tensor_names(SIMILARITY):
        yield from _similarity(fixture)
    yield from published_keys(fixture, "pi3x", lambda keys: "metric_token" in keys and "register_token" in keys)


def _network(network: Pi3X, io: dict[str, Tensor]) -> Iterator[Result]:
    for case in CASES:
        stored = {name[len(case) + 1 :]: tensor for name, tensor in io.items() if name.startswith(f"{case}.")}
        if stored:
            yield from _case(network, io, stored, case)


def _priors(case: str, io: dict[str, Tensor]) -> Priors | None:
    given = {name[len("cond.") :]: tensor for name, tensor in io.items() if name.startswith("cond.")}
    known = {"intrinsics": given.get("intrinsics"), "world_from_camera": given.get("poses")}
    if case == "images_only":
        return None
    if case == "all_conditions":
        return Priors(depth=given["depths"], **known)
    if case == "pose_no_depth":
        return Priors(**known)
    masks = {
        use: given[f"partial_mask_{name}"]
        for use, name in (("use_depth", "depth"), ("use_rays", "ray"), ("use_poses", "pose"))
    }
    return Priors(depth=given["depths"], rays=given["rays"], world_from_camera=given["poses"], **masks)


@torch.no_grad()
def _case(network: Pi3X, io: dict[str, Tensor], stored: dict[str, Tensor], case: str) -> Iterator[Result]:
    images = io["images"]
    modules = modules_of(stored)
    with (
        recorded(network, sorted(set(modules.values()))) as seen,
        recorded(network, ["encoder.blocks.0"], inputs=True) as given,
    ):
        patches = network.encode(images.flatten(0, 1))
        prediction = network.predict(patches.unflatten(0, images.shape[:2]), images.shape[-2:], _priors(case, io))
    ours = {"encoder_out": patches, "encoder_tokens_with_pos": given["encoder.blocks.0"][0], **outputs_of(prediction)}
    for name, module in modules.items():
        outputs = seen[module]
        ours[name] = torch.cat([getattr(output, "patches", output) for output in outputs])
        if case == "partial" and name.startswith("pose_inject"):
            del ours[name]  # rows of views without a pose have no defined use
    for name, reference in stored.items():
        if name in ours:
            yield close(f"{case}.{name}", ours[name], reference)


@torch.no_grad()
def _video(network: Pi3X, fixture: Fixture) -> Iterator[Result]:
    config, data = fixture.config, fixture.tensors(VIDEO)
    images = data["images"][0]
    video = Pi3XVideo(network, config["vo_chunk_size"], config["vo_overlap"])
    lengths = [end - start for start, end in video.chunks(len(images))]
    yield same("chunk lengths", lengths, data["chunk_lengths"].tolist())
    parts = list(video.run(network.encode(images), tuple(images.shape[-2:])))
    yield same("frames in order", [part.start for part in parts], list(_starts(parts)))
    poses = np.concatenate([part.world_from_chunk.matrix @ part.chunk_poses for part in parts])
    yield close("video poses", poses[None], data["out.camera_poses"])
    yield close("video confidence", np.concatenate([part.confidence for part in parts])[None], data["out.conf"])


def _starts(parts: list[VideoPart]) -> Iterator[int]:
    first = 0
    for part in parts:
        yield first
        first += len(part.points)


def _similarity(fixture: Fixture) -> Iterator[Result]:
    data = fixture.tensors(SIMILARITY)
    source, target = data["src"].numpy(), data["tgt"].numpy()
    both = (data["src_mask"] & data["tgt_mask"]).numpy()
    for scene in range(len(source)):
        moved = fit_similarity(source[scene][both[scene]], target[scene][both[scene]])
        yield close(f"similarity {scene}", moved.matrix, data["sim3"][scene])
        yield close(f"similarity {scene} moves points", moved.apply(source[scene]), data["moved"][scene])
        if fixture.has(IO) and "cond.poses" in fixture.tensor_names(IO):
            poses = fixture.tensors(IO)["cond.poses"][scene].numpy()
            yield close(f"similarity {scene} moves poses", moved.matrix @ poses, data["poses_moved"][scene])

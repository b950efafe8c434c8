"""Pi3: the network, the size of its pictures, and the geometry of its points."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor

from blender_3r.engine.geometry.edges import depth_edges, depth_normal_edges, normal_edges, surface_normals
from blender_3r.engine.geometry.focal import intrinsics_from_rays
from blender_3r.engine.methods.multiview.pictures import pi3_size, prepare_for_pi3
from blender_3r.engine.models.config import config_from_dict
from blender_3r.engine.models.pi3 import Pi3, Pi3Config, Pi3Prediction, rotation_from_numbers

from .checking import Fixture, Result, close, same
from .networks import load_strictly, published_keys, recorded

WEIGHTS, IO = "weights.safetensors", "io.safetensors"
SIZES, PICTURES = "procedure_target_size.json", "procedure_preprocess.safetensors"
GEOMETRY = "procedure_geometry.safetensors"

# Stored intermediate to the module that gives it.
MODULES = {
    "patch_embed": "encoder.patch_embed",
    "point_decoder_out": "point_decoder",
    "conf_decoder_out": "conf_decoder",
    "camera_decoder_out": "camera_decoder",
    "camera_head_fc_rot": "camera_head.fc_rot",
    "camera_head_fc_t": "camera_head.fc_t",
    "metric_decoder_out": "metric_decoder",
    "depth_encoder_out": "depth_encoder",
    "ray_embed_out": "ray_embed",
}


def checks(fixture: Fixture) -> Iterator[Result]:
    if fixture.has("config.json", WEIGHTS, IO):
        names = fixture.tensor_names(WEIGHTS)
        if "point_head.proj.weight" in names and "register_token" in names:
            yield from _network(fixture)
    if fixture.has(SIZES):
        yield from _sizes(fixture)
    if fixture.has(PICTURES):
        yield from _pictures(fixture)
    if fixture.has(GEOMETRY) and "rot9" in fixture.tensor_names(GEOMETRY):
        yield from _geometry(fixture)
    yield from published_keys(
        fixture, "pi3", lambda keys: "register_token" in keys and "point_head.proj.weight" in keys
    )


@torch.no_grad()
def _network(fixture: Fixture) -> Iterator[Result]:
    network = load_strictly(Pi3(config_from_dict(Pi3Config, fixture.config)), fixture.tensors(WEIGHTS))
    io = fixture.tensors(IO)
    images = io["images"]
    modules = modules_of(io)
    with (
        recorded(network, sorted(set(modules.values()))) as seen,
        recorded(network, ["encoder.blocks.0"], inputs=True) as given,
    ):
        patches = network.encode(images.flatten(0, 1))
        prediction = network.predict(patches.unflatten(0, images.shape[:2]), images.shape[-2:])
    ours = {name: torch.cat(seen[module]) for name, module in modules.items()}
    ours |= {"encoder_out": patches, "encoder_tokens_with_pos": given["encoder.blocks.0"][0]}
    ours |= outputs_of(prediction)
    for name, tensor in ours.items():
        if name in io:
            yield close(name, tensor, io[name])


def modules_of(stored: dict[str, Tensor]) -> dict[str, str]:
    """The modules whose outputs are stored, by the stored name."""
    modules = {name: module for name, module in MODULES.items() if name in stored}
    for name in stored:
        if match := re.fullmatch(r"decoder_block(\d+)", name):
            modules[name] = f"decoder.{match[1]}"
        elif match := re.fullmatch(r"pose_inject(\d+)", name):
            modules[name] = f"pose_inject_blk.{match[1]}"
    return modules


def outputs_of(prediction: Pi3Prediction) -> dict[str, Tensor]:
    """A prediction under the names that outputs are stored by."""
    ours = {
        "points": prediction.points,
        "local_points": prediction.local_points,
        "conf": prediction.confidence[..., None],
        "camera_poses": prediction.world_from_camera,
        "rays": prediction.rays,
        "metric": prediction.scale,
    }
    return {f"out.{name}": tensor for name, tensor in ours.items() if tensor is not None}


def _sizes(fixture: Fixture) -> Iterator[Result]:
    data = fixture.json(SIZES)
    limit = re.search(r"pixel limit (\d+)", data.get("note", "")) if isinstance(data, dict) else None
    if limit is None:  # another model's rule
        fixture.used.discard(SIZES)
        return
    for (width, height), (wide, high) in data["cases"]:
        ours = pi3_size((height, width), int(limit[1]))
        yield same(f"size for {width} x {height}", list(ours), [high, wide])


def _pictures(fixture: Fixture) -> Iterator[Result]:
    """K.image_uint8 -> K.shape_limit_L, and every n-th pixel of it: K.out_limit_L."""
    names = fixture.tensor_names(PICTURES)
    cases = sorted(match.groups() for name in names if (match := re.fullmatch(r"(\d+)\.shape_limit_(\d+)", name)))
    if not cases:
        return
    data = fixture.tensors(PICTURES)
    for number, limit in cases:
        image = data[f"{number}.image_uint8"].numpy()
        size = pi3_size(image.shape[:2], int(limit))
        yield same(f"preprocess {number} size", list(size), data[f"{number}.shape_limit_{limit}"].tolist())
        reference = data.get(f"{number}.out_limit_{limit}")
        if reference is not None:
            step = -(-size[0] // reference.shape[1])
            picture = prepare_for_pi3(image, size).tensor
            yield close(f"preprocess {number}", picture[:, ::step, ::step], reference)


def _geometry(fixture: Fixture) -> Iterator[Result]:
    data = fixture.tensors(GEOMETRY)
    yield close("rotation from nine numbers", rotation_from_numbers(data["rot9"]), data["rot"])
    points, mask = data["points"].numpy(), data["mask"].numpy()
    normals, has_normal = surface_normals(points, mask)
    yield same("depth edges", depth_edges(points[..., 2], mask), data["depth_edge_rtol_0_03"])
    yield close("normals", normals, data["normals"])
    yield same("has normal", has_normal, data["normal_mask"])
    yield same("normal edges", normal_edges(normals, has_normal), data["normal_edge_5deg"])
    yield same("edges", depth_normal_edges(points, mask), data["depth_normal_edge"])
    yield close("intrinsics, centred", intrinsics_from_rays(points), data["K_centred"])
    yield close("intrinsics, free", intrinsics_from_rays(points, centred=False), data["K_free"])

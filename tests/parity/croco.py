"""CroCo's network, with and without masked patches, and the two ways to tell positions."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from blender_3r.engine.models.config import config_from_dict
from blender_3r.engine.models.croco import (
    Croco,
    CrocoConfig,
    denormalise_patches,
    patchify,
    sincos_positions,
    unpatchify,
)
from blender_3r.engine.models.layers.rope import apply_rope, rope_tables

from .checking import Fixture, Result, close, same
from .networks import load_strictly, published_keys, recorded


def checks(fixture: Fixture) -> Iterator[Result]:
    yield from _positions(fixture)
    if fixture.has("config.json", "weights.safetensors", "io.safetensors") and "mask_ratio" in fixture.config:
        yield from _network(fixture)
    yield from published_keys(fixture, "croco", lambda shapes: "prediction_head.weight" in shapes)


def _positions(fixture: Fixture) -> Iterator[Result]:
    if not fixture.has("procedure_positions.safetensors"):
        return
    data = fixture.tensors("procedure_positions.safetensors")
    tokens = data["rope_tokens"]
    base = CrocoConfig(pos_embed=fixture.config.get("pos_embed", "RoPE100")).rope_base or 100.0
    ours = apply_rope(tokens, rope_tables(data["rope_positions"], tokens.shape[-1], base))
    yield close("rope", ours, data["rope_out"])
    for name, expected in data.items():
        if name.startswith("sincos_embed_"):
            width, rows, columns = (int(part) for part in name[13:].replace("_grid_", "x").split("x"))
            yield close(name, sincos_positions(width, rows, columns), expected)


@torch.no_grad()
def _network(fixture: Fixture) -> Iterator[Result]:
    config = config_from_dict(CrocoConfig, fixture.config)
    network = load_strictly(Croco(config), fixture.tensors("weights.safetensors"))
    io = fixture.tensors("io.safetensors")
    mask = io["mask"].bool()
    with recorded(network, ["patch_embed", "enc_blocks.0", "dec_blocks.0"]) as seen:
        visible, positions = network.encode(io["img1"], mask)
        memory, _ = network.encode(io["img2"])
        decoded = network.decode(visible, memory, positions, mask)
        prediction = network.prediction_head(decoded)
    target = patchify(io["img1"], config.patch_size)
    pixels = unpatchify(denormalise_patches(prediction, target), config.patch_size, network.grid(io["img1"]))
    yield same("positions", positions, io["positions"])
    for name, ours in {
        "patch_embed_1": seen["patch_embed"][0],
        "enc_block0_img1_visible": seen["enc_blocks.0"][0],
        "enc_out_img1_visible": visible,
        "enc_out_img2": memory,
        "dec_block0": seen["dec_blocks.0"][0],
        "dec_out": decoded,
        "prediction": prediction,
        "target": target,
        "reconstruction": pixels,
    }.items():
        yield close(name, ours, io[name])
    if "rect_img1" not in io:
        return
    with recorded(network, ["enc_blocks.0", "dec_blocks.0"]) as seen:
        first, positions = network.encode(io["rect_img1"])
        second, _ = network.encode(io["rect_img2"])
        decoded = network.decode(first, second, positions)
    yield same("rect_positions", positions, io["rect_positions"])
    for name, ours in {
        "rect_enc_first_block": seen["enc_blocks.0"][0],
        "rect_enc_out1": first,
        "rect_enc_out2": second,
        "rect_dec_block0": seen["dec_blocks.0"][0],
        "rect_dec_out": decoded,
        "rect_prediction": network(io["rect_img1"], io["rect_img2"]),
    }.items():
        yield close(name, ours, io[name])

"""The vision transformer of DINOv2: one network per entry of the configuration, its name before all its tensors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch

from blender_3r.engine.models.layers.vit import VisionTransformer

from .checking import Fixture, Result, close
from .networks import load_strictly


def checks(fixture: Fixture) -> Iterator[Result]:
    if not fixture.has("config.json", "weights.safetensors", "io.safetensors"):
        return
    config = fixture.config
    names = [
        name for name, entry in config.items() if isinstance(entry, dict) and {"ffn_layer", "embed_dim"} <= set(entry)
    ]
    if not names:
        return
    weights, io = fixture.tensors("weights.safetensors"), fixture.tensors("io.safetensors")
    for name in names:
        state = {key[len(name) + 1 :]: tensor for key, tensor in weights.items() if key.startswith(f"{name}.")}
        network = load_strictly(_network(config[name]), state)
        for case in sorted({key.split(".")[1] for key in io if key.startswith(f"{name}.")}):
            prefix = f"{name}.{case}."
            stored = {key[len(prefix) :]: tensor for key, tensor in io.items() if key.startswith(prefix)}
            yield from _case(network, stored, prefix)


def _network(entry: dict[str, Any]) -> VisionTransformer:
    patch = entry.get("patch_size", 14)
    return VisionTransformer(
        entry["embed_dim"],
        entry["depth"],
        entry["num_heads"],
        registers=entry["num_register_tokens"],
        table_side=entry["pos_embed_image_size"] // patch,
        patch_size=patch,
        swiglu=entry["ffn_layer"].startswith("swiglu"),
        offset=entry["interpolate_offset"],
        antialias=entry["interpolate_antialias"],
    )


@torch.no_grad()
def _case(network: VisionTransformer, stored: dict[str, torch.Tensor], prefix: str) -> Iterator[Result]:
    image = stored["image"]
    features = network(image)
    ours = {
        "tokens_with_pos": network.embed(image),
        "x_norm_clstoken": features.class_token,
        "x_norm_regtokens": features.registers,
        "x_norm_patchtokens": features.patches,
    }
    numbers = sorted({int(match[1]) for name in stored if (match := re.fullmatch(r"intermediate(\d+)_\w+", name))})
    for number, layer in zip(numbers, network.intermediate(image, numbers), strict=True):
        ours[f"intermediate{number}_class"] = layer.class_token
        ours[f"intermediate{number}_patch"] = layer.patches
    for name, reference in stored.items():
        if name in ours:
            yield close(prefix + name, ours[name], reference)

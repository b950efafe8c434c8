"""Checkpoints of tiny networks that walk through a sequence, with random weights, and records that tell of them.

What the last layers are given by hand puts points onto a plane in front of the camera, so that cameras can be had from
them, whatever the picture; on top of that lies a little that depends on the picture.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from blender_3r.engine.models import build
from tests.models.support.tiny_weights import plane

SIZE = 64  # long side of the pictures
_SHARED = {
    "enc_embed_dim": 32,
    "enc_depth": 2,
    "enc_num_heads": 2,
    "dec_embed_dim": 16,
    "dec_depth": 4,
    "dec_num_heads": 2,
}
_RECURRENT = {**_SHARED, "head_type": "linear", "local_mem_size": 5}
CONFIGS = {
    "cut3r": {**_RECURRENT, "with_color": False, "ray_enc_num_heads": 8, "state_size": 7, "state_dec_num_heads": 4},
    "point3r": {**_RECURRENT, "memory_dec_num_heads": 4, "value_depth": 2, "value_num_heads": 4},
    "spann3r": {
        **_SHARED,
        "dec_embed_dim": 32,
        "head_type": "linear",
        "value_depth": 2,
        "value_num_heads": 4,
        "long_mem_size": 320,
    },
    "wint3r": {
        **_SHARED,
        "state_size": 7,
        "state_dec_num_heads": 4,
        "head_dim_proj": 12,
        "head_dim_upsample": [64, 32],
        "head_num_res_blocks": 1,
        "head_last_conv_channels": 8,
        "cam_trunk_depth": 2,
        "cam_num_heads": 4,
    },
}
RECORD = """
[[models]]
id = "tiny-{architecture}"
title = "Tiny {architecture}"
method = "streaming"
architecture = "{architecture}"
license = "none needed"
image_size = {size}
config = {config}
files = [{{ path = "tiny-{architecture}.safetensors" }}]
"""
POINTS = {
    "cut3r": ("downstream_head.proj.fc2", "downstream_head.cross_proj.fc2"),
    "point3r": ("downstream_head.proj.fc2", "downstream_head.cross_proj.fc2"),
    "spann3r": ("dust3r.downstream_head1.proj", "dust3r.downstream_head2.proj"),
}
SLOPE = 0.8  # of WinT3R's rays, for each unit of the plane that its head knows
LAST = ("0.0.weight", "0.0.bias", "0.2.weight", "0.2.bias")  # convolutions of WinT3R's head of points


def make(architecture: str, seed: int = 0, **changes: object) -> nn.Module:
    """A tiny network. changes: of its configuration."""
    torch.manual_seed(seed)
    network = build(architecture, {**CONFIGS[architecture], **changes})
    state = network.state_dict()
    with torch.no_grad():
        for name in POINTS.get(architecture, ()):
            state[f"{name}.weight"] *= 0.02
            state[f"{name}.bias"].copy_(plane())
        if architecture == "wint3r":
            _look_ahead(*(state[f"pts_head.output_block.{name}"] for name in LAST))
    return network.eval()


def _look_ahead(weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor) -> None:
    """Rays of a pinhole camera from the two channels that say where a pixel lies: u and v with either sign."""
    for tensor in (weight1, bias1, bias2):
        tensor *= 0.02
    weight2 *= 0.05
    for channel, (source, sign) in enumerate(((-2, 1), (-2, -1), (-1, 1), (-1, -1))):
        weight1[channel] = 0.0
        bias1[channel] = 0.0
        weight1[channel, source, 1, 1] = sign
        weight2[:, channel] = 0.0
        weight2[channel // 2, channel, 0, 0] = sign * SLOPE


def write_checkpoint(folder: Path, architecture: str, seed: int = 0) -> Path:
    """A safetensors file with the weights of a network of CONFIGS, and the text of a record beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"tiny-{architecture}.safetensors"
    save_file({name: tensor.clone() for name, tensor in make(architecture, seed).state_dict().items()}, path)
    config = ", ".join(f"{name} = {json.dumps(value)}" for name, value in CONFIGS[architecture].items())
    text = RECORD.format(architecture=architecture, size=SIZE, config=f"{{ {config} }}")
    path.with_suffix(".toml").write_text(text, encoding="utf-8")
    return path


def write_records(folder: Path) -> Path:
    """A folder for BLENDER_3R_RECORDS with all of them."""
    for architecture in CONFIGS:
        write_checkpoint(folder, architecture)
    return folder


if __name__ == "__main__":
    import sys

    write_records(Path(sys.argv[1]))

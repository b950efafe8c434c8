"""Checkpoints of tiny networks with random weights, and records that tell of them. They see nothing in any picture.

The linear head of the DUSt3R one has a bias that puts every patch of 16 x 16 pixels onto a plane in front of a camera:
cameras can be had from that, whatever the picture.
"""

from __future__ import annotations

import argparse
import json
import pickle
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from blender_3r.engine.models import build

RETRIEVAL = """
[[models]]
id = "mast3r-retrieval"
title = "Tiny retrieval"
architecture = "retrieval"
files = [{ path = "retrieval.pth" }, { path = "codebook.pkl", role = "codebook" }]
"""
FOCAL = 64.0
_SHARED = {
    "enc_embed_dim": 16,
    "enc_depth": 2,
    "enc_num_heads": 2,
    "dec_embed_dim": 16,
    "dec_depth": 4,
    "dec_num_heads": 2,
}
CONFIGS = {
    "dust3r": {**_SHARED, "head_type": "linear"},
    "mast3r": {
        **_SHARED,
        "dpt_feature_dim": 8,
        "dpt_last_dim": 6,
        "dpt_layer_dims": [4, 6, 8, 10],
        "dpt_hooks": [0, 2, 3, 4],
        "desc_dim": 4,
        "hidden_dim_factor": 2.0,
    },
}
RECORD = """
[[models]]
id = "tiny-{architecture}"
title = "Tiny {architecture}"
method = "pairwise"
architecture = "{architecture}"
license = "none needed"
image_size = 64
config = {config}
files = [{{ path = "tiny-{architecture}.safetensors" }}]
"""


def write_checkpoint(path: Path, architecture: str, seed: int = 0) -> Path:
    """A safetensors file with the weights of a network of CONFIGS."""
    torch.manual_seed(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    state = dict(build(architecture, CONFIGS[architecture]).state_dict())
    for name in ("downstream_head1.proj", "downstream_head2.proj"):
        if architecture == "dust3r":
            state[f"{name}.weight"] *= 0.02
            state[f"{name}.bias"] = plane()
    save_file(state, path)
    return path


def write_retrieval(folder: Path) -> None:
    """A record of a retrieval head and codebook for the encoder of CONFIGS, in the place of the published one."""
    width = _SHARED["enc_embed_dim"]
    torch.manual_seed(1)
    head = {"prewhiten.m": torch.zeros(1, width).double(), "prewhiten.p": torch.eye(width).double()}
    torch.save({"model": head, "args": argparse.Namespace(nfeat=6)}, folder / "retrieval.pth")
    centroids = np.random.default_rng(0).normal(size=(8, width)).astype(np.float32)
    content = {"type": "Codebook", "params": {"size": 8}, "state": {"centroids": centroids}}
    (folder / "codebook.pkl").write_bytes(pickle.dumps(content))
    (folder / "retrieval.toml").write_text(RETRIEVAL, encoding="utf-8")


def plane() -> torch.Tensor:
    """The bias (4 * 16 * 16,) for points of a patch at depth expm1(1) with the focal FOCAL, and confidence 1 + e."""
    ramp = (torch.arange(16.0) - 7.5) / FOCAL
    x, y = ramp[None, :].expand(16, 16), ramp[:, None].expand(16, 16)
    return torch.stack([x, y, torch.ones(16, 16), torch.ones(16, 16)]).reshape(-1)


def write_records(folder: Path) -> Path:
    """A folder for BLENDER_3R_RECORDS with checkpoints tiny-dust3r and tiny-mast3r."""
    texts = []
    for architecture in ("dust3r", "mast3r"):
        write_checkpoint(folder / f"tiny-{architecture}.safetensors", architecture)
        inline = (
            "{ " + ", ".join(f"{name} = {json.dumps(value)}" for name, value in CONFIGS[architecture].items()) + " }"
        )
        texts.append(RECORD.format(architecture=architecture, config=inline))
    (folder / "tiny.toml").write_text("".join(texts), encoding="utf-8")
    return folder


if __name__ == "__main__":
    import sys

    write_records(Path(sys.argv[1]))

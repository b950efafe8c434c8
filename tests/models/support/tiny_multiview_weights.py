"""Checkpoints of tiny networks that see all views at once, with random weights, and records that tell of them.

They see nothing in any picture. Some have biases that make cameras of them that could be, whatever the picture.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.models.support.tiny_multiview import TINY, make

FOCAL = 60.0  # of the pictures, in pixels
MODELS = {
    "tiny-vggt": ("vggt", {}),
    "tiny-pi3": ("pi3", {}),
    "tiny-pi3x": ("pi3x", {}),
    "tiny-fast3r": ("fast3r", {}),
    "tiny-mv-dust3r": ("mv_dust3r", {"n_ref": 1}),
    "tiny-mv-dust3r-plus": ("mv_dust3r", {}),
}
RECORD = """
[[models]]
id = "{id}"
title = "{id}"
method = "multiview"
architecture = "{architecture}"
license = "none needed"
image_size = 70
config = {config}
files = [{{ path = "{id}.safetensors" }}]
"""


def make_seeing(id_: str) -> torch.nn.Module:
    """The tiny network of that record, with biases for cameras that could be."""
    architecture, changes = MODELS[id_]
    network = make(architecture, **changes)
    with torch.no_grad():
        if architecture == "vggt":
            network.camera_head.pose_branch.fc2.weight.mul_(0.02)
            network.camera_head.pose_branch.fc2.bias.copy_(torch.tensor([0, 0, 0, 0, 0, 0, 0.3, 0.25, 0.25]))
            network.depth_head.scratch.output_conv2[2].weight.mul_(0.1)
        elif architecture == "pi3":
            network.point_head.proj.weight.mul_(0.02)
            network.point_head.proj.bias.copy_(ramps(14, 3))
        elif architecture == "mv_dust3r":
            for head in (network.downstream_head1, network.downstream_head2):
                head.proj.weight.mul_(0.02)
                head.proj.bias.copy_(ramps(16, 4))
    return network


def ramps(patch: int, channels: int) -> Tensor:
    """The bias (channels * patch^2,) for points of a patch on a plane in front of a camera; further channels are 1."""
    ramp = (torch.arange(float(patch)) - (patch - 1) / 2) / FOCAL
    x, y = ramp[None, :].expand(patch, patch), ramp[:, None].expand(patch, patch)
    depth = torch.zeros(patch, patch) if channels == 3 else torch.ones(patch, patch)
    return torch.stack([x, y, depth, *[torch.ones(patch, patch)] * (channels - 3)]).reshape(-1)


def write_records(folder: Path) -> Path:
    """A folder for BLENDER_3R_RECORDS with checkpoints of all MODELS."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = []
    for id_, (architecture, changes) in MODELS.items():
        state = {name: tensor.detach().clone().contiguous() for name, tensor in make_seeing(id_).state_dict().items()}
        save_file(state, folder / f"{id_}.safetensors")
        texts.append(
            RECORD.format(id=id_, architecture=architecture, config=_inline({**TINY[architecture], **changes}))
        )
    (folder / "tiny-multiview.toml").write_text("".join(texts), encoding="utf-8")
    return folder


def _inline(config: dict) -> str:
    parts = (
        f"{name} = {_inline(value) if isinstance(value, dict) else json.dumps(value)}"
        for name, value in config.items()
        if value is not None
    )
    return "{ " + ", ".join(parts) + " }"


if __name__ == "__main__":
    import sys

    write_records(Path(sys.argv[1]))

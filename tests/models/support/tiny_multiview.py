"""Tiny networks that see all views at once, with random weights, and how their predictions are compared."""

from __future__ import annotations

import torch
from torch import nn

from blender_3r.engine.models import build

TINY_VIT = {
    "embed_dim": 16,
    "enc_depth": 1,
    "enc_num_heads": 2,
    "pos_embed_image_size": 42,
}
TINY_VGGT = {
    **TINY_VIT,
    "num_register_tokens": 2,
    "depth": 4,
    "num_heads": 2,
    "intermediate_layer_idx": (0, 1, 2, 3),
    "dpt_features": 8,
    "dpt_out_channels": (4, 8, 8, 12),
    "dpt_head_features_2": 6,
    "camera_trunk_depth": 1,
    "camera_num_heads": 2,
    "track": {
        "dim_in": 32,
        "dpt_out_channels": (4, 8, 8, 12),
        "features": 8,
        "corr_levels": 3,
        "corr_radius": 1,
        "hidden_size": 16,
        "tracker_num_heads": 2,
        "tracker_depth": 1,
        "num_virtual_tracks": 3,
        "iterations": 2,
    },
}
TINY_PI3 = {
    **TINY_VIT,
    "enc_num_register_tokens": 2,
    "dec_depth": 4,
    "dec_num_heads": 2,
    "dec_num_register_tokens": 2,
    "head_dec_embed_dim": 12,
    "head_dec_depth": 1,
    "head_dec_num_heads": 1,
    "camera_dim": 8,
}
TINY_PI3X = {
    **TINY_PI3,
    "head_dec_embed_dim": None,
    "metric_dim": 8,
    "metric_num_heads": 2,
    "conv_dim_upsample": (32, 16, 16),
    "conv_num_res_blocks": 1,
    "pose_inject_after_block": (1, 3),
    "pose_inject_num_heads": 2,
}
TINY_FAST3R = {
    "enc_embed_dim": 16,
    "enc_depth": 1,
    "enc_num_heads": 2,
    "dec_embed_dim": 12,
    "dec_depth": 4,
    "dec_num_heads": 3,
    "dpt_feature_dim": 8,
    "dpt_last_dim": 6,
    "dpt_layer_dims": (4, 6, 8, 10),
}
TINY_MV_DUST3R = {**TINY_FAST3R, "dec_depth": 2, "n_ref": 3, "skip_dim": 5, "gs_mlp_dim": 9}
# Those that encode to a tensor and take one for all views of some scenes.
TENSOR_IN = {"vggt": TINY_VGGT, "pi3": TINY_PI3, "pi3x": TINY_PI3X}
TINY = {**TENSOR_IN, "fast3r": TINY_FAST3R, "mv_dust3r": TINY_MV_DUST3R}
QUERIES = torch.tensor([[[3.0, 4.0], [20.5, 30.0]]])


def make(architecture, **changes) -> nn.Module:
    """A tiny network of that architecture; changes: of its configuration."""
    torch.manual_seed(5)
    network = build(architecture, {**TINY[architecture], **changes})
    for parameter in network.parameters():  # no token or scale stays at 0 or 1
        inputs = parameter[0].numel() if parameter.ndim > 1 else 4
        torch.nn.init.normal_(parameter, std=min(0.5, inputs**-0.5))
    return network


def tensors(prediction) -> dict[str, torch.Tensor]:
    """Every tensor of a prediction, by name."""
    found = {}
    for name, value in prediction._asdict().items():  # predictions may hold predictions
        if isinstance(value, torch.Tensor):
            found[name] = value
        elif value is not None:
            found |= {f"{name}.{key}": tensor for key, tensor in tensors(value).items()}
    return found


def assert_alike(ours, theirs) -> None:
    """Two dictionaries of tensors."""
    assert set(ours) == set(theirs)
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-3, atol=1e-4, msg=lambda text, n=name: f"{n}: {text}")

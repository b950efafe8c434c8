"""MASt3R: DUSt3R in metres, with a descriptor for every pixel.

Leroy et al., "Grounding Image Matching in 3D with MASt3R", arXiv 2406.09756.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .dust3r import INFINITY, Dust3r, Dust3rConfig, make_dpt, read_points, sizes_from_shapes
from .layers.activations import ConfidenceMode, activate_confidence, activate_descriptors
from .layers.blocks import Mlp
from .layers.heads import unfold_patches
from .outputs import ViewPrediction


@dataclass(frozen=True)
class Mast3rConfig(Dust3rConfig):
    """desc_dim: channels of a descriptor. hidden_dim_factor: hidden width of its MLP over its input's width.
    two_confs: descriptors have a confidence of their own.
    """

    desc_dim: int = 24
    hidden_dim_factor: float = 4.0
    two_confs: bool = True
    desc_conf_mode: ConfidenceMode | None = ("exp", 0.0, INFINITY)

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, Any]) -> Mast3rConfig:
        sizes = sizes_from_shapes(shapes)
        hidden, width = shapes["downstream_head1.head_local_features.fc1.weight"]
        channels = shapes["downstream_head1.head_local_features.fc2.weight"][0] // sizes["patch_size"] ** 2
        return cls(**sizes, desc_dim=channels - 1, hidden_dim_factor=hidden / width)


class Mast3r(Dust3r):
    """DUSt3R with MASt3R's heads."""

    config: Mast3rConfig

    def __init__(self, config: Mast3rConfig | None = None) -> None:
        super().__init__(config or Mast3rConfig())

    def make_head(self) -> nn.Module:
        return DescriptorHead(self.config)


class DescriptorHead(nn.Module):
    """Points and confidence by a DPT, descriptors and theirs by an MLP on the encoder's and the decoder's tokens."""

    def __init__(self, config: Mast3rConfig) -> None:
        super().__init__()
        self.config = config
        self.dpt = make_dpt(config)
        width = config.enc_embed_dim + config.dec_embed_dim
        channels = (config.desc_dim + config.two_confs) * config.patch_size**2
        self.head_local_features = Mlp(width, int(config.hidden_dim_factor * width), channels)

    def forward(self, layers: list[Tensor], grid: tuple[int, int], finest: Tensor | None = None) -> ViewPrediction:
        """layers: float32 tokens of every depth. finest: see DptHead. Returns maps of the whole image."""
        config = self.config
        points, confidence = read_points(self.dpt([layers[hook] for hook in config.hooks], grid, finest), config)
        tokens = torch.cat([layers[0], layers[-1]], dim=-1)
        raw = unfold_patches(self.head_local_features(tokens), grid, config.patch_size).permute(0, 2, 3, 1)
        descriptors = activate_descriptors(raw[..., : config.desc_dim])
        own = confidence
        if config.two_confs:
            own = activate_confidence(raw[..., config.desc_dim], config.desc_conf_mode or config.conf_mode)
        return ViewPrediction(points, confidence, descriptors, own)

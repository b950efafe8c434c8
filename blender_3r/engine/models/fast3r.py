"""Fast3R: a thousand views and more in one pass, each to points in the first view's frame and in its own.

Yang et al., "Fast3R: Towards 3D Reconstruction of 1000+ Images in One Forward Pass", arXiv 2501.13928.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .config import count_blocks, drop_unused
from .dust3r import Dust3rConfig, Encoded, PointHead, dpt_sizes, encode_grid
from .layers.blocks import EncoderBlock
from .layers.heads import Grid, without_autocast
from .layers.patches import PatchEmbed

VIEWS_AT_ONCE = 8  # of the heads, which take every view by itself
# What the softmax's scale is multiplied by where a file asks for it: for 137 views, trained with 20.
MANY_VIEWS_FACTOR = math.sqrt(math.log(137) / math.log(20))


@dataclass(frozen=True)
class Fast3rConfig(Dust3rConfig):
    """The defaults are those of the published model.

    random_image_idx_embedding: views but the first get random numbers. attn_bias_for_inference_enabled: see
    MANY_VIEWS_FACTOR. max_image_index: the largest number of a view.
    """

    dec_embed_dim: int = 1024
    dec_depth: int = 24
    dec_num_heads: int = 16
    enc_norm_eps: float = 1e-6
    dec_block_norm_eps: float = 1e-5
    dec_norm_eps: float = 1e-6
    random_image_idx_embedding: bool = True
    attn_bias_for_inference_enabled: bool = False
    max_image_index: int = 999

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, Any]) -> Fast3rConfig:
        """From the shapes of a published state dict, whose heads of attention are all 64 wide. Raises KeyError for one
        of another family.
        """
        enc, _, patch, _ = shapes["encoder.patch_embed.proj.weight"]
        dec = shapes["decoder.decoder_embed.weight"][0]
        return cls(
            enc_embed_dim=enc,
            enc_depth=count_blocks(shapes, "encoder.enc_blocks"),
            enc_num_heads=max(1, enc // 64),
            dec_embed_dim=dec,
            dec_depth=count_blocks(shapes, "decoder.dec_blocks"),
            dec_num_heads=max(1, dec // 64),
            patch_size=patch,
            mlp_ratio=shapes["encoder.enc_blocks.0.mlp.fc1.weight"][0] / enc,
            **dpt_sizes(shapes, "downstream_head.dpt"),
        )


class Fast3rPrediction(NamedTuple):
    """For one view of B scenes, channels last, float32.

    points: (B, H, W, 3) in the first view's camera frame, local_points in the view's own; OpenCV axes. The two may
    differ in scale, which is arbitrary. confidence, local_confidence: (B, H, W), from 1 upwards.
    """

    points: Tensor
    confidence: Tensor
    local_points: Tensor
    local_confidence: Tensor


class _Encoder(nn.Module):
    def __init__(self, config: Fast3rConfig) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(config.patch_size, config.enc_embed_dim)
        self.enc_blocks = nn.ModuleList(
            EncoderBlock(config.enc_embed_dim, config.enc_num_heads, config.mlp_ratio, config.enc_norm_eps)
            for _ in range(config.enc_depth)
        )
        self.enc_norm = nn.LayerNorm(config.enc_embed_dim, eps=config.enc_norm_eps)


class _Decoder(nn.Module):
    """Attention among all tokens of all views, which only the views' numbers tell apart."""

    def __init__(self, config: Fast3rConfig) -> None:
        super().__init__()
        self.hooks = config.hooks
        scale = None
        if config.attn_bias_for_inference_enabled:
            scale = (config.dec_embed_dim // config.dec_num_heads) ** -0.5 * MANY_VIEWS_FACTOR
        self.decoder_embed = nn.Linear(config.enc_embed_dim, config.dec_embed_dim)
        self.dec_blocks = nn.ModuleList(
            EncoderBlock(
                config.dec_embed_dim, config.dec_num_heads, config.mlp_ratio, config.dec_block_norm_eps, scale=scale
            )
            for _ in range(config.dec_depth)
        )
        self.dec_norm = nn.LayerNorm(config.dec_embed_dim, eps=config.dec_norm_eps)

    def forward(self, tokens: Tensor, numbers: Tensor) -> dict[int, Tensor]:
        """tokens: (B, M, C) of all views; numbers: (M,) of each token's view. Returns what the heads read, by depth."""
        layers = {0: tokens}
        tokens = self.decoder_embed(tokens)
        tokens = tokens + index_table(numbers, tokens.shape[-1]).to(tokens)
        for depth, block in enumerate(self.dec_blocks, start=1):
            tokens = block(tokens)
            if depth in self.hooks:
                layers[depth] = tokens
        layers[len(self.dec_blocks)] = self.dec_norm(tokens)
        return layers


class Fast3r(nn.Module):
    """Encoder, one decoder for all views, a head for points in the first view's frame and one for points in each
    view's own.
    """

    def __init__(self, config: Fast3rConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or Fast3rConfig()
        self.encoder = _Encoder(config)
        self.decoder = _Decoder(config)
        self.downstream_head = PointHead(config)
        self.downstream_head_local = PointHead(config)

    @staticmethod
    def adapt_state_dict(state: Mapping[str, Any]) -> dict[str, Any]:
        """Published names are ours, but for a prefix of files written while training; see also drop_unused()."""
        if state and all(name.startswith("net.") for name in state):
            state = {name.removeprefix("net."): value for name, value in state.items()}
        return drop_unused(state)

    def encode(self, images: Tensor) -> Encoded:
        """images: (n, 3, H, W) RGB in -1..1, sides multiples of the patch. Raises ValueError for other sizes."""
        encoder = self.encoder
        return encode_grid(images, encoder.patch_embed, encoder.enc_blocks, encoder.enc_norm, self.config.rope_base)

    def predict(self, views: Sequence[Encoded], numbers: Tensor | None = None) -> list[Fast3rPrediction]:
        """Relate the views of a batch of scenes: each Encoded holds one view of all B scenes; sizes may differ.

        numbers: (S,) by which views are told apart, 0 for the first; drawn by view_numbers() unless given.
        """
        if numbers is None:
            numbers = self.view_numbers(len(views))
        counts = [view.tokens.shape[1] for view in views]
        tokens = torch.cat([view.tokens for view in views], dim=1)
        of_tokens = numbers.cpu().repeat_interleave(torch.tensor(counts))
        layers = self.decoder(tokens, of_tokens)
        per_view = [dict(zip(layers, parts)) for parts in zip(*(layer.split(counts, 1) for layer in layers.values()))]
        predictions: list[Fast3rPrediction | None] = [None] * len(views)
        with without_autocast(tokens):
            for chosen in _alike([view.grid for view in views]):
                some = {depth: torch.cat([per_view[view][depth] for view in chosen]).float() for depth in layers}
                grid = views[chosen[0]].grid
                parts = [head(some, grid) for head in (self.downstream_head, self.downstream_head_local)]
                columns = (tensor.chunk(len(chosen)) for part in parts for tensor in (part.points, part.confidence))
                for view, tensors in zip(chosen, zip(*columns, strict=True), strict=True):
                    predictions[view] = Fast3rPrediction(*tensors)
        return predictions  # type: ignore[return-value]

    def forward(self, images: Sequence[Tensor], numbers: Tensor | None = None) -> list[Fast3rPrediction]:
        """images: of each view, (B, 3, H, W) in -1..1; see predict()."""
        return self.predict([self.encode(image) for image in images], numbers)

    def view_numbers(self, count: int, seed: int = 0) -> Tensor:
        """(count,) numbers of views: 0 for the first, others drawn, or counted up where the configuration says so. The
        same seed draws the same; results vary a little with it.

        Raises ValueError for more views than there are numbers.
        """
        config = self.config
        if count > config.max_image_index + 1:
            raise ValueError(f"{count} views are more than the {config.max_image_index + 1} that can be told apart")
        if not config.random_image_idx_embedding:
            return torch.arange(count)
        drawn = torch.randperm(config.max_image_index, generator=torch.Generator().manual_seed(seed))[: count - 1] + 1
        return torch.cat([torch.zeros(1, dtype=torch.long), drawn])[:count]


def index_table(numbers: Tensor, width: int) -> Tensor:
    """(..., width) float32: sines of a number at width/2 frequencies, then cosines."""
    frequencies = 10000.0 ** -(torch.arange(width // 2, dtype=torch.float64) / (width // 2))
    angles = numbers.cpu().double()[..., None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1).float()


def _alike(grids: Sequence[Grid]) -> list[list[int]]:
    """Views in groups of one size, no more in each than the heads take at once."""
    by_grid: dict[Grid, list[int]] = {}
    for view, grid in enumerate(grids):
        by_grid.setdefault(grid, []).append(view)
    return [
        group[first : first + VIEWS_AT_ONCE]
        for group in by_grid.values()
        for first in range(0, len(group), VIEWS_AT_ONCE)
    ]

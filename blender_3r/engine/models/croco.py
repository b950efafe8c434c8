"""CroCo v1 and v2: cross-view completion, the ancestor of the family. By itself it gives no geometry.

Weinzaepfel et al., arXiv 2210.10716 and 2211.10408.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .config import count_blocks
from .layers.blocks import DecoderBlock, EncoderBlock
from .layers.patches import PatchEmbed, grid_positions
from .layers.rope import RopeTables, rope_tables


@dataclass(frozen=True)
class CrocoConfig:
    """pos_embed: "RoPE<base>" or "cosine" (v1, added to the tokens). img_size: (H, W) that "cosine" is made for."""

    img_size: tuple[int, int] = (224, 224)
    patch_size: int = 16
    enc_embed_dim: int = 1024
    enc_depth: int = 24
    enc_num_heads: int = 16
    dec_embed_dim: int = 768
    dec_depth: int = 12
    dec_num_heads: int = 12
    mlp_ratio: float = 4
    pos_embed: str = "RoPE100"
    layer_norm_eps: float = 1e-6

    @property
    def rope_base(self) -> float | None:
        """None when positions are added instead."""
        return float(self.pos_embed[4:]) if self.pos_embed.startswith("RoPE") else None

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, Any]) -> CrocoConfig:
        """From the shapes of a state dict; heads are taken to be 64 wide in v2's large and base models."""
        enc, _, patch, _ = shapes["patch_embed.proj.weight"]
        dec = shapes["decoder_embed.weight"][0]
        return cls(
            patch_size=patch,
            enc_embed_dim=enc,
            enc_depth=count_blocks(shapes, "enc_blocks"),
            enc_num_heads=max(1, enc // 64),
            dec_embed_dim=dec,
            dec_depth=count_blocks(shapes, "dec_blocks"),
            dec_num_heads=16 if dec == 512 else max(1, dec // 64),  # the published small decoder's are 32 wide
            pos_embed="cosine" if "enc_pos_embed" in shapes else "RoPE100",
        )


class Croco(nn.Module):
    """Reconstructs the masked patches of a first image with the help of a second of the same scene."""

    def __init__(self, config: CrocoConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CrocoConfig()
        shared = {"mlp_ratio": config.mlp_ratio, "eps": config.layer_norm_eps}
        self.patch_embed = PatchEmbed(config.patch_size, config.enc_embed_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, config.dec_embed_dim))
        self.enc_blocks = nn.ModuleList(
            EncoderBlock(config.enc_embed_dim, config.enc_num_heads, **shared) for _ in range(config.enc_depth)
        )
        self.enc_norm = nn.LayerNorm(config.enc_embed_dim, eps=config.layer_norm_eps)
        self.decoder_embed = nn.Linear(config.enc_embed_dim, config.dec_embed_dim)
        self.dec_blocks = nn.ModuleList(
            DecoderBlock(config.dec_embed_dim, config.dec_num_heads, **shared) for _ in range(config.dec_depth)
        )
        self.dec_norm = nn.LayerNorm(config.dec_embed_dim, eps=config.layer_norm_eps)
        self.prediction_head = nn.Linear(config.dec_embed_dim, 3 * config.patch_size**2)
        if config.rope_base is None:
            rows, columns = (side // config.patch_size for side in config.img_size)
            self.register_buffer("enc_pos_embed", sincos_positions(config.enc_embed_dim, rows, columns))
            self.register_buffer("dec_pos_embed", sincos_positions(config.dec_embed_dim, rows, columns))

    @staticmethod
    def adapt_state_dict(state: dict[str, Any]) -> dict[str, Any]:
        """Published names are ours."""
        return dict(state)

    def encode(self, images: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """images: (B, 3, H, W), ImageNet-normalised. mask: (B, N) bool, True where a token is left out, as many in
        every image. Returns (tokens (B, N', C), positions of all tokens (B, N, 2)).
        """
        config = self.config
        positions = grid_positions(len(images), *self.grid(images), images.device)
        tokens = self.patch_embed(images)
        if config.rope_base is None:
            tokens = tokens + self.enc_pos_embed
        visible = positions
        if mask is not None:
            tokens = tokens[~mask].view(len(images), -1, tokens.shape[-1])
            visible = positions[~mask].view(len(images), -1, 2)
        rope = self._rope(visible, config.enc_embed_dim // config.enc_num_heads)
        for block in self.enc_blocks:
            tokens = block(tokens, rope)
        return self.enc_norm(tokens), positions

    def decode(self, tokens: Tensor, memory: Tensor, positions: Tensor, mask: Tensor | None = None) -> Tensor:
        """tokens, memory: the encoder's outputs for the first (its visible tokens) and second image. positions, mask:
        of the first image's full grid. Returns (B, N, dec C).
        """
        config = self.config
        tokens, memory = self.decoder_embed(tokens), self.decoder_embed(memory)
        if mask is not None:
            full = self.mask_token.expand(*mask.shape, -1).to(tokens.dtype).clone()
            full[~mask] = tokens.flatten(0, 1)
            tokens = full
        if config.rope_base is None:
            tokens, memory = tokens + self.dec_pos_embed, memory + self.dec_pos_embed
        rope = self._rope(positions, config.dec_embed_dim // config.dec_num_heads)
        for block in self.dec_blocks:
            tokens = block(tokens, memory, rope, rope)
        return self.dec_norm(tokens)

    def forward(self, first: Tensor, second: Tensor, mask: Tensor | None = None) -> Tensor:
        """first, second: (B, 3, H, W) of one size. Returns patch pixels (B, N, p * p * 3), channel last, normalised
        per patch of the target.
        """
        tokens, positions = self.encode(first, mask)
        memory, _ = self.encode(second)
        return self.prediction_head(self.decode(tokens, memory, positions, mask))

    def grid(self, images: Tensor) -> tuple[int, int]:
        """Rows and columns of tokens."""
        return images.shape[-2] // self.config.patch_size, images.shape[-1] // self.config.patch_size

    def _rope(self, positions: Tensor, head_dim: int) -> RopeTables | None:
        base = self.config.rope_base
        return None if base is None else rope_tables(positions, head_dim, base)


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """(B, 3, H, W) to (B, N, p * p * 3), pixels row by row, channel last."""
    batch, channels, height, width = images.shape
    rows, columns = height // patch_size, width // patch_size
    patches = images.view(batch, channels, rows, patch_size, columns, patch_size)
    return patches.permute(0, 2, 4, 3, 5, 1).reshape(batch, rows * columns, -1)


def unpatchify(patches: Tensor, patch_size: int, grid: tuple[int, int]) -> Tensor:
    """The inverse of patchify() for a grid of (rows, columns)."""
    maps = patches.unflatten(1, grid).unflatten(-1, (patch_size, patch_size, -1))
    return maps.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)


def denormalise_patches(prediction: Tensor, target: Tensor) -> Tensor:
    """Predicted patches (B, N, P) with the mean and (unbiased) deviation of the true ones."""
    return prediction * (target.var(dim=-1, keepdim=True) + 1e-6).sqrt() + target.mean(dim=-1, keepdim=True)


def sincos_positions(width: int, rows: int, columns: int) -> Tensor:
    """(rows * columns, width): v1's added embedding; the first half of the channels tells x, the second y."""
    frequencies = 10000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    y, x = torch.meshgrid(
        torch.arange(rows, dtype=torch.float64), torch.arange(columns, dtype=torch.float64), indexing="ij"
    )
    parts = []
    for axis in (x, y):
        angles = axis.reshape(-1, 1) * frequencies
        parts += [angles.sin(), angles.cos()]
    return torch.cat(parts, dim=1).float()

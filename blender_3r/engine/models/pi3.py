"""Pi3: any number of views of a scene, none of them special, to points, confidences and cameras in one pass.

Wang et al., "π³: Permutation-Equivariant Visual Geometry Learning", arXiv 2507.13347.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from .config import count_blocks
from .layers.blocks import EncoderBlock
from .layers.heads import Grid, unfold_patches, without_autocast
from .layers.patches import grid_positions
from .layers.rope import RopeTables, repeat_tables, rope_tables
from .layers.vit import VisionTransformer

EPS, QK_EPS = 1e-6, 1e-5
VIEWS_AT_ONCE = 8  # of the parts that take every view by itself; the rest needs about 40 MB a view in 16 bits


@dataclass(frozen=True)
class Pi3Config:
    """The defaults are those of the published model. head_dec_embed_dim: None = embed_dim."""

    embed_dim: int = 1024
    enc_depth: int = 24
    enc_num_heads: int = 16
    enc_num_register_tokens: int = 4
    dec_depth: int = 36
    dec_num_heads: int = 16
    dec_num_register_tokens: int = 5
    head_dec_embed_dim: int | None = None
    head_dec_depth: int = 5
    head_dec_num_heads: int = 16
    camera_dim: int = 512
    patch_size: int = 14
    pos_embed_image_size: int = 518
    mlp_ratio: float = 4
    rope_base: float = 100.0

    @property
    def head_width(self) -> int:
        return self.head_dec_embed_dim or self.embed_dim

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, Any]) -> Pi3Config:
        """From the shapes of a published state dict, whose heads of attention are 64 wide."""
        return cls(**sizes_from_shapes(shapes))


def sizes_from_shapes(shapes: Mapping[str, Any]) -> dict[str, Any]:
    """What the shapes of a state dict tell of a Pi3Config. Raises KeyError for one of another family."""
    width = shapes["register_token"][-1]
    patch = shapes["encoder.patch_embed.proj.weight"][-1]
    head = shapes["point_decoder.projects.weight"][0]
    return {
        "embed_dim": width,
        "enc_depth": count_blocks(shapes, "encoder.blocks"),
        "enc_num_heads": max(1, width // 64),
        "enc_num_register_tokens": shapes["encoder.register_tokens"][1],
        "dec_depth": count_blocks(shapes, "decoder"),
        "dec_num_heads": width // shapes["decoder.0.attn.q_norm.weight"][0],
        "dec_num_register_tokens": shapes["register_token"][2],
        "head_dec_embed_dim": None if head == width else head,
        "head_dec_depth": count_blocks(shapes, "point_decoder.blocks"),
        "head_dec_num_heads": max(1, head // 64),
        "camera_dim": shapes["camera_decoder.linear_out.weight"][0],
        "patch_size": patch,
        "pos_embed_image_size": round((shapes["encoder.pos_embed"][1] - 1) ** 0.5) * patch,
    }


class Pi3Prediction(NamedTuple):
    """Of B scenes with S views each, channels last, float32.

    points: (B, S, H, W, 3) in a world of the network's choice. local_points: (B, S, H, W, 3) in each view's own camera
    frame, OpenCV axes. confidence: (B, S, H, W) logits. world_from_camera: (B, S, 4, 4). rays: (B, S, H, W, 3) unit
    vectors in the camera frame, from which geometry.focal.intrinsics_from_rays() has the intrinsics. All share one
    scale, Pi3's is arbitrary; scale: (B,), of Pi3X only, already applied, by which it became about metres.
    """

    points: Tensor
    local_points: Tensor
    confidence: Tensor
    world_from_camera: Tensor
    rays: Tensor
    scale: Tensor | None = None


class HeadDecoder(nn.Module):
    """Blocks of attention within each view, between a linear layer in and one out."""

    def __init__(self, config: Pi3Config, out: int) -> None:
        super().__init__()
        width = config.head_width
        self.projects = nn.Linear(2 * config.embed_dim, width)
        self.blocks = nn.ModuleList(
            EncoderBlock(width, config.head_dec_num_heads, config.mlp_ratio, EPS) for _ in range(config.head_dec_depth)
        )
        self.linear_out = nn.Linear(width, out)

    def forward(self, tokens: Tensor, rope: RopeTables) -> Tensor:
        tokens = self.projects(tokens)
        for block in self.blocks:
            tokens = block(tokens, rope)
        return self.linear_out(tokens)


class PatchHead(nn.Module):
    """A linear layer from a patch's token to its pixels."""

    def __init__(self, width: int, channels: int, patch_size: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Linear(width, channels * patch_size**2)

    def forward(self, tokens: Tensor, grid: Grid) -> Tensor:
        """(n, N, C) to (n, c, H, W)."""
        return unfold_patches(self.proj(tokens), grid, self.patch_size)


class _ResidualUnit(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.res_conv1, self.res_conv2, self.res_conv3 = (nn.Linear(width, width) for _ in range(3))

    def forward(self, tokens: Tensor) -> Tensor:
        changed = tokens
        for layer in (self.res_conv1, self.res_conv2, self.res_conv3):
            changed = layer(changed).relu()
        return tokens + changed


class PoseHead(nn.Module):
    """The mean of a view's tokens to its pose: (n, N, C) to world_from_camera (n, 4, 4)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.res_conv = nn.ModuleList(_ResidualUnit(width) for _ in range(2))
        self.more_mlps = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.fc_t = nn.Linear(width, 3)
        self.fc_rot = nn.Linear(width, 9)

    def forward(self, tokens: Tensor) -> Tensor:
        for unit in self.res_conv:
            tokens = unit(tokens)
        mean = self.more_mlps(tokens.mean(dim=1))
        pose = torch.eye(4, device=mean.device).repeat(len(mean), 1, 1)
        pose[:, :3, :3] = rotation_from_numbers(self.fc_rot(mean))
        pose[:, :3, 3] = self.fc_t(mean)
        return pose


class Pi3(nn.Module):
    """Encoder, a decoder that looks in turn within each view and over all views, and a decoder and head per output."""

    def __init__(self, config: Pi3Config | None = None) -> None:
        super().__init__()
        self.config = config = config or Pi3Config()
        self.register_buffer("image_mean", torch.zeros(1, 3, 1, 1))
        self.register_buffer("image_std", torch.ones(1, 3, 1, 1))
        self.encoder = self.make_encoder(channels=3)
        self.register_token = nn.Parameter(torch.zeros(1, 1, config.dec_num_register_tokens, config.embed_dim))
        self.decoder = nn.ModuleList(
            EncoderBlock(
                config.embed_dim, config.dec_num_heads, config.mlp_ratio, EPS, layer_scale=True, qk_norm_eps=QK_EPS
            )
            for _ in range(config.dec_depth)
        )
        self.point_decoder, self.conf_decoder = (HeadDecoder(config, config.head_width) for _ in range(2))
        self.camera_decoder = HeadDecoder(config, config.camera_dim)
        self.camera_head = PoseHead(config.camera_dim)
        self.make_heads()

    def make_encoder(self, channels: int) -> VisionTransformer:
        config = self.config
        return VisionTransformer(
            config.embed_dim,
            config.enc_depth,
            config.enc_num_heads,
            registers=config.enc_num_register_tokens,
            table_side=config.pos_embed_image_size // config.patch_size,
            patch_size=config.patch_size,
            channels=channels,
            mlp_ratio=config.mlp_ratio,
            eps=EPS,
        )

    def make_heads(self) -> None:
        """point_head and conf_head; models with others make those."""
        self.point_head = PatchHead(self.config.head_width, 3, self.config.patch_size)
        self.conf_head = PatchHead(self.config.head_width, 1, self.config.patch_size)

    @staticmethod
    def adapt_state_dict(state: Mapping[str, Any]) -> dict[str, Any]:
        """Published names are ours."""
        return VisionTransformer.adapt_state_dict(dict(state))

    def encode(self, images: Tensor) -> Tensor:
        """Patches of each view alone: (n, 3, H, W) RGB in 0..1, sides multiples of the patch, to (n, N, C).

        Raises ValueError for other sizes.
        """
        return self.encoder((images - self.image_mean) / self.image_std).patches

    def predict(self, patches: Tensor, size: tuple[int, int]) -> Pi3Prediction:
        """Relate S views of B scenes and read their outputs: patches (B, S, N, C) of views of one size (H, W)."""
        tokens = self.decode(patches, self.grid(size))
        return self.read(tokens, patches.shape[:2], self.grid(size))

    def forward(self, images: Tensor) -> Pi3Prediction:
        """images: (B, S, 3, H, W) in 0..1; see predict()."""
        patches = self.encode(images.flatten(0, 1)).unflatten(0, images.shape[:2])
        return self.predict(patches, images.shape[-2:])

    def grid(self, size: tuple[int, int]) -> Grid:
        """Rows and columns of patches."""
        return size[0] // self.config.patch_size, size[1] // self.config.patch_size

    def decode(self, patches: Tensor, grid: Grid, after_block: Callable[[int, Tensor], Tensor] | None = None) -> Tensor:
        """(B, S, N, C) to the tokens of the last two blocks, (B * S, P, 2C); registers come first.

        after_block: takes a block's number and its tokens (B, S, P, C) and returns those of the next.
        """
        batch, views = patches.shape[:2]
        registers = self.register_token.expand(batch, views, -1, -1).to(patches.dtype)
        tokens = torch.cat([registers, patches], dim=2)
        own = self.rope(grid, self.config.embed_dim // self.config.dec_num_heads, tokens.device)
        shared = repeat_tables(own, views)
        before = tokens
        for number, block in enumerate(self.decoder):
            before = tokens
            if number % 2 == 0:
                tokens = block(tokens.flatten(0, 1), own).view(tokens.shape)
            else:
                tokens = block(tokens.flatten(1, 2), shared).view(tokens.shape)
            if after_block is not None:
                tokens = after_block(number, tokens)
        return torch.cat([before, tokens], dim=-1).flatten(0, 1)

    def read(self, tokens: Tensor, views: tuple[int, int], grid: Grid) -> Pi3Prediction:
        """decode()'s tokens of (B, S) views to points, confidences and poses, some views at a time."""
        config = self.config
        rope = self.rope(grid, config.head_width // config.head_dec_num_heads, tokens.device)
        parts = [self._some_views(part, rope, grid) for part in tokens.split(VIEWS_AT_ONCE)]
        raw, confidence, poses = (torch.cat(column).unflatten(0, views) for column in zip(*parts, strict=True))
        local = self.activate(raw)
        points = local @ poses[..., None, :3, :3].transpose(-1, -2) + poses[..., None, None, :3, 3]
        rays = normalize(torch.cat([raw[..., :2], torch.ones_like(raw[..., 2:])], dim=-1), dim=-1)
        return Pi3Prediction(points, local, confidence, poses, rays)

    @staticmethod
    def activate(raw: Tensor) -> Tensor:
        """(..., 3) raw numbers to points: direction times depth."""
        depth = raw[..., 2:].exp()
        return torch.cat([raw[..., :2] * depth, depth], dim=-1)

    def rope(self, grid: Grid, head_dim: int, device: torch.device) -> RopeTables:
        """Of a view's tokens, registers first."""
        positions = grid_positions(1, *grid, device, special=self.config.dec_num_register_tokens)
        return rope_tables(positions, head_dim, self.config.rope_base)

    def _some_views(self, tokens: Tensor, rope: RopeTables, grid: Grid) -> tuple[Tensor, Tensor, Tensor]:
        """(n, H, W, 3) raw points, (n, H, W) logits, (n, 4, 4) poses."""
        first = self.config.dec_num_register_tokens
        decoded = [
            decoder(tokens, rope)[:, first:] for decoder in (self.point_decoder, self.conf_decoder, self.camera_decoder)
        ]
        with without_autocast(tokens):
            points, confidence, camera = (part.float() for part in decoded)
            raw = self.read_maps(self.point_head, points, grid).permute(0, 2, 3, 1)
            return raw, self.read_maps(self.conf_head, confidence, grid)[:, 0], self.camera_head(camera)

    def read_maps(self, head: nn.Module, tokens: Tensor, grid: Grid) -> Tensor:
        """point_head or conf_head on patches: (n, N, C) to (n, c, H, W)."""
        return head(tokens, grid)


def rotation_from_numbers(numbers: Tensor) -> Tensor:
    """(..., 9) to the rotation (..., 3, 3) nearest to the matrix they are the rows of, each row first at length 1."""
    rows = normalize(numbers.unflatten(-1, (3, 3)), dim=-1)
    left, _, right = torch.linalg.svd(rows.transpose(-1, -2))
    right = right.transpose(-1, -2)
    sign = torch.det(right @ left.transpose(-1, -2))
    right = torch.cat([right[..., :2], right[..., 2:] * sign[..., None, None]], dim=-1)
    return right @ left.transpose(-1, -2)

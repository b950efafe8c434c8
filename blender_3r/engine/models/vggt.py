"""VGGT: any number of views of a scene in one pass to cameras, depth, points and tracks.

Wang et al., "VGGT: Visual Geometry Grounded Transformer", arXiv 2503.11651.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .config import config_from_dict, count_blocks
from .layers.blocks import EncoderBlock
from .layers.camera_head import CameraHead
from .layers.heads import Grid, without_autocast
from .layers.patches import grid_positions
from .layers.rope import repeat_tables, rope_tables
from .layers.vit import VisionTransformer, normalise_images
from .layers.vit_dpt import VitDptHead
from .vggt_track import TrackConfig, TrackHead, Tracks

HEADS = ("camera", "depth", "point", "track")
POSE_NUMBERS = 9  # translation 3, quaternion 4, field of view 2


@dataclass(frozen=True)
class VggtConfig:
    """The defaults are those of the published model.

    heads: which of HEADS there are. intermediate_layer_idx: pairs of blocks that the dense heads read. track: of the
    track head, also plain data for it; its token width and levels are this config's.
    """

    embed_dim: int = 1024
    enc_depth: int = 24
    enc_num_heads: int = 16
    num_register_tokens: int = 4
    depth: int = 24
    num_heads: int = 16
    patch_size: int = 14
    pos_embed_image_size: int = 518
    intermediate_layer_idx: tuple[int, int, int, int] = (4, 11, 17, 23)
    dpt_features: int = 256
    dpt_out_channels: tuple[int, int, int, int] = (256, 512, 1024, 1024)
    dpt_head_features_2: int = 32
    camera_trunk_depth: int = 4
    camera_num_heads: int = 16
    camera_iterations: int = 4
    mlp_ratio: float = 4
    rope_base: float = 100.0
    enc_norm_eps: float = 1e-6
    other_norm_eps: float = 1e-5
    heads: tuple[str, ...] = HEADS
    track: TrackConfig = field(default_factory=TrackConfig)

    def __post_init__(self) -> None:
        if isinstance(self.track, Mapping):
            object.__setattr__(self, "track", config_from_dict(TrackConfig, self.track))

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, Any]) -> VggtConfig:
        """From the shapes of a published state dict, whose heads of attention are 64 wide in the encoder. A head that
        the state dict lacks is left out. Raises KeyError for one of another family.
        """
        width = shapes["aggregator.camera_token"][-1]
        depth = count_blocks(shapes, "aggregator.frame_blocks")
        table = shapes["aggregator.patch_embed.pos_embed"][1] - 1
        patch = shapes["aggregator.patch_embed.patch_embed.proj.weight"][-1]
        sizes: dict[str, Any] = {
            "embed_dim": width,
            "enc_depth": count_blocks(shapes, "aggregator.patch_embed.blocks"),
            "enc_num_heads": max(1, width // 64),
            "num_register_tokens": shapes["aggregator.register_token"][2],
            "depth": depth,
            "num_heads": width // shapes["aggregator.frame_blocks.0.attn.q_norm.weight"][0],
            "patch_size": patch,
            "pos_embed_image_size": round(table**0.5) * patch,
            "heads": heads_in(shapes),
        }
        if depth != cls.depth:
            sizes["intermediate_layer_idx"] = tuple(max(0, depth * part // 24 - 1) for part in (5, 12, 18, 24))
        for head in ("depth_head", "point_head"):
            if f"{head}.norm.weight" in shapes:
                sizes["dpt_features"] = shapes[f"{head}.scratch.refinenet1.out_conv.weight"][0]
                sizes["dpt_out_channels"] = tuple(shapes[f"{head}.projects.{level}.weight"][0] for level in range(4))
                sizes["dpt_head_features_2"] = shapes[f"{head}.scratch.output_conv2.0.weight"][0]
        if "camera" in sizes["heads"]:
            sizes["camera_trunk_depth"] = count_blocks(shapes, "camera_head.trunk")
        if "track" in sizes["heads"]:
            own = {name.removeprefix("track_head."): shape for name, shape in shapes.items()}
            sizes["track"] = TrackConfig.from_shapes(own)
        return cls(**sizes)


def heads_in(names: Mapping[str, Any]) -> tuple[str, ...]:
    """Which of HEADS a state dict has."""
    stems = {name.split(".")[0] for name in names}
    return tuple(head for head in HEADS if f"{head}_head" in stems)


class Aggregated(NamedTuple):
    """What the heads read. layers: tokens of the chosen depths, (B, S, P, 2C) each; the last of all depths is last.
    first_patch: where a view's patches begin. grid: rows and columns of patches.
    """

    layers: list[Tensor]
    last: Tensor
    first_patch: int
    grid: Grid


class VggtPrediction(NamedTuple):
    """Of B scenes with S views each, channels last, float32; None where a head was not asked for or is not there.

    pose_encoding: (B, S, 9), see geometry.pose_encoding. depth, depth_confidence: (B, S, H, W). points: (B, S, H, W, 3)
    in the first view's camera frame, confidence: (B, S, H, W). Depth unprojected with the cameras is more precise than
    points. Confidences are from 1 upwards. The scale is the scene's own. tracks: of the query points.
    """

    pose_encoding: Tensor | None
    depth: Tensor | None
    depth_confidence: Tensor | None
    points: Tensor | None
    confidence: Tensor | None
    tracks: Tracks | None = None


class Aggregator(nn.Module):
    """Attention in turn within each view and over all views, on the encoder's patches and a few tokens per view."""

    def __init__(self, config: VggtConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = VisionTransformer(
            config.embed_dim,
            config.enc_depth,
            config.enc_num_heads,
            registers=config.num_register_tokens,
            table_side=config.pos_embed_image_size // config.patch_size,
            patch_size=config.patch_size,
            mlp_ratio=config.mlp_ratio,
            eps=config.enc_norm_eps,
        )
        # The first row is the first view's, the second all others'.
        self.camera_token = nn.Parameter(torch.zeros(1, 2, 1, config.embed_dim))
        self.register_token = nn.Parameter(torch.zeros(1, 2, config.num_register_tokens, config.embed_dim))
        self.frame_blocks, self.global_blocks = (
            nn.ModuleList(
                EncoderBlock(
                    config.embed_dim,
                    config.num_heads,
                    config.mlp_ratio,
                    config.other_norm_eps,
                    layer_scale=True,
                    qk_norm_eps=config.other_norm_eps,
                )
                for _ in range(config.depth)
            )
            for _ in range(2)
        )

    def join(self, patches: Tensor) -> Tensor:
        """Patches (B, S, N, C) with the camera's token and the registers in front, (B, S, P, C)."""
        batch, views = patches.shape[:2]
        special = torch.cat([self.camera_token, self.register_token], dim=2).to(patches.dtype)
        special = torch.cat([special[:, :1], special[:, 1:].expand(-1, views - 1, -1, -1)], dim=1)
        return torch.cat([special.expand(batch, -1, -1, -1), patches], dim=2)

    def positions(self, grid: Grid, device: torch.device) -> Tensor:
        """(1, P, 2) integers (y, x) of a view's tokens."""
        return grid_positions(1, *grid, device, special=1 + self.config.num_register_tokens)

    def forward(self, patches: Tensor, grid: Grid) -> Aggregated:
        """patches: the encoder's, (B, S, N, C); the first view is the one that the others refer to."""
        config = self.config
        tokens = self.join(patches)
        batch, views, count, _ = tokens.shape
        own = rope_tables(self.positions(grid, tokens.device), config.embed_dim // config.num_heads, config.rope_base)
        shared = repeat_tables(own, views)
        wanted = {*config.intermediate_layer_idx, config.depth - 1}
        layers = {}
        for number, (frame_block, global_block) in enumerate(zip(self.frame_blocks, self.global_blocks, strict=True)):
            within = frame_block(tokens.flatten(0, 1), own).view(batch, views, count, -1)
            tokens = global_block(within.flatten(1, 2), shared).view(batch, views, count, -1)
            if number in wanted:
                layers[number] = torch.cat([within, tokens], dim=-1)
        chosen = [layers[number] for number in config.intermediate_layer_idx]
        return Aggregated(chosen, layers[config.depth - 1], 1 + config.num_register_tokens, grid)


class Vggt(nn.Module):
    """Encoder, aggregator and heads. Its memory grows with views x patches: about 0.2 GB a view of 518 x 392 in 16
    bits, as published.
    """

    def __init__(self, config: VggtConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or VggtConfig()
        self.aggregator = Aggregator(config)
        width = 2 * config.embed_dim
        dense = {"last_dim": config.dpt_head_features_2, "patch_size": config.patch_size, "eps": config.other_norm_eps}
        if "camera" in config.heads:
            self.camera_head = CameraHead(
                width,
                POSE_NUMBERS,
                depth=config.camera_trunk_depth,
                heads=config.camera_num_heads,
                iterations=config.camera_iterations,
                mlp_ratio=config.mlp_ratio,
                eps=config.other_norm_eps,
            )
        if "depth" in config.heads:
            self.depth_head = VitDptHead(width, config.dpt_out_channels, config.dpt_features, 2, **dense)
        if "point" in config.heads:
            self.point_head = VitDptHead(width, config.dpt_out_channels, config.dpt_features, 4, **dense)
        if "track" in config.heads:
            self.track_head = TrackHead(config.track)

    @staticmethod
    def adapt_state_dict(state: Mapping[str, Any]) -> dict[str, Any]:
        """Published names are ours; what no output depends on is left out."""
        return VisionTransformer.adapt_state_dict(dict(state))

    def encode(self, images: Tensor) -> Tensor:
        """Patches of each view alone: (n, 3, H, W) RGB in 0..1, sides multiples of the patch, to (n, N, C).

        Raises ValueError for other sizes.
        """
        return self.aggregator.patch_embed(normalise_images(images)).patches

    def aggregate(self, patches: Tensor, size: tuple[int, int]) -> Aggregated:
        """Relate S views of B scenes: patches (B, S, N, C) of views of one size (H, W)."""
        height, width = size
        return self.aggregator(patches, (height // self.config.patch_size, width // self.config.patch_size))

    def predict(
        self, aggregated: Aggregated, heads: Sequence[str] = HEADS, query_points: Tensor | None = None
    ) -> VggtPrediction:
        """Run the heads asked for, as far as they are there, in float32.

        query_points: (B, N, 2) pixels (x, y) of the first view to follow through all views, integers at the pixels'
        centres; without them there are no tracks.
        """
        chosen = [head for head in heads if head in self.config.heads]
        pose = depth = depth_confidence = points = confidence = tracks = None
        with without_autocast(aggregated.last):
            if "camera" in chosen:
                pose = activate_pose(self.camera_head(aggregated.last[:, :, 0].float()))[-1]
            layers = []
            if chosen != ["camera"]:
                layers = [layer[:, :, aggregated.first_patch :].float() for layer in aggregated.layers]
            if "depth" in chosen:
                raw = self._dense(self.depth_head, layers, aggregated.grid)
                depth, depth_confidence = raw[..., 0].exp(), 1 + raw[..., 1].exp()
            if "point" in chosen:
                raw = self._dense(self.point_head, layers, aggregated.grid)
                points, confidence = inverse_log(raw[..., :3]), 1 + raw[..., 3].exp()
            if "track" in chosen and query_points is not None:
                tracks = self.track_head(layers, aggregated.grid, query_points)
        return VggtPrediction(pose, depth, depth_confidence, points, confidence, tracks)

    def forward(self, images: Tensor, query_points: Tensor | None = None) -> VggtPrediction:
        """images: (B, S, 3, H, W) in 0..1; see predict()."""
        patches = self.encode(images.flatten(0, 1)).unflatten(0, images.shape[:2])
        return self.predict(self.aggregate(patches, images.shape[-2:]), HEADS, query_points)

    @staticmethod
    def _dense(head: VitDptHead, layers: list[Tensor], grid: Grid) -> Tensor:
        """(B, S, H, W, c)"""
        views = layers[0].shape[:2]
        return head([layer.flatten(0, 1) for layer in layers], grid).permute(0, 2, 3, 1).unflatten(0, views)


def activate_pose(raw: Tensor) -> Tensor:
    """Pose encodings (..., 9): fields of view are not negative."""
    return torch.cat([raw[..., :7], raw[..., 7:].relu()], dim=-1)


def inverse_log(raw: Tensor) -> Tensor:
    """sign(r) (e^|r| - 1), each number by itself."""
    return raw.sign() * raw.abs().expm1()

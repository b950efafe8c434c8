"""VGGT's track head: points of the first view followed through all views.

Wang et al., arXiv 2503.11651; specs/vggt_track.md. Its waves of up to about 1000 radians a pixel make it sensitive to
rounding: always in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, gelu, grid_sample, linear

from .config import count_blocks
from .layers.attention import attend
from .layers.blocks import Mlp
from .layers.heads import Grid
from .layers.vit_dpt import VitDptHead

EPS = 1e-5
FASTEST_WAVE = 1000.0  # radians per pixel of the feature map


@dataclass(frozen=True)
class TrackConfig:
    """The defaults are those of the published model.

    dim_in: width of the tokens. features: channels of the feature map. stride: pixels of the picture to one of the
    map. corr_levels, corr_radius: of the pyramid that is searched. max_scale: what movements are divided by.
    """

    dim_in: int = 2048
    patch_size: int = 14
    dpt_out_channels: tuple[int, int, int, int] = (256, 512, 1024, 1024)
    features: int = 128
    stride: int = 2
    corr_levels: int = 7
    corr_radius: int = 4
    hidden_size: int = 384
    tracker_num_heads: int = 8
    tracker_depth: int = 6
    num_virtual_tracks: int = 64
    max_scale: float = 518
    iterations: int = 4
    mlp_ratio: float = 4

    @property
    def token_width(self) -> int:
        """Of a track's token in one view."""
        return 3 * self.features + 4

    @property
    def correlations(self) -> int:
        """Numbers that a point is given of its surroundings."""
        return self.corr_levels * (2 * self.corr_radius + 1) ** 2

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, Any]) -> TrackConfig:
        """From the shapes of a published state dict, without its prefix."""
        former = "tracker.updateformer"
        hidden = shapes[f"{former}.input_transform.weight"][0]
        return cls(
            dim_in=shapes["feature_extractor.norm.weight"][0],
            dpt_out_channels=tuple(shapes[f"feature_extractor.projects.{level}.weight"][0] for level in range(4)),
            features=shapes["tracker.fmap_norm.weight"][0],
            corr_levels=shapes["tracker.corr_mlp.fc1.weight"][1] // (2 * cls.corr_radius + 1) ** 2,
            hidden_size=hidden,
            tracker_depth=count_blocks(shapes, f"{former}.time_blocks"),
            num_virtual_tracks=shapes[f"{former}.virual_tracks"][1],
            mlp_ratio=shapes[f"{former}.time_blocks.0.mlp.fc1.weight"][0] / hidden,
        )


class Tracks(NamedTuple):
    """positions: (B, S, N, 2) pixels (x, y), integers at the pixels' centres. visibility, confidence: (B, S, N), 0..1.
    rounds: positions after every round, (rounds, B, S, N, 2).
    """

    positions: Tensor
    visibility: Tensor
    confidence: Tensor
    rounds: Tensor


class PackedAttention(nn.Module):
    """Attention whose queries, keys and values have one matrix, `in_proj_weight`; `out_proj` behind it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width).normal_(std=width**-0.5))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """tokens: (B, N, C) that ask, memory: (B, M, C) that is read; returns (B, N, C)."""
        width = tokens.shape[-1]
        query = linear(tokens, self.in_proj_weight[:width], self.in_proj_bias[:width])
        key, value = linear(memory, self.in_proj_weight[width:], self.in_proj_bias[width:]).chunk(2, dim=-1)
        parts = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value))
        return self.out_proj(attend(*parts))


class TrackBlock(nn.Module):
    """Self-attention and MLP; what is added to is the *normed* input. (B, N, C) to (B, N, C)."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attn = PackedAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def forward(self, tokens: Tensor) -> Tensor:
        normed = self.norm1(tokens)
        tokens = normed + self.attn(normed, normed)
        return tokens + self.mlp(self.norm2(tokens))


class CrossTrackBlock(nn.Module):
    """The same with tokens that read a context."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.norm_context = nn.LayerNorm(width, eps=EPS)
        self.cross_attn = PackedAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        normed = self.norm1(tokens)
        tokens = normed + self.cross_attn(normed, self.norm_context(context))
        return tokens + self.mlp(self.norm2(tokens))


class UpdateFormer(nn.Module):
    """From what is known of every track in every view to corrections: attention along each track, then, by way of a
    few virtual tracks, among the tracks of a view.
    """

    def __init__(self, config: TrackConfig) -> None:
        super().__init__()
        hidden, depth = config.hidden_size, config.tracker_depth
        sizes = (hidden, config.tracker_num_heads, config.mlp_ratio)
        self.input_norm = nn.LayerNorm(config.token_width, eps=EPS)
        self.input_transform = nn.Linear(config.token_width, hidden)
        self.virual_tracks = nn.Parameter(torch.zeros(1, config.num_virtual_tracks, 1, hidden))  # the published name
        self.time_blocks = nn.ModuleList(TrackBlock(*sizes) for _ in range(depth))
        self.space_virtual_blocks = nn.ModuleList(TrackBlock(*sizes) for _ in range(depth))
        self.space_point2virtual_blocks = nn.ModuleList(CrossTrackBlock(*sizes) for _ in range(depth))
        self.space_virtual2point_blocks = nn.ModuleList(CrossTrackBlock(*sizes) for _ in range(depth))
        self.output_norm = nn.LayerNorm(hidden, eps=EPS)
        self.flow_head = nn.Linear(hidden, config.features + 2)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: (B, N, S, D). Returns (B, N, S, 2 + C)."""
        start = self.input_transform(self.input_norm(tokens))
        batch, count, views, _ = start.shape
        tracks = torch.cat([start, self.virual_tracks.expand(batch, -1, views, -1)], dim=1)
        for along, to_virtual, among, to_points in zip(
            self.time_blocks,
            self.space_virtual2point_blocks,
            self.space_virtual_blocks,
            self.space_point2virtual_blocks,
            strict=True,
        ):
            tracks = along(tracks.flatten(0, 1)).unflatten(0, (batch, -1))
            by_view = tracks.transpose(1, 2).flatten(0, 1)
            points, virtual = by_view[:, :count], by_view[:, count:]
            virtual = among(to_virtual(virtual, points))
            points = to_points(points, virtual)
            tracks = torch.cat([points, virtual], dim=1).unflatten(0, (batch, views)).transpose(1, 2)
        return self.flow_head(self.output_norm(tracks[:, :count] + start))


class Tracker(nn.Module):
    """Starts every track at its query's position in all views and corrects it round by round."""

    def __init__(self, config: TrackConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.features
        self.corr_mlp = Mlp(config.correlations, config.hidden_size, channels)
        self.query_ref_token = nn.Parameter(torch.zeros(1, 2, config.token_width))
        self.updateformer = UpdateFormer(config)
        self.fmap_norm = nn.LayerNorm(channels, eps=EPS)
        self.ffeat_norm = nn.LayerNorm(channels, eps=EPS)
        self.ffeat_updater = nn.Sequential(nn.Linear(channels, channels))
        self.vis_predictor = nn.Sequential(nn.Linear(channels, 1))
        self.conf_predictor = nn.Sequential(nn.Linear(channels, 1))

    def forward(self, maps: Tensor, query_points: Tensor) -> Tracks:
        """maps: (B, S, C, h, w) features. query_points: (B, N, 2) pixels (x, y) of the first view.

        Raises ValueError for maps too small for the pyramid.
        """
        config = self.config
        height, width = maps.shape[-2:]
        least = 2 ** (config.corr_levels - 1)
        if min(height, width) < least:
            raise ValueError(f"following points takes pictures of at least {least * config.stride} pixels a side")
        maps = self.fmap_norm(maps.permute(0, 1, 3, 4, 2)).permute(0, 1, 4, 2, 3)
        views = maps.shape[1]
        start = query_points / config.stride  # (B, N, 2)
        pyramid = feature_pyramid(maps, config.corr_levels)
        features = sample_maps(maps[:, 0], start, "border")[:, :, None].expand(-1, -1, views, -1)  # (B, N, S, C)
        table = position_table(height, width, config.token_width).to(maps)
        place = sample_maps(table, start.flatten(0, 1)[None], "border").unflatten(1, start.shape[:2])[0]
        reference = torch.cat(
            [self.query_ref_token[:, :1], self.query_ref_token[:, 1:].expand(-1, views - 1, -1)], dim=1
        )
        positions = start[:, :, None].expand(-1, -1, views, -1)  # (B, N, S, 2)
        rounds = []
        for _ in range(config.iterations):
            tokens = self._tokens(pyramid, positions, features) + place[:, :, None] + reference[:, None]
            change = self.updateformer(tokens)
            positions = positions + change[..., :2]
            features = features + gelu(self.ffeat_updater(self.ffeat_norm(change[..., 2:])))
            positions = torch.cat([start[:, :, None], positions[:, :, 1:]], dim=2)
            rounds.append(positions.transpose(1, 2) * config.stride)
        visibility, confidence = (
            predictor(features)[..., 0].sigmoid().transpose(1, 2)
            for predictor in (self.vis_predictor, self.conf_predictor)
        )
        return Tracks(rounds[-1], visibility, confidence, torch.stack(rounds))

    def _tokens(self, pyramid: list[Tensor], positions: Tensor, features: Tensor) -> Tensor:
        """(B, N, S, D): where a track moved, what it meets there, what it looks like."""
        moved = positions - positions[:, :, :1]
        scaled = moved / self.config.max_scale
        met = self.corr_mlp(correlate(pyramid, positions, features, self.config.corr_radius))
        return torch.cat([wave_movement(moved, self.config.features // 2), scaled, scaled, met, features], dim=-1)


class TrackHead(nn.Module):
    """A DPT for features at half the picture's size, and the tracker on them."""

    def __init__(self, config: TrackConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or TrackConfig()
        self.feature_extractor = VitDptHead(
            config.dim_in,
            config.dpt_out_channels,
            config.features,
            None,
            patch_size=config.patch_size,
            shrink=config.stride,
            eps=EPS,
        )
        self.tracker = Tracker(config)

    @staticmethod
    def adapt_state_dict(state: Mapping[str, Any]) -> dict[str, Any]:
        """Published names, without their prefix, are ours."""
        return dict(state)

    def forward(self, layers: Sequence[Tensor], grid: Grid, query_points: Tensor) -> Tracks:
        """layers: patch tokens of four depths, (B, S, rows * columns, C) each, float32. query_points: (B, N, 2) pixels
        (x, y) of the first view, integers at the pixels' centres.
        """
        maps = self.feature_extractor([layer.flatten(0, 1) for layer in layers], grid)
        return self.tracker(maps.unflatten(0, layers[0].shape[:2]), query_points)


def feature_pyramid(maps: Tensor, levels: int) -> list[Tensor]:
    """(B, S, C, h, w) and what is left of it after halving again and again."""
    pyramid = [maps]
    for _ in range(levels - 1):
        pyramid.append(avg_pool2d(pyramid[-1].flatten(0, 1), 2).unflatten(0, maps.shape[:2]))
    return pyramid


def sample_maps(maps: Tensor, points: Tensor, padding: str) -> Tensor:
    """Maps (B, C, h, w) at points (B, ..., 2) in pixels (x, y), bilinear; returns (B, ..., C)."""
    height, width = maps.shape[-2:]
    sides = points.new_tensor([max(width - 1, 1), max(height - 1, 1)])
    where = (points * 2 / sides - 1).flatten(1, -2)[:, :, None]
    found = grid_sample(maps, where, mode="bilinear", padding_mode=padding, align_corners=True)
    return found[..., 0].transpose(1, 2).unflatten(1, points.shape[1:-1])


def correlate(pyramid: list[Tensor], positions: Tensor, features: Tensor, radius: int) -> Tensor:
    """How a track's features agree with the maps around its positions, over the square root of their number.

    positions: (B, N, S, 2) on the finest level, features: (B, N, S, C). Returns (B, N, S, levels * (2 radius + 1)^2);
    within a level x changes slowly, y fast. View by view, which bounds the memory: 40 MB for 1000 tracks.
    """
    steps = torch.arange(-radius, radius + 1, device=positions.device, dtype=positions.dtype)
    around = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1).flatten(0, 1)
    found = []
    for level, maps in enumerate(pyramid):
        by_view = []
        for view in range(maps.shape[1]):
            points = positions[:, :, view, None] / 2**level + around
            patches = sample_maps(maps[:, view], points, "zeros")  # (B, N, (2r+1)^2, C)
            by_view.append((patches @ features[:, :, view, :, None])[..., 0])
        found.append(torch.stack(by_view, dim=2))
    return torch.cat(found, dim=-1) / features.shape[-1] ** 0.5


def wave_movement(moved: Tensor, width: int) -> Tensor:
    """(..., 2) movements to (..., 2 * width): sine and cosine in turn of width/2 evenly spaced frequencies from 0; x
    first, then y.
    """
    frequencies = torch.arange(0, width, 2, device=moved.device, dtype=moved.dtype) * (FASTEST_WAVE / width)
    angles = moved[..., None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-3)


def position_table(rows: int, columns: int, width: int) -> Tensor:
    """(1, width, rows, columns) float32: the first half of the channels tells x, the second y; sines, then cosines."""
    frequencies = 10000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    halves = []
    for count in (columns, rows):
        angles = frequencies[:, None] * torch.arange(count, dtype=torch.float64)
        halves.append(torch.cat([angles.sin(), angles.cos()]).float())
    size = (-1, rows, columns)
    return torch.cat([halves[0][:, None].expand(size), halves[1][:, :, None].expand(size)])[None]

"""MV-DUSt3R and MV-DUSt3R+: DUSt3R for up to some dozens of views in one pass, and a Gaussian for every pixel.

Tang et al., "MV-DUSt3R+: Single-Stage Scene Reconstruction from Sparse Views In 2 Seconds", arXiv 2412.06974.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .config import drop_unused
from .dust3r import Dust3rConfig, encode_grid, read_points, sizes_from_shapes
from .layers.activations import ConfidenceMode
from .layers.blocks import DecoderBlock, EncoderBlock
from .layers.heads import Grid, unfold_patches, without_autocast
from .layers.patches import PatchEmbed, grid_positions
from .layers.rope import RopeTables, repeat_tables, rope_tables

VIEWS_AT_ONCE = 8  # of the heads: what their convolutions hold for one view of 224 x 224 is about 150 MB
SKIP_KERNELS = (3, 5, 5, 3)
GAUSSIAN_SCALE = 0.1


@dataclass(frozen=True)
class MvDust3rConfig(Dust3rConfig):
    """The defaults are those of the published MV-DUSt3R+.

    n_ref: how many views are each taken for the reference in a path of their own; 1 = MV-DUSt3R. skip_dim: channels of
    the convolutions that correct points. gs_mlp_dim: hidden width of the Gaussians' MLPs.
    """

    head_type: str = "linear"
    conf_mode: ConfidenceMode = ("exp", 1.0, 1e9)
    n_ref: int = 4
    skip_dim: int = 256
    gs_mlp_dim: int = 768
    skip_scale: float = 1e-4
    gs_layernorm_eps: float = 1e-5
    batchnorm_eps: float = 1e-5

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, Any]) -> MvDust3rConfig:
        """From the shapes of a published state dict, whose heads of attention are all 64 wide."""
        several = any(name.startswith("dec_same_view_blocks.") for name in shapes)
        return cls(
            **sizes_from_shapes(shapes),
            n_ref=cls.n_ref if several else 1,
            skip_dim=shapes["downstream_head1.skip_proj.0.conv.weight"][0],
            gs_mlp_dim=shapes["downstream_GS_head.0.mlp_rgb.0.weight"][0],
        )


class Gaussians(NamedTuple):
    """One for every pixel, channels last. color: (..., 3) as the network says it; its training gave the pictures'
    colours instead, use those. opacity: (..., 1) in 0..1. scale: (..., 3), to be taken as they are only where points
    have a mean distance of 1, and clipped. rotation: (..., 4) unit quaternions (w, x, y, z).
    """

    color: Tensor
    opacity: Tensor
    scale: Tensor
    rotation: Tensor


class MvDust3rPrediction(NamedTuple):
    """Of B scenes with S views each, channels last, float32. points: (B, S, H, W, 3) in the first view's camera frame,
    confidence: (B, S, H, W), from 1 upwards; the scale is arbitrary. gaussians: (B, S, H, W, ...).
    """

    points: Tensor
    confidence: Tensor
    gaussians: Gaussians


class _ConvolutionBlock(nn.Module):
    def __init__(self, width: int, out: int, kernel: int, eps: float, activated: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, out, kernel, padding=kernel // 2)
        self.norm = nn.BatchNorm2d(out, eps=eps)
        self.act = nn.SELU() if activated else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(maps)))


class SkipHead(nn.Module):
    """Points and confidence by a linear layer, the points corrected by convolutions over them and the picture."""

    def __init__(self, config: MvDust3rConfig) -> None:
        super().__init__()
        self.config = config
        self.proj = nn.Linear(config.dec_embed_dim, 4 * config.patch_size**2)
        widths = (6, config.skip_dim, config.skip_dim, config.skip_dim, 3)
        self.skip_proj = nn.Sequential(
            *(
                _ConvolutionBlock(widths[i], widths[i + 1], kernel, config.batchnorm_eps, i + 1 < len(SKIP_KERNELS))
                for i, kernel in enumerate(SKIP_KERNELS)
            )
        )

    def forward(self, tokens: Tensor, images: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        """(n, N, C) and (n, 3, H, W) in -1..1 to points (n, H, W, 3) and confidence (n, H, W)."""
        raw = unfold_patches(self.proj(tokens), grid, self.config.patch_size)
        change = self.skip_proj(torch.cat([images, raw[:, :3]], dim=1)) * self.config.skip_scale
        return read_points(torch.cat([raw[:, :3] + change, raw[:, 3:]], dim=1), self.config)


class GaussianHead(nn.Module):
    """The Gaussians of a view's pixels."""

    def __init__(self, config: MvDust3rConfig) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        width, hidden = config.dec_embed_dim, config.gs_mlp_dim
        self.norm = nn.LayerNorm(width, eps=config.gs_layernorm_eps)
        self.mlp_rgb, self.mlp_opacity, self.mlp_scale2, self.mlp_rotation = (
            nn.Sequential(
                nn.Linear(width, hidden, bias=False),
                nn.ReLU(),
                nn.Linear(hidden, channels * config.patch_size**2, bias=False),
            )
            for channels in (3, 1, 3, 4)
        )

    def forward(self, tokens: Tensor, grid: Grid) -> Gaussians:
        """(n, N, C) to maps of the whole picture."""
        normed = self.norm(tokens)
        color, opacity, scale, rotation = (
            unfold_patches(mlp(normed), grid, self.patch_size).permute(0, 2, 3, 1)
            for mlp in (self.mlp_rgb, self.mlp_opacity, self.mlp_scale2, self.mlp_rotation)
        )
        length = rotation.norm(dim=-1, keepdim=True).clip(min=1e-5)
        return Gaussians(color, opacity.sigmoid(), scale * GAUSSIAN_SCALE, rotation / length)


class MvDust3r(nn.Module):
    """DUSt3R's encoder and decoders, of which each view reads all others. With several references there is a path for
    each, and after every layer the paths read each other. Work grows with references x views^2.
    """

    def __init__(self, config: MvDust3rConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or MvDust3rConfig()
        shared = {"mlp_ratio": config.mlp_ratio, "eps": config.layer_norm_eps}
        self.patch_embed = PatchEmbed(config.patch_size, config.enc_embed_dim)
        self.enc_blocks = nn.ModuleList(
            EncoderBlock(config.enc_embed_dim, config.enc_num_heads, **shared) for _ in range(config.enc_depth)
        )
        self.enc_norm = nn.LayerNorm(config.enc_embed_dim, eps=config.layer_norm_eps)
        self.decoder_embed = nn.Linear(config.enc_embed_dim, config.dec_embed_dim)
        kinds = ["dec_blocks", "dec_blocks2"] + ["dec_same_view_blocks"] * (config.n_ref > 1)
        for name in kinds:
            blocks = (
                DecoderBlock(config.dec_embed_dim, config.dec_num_heads, **shared) for _ in range(config.dec_depth)
            )
            setattr(self, name, nn.ModuleList(blocks))
        self.dec_norm = nn.LayerNorm(config.dec_embed_dim, eps=config.layer_norm_eps)
        self.downstream_head1, self.downstream_head2 = (SkipHead(config) for _ in range(2))
        self.downstream_GS_head = nn.ModuleList(GaussianHead(config) for _ in range(2))

    @staticmethod
    def adapt_state_dict(state: Mapping[str, Any]) -> dict[str, Any]:
        """Published names are ours; see drop_unused()."""
        return drop_unused(state)

    def encode(self, images: Tensor) -> Tensor:
        """images: (n, 3, H, W) RGB in -1..1, published for 224 x 224. Returns (n, N, C). Raises ValueError for sides
        that are not multiples of the patch.
        """
        return encode_grid(images, self.patch_embed, self.enc_blocks, self.enc_norm, self.config.rope_base).tokens

    def predict(self, tokens: Tensor, images: Tensor, all_paths: bool = False) -> MvDust3rPrediction:
        """Relate S encoded views of B scenes, (B, S, N, C), with their pictures (B, S, 3, H, W), all of one size.

        all_paths: also what the other references' paths say, as rows of the batch: B * n_ref + r, in the frame of view
        r, which changed places with view 0 there. Raises ValueError for fewer views than references, or than two.
        """
        config = self.config
        least = max(2, config.n_ref)
        if tokens.shape[1] < least:
            raise ValueError(f"this model takes at least {least} views, not {tokens.shape[1]}")
        grid = self.grid(images.shape[-2:])
        decoded = self.decode(tokens, grid, all_paths)
        if all_paths:
            images = _exchange(images[:, None].expand(-1, config.n_ref, -1, -1, -1, -1)).flatten(0, 1)
        with without_autocast(decoded):
            parts = [
                *self._read(decoded[:, :1], images[:, :1], grid, 0),
                *self._read(decoded[:, 1:], images[:, 1:], grid, 1),
            ]
        return _join(parts)

    def grid(self, size: tuple[int, int]) -> Grid:
        """Rows and columns of patches."""
        return size[0] // self.config.patch_size, size[1] // self.config.patch_size

    def forward(self, images: Tensor, all_paths: bool = False) -> MvDust3rPrediction:
        """images: (B, S, 3, H, W) in -1..1, the first view is the reference; see predict()."""
        return self.predict(self.encode(images.flatten(0, 1)).unflatten(0, images.shape[:2]), images, all_paths)

    def decode(self, tokens: Tensor, grid: Grid, all_paths: bool = False) -> Tensor:
        """(B, S, N, C) of the encoder to (B, S, N, C) of the decoder, or (B * n_ref, S, N, C); see predict().

        In each path slot 0 holds its reference, which changed places with view 0.
        """
        paths = self.config.n_ref
        own = rope_tables(
            grid_positions(1, *grid, tokens.device),
            self.config.dec_embed_dim // self.config.dec_num_heads,
            self.config.rope_base,
        )
        slots = _exchange(self.decoder_embed(tokens)[:, None].expand(-1, paths, -1, -1, -1))
        for depth in range(self.config.dec_depth):
            slots = self._relate_views(depth, slots.flatten(0, 1), own).unflatten(0, (-1, paths))
            if paths > 1:
                # Of the last layer only the first path is needed: no one reads the others any more.
                wanted = paths if all_paths or depth + 1 < self.config.dec_depth else 1
                slots = self._relate_paths(depth, slots, own, wanted)
        return self.dec_norm(slots).flatten(0, 1) if all_paths else self.dec_norm(slots[:, 0])

    def _relate_views(self, depth: int, slots: Tensor, own: RopeTables) -> Tensor:
        """(b, S, N, C): every view of a path reads all others; the reference by weights of its own."""
        views, count = slots.shape[1:3]
        others = slots[:, 1:].flatten(1, 2)
        changed = [self.dec_blocks[depth](slots[:, 0], others, own, repeat_tables(own, views - 1))]
        read = self.dec_blocks2[depth].keys_values(slots.flatten(1, 2), repeat_tables(own, views))
        for view in range(1, views):
            changed.append(self.dec_blocks2[depth](slots[:, view], read.without(view * count, count), own))
        return torch.stack(changed, dim=1)

    def _relate_paths(self, depth: int, slots: Tensor, own: RopeTables, wanted: int) -> Tensor:
        """(B, R, S, N, C): every view reads itself in the other paths. Returns the first `wanted` paths."""
        scenes, paths, views, count, _ = slots.shape
        block = self.dec_same_view_blocks[depth]
        by_view = _exchange(slots).transpose(1, 2).flatten(0, 1)  # (B * S, R, N, C)
        memory = block.keys_values(by_view.flatten(1, 2), repeat_tables(own, paths))
        changed = [block(by_view[:, path], memory.without(path * count, count), own) for path in range(wanted)]
        return _exchange(torch.stack(changed, dim=1).unflatten(0, (scenes, views)).transpose(1, 2))

    def _read(self, tokens: Tensor, images: Tensor, grid: Grid, head: int) -> Iterator[MvDust3rPrediction]:
        """Outputs of (b, s, N, C), some views at a time."""
        points_head = (self.downstream_head1, self.downstream_head2)[head]
        step = max(1, VIEWS_AT_ONCE // len(tokens))
        for some, pictures in zip(tokens.split(step, dim=1), images.split(step, dim=1), strict=True):
            flat, shape = some.flatten(0, 1).float(), some.shape[:2]
            points, confidence = points_head(flat, pictures.flatten(0, 1).float(), grid)
            gaussians = self.downstream_GS_head[head](flat, grid)
            yield MvDust3rPrediction(
                points.unflatten(0, shape),
                confidence.unflatten(0, shape),
                Gaussians(*(part.unflatten(0, shape) for part in gaussians)),
            )


def view_order(count: int) -> list[int]:
    """In which order the authors give a sequence of that many views to the network: the first ones, which are the
    references, spread over it.
    """
    order = list(range(count))
    if count >= 12:
        swaps = [(number, number * count // 4 + 1) for number in (1, 2, 3)]
    else:
        swaps = [(1, 3)] * (count > 3) + [(2, 6)] * (count > 6)
    for one, other in swaps:
        order[one], order[other] = order[other], order[one]
    return order


def _exchange(slots: Tensor) -> Tensor:
    """(B, R, S, ...): in row r, views 0 and r change places. Its own inverse."""
    rows = []
    for row in range(slots.shape[1]):
        order = list(range(slots.shape[2]))
        order[0], order[row] = row, 0
        rows.append(slots[:, row, order])
    return torch.stack(rows, dim=1)


def _join(parts: list[MvDust3rPrediction]) -> MvDust3rPrediction:
    """Predictions of some views each to one of all."""
    points, confidence, gaussians = zip(*parts, strict=True)
    columns = (torch.cat(column, dim=1) for column in zip(*gaussians, strict=True))
    return MvDust3rPrediction(torch.cat(points, dim=1), torch.cat(confidence, dim=1), Gaussians(*columns))

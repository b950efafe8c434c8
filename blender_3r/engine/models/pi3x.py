"""Pi3X: Pi3 with smooth maps, a scale in about metres, and what is already known of the views taken into account.

Wang et al., the successor to arXiv 2507.13347; specs/pi3x.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .config import count_blocks
from .layers.attention import CrossAttention, attend
from .layers.blocks import EncoderBlock, Mlp
from .layers.convolution_head import ConvolutionHead
from .layers.heads import Grid, without_autocast
from .layers.patches import PatchEmbed, tokens_to_maps
from .layers.projective import ViewGeometry, view_geometry
from .layers.rope import RopeTables, repeat_tables, rope_tables
from .pi3 import EPS, QK_EPS, Pi3, Pi3Config, Pi3Prediction, sizes_from_shapes
from .pi3x_priors import PreparedPriors, Priors, prepare_priors

LARGEST_EXPONENT = 15.0
METRIC_NAMES = {"q_proj": "projq", "k_proj": "projk", "v_proj": "projv"}


@dataclass(frozen=True)
class Pi3XConfig(Pi3Config):
    """The defaults are those of the published model. pose_inject_after_block: after which blocks known poses are told,
    one block of pose_inject_blk each.
    """

    metric_dim: int = 512
    metric_num_heads: int = 8
    conv_dim_upsample: tuple[int, ...] = (256, 128, 64)
    conv_num_res_blocks: int = 2
    pose_inject_after_block: tuple[int, ...] = (1, 9, 17, 25, 33)
    pose_inject_num_heads: int = 16

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, Any]) -> Pi3XConfig:
        """From the shapes of a published state dict, whose heads of attention are all 64 wide."""
        stages = count_blocks(shapes, "point_head.upsample_blocks")
        head = "point_head.upsample_blocks"
        metric = shapes["metric_head.weight"][1]
        injected = count_blocks(shapes, "pose_inject_blk")
        return cls(
            **sizes_from_shapes(shapes),
            metric_dim=metric,
            metric_num_heads=max(1, metric // 64),
            conv_dim_upsample=tuple(shapes[f"{head}.{stage}.0.0.weight"][1] for stage in range(stages)),
            conv_num_res_blocks=count_blocks(shapes, f"{head}.0") - 1,
            pose_inject_after_block=cls.pose_inject_after_block[:injected],
            pose_inject_num_heads=shapes["register_token"][-1] // shapes["pose_inject_blk.0.attn.q_norm.weight"][0],
        )


class MetricBlock(nn.Module):
    """Tokens that read a memory, and an MLP; no self-attention."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.norm_y = nn.LayerNorm(width, eps=EPS)
        self.cross_attn = CrossAttention(width, heads)
        self.norm3 = nn.LayerNorm(width, eps=EPS)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def forward(self, tokens: Tensor, memory: Tensor, rope: RopeTables, memory_rope: RopeTables) -> Tensor:
        tokens = tokens + self.cross_attn(self.norm2(tokens), self.norm_y(memory), rope, memory_rope)
        return tokens + self.mlp(self.norm3(tokens))


class MetricDecoder(nn.Module):
    """One token that reads all tokens of a scene: (B, 1, C) and (B, M, C) to (B, 1, D)."""

    def __init__(self, config: Pi3XConfig) -> None:
        super().__init__()
        width = config.metric_dim
        self.projects_x, self.projects_y = (nn.Linear(2 * config.embed_dim, width) for _ in range(2))
        self.blocks = nn.ModuleList(
            MetricBlock(width, config.metric_num_heads, config.mlp_ratio) for _ in range(config.head_dec_depth)
        )
        self.linear_out = nn.Linear(width, width)

    def forward(self, token: Tensor, memory: Tensor, rope: RopeTables, memory_rope: RopeTables) -> Tensor:
        token, memory = self.projects_x(token), self.projects_y(memory)
        for block in self.blocks:
            token = block(token, memory, rope, memory_rope)
        return self.linear_out(token)


class PoseBlock(EncoderBlock):
    """Attention among the patches of views whose poses are known, each seen through its camera; what it gives is to
    be added to the patches.
    """

    def __init__(self, config: Pi3XConfig) -> None:
        super().__init__(
            config.embed_dim,
            config.pose_inject_num_heads,
            config.mlp_ratio,
            EPS,
            layer_scale=True,
            qk_norm_eps=QK_EPS,
        )

    def forward(self, tokens: Tensor, geometry: ViewGeometry) -> Tensor:
        """tokens: (B, S * N, C), view by view."""
        query, key, value = self.attn.project(self.norm1(tokens))
        # What a query and a key give depends on the one camera seen from the other only.
        query = geometry.apply(query, geometry.camera_from_world.transpose(-1, -2))
        key, value = (geometry.apply(part, geometry.world_from_camera) for part in (key, value))
        found = attend(query, key, value).unflatten(-1, (self.attn.heads, -1)).transpose(1, 2)
        found = geometry.apply(found, geometry.camera_from_world, back=True).transpose(1, 2).flatten(2)
        return self.ls1(self.attn.proj(found)) + self.ls2(self.mlp(self.norm2(tokens)))


class Pi3X(Pi3):
    """Pi3's encoder and decoder, convolution heads, a head for the scale, and encoders of what is known."""

    config: Pi3XConfig

    def __init__(self, config: Pi3XConfig | None = None) -> None:
        super().__init__(config or Pi3XConfig())
        config = self.config
        self.metric_token = nn.Parameter(torch.zeros(1, 1, 2 * config.embed_dim))
        self.metric_decoder = MetricDecoder(config)
        self.metric_head = nn.Linear(config.metric_dim, 1)
        self.depth_encoder = self.make_encoder(channels=2)
        self.depth_emb = nn.Parameter(torch.zeros(1, 1, config.embed_dim))
        self.ray_embed = PatchEmbed(config.patch_size, config.embed_dim, channels=2)
        self.pose_inject_blk = nn.ModuleList(PoseBlock(config) for _ in config.pose_inject_after_block)

    def make_heads(self) -> None:
        config = self.config
        shape = {"units": config.conv_num_res_blocks, "expansion": 2}
        self.point_head = ConvolutionHead(config.head_width, config.conv_dim_upsample, (2, 1), **shape)
        self.conf_head = ConvolutionHead(config.head_width, config.conv_dim_upsample, (1,), **shape)

    @staticmethod
    def adapt_state_dict(state: Mapping[str, Any]) -> dict[str, Any]:
        """Published names to ours: the metric decoder's projections are called as other cross-attentions' are."""
        adapted = {}
        for name, value in Pi3.adapt_state_dict(state).items():
            parts = name.split(".")
            if parts[0] == "metric_decoder":
                parts = [METRIC_NAMES.get(part, part) for part in parts]
            adapted[".".join(parts)] = value
        return adapted

    def predict(self, patches: Tensor, size: tuple[int, int], priors: Priors | None = None) -> Pi3Prediction:
        """As Pi3. priors: what is known of the views beforehand; without it that branch is not run."""
        grid, views, after_block = self.grid(size), patches.shape[:2], None
        if priors is not None:
            known = prepare_priors(priors, views, size, patches.device)
            patches = self.add_priors(patches, known)
            after_block = self._inject_poses(known, grid)
        tokens = self.decode(patches, grid, after_block)
        prediction = self.read(tokens, views, grid)
        scale = self.read_scale(tokens.unflatten(0, views), grid)
        poses = prediction.world_from_camera.clone()
        poses[..., :3, 3] *= scale[:, None, None]
        return prediction._replace(
            points=prediction.points * scale[:, None, None, None, None],
            local_points=prediction.local_points * scale[:, None, None, None, None],
            world_from_camera=poses,
            scale=scale,
        )

    def forward(self, images: Tensor, priors: Priors | None = None) -> Pi3Prediction:
        """images: (B, S, 3, H, W) in 0..1; see predict()."""
        patches = self.encode(images.flatten(0, 1)).unflatten(0, images.shape[:2])
        return self.predict(patches, images.shape[-2:], priors)

    def add_priors(self, patches: Tensor, known: PreparedPriors) -> Tensor:
        """Patches (B, S, N, C) with what is known of rays and depth added in the views where it is."""
        views = patches.shape[:2]
        if known.use_rays.any():
            rays = self.ray_embed(known.rays.flatten(0, 1)).unflatten(0, views)
            patches = patches + rays * known.use_rays[..., None, None]
        if known.use_depth.any():
            depth = self.depth_encoder(known.depth.flatten(0, 1)).patches.unflatten(0, views)
            patches = patches + (depth + self.depth_emb) * known.use_depth[..., None, None]
        return patches

    def read_scale(self, tokens: Tensor, grid: Grid) -> Tensor:
        """(B,) metres to a unit, from all tokens (B, S, P, 2C)."""
        config = self.config
        head_dim = config.metric_dim // config.metric_num_heads
        memory_rope = repeat_tables(self.rope(grid, head_dim, tokens.device), tokens.shape[1])
        own_rope = rope_tables(torch.zeros(1, 1, 2, device=tokens.device), head_dim, config.rope_base)
        token = self.metric_token.expand(len(tokens), -1, -1).to(tokens.dtype)
        decoded = self.metric_decoder(token, tokens.flatten(1, 2), own_rope, memory_rope)
        with without_autocast(tokens):
            return self.metric_head(decoded.float())[:, 0, 0].exp()

    def read_maps(self, head: nn.Module, tokens: Tensor, grid: Grid) -> Tensor:
        return head(
            [tokens_to_maps(tokens, grid)], (grid[0] * self.config.patch_size, grid[1] * self.config.patch_size)
        )

    @staticmethod
    def activate(raw: Tensor) -> Tensor:
        """As Pi3, with a bound on the depth."""
        return Pi3.activate(torch.cat([raw[..., :2], raw[..., 2:].clip(max=LARGEST_EXPONENT)], dim=-1))

    def _inject_poses(self, known: PreparedPriors, grid: Grid) -> Callable[[int, Tensor], Tensor] | None:
        """What adds known poses between the decoder's blocks; None where no view has one.

        Views without a pose neither ask nor are read, so that scene by scene only the others take part.
        """
        if not known.use_poses.any():
            return None
        scenes = []
        for scene, used in enumerate(known.use_poses):
            chosen = used.nonzero()[:, 0]
            if len(chosen):
                scenes.append((scene, chosen, view_geometry(known.world_from_camera[scene, chosen], grid)))
        first = self.config.dec_num_register_tokens
        places = dict(zip(self.config.pose_inject_after_block, self.pose_inject_blk, strict=True))

        def add(number: int, tokens: Tensor) -> Tensor:
            if number not in places:
                return tokens
            tokens = tokens.clone()
            for scene, chosen, geometry in scenes:
                patches = tokens[scene, chosen, first:]
                change = places[number](patches.flatten(0, 1)[None], geometry)
                tokens[scene, chosen, first:] = patches + change.view(patches.shape)
            return tokens

        return add

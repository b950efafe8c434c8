"""What CUT3R and Point3R share: the pose token with its memory, and heads for two pointmaps and a camera pose.

Wang et al., "Continuous 3D Perception Model with Persistent State", arXiv 2501.12387; Wu et al., "Point3R", arXiv
2507.02863.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from .config import count_blocks
from .dust3r import INFINITY, Encoded, dpt_sizes
from .layers.activations import ConfidenceMode, activate_confidence, activate_points
from .layers.attention import SelfAttention
from .layers.blocks import DecoderBlock, Mlp
from .layers.heads import DptHead, dpt_hooks, unfold_patches, without_autocast
from .layers.rope import RopeTables, rope_tables
from .outputs import StreamPrediction

POSE_NUMBERS = 7  # translation and quaternion
REFINING_BLOCKS = 2  # of the tokens that the world's points are read from
HEAD_MLP_RATIO = 4  # of every block and MLP behind the decoder
COLOR_MARGIN = 1e-6
# Half precision in the image encoder's rotary embedding; see RopeTables.
ENCODER_HALF = "input"


@dataclass(frozen=True)
class RecurrentConfig:
    """The defaults are the published sizes. head_type: "dpt" or "linear"; with_color: the view is drawn again."""

    head_type: str = "dpt"
    with_color: bool = True
    enc_embed_dim: int = 1024
    enc_depth: int = 24
    enc_num_heads: int = 16
    dec_embed_dim: int = 768
    dec_depth: int = 12
    dec_num_heads: int = 12
    patch_size: int = 16
    mlp_ratio: float = 4
    rope_base: float = 100.0
    layernorm_eps: float = 1e-6
    local_mem_size: int = 256
    pose_mem_depth: int = 2
    pose_mem_mlp_ratio: float = 4
    dpt_layer_dims: tuple[int, int, int, int] = (96, 192, 384, 768)
    dpt_feature_dim: int = 256
    dpt_last_dim: int = 128
    depth_mode: str | tuple[str, float, float] = "exp"
    conf_mode: ConfidenceMode = ("exp", 1.0, INFINITY)

    @property
    def point_mode(self) -> str:
        """How raw channels become points."""
        return self.depth_mode if isinstance(self.depth_mode, str) else self.depth_mode[0]


def recurrent_sizes(shapes: Mapping[str, Any]) -> dict[str, Any]:
    """What the shapes of a published state dict tell of a RecurrentConfig; its heads of attention are 64 wide. Raises
    KeyError for one of another family.
    """
    enc, _, patch, _ = shapes["patch_embed.proj.weight"]
    dec = shapes["decoder_embed.weight"][0]
    _, memory_size, memory_width = shapes["pose_retriever.mem"]
    sizes = {
        "enc_embed_dim": enc,
        "enc_depth": count_blocks(shapes, "enc_blocks"),
        "enc_num_heads": max(1, enc // 64),
        "dec_embed_dim": dec,
        "dec_depth": count_blocks(shapes, "dec_blocks"),
        "dec_num_heads": max(1, dec // 64),
        "patch_size": patch,
        "mlp_ratio": shapes["enc_blocks.0.mlp.fc1.weight"][0] / enc,
        "local_mem_size": memory_size,
        "pose_mem_depth": count_blocks(shapes, "pose_retriever.read_blocks"),
        "pose_mem_mlp_ratio": shapes["pose_retriever.read_blocks.0.mlp.fc1.weight"][0] / memory_width,
    }
    if "downstream_head.proj.fc1.weight" in shapes:
        return {**sizes, "head_type": "linear", "with_color": "downstream_head.rgb_proj.fc1.weight" in shapes}
    color = any(name.startswith("downstream_head.dpt_rgb.") for name in shapes)
    return {**sizes, "head_type": "dpt", "with_color": color, **dpt_sizes(shapes, "downstream_head.dpt_self")}


class PoseMemory(nn.Module):
    """What was seen (a view's mean token) beside where it was seen from (its pose token): read to guess a new view's
    pose token, rewritten after every view. The memory has a fixed size, (B, local_mem_size, 2 C).
    """

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        width = config.dec_embed_dim
        self.mem = nn.Parameter(torch.randn(1, config.local_mem_size, 2 * width) * 0.2)
        self.masked_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.proj_q = nn.Linear(config.enc_embed_dim, width)
        self.read_blocks, self.write_blocks = (
            nn.ModuleList(
                DecoderBlock(2 * width, config.dec_num_heads, config.pose_mem_mlp_ratio, config.layernorm_eps)
                for _ in range(config.pose_mem_depth)
            )
            for _ in range(2)
        )

    def read(self, mean_token: Tensor, memory: Tensor) -> Tensor:
        """mean_token: (B, 1, enc C) of the view. Returns the pose token to begin with, (B, 1, C)."""
        seen = self.proj_q(mean_token)
        tokens = torch.cat([seen, self.masked_token.expand_as(seen)], dim=-1)
        for block in self.read_blocks:
            tokens = block(tokens, memory)
        return tokens[..., seen.shape[-1] :]

    def write(self, mean_token: Tensor, pose_token: Tensor, memory: Tensor) -> Tensor:
        """pose_token: (B, 1, C) as decoded. Returns the memory with this view in it."""
        entry = torch.cat([self.proj_q(mean_token), pose_token], dim=-1)
        for block in self.write_blocks:
            memory = block(memory, entry)
        return memory


class ModulatedNorm(nn.Module):
    """LayerNorm, shifted and scaled by what another token says."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=eps)
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, tokens: Tensor, by: Tensor) -> Tensor:
        """tokens: (B, N, C); by: (B, 1, C)."""
        shift, scale = self.mlp(by).chunk(2, dim=-1)
        return self.norm(tokens) * (1 + scale) + shift


class ModulatedBlock(nn.Module):
    """An encoder block whose norms follow the pose token."""

    def __init__(self, width: int, heads: int, eps: float) -> None:
        super().__init__()
        self.norm1 = ModulatedNorm(width, eps)
        self.attn = SelfAttention(width, heads)
        self.norm2 = ModulatedNorm(width, eps)
        self.mlp = Mlp(width, HEAD_MLP_RATIO * width)

    def forward(self, tokens: Tensor, by: Tensor, rope: RopeTables) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens, by), rope)
        return tokens + self.mlp(self.norm2(tokens, by))


class PoseHead(nn.Module):
    """Seven raw numbers of a pose token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = Mlp(width, HEAD_MLP_RATIO * width, POSE_NUMBERS)

    def forward(self, pose_token: Tensor) -> Tensor:
        return self.mlp(pose_token)


class RecurrentHead(nn.Module):
    """Tokens of one view to a StreamPrediction.

    Points of the own camera are read from the decoder's tokens, points of the world from the same tokens after two
    more blocks that know the pose token.
    """

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        self.config = config
        width = config.dec_embed_dim
        self.pose_head = PoseHead(width)
        self.final_transform = nn.ModuleList(
            ModulatedBlock(width, config.dec_num_heads, config.layernorm_eps) for _ in range(REFINING_BLOCKS)
        )
        if config.head_type == "dpt":
            self.dpt_self, self.dpt_cross = self._dpt(4), self._dpt(4)
            if config.with_color:
                self.dpt_rgb = self._dpt(3)
        elif config.head_type == "linear":
            self.proj, self.cross_proj = self._linear(4), self._linear(4)
            if config.with_color:
                self.rgb_proj = self._linear(3)
        else:
            raise ValueError(f"unknown head {config.head_type!r}")

    def forward(self, layers: list[Tensor], view: Encoded) -> StreamPrediction:
        """layers: the encoder's tokens, then those of every decoder block with the pose token in front; the last are
        normed. In float32 whatever they are in.
        """
        config = self.config
        with without_autocast(layers[-1]):
            chosen = [layers[hook].float() for hook in dpt_hooks(config.dec_depth)]
            pose_token, tokens = chosen[-1][:, :1], chosen[-1][:, 1:]
            levels = [chosen[0], chosen[1][:, 1:], chosen[2][:, 1:]]
            rope = rope_tables(view.positions, config.dec_embed_dim // config.dec_num_heads, config.rope_base)
            refined = tokens
            for block in self.final_transform:
                refined = block(refined, pose_token, rope)
            if config.head_type == "dpt":
                own, world = (
                    head([*levels, last], view.grid)
                    for head, last in ((self.dpt_self, tokens), (self.dpt_cross, refined))
                )
                color = self.dpt_rgb([*levels, tokens], view.grid) if config.with_color else None
            else:
                own, world = self._unfold(self.proj, tokens, view), self._unfold(self.cross_proj, refined, view)
                color = self._unfold(self.rgb_proj, tokens, view) if config.with_color else None
            pose = activate_pose(self.pose_head(pose_token)[:, 0])
            return StreamPrediction(*self._read(own, world), pose, None if color is None else _read_color(color))

    def _read(self, own: Tensor, world: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        own, world = own.permute(0, 2, 3, 1), world.permute(0, 2, 3, 1)
        own_raw = own[..., :3]
        if self.config.head_type == "linear":  # in front of the camera, by turning a point's whole ray round
            own_raw = own_raw * own_raw[..., 2:].sign()
        return (
            activate_points(own_raw, self.config.point_mode),
            activate_confidence(own[..., 3], self.config.conf_mode),
            activate_points(world[..., :3], self.config.point_mode),
            activate_confidence(world[..., 3], self.config.conf_mode),
        )

    def _dpt(self, channels: int) -> DptHead:
        config = self.config
        widths = [config.enc_embed_dim, *[config.dec_embed_dim] * 3]
        return DptHead(widths, config.dpt_layer_dims, config.dpt_feature_dim, config.dpt_last_dim, channels)

    def _linear(self, channels: int) -> Mlp:
        width = self.config.dec_embed_dim
        return Mlp(width, HEAD_MLP_RATIO * width, channels * self.config.patch_size**2)

    def _unfold(self, head: Mlp, tokens: Tensor, view: Encoded) -> Tensor:
        return unfold_patches(head(tokens), view.grid, self.config.patch_size)


def activate_pose(raw: Tensor) -> Tensor:
    """Seven raw numbers (..., 7) to a translation and a unit quaternion (w, x, y, z) with w not negative."""
    quaternion = normalize(raw[..., 3:], dim=-1)
    quaternion = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    return torch.cat([activate_points(raw[..., :3]), quaternion], dim=-1)


def _read_color(raw: Tensor) -> Tensor:
    inside = raw.permute(0, 2, 3, 1).sigmoid() * (1 - 2 * COLOR_MARGIN) + COLOR_MARGIN
    return 2 * (inside - 0.5)

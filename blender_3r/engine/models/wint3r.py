"""WinT3R: a sequence in windows that overlap by half, through a state of fixed size and a pool of camera tokens.

Li et al., "WinT3R: Window-Based Streaming Reconstruction with Camera Token Pool", arXiv 2509.05296.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from .config import count_blocks, drop_unused
from .cut3r import state_positions
from .dust3r import Encoded, encode_grid
from .layers.attention import CrossAttention, SelfAttention
from .layers.blocks import DecoderBlock, EncoderBlock, Mlp
from .layers.camera_head import CameraHead
from .layers.convolution_head import ConvolutionHead
from .layers.heads import without_autocast
from .layers.patches import PatchEmbed, grid_positions, tokens_to_maps
from .layers.rope import RopeTables, repeat_tables, rope_tables

POSE_NUMBERS = 7  # translation and quaternion (x, y, z, w)


@dataclass(frozen=True)
class WinT3rConfig:
    """The defaults are those of the published model. head_*: of points. cam_*: of cameras. encoder_half: the published
    code rounds queries and keys of the encoder to half precision, in one of two ways ("kernel" on graphics cards,
    "table" elsewhere); without it results differ by a thousandth. See RopeTables.
    """

    window_size: int = 4
    patch_size: int = 16
    enc_embed_dim: int = 1024
    enc_depth: int = 24
    enc_num_heads: int = 16
    dec_embed_dim: int = 768
    dec_depth: int = 12
    dec_num_heads: int = 12
    state_size: int = 1024
    state_dec_num_heads: int = 16
    mlp_ratio: float = 4
    rope_base: float = 100.0
    norm_eps: float = 1e-6
    encoder_half: str = ""
    head_dim_proj: int = 768
    head_dim_upsample: tuple[int, ...] = (384, 128, 64)
    head_num_res_blocks: int = 2
    head_last_conv_channels: int = 32
    head_out_channels: int = 4
    cam_trunk_depth: int = 4
    cam_num_heads: int = 16
    cam_iterations: int = 4
    cam_norm_eps: float = 1e-5

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, Any]) -> WinT3rConfig:
        """From the shapes of a published state dict: heads of attention are 64 wide, the state's 48, the cameras' are
        16. Raises KeyError for one of another family.
        """
        enc, _, patch, _ = shapes["patch_embed.proj.weight"]
        dec = shapes["decoder_embed.weight"][0]
        stages = count_blocks(shapes, "pts_head.upsample_blocks")
        return cls(
            patch_size=patch,
            enc_embed_dim=enc,
            enc_depth=count_blocks(shapes, "enc_blocks"),
            enc_num_heads=max(1, enc // 64),
            dec_embed_dim=dec,
            dec_depth=count_blocks(shapes, "dec_blocks"),
            dec_num_heads=max(1, dec // 64),
            state_size=shapes["register_tokens.weight"][0],
            state_dec_num_heads=max(1, dec // 48),
            mlp_ratio=shapes["enc_blocks.0.mlp.fc1.weight"][0] / enc,
            head_dim_proj=shapes["pts_head.projects.0.weight"][0],
            head_dim_upsample=tuple(shapes[f"pts_head.upsample_blocks.{i}.0.0.weight"][1] for i in range(stages)),
            head_num_res_blocks=count_blocks(shapes, "pts_head.upsample_blocks.0") - 1,
            head_last_conv_channels=shapes["pts_head.output_block.0.0.weight"][0],
            head_out_channels=shapes["pts_head.output_block.0.2.weight"][0],
            cam_trunk_depth=count_blocks(shapes, "cam_head.trunk"),
        )


class GlobalLocalBlock(nn.Module):
    """The window's tokens read the state, then all of each other, then those of their own view."""

    def __init__(self, width: int, heads: int, mlp_ratio: float, eps: float) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3, self.norm4, self.norm5, self.norm_y = (
            nn.LayerNorm(width, eps=eps) for _ in range(6)
        )
        self.cross_attn = CrossAttention(width, heads)
        self.attn, self.attn_local = SelfAttention(width, heads), SelfAttention(width, heads)
        self.mlp, self.mlp1 = (Mlp(width, int(width * mlp_ratio)) for _ in range(2))

    def forward(self, tokens: Tensor, state: Tensor, rope: RopeTables, state_rope: RopeTables) -> tuple[Tensor, Tensor]:
        """tokens: (B, S, P, C) of S views; state: (B, M, C). rope: of one view's tokens.

        Returns the tokens, and what they were before the attention within each view.
        """
        views = tokens.shape[1]
        window, window_rope = tokens.flatten(1, 2), repeat_tables(rope, views)
        window = window + self.cross_attn(self.norm2(window), self.norm_y(state), window_rope, state_rope)
        window = window + self.attn(self.norm1(window), window_rope)
        window = window + self.mlp(self.norm3(window))
        inner = window.unflatten(1, tokens.shape[1:3])
        local = inner.flatten(0, 1)
        local = local + self.attn_local(self.norm4(local), rope)
        local = local + self.mlp1(self.norm5(local))
        return local.unflatten(0, tokens.shape[:2]), inner


class WindowOutput(NamedTuple):
    """What the network makes of a window of S views.

    state: (B, state_size, C), to give to the next window. camera_tokens: (B, S, 2 C), to append to the pool. points:
    (B, S, H, W, 3) in each view's own camera frame, OpenCV axes, arbitrary scale; confidence: (B, S, H, W), from 1
    upwards; both float32.
    """

    state: Tensor
    camera_tokens: Tensor
    points: Tensor
    confidence: Tensor


class WinT3r(nn.Module):
    """Encoder of views, decoders of the window and of the state that read each other, heads."""

    def __init__(self, config: WinT3rConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or WinT3rConfig()
        enc, dec, eps = config.enc_embed_dim, config.dec_embed_dim, config.norm_eps
        self.patch_embed = PatchEmbed(config.patch_size, enc)
        self.enc_blocks = nn.ModuleList(
            EncoderBlock(enc, config.enc_num_heads, config.mlp_ratio, eps) for _ in range(config.enc_depth)
        )
        self.enc_norm = nn.LayerNorm(enc, eps=eps)
        self.cam_token = nn.Parameter(torch.randn(1, 1, dec) * 0.02)
        self.register_tokens = nn.Embedding(config.state_size, enc)
        self.decoder_embed, self.decoder_embed_state = nn.Linear(enc, dec), nn.Linear(enc, dec)
        self.dec_blocks = nn.ModuleList(
            GlobalLocalBlock(dec, config.dec_num_heads, config.mlp_ratio, eps) for _ in range(config.dec_depth)
        )
        self.dec_blocks_state = nn.ModuleList(
            DecoderBlock(dec, config.state_dec_num_heads, config.mlp_ratio, eps) for _ in range(config.dec_depth)
        )
        self.dec_norm, self.dec_norm_state = nn.LayerNorm(dec, eps=eps), nn.LayerNorm(dec, eps=eps)
        self.pts_head = ConvolutionHead(
            config.head_dim_proj,
            config.head_dim_upsample,
            [config.head_out_channels],
            project_from=[dec, dec],
            units=config.head_num_res_blocks,
            last_dim=config.head_last_conv_channels,
        )
        self.cam_head = CameraHead(
            2 * dec,
            POSE_NUMBERS,
            depth=config.cam_trunk_depth,
            heads=config.cam_num_heads,
            iterations=config.cam_iterations,
            eps=config.cam_norm_eps,
        )

    @staticmethod
    def adapt_state_dict(state: Mapping[str, Any]) -> dict[str, Any]:
        """Published names are ours, but for a prefix that all may have."""
        return drop_unused(state, ())

    def encode(self, images: Tensor) -> Encoded:
        """images: (B, 3, H, W), ImageNet-normalised. Raises ValueError for sides that are no multiples of the patch."""
        layers = (self.patch_embed, self.enc_blocks, self.enc_norm)
        return encode_grid(images, *layers, self.config.rope_base, self.config.encoder_half)

    def start(self, batch: int = 1) -> Tensor:
        """The state before the first window."""
        return self.decoder_embed_state(self.register_tokens.weight).expand(batch, -1, -1)

    def window(self, views: Sequence[Encoded], state: Tensor) -> WindowOutput:
        """Views of one window, S of them with (B, N, C) tokens each and one grid. Raises ValueError for others."""
        if len({view.grid for view in views}) != 1:
            raise ValueError("views of a window have one size")
        tokens, inner, state = self.decode(views, state)
        points, confidence = self._points(inner[:, :, 1:], tokens[:, :, 1:], views[0].grid)
        return WindowOutput(state, torch.cat([tokens[:, :, 0], inner[:, :, 0]], dim=-1), points, confidence)

    def decode(self, views: Sequence[Encoded], state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens (B, S, 1 + N, C) of the window, each view's camera token first: after the last norm, and, without it,
        before the last attention within each view. And the state. Both blocks of a depth read the depth before.
        """
        config = self.config
        tokens = self.decoder_embed(torch.stack([view.tokens for view in views], dim=1))
        tokens = torch.cat([self.cam_token[:, None].expand(*tokens.shape[:2], -1, -1).to(tokens.dtype), tokens], dim=2)
        here = grid_positions(1, *views[0].grid, tokens.device, special=1)
        there = state_positions(config.state_size, tokens.device)
        head_dims = [config.dec_embed_dim // heads for heads in (config.dec_num_heads, config.state_dec_num_heads)]
        rope, rope_of_window = (rope_tables(here, width, config.rope_base) for width in head_dims)
        rope_of_window = repeat_tables(rope_of_window, len(views))
        rope_of_state, state_rope = (rope_tables(there, width, config.rope_base) for width in head_dims)
        inner = tokens
        for block, state_block in zip(self.dec_blocks, self.dec_blocks_state, strict=True):
            before = tokens
            tokens, inner = block(before, state, rope, rope_of_state)
            state = state_block(state, before.flatten(1, 2), state_rope, rope_of_window)
        return self.dec_norm(tokens), inner, self.dec_norm_state(state)

    def cameras(self, pool: Tensor, size: int | None = None) -> Tensor:
        """pool: (B, T, 2 C), the camera tokens of all windows so far. size: of the windows, if not as configured.

        Returns encodings of poses after every round, (rounds, B, T, 7): world from camera, translation and quaternion
        (x, y, z, w), which is no unit one. The last round is the result; the world is any. A window's poses do not
        depend on windows behind it.
        """
        count = pool.shape[1]
        number = torch.arange(_rounded(count), device=pool.device) // (size or self.config.window_size)
        with without_autocast(pool):
            filled = pad(pool.float(), (0, 0, 0, len(number) - count))  # no window reads what lies behind it
            return self.cam_head(filled, mask=number[:, None] >= number)[:, :, :count]

    def _points(self, inner: Tensor, tokens: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        size = (grid[0] * self.config.patch_size, grid[1] * self.config.patch_size)
        with without_autocast(tokens):
            maps = [tokens_to_maps(part.float().flatten(0, 1), grid) for part in (inner, tokens)]
            raw = self.pts_head(maps, size).permute(0, 2, 3, 1).unflatten(0, tokens.shape[:2])
            depth = raw[..., 2:3].exp()
            return torch.cat([raw[..., :2] * depth, depth], dim=-1), 1 + raw[..., 3].exp()


def _rounded(count: int) -> int:
    """A number not much above count, one of few: on a processor, every new shape is compiled and kept for good."""
    step = max(1, 1 << count.bit_length() >> 3)
    return -(-count // step) * step

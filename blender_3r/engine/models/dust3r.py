"""DUSt3R: two images to two dense pointmaps in the first camera's frame. Also the network of MonST3R.

Wang et al., "DUSt3R: Geometric 3D Vision Made Easy", arXiv 2312.14132.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .config import count_blocks, drop_unused, fill_blocks
from .layers.activations import ConfidenceMode, activate_confidence, activate_points
from .layers.blocks import DecoderBlock, EncoderBlock
from .layers.heads import DptHead, dpt_hooks, unfold_patches, without_autocast
from .layers.patches import PatchEmbed, grid_positions
from .layers.rope import rope_tables
from .outputs import ViewPrediction

INFINITY = float("inf")


@dataclass(frozen=True)
class Dust3rConfig:
    """The defaults are those of the published 512 model with the DPT head. head_type: "dpt" or "linear"."""

    head_type: str = "dpt"
    enc_embed_dim: int = 1024
    enc_depth: int = 24
    enc_num_heads: int = 16
    dec_embed_dim: int = 768
    dec_depth: int = 12
    dec_num_heads: int = 12
    patch_size: int = 16
    mlp_ratio: float = 4
    rope_base: float = 100.0
    layer_norm_eps: float = 1e-6
    dpt_layer_dims: tuple[int, int, int, int] = (96, 192, 384, 768)
    dpt_feature_dim: int = 256
    dpt_last_dim: int = 128
    dpt_hooks: tuple[int, int, int, int] | None = None
    depth_mode: str | tuple[str, float, float] = "exp"
    conf_mode: ConfidenceMode = ("exp", 1.0, INFINITY)

    @property
    def point_mode(self) -> str:
        """How raw channels become points."""
        return self.depth_mode if isinstance(self.depth_mode, str) else self.depth_mode[0]

    @property
    def hooks(self) -> tuple[int, int, int, int]:
        """Layers that the DPT head reads."""
        return self.dpt_hooks or dpt_hooks(self.dec_depth)

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, Any]) -> Dust3rConfig:
        """From the shapes of a published state dict, whose heads of attention are all 64 wide."""
        return cls(**sizes_from_shapes(shapes))


def sizes_from_shapes(shapes: Mapping[str, Any]) -> dict[str, Any]:
    """What the shapes of a state dict tell of a Dust3rConfig. Raises KeyError for one of another family."""
    enc, _, patch, _ = shapes["patch_embed.proj.weight"]
    dec = shapes["decoder_embed.weight"][0]
    sizes = {
        "enc_embed_dim": enc,
        "enc_depth": count_blocks(shapes, "enc_blocks"),
        "enc_num_heads": max(1, enc // 64),
        "dec_embed_dim": dec,
        "dec_depth": count_blocks(shapes, "dec_blocks"),
        "dec_num_heads": max(1, dec // 64),
        "patch_size": patch,
        "mlp_ratio": shapes["enc_blocks.0.mlp.fc1.weight"][0] / enc,
    }
    if "downstream_head1.proj.weight" in shapes:
        return {**sizes, "head_type": "linear"}
    return {**sizes, "head_type": "dpt", **dpt_sizes(shapes, "downstream_head1.dpt")}


def dpt_sizes(shapes: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Channels of the DPT head whose names begin with prefix."""
    return {
        "dpt_layer_dims": tuple(shapes[f"{prefix}.act_postprocess.{level}.0.weight"][0] for level in range(4)),
        "dpt_feature_dim": shapes[f"{prefix}.scratch.refinenet1.out_conv.weight"][0],
        "dpt_last_dim": shapes[f"{prefix}.head.2.weight"][0],
    }


class Encoded(NamedTuple):
    """A batch of encoded images of one size.

    tokens: (B, N, C). positions: (B, N, 2), (y, x). grid: rows and columns of tokens. finest1, finest2: what the heads
    for the first and the second view of a pair make of the encoder's tokens alone, (B, F, 4 rows, 4 columns), or None
    to have it made in every pair.
    """

    tokens: Tensor
    positions: Tensor
    grid: tuple[int, int]
    finest1: Tensor | None = None
    finest2: Tensor | None = None

    def split(self) -> list[Encoded]:
        """One Encoded for each image."""
        return [self._each(lambda tensor, i=index: tensor[i : i + 1]) for index in range(len(self.tokens))]

    def to(self, device: torch.device | str) -> Encoded:
        return self._each(lambda tensor: tensor.to(device))

    @staticmethod
    def join(views: Sequence[Encoded]) -> Encoded:
        """A batch of views with equal grids. Raises ValueError when they differ."""
        if len({view.grid for view in views}) > 1:
            raise ValueError("views of different sizes do not make a batch")
        columns = zip(*views, strict=True)
        joined = [torch.cat(column) if isinstance(column[0], Tensor) else column[0] for column in columns]
        return Encoded(*joined)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Encoded:
        return Encoded(*(change(part) if isinstance(part, Tensor) else part for part in self))


def encode_grid(
    maps: Tensor,
    patch_embed: PatchEmbed,
    blocks: nn.ModuleList,
    norm: nn.Module,
    rope_base: float,
    half: str = "",
) -> Encoded:
    """Maps (B, c, H, W), such as images, through an encoder of patches. half: see RopeTables. Raises ValueError for
    sizes that do not divide into patches.
    """
    tokens = patch_embed(maps)
    grid = (maps.shape[-2] // patch_embed.patch_size, maps.shape[-1] // patch_embed.patch_size)
    positions = grid_positions(len(maps), *grid, maps.device)
    rope = rope_tables(positions, tokens.shape[-1] // blocks[0].attn.heads, rope_base, half)
    for block in blocks:
        tokens = block(tokens, rope)
    return Encoded(norm(tokens), positions, grid)


class Dust3r(nn.Module):
    """Encoder shared by both views, two decoders that read each other, two heads."""

    def __init__(self, config: Dust3rConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or Dust3rConfig()
        shared = {"mlp_ratio": config.mlp_ratio, "eps": config.layer_norm_eps}
        self.patch_embed = PatchEmbed(config.patch_size, config.enc_embed_dim)
        self.enc_blocks = nn.ModuleList(
            EncoderBlock(config.enc_embed_dim, config.enc_num_heads, **shared) for _ in range(config.enc_depth)
        )
        self.enc_norm = nn.LayerNorm(config.enc_embed_dim, eps=config.layer_norm_eps)
        self.decoder_embed = nn.Linear(config.enc_embed_dim, config.dec_embed_dim)
        self.dec_blocks, self.dec_blocks2 = (
            nn.ModuleList(
                DecoderBlock(config.dec_embed_dim, config.dec_num_heads, **shared) for _ in range(config.dec_depth)
            )
            for _ in range(2)
        )
        self.dec_norm = nn.LayerNorm(config.dec_embed_dim, eps=config.layer_norm_eps)
        self.downstream_head1, self.downstream_head2 = (self.make_head() for _ in range(2))

    def make_head(self) -> nn.Module:
        """The head of one view; models with other outputs make another."""
        return PointHead(self.config)

    @staticmethod
    def adapt_state_dict(state: Mapping[str, Any]) -> dict[str, Any]:
        """Published names to ours: of tensors stored under two names one is kept, the second decoder is filled from
        the first where a file has but one, and what no output depends on is left out.
        """
        adapted = drop_unused(state)
        fill_blocks(adapted, "dec_blocks", "dec_blocks2")
        return adapted

    def encode(self, images: Tensor) -> Encoded:
        """images: (B, 3, H, W) RGB in -1..1, sides multiples of the patch. Raises ValueError for other sizes."""
        return encode_grid(images, self.patch_embed, self.enc_blocks, self.enc_norm, self.config.rope_base)

    def with_head_levels(self, encoded: Encoded) -> Encoded:
        """The same with what the heads make of these tokens alone, for images that take part in several pairs.

        Saves a tenth of every pair's time and takes 25 MB for an image of 512 x 384; linear heads have nothing to keep.
        """
        heads = [getattr(head, "dpt", None) for head in (self.downstream_head1, self.downstream_head2)]
        if None in heads or self.config.hooks[0] != 0:
            return encoded
        with without_autocast(encoded.tokens):
            tokens = encoded.tokens.float()
            finest1, finest2 = (head.finest_level(tokens, encoded.grid) for head in heads)
        return encoded._replace(finest1=finest1, finest2=finest2)

    def decode(self, first: Encoded, second: Encoded) -> tuple[list[Tensor], list[Tensor]]:
        """Tokens of every depth for both views: the encoder's output, then each decoder block's; the last is normed.

        Both blocks of a depth read the outputs of the depth before, of both views.
        """
        config = self.config
        head_dim = config.dec_embed_dim // config.dec_num_heads
        rope1, rope2 = (rope_tables(view.positions, head_dim, config.rope_base) for view in (first, second))
        tokens1, tokens2 = self.decoder_embed(first.tokens), self.decoder_embed(second.tokens)
        layers1, layers2 = [first.tokens], [second.tokens]
        for block1, block2 in zip(self.dec_blocks, self.dec_blocks2, strict=True):
            tokens1, tokens2 = block1(tokens1, tokens2, rope1, rope2), block2(tokens2, tokens1, rope2, rope1)
            layers1.append(tokens1)
            layers2.append(tokens2)
        layers1[-1], layers2[-1] = self.dec_norm(tokens1), self.dec_norm(tokens2)
        return layers1, layers2

    def predict(self, first: Encoded, second: Encoded) -> tuple[ViewPrediction, ViewPrediction]:
        """Decode a batch of pairs. Both views' points are in the first view's camera frame; the scale is the pair's."""
        return self.read_layers(first, second, *self.decode(first, second))

    def read_layers(
        self, first: Encoded, second: Encoded, layers1: list[Tensor], layers2: list[Tensor]
    ) -> tuple[ViewPrediction, ViewPrediction]:
        """The heads alone, on what decode() gave for these views."""
        with without_autocast(layers1[-1]):
            return (
                self.downstream_head1([tokens.float() for tokens in layers1], first.grid, first.finest1),
                self.downstream_head2([tokens.float() for tokens in layers2], second.grid, second.finest2),
            )

    def forward(self, first: Tensor, second: Tensor) -> tuple[ViewPrediction, ViewPrediction]:
        """A batch of image pairs, (B, 3, H, W) each; see predict()."""
        return self.predict(self.encode(first), self.encode(second))


class PointHead(nn.Module):
    """Points and confidence of one view, by a DPT (`dpt.*`) or a linear layer (`proj.*`)."""

    def __init__(self, config: Dust3rConfig) -> None:
        super().__init__()
        self.config = config
        if config.head_type == "dpt":
            self.dpt = make_dpt(config)
        elif config.head_type == "linear":
            self.proj = nn.Linear(config.dec_embed_dim, 4 * config.patch_size**2)
        else:
            raise ValueError(f"unknown head {config.head_type!r}")

    def forward(self, layers: list[Tensor], grid: tuple[int, int], finest: Tensor | None = None) -> ViewPrediction:
        """layers: float32 tokens of every depth. finest: see DptHead. Returns maps of the whole image."""
        config = self.config
        if config.head_type == "dpt":
            raw = self.dpt([layers[hook] for hook in config.hooks], grid, finest)
        else:
            raw = unfold_patches(self.proj(layers[-1]), grid, config.patch_size)
        return ViewPrediction(*read_points(raw, config))


def make_dpt(config: Dust3rConfig) -> DptHead:
    """The DPT head for points and confidence."""
    widths = [config.enc_embed_dim if hook == 0 else config.dec_embed_dim for hook in config.hooks]
    return DptHead(widths, config.dpt_layer_dims, config.dpt_feature_dim, config.dpt_last_dim, 4)


def read_points(raw: Tensor, config: Dust3rConfig) -> tuple[Tensor, Tensor]:
    """(B, 4, H, W) to points (B, H, W, 3) and confidence (B, H, W)."""
    raw = raw.permute(0, 2, 3, 1)
    return activate_points(raw[..., :3], config.point_mode), activate_confidence(raw[..., 3], config.conf_mode)

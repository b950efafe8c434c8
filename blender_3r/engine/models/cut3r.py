"""CUT3R: images one after the other, through a state of fixed size that every image reads and rewrites.

Wang et al., "Continuous 3D Perception Model with Persistent State", arXiv 2501.12387.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .config import count_blocks, drop_unused, fill_blocks
from .dust3r import Encoded, encode_grid
from .layers.blocks import DecoderBlock, EncoderBlock
from .layers.patches import PatchEmbed
from .layers.rope import rope_tables
from .outputs import StreamPrediction
from .recurrent import ENCODER_HALF, HEAD_MLP_RATIO, PoseMemory, RecurrentConfig, RecurrentHead, recurrent_sizes

RAY_CHANNELS = 6  # origin and direction


@dataclass(frozen=True)
class Cut3rConfig(RecurrentConfig):
    """The defaults are those of the published 512 model."""

    ray_enc_depth: int = 2
    ray_enc_num_heads: int = 16
    state_size: int = 768
    state_dec_num_heads: int = 16

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, Any]) -> Cut3rConfig:
        """From the shapes of a published state dict; the state's heads of attention are 48 wide."""
        sizes = recurrent_sizes(shapes)
        return cls(
            **sizes,
            ray_enc_depth=count_blocks(shapes, "enc_blocks_ray_map"),
            state_size=shapes["register_tokens.weight"][0],
            state_dec_num_heads=max(1, sizes["dec_embed_dim"] // 48),
        )


class Cut3rState(NamedTuple):
    """All that is kept between two views: 3.9 MB for each sequence of a batch at the published sizes.

    tokens: (B, state_size, C). memory: (B, local_mem_size, 2 C), see PoseMemory. views: how many were processed.
    """

    tokens: Tensor
    memory: Tensor
    views: int = 0


class Cut3r(nn.Module):
    """Encoders for images and ray maps, two decoders (view and state) that read each other, heads."""

    def __init__(self, config: Cut3rConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or Cut3rConfig()
        enc, dec, eps = config.enc_embed_dim, config.dec_embed_dim, config.layernorm_eps
        self.patch_embed = PatchEmbed(config.patch_size, enc)
        self.enc_blocks = nn.ModuleList(
            EncoderBlock(enc, config.enc_num_heads, config.mlp_ratio, eps) for _ in range(config.enc_depth)
        )
        self.enc_norm = nn.LayerNorm(enc, eps=eps)
        self.patch_embed_ray_map = PatchEmbed(config.patch_size, enc, RAY_CHANNELS)
        self.enc_blocks_ray_map = nn.ModuleList(
            EncoderBlock(enc, config.ray_enc_num_heads, HEAD_MLP_RATIO, eps) for _ in range(config.ray_enc_depth)
        )
        self.enc_norm_ray_map = nn.LayerNorm(enc, eps=eps)
        self.masked_img_token = nn.Parameter(torch.randn(1, enc) * 0.02)
        self.masked_ray_map_token = nn.Parameter(torch.randn(1, enc) * 0.02)
        self.register_tokens = nn.Embedding(config.state_size, enc)
        self.pose_token = nn.Parameter(torch.randn(1, 1, dec) * 0.02)
        self.pose_retriever = PoseMemory(config)
        self.decoder_embed, self.decoder_embed_state = nn.Linear(enc, dec), nn.Linear(enc, dec)
        self.dec_blocks, self.dec_blocks_state = (
            nn.ModuleList(DecoderBlock(dec, heads, config.mlp_ratio, eps) for _ in range(config.dec_depth))
            for heads in (config.dec_num_heads, config.state_dec_num_heads)
        )
        self.dec_norm, self.dec_norm_state = nn.LayerNorm(dec, eps=eps), nn.LayerNorm(dec, eps=eps)
        self.downstream_head = RecurrentHead(config)

    @staticmethod
    def adapt_state_dict(state: Mapping[str, Any]) -> dict[str, Any]:
        """Published names to ours: doubled and unused tensors dropped, the state's decoder filled from the images'
        where a file has but one.
        """
        adapted = drop_unused(state)
        fill_blocks(adapted, "dec_blocks", "dec_blocks_state")
        return adapted

    def encode(self, images: Tensor) -> Encoded:
        """images: (B, 3, H, W) RGB in -1..1. Raises ValueError for sides that are no multiples of the patch."""
        return encode_grid(
            images, self.patch_embed, self.enc_blocks, self.enc_norm, self.config.rope_base, ENCODER_HALF
        )

    def encode_rays(self, rays: Tensor) -> Encoded:
        """rays: (B, H, W, 6), see geometry.rays.ray_map(). Raises ValueError as encode() does."""
        maps = rays.permute(0, 3, 1, 2)
        layers = (self.patch_embed_ray_map, self.enc_blocks_ray_map, self.enc_norm_ray_map)
        return encode_grid(maps, *layers, self.config.rope_base)

    def join(self, image: Encoded | None, rays: Encoded | None, masked: bool = False) -> Encoded:
        """The tokens of a view that has an image, a ray map or both.

        masked: learned tokens stand in for what the view lacks. So the model treats all views of a sequence in which
        any has a ray map and all are known beforehand; views that come one by one go without. Raises ValueError for a
        view that has neither.
        """
        known = [part for part in (image, rays) if part is not None]
        if not known:
            raise ValueError("a view needs an image or a ray map")
        tokens = sum(part.tokens for part in known)
        if masked and image is None:
            tokens = tokens + self.masked_img_token
        if masked and rays is None:
            tokens = tokens + self.masked_ray_map_token
        return Encoded(tokens, known[0].positions, known[0].grid)

    def start(self, batch: int = 1) -> Cut3rState:
        """The state before the first view."""
        tokens = self.decoder_embed_state(self.register_tokens.weight)[None]
        return Cut3rState(tokens.expand(batch, -1, -1), self.pose_retriever.mem.expand(batch, -1, -1))

    def step(
        self, view: Encoded, state: Cut3rState, update: bool | Tensor = True, reset: bool | Tensor = False
    ) -> tuple[StreamPrediction, Cut3rState]:
        """The next view of a sequence, and the state behind it; the given one is left as it is.

        update: whether the view goes into the state; must be False for views without an image. reset: whether the
        state begins anew behind this view. Both one for all or (B,) bool. Only the very first view of a run begins
        with the learned pose token, also when the state was reset since.
        """
        first = self.pose_token.expand(len(view.tokens), -1, -1) if state.views == 0 else None
        prediction, new = self._look(view, state, first)
        begin = self.start(len(view.tokens))
        tokens, memory = (
            _choose(reset, begin_one, _choose(update, new_one, old))
            for begin_one, new_one, old in zip(begin[:2], new, state[:2], strict=True)
        )
        return prediction, Cut3rState(tokens, memory, state.views + 1)

    def query(self, view: Encoded, state: Cut3rState) -> StreamPrediction:
        """What the state knows of a view, mostly one told by its ray map alone; nothing is changed."""
        return self._look(view, state, None)[0]

    def _look(
        self, view: Encoded, state: Cut3rState, pose_token: Tensor | None
    ) -> tuple[StreamPrediction, tuple[Tensor, Tensor]]:
        """The prediction, and the state's tokens and pose memory if the view goes into them."""
        mean = view.tokens.mean(dim=1, keepdim=True)
        if pose_token is None:
            pose_token = self.pose_retriever.read(mean, state.memory)
        layers, tokens = self.decode(view, state.tokens, pose_token)
        memory = self.pose_retriever.write(mean, layers[-1][:, :1], state.memory)
        return self.downstream_head(layers, view), (tokens, memory)

    def decode(self, view: Encoded, state: Tensor, pose_token: Tensor) -> tuple[list[Tensor], Tensor]:
        """Tokens of every depth of the view (the encoder's, then each block's with the pose token in front, the last
        normed), and the state's new tokens. Both blocks of a depth read the outputs of the depth before.
        """
        config = self.config
        # The pose token lies outside of the grid.
        positions = torch.cat([view.positions.new_full((len(view.positions), 1, 2), -1), view.positions], dim=1)
        rope = rope_tables(positions, config.dec_embed_dim // config.dec_num_heads, config.rope_base)
        # Each decoder turns the other's tokens by its own width of head.
        there = state_positions(config.state_size, state.device)
        state_head_dim = config.dec_embed_dim // config.state_dec_num_heads
        rope_there = rope_tables(there, config.dec_embed_dim // config.dec_num_heads, config.rope_base)
        state_rope = rope_tables(there, state_head_dim, config.rope_base)
        state_rope_there = rope_tables(positions, state_head_dim, config.rope_base)
        tokens = torch.cat([pose_token, self.decoder_embed(view.tokens)], dim=1)
        layers = [view.tokens]
        for block, state_block in zip(self.dec_blocks, self.dec_blocks_state, strict=True):
            tokens, state = (
                block(tokens, state, rope, rope_there),
                state_block(state, tokens, state_rope, state_rope_there),
            )
            layers.append(tokens)
        layers[-1] = self.dec_norm(tokens)
        return layers, self.dec_norm_state(state)


def state_positions(count: int, device: torch.device | str = "cpu") -> Tensor:
    """(1, count, 2): the places (row, column) of state tokens, in a grid about square and of even width."""
    width = isqrt(count)
    width += width % 2
    number = torch.arange(count, device=device)
    return torch.stack([number // width, number % width], dim=-1)[None]


def alignment_sequences(count: int) -> list[list[int]]:
    """Which sequences of images are run for global alignment: all, and from every later image each second one onwards
    and backwards. Each begins with a fresh state.
    """
    sequences = [list(range(count))]
    for first in range(1, count):
        sequences += [list(range(first, count, 2)), list(range(first, -1, -2))]
    return sequences


def alignment_edges(sequences: list[list[int]]) -> list[tuple[int, int]]:
    """The pairs (first, later member) that sequences give, those upwards before those downwards."""
    edges = [(sequence[0], other) for sequence in sequences for other in sequence[1:]]
    return sorted(edges, key=lambda edge: (edge[0] > edge[1], min(edge), max(edge)))


def _choose(mask: bool | Tensor, one: Tensor, other: Tensor) -> Tensor:
    if isinstance(mask, bool):
        return one if mask else other
    return torch.where(mask[:, None, None], one, other)

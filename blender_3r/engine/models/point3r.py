"""Point3R: images one after the other, through a growing set of pointers into the scene.

Wu et al., "Point3R: Streaming 3D Reconstruction with Explicit Spatial Pointer Memory", arXiv 2507.02863.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from .config import count_blocks, drop_unused, fill_blocks
from .dust3r import Encoded, encode_grid
from .layers.blocks import DecoderBlock, EncoderBlock, token_head
from .layers.patches import PatchEmbed
from .layers.rope import rope_tables_in_space
from .outputs import StreamPrediction
from .point3r_memory import Pointers, append, merge
from .recurrent import ENCODER_HALF, PoseMemory, RecurrentConfig, RecurrentHead, recurrent_sizes


@dataclass(frozen=True)
class Point3rConfig(RecurrentConfig):
    """The defaults are those of the published model. value_*: the encoder of pointmaps."""

    with_color: bool = False
    memory_dec_num_heads: int = 16
    value_depth: int = 6
    value_num_heads: int = 16
    value_mlp_ratio: float = 4
    rope3d_bases: tuple[float, ...] = (10, 100, 1000, 10000)
    merge_units: float = 20

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, Any]) -> Point3rConfig:
        """From the shapes of a published state dict; the pointers' heads of attention are 48 wide."""
        sizes = recurrent_sizes(shapes)
        hidden, width = shapes["value_encoder.0.mlp.fc1.weight"]
        return cls(
            **sizes,
            memory_dec_num_heads=max(1, sizes["dec_embed_dim"] // 48),
            value_depth=count_blocks(shapes, "value_encoder"),
            value_num_heads=max(1, width // 64),
            value_mlp_ratio=hidden / width,
        )


class Point3rState(NamedTuple):
    """All that is kept between two views of a sequence.

    pointers: None before the first view; then they grow by what is seen anew, at most one for each patch of a view:
    3 kB each at the published sizes. pose_memory: (1, local_mem_size, 2 C), see PoseMemory. seen: (N, 3), the places
    of the newest view's patches, which stand in for those of the next one. views: how many were processed.
    """

    pose_memory: Tensor
    pointers: Pointers | None = None
    seen: Tensor | None = None
    views: int = 0


class Point3r(nn.Module):
    """Image encoder, two decoders (view and pointers) that read each other, heads, encoder of pointmaps.

    Sequences go one by one, without a batch: each has its own number of pointers.
    """

    def __init__(self, config: Point3rConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or Point3rConfig()
        enc, dec, eps = config.enc_embed_dim, config.dec_embed_dim, config.layernorm_eps
        self.patch_embed, self.pts_patch_embed = (PatchEmbed(config.patch_size, enc) for _ in range(2))
        self.enc_blocks = nn.ModuleList(
            EncoderBlock(enc, config.enc_num_heads, config.mlp_ratio, eps) for _ in range(config.enc_depth)
        )
        self.enc_norm = nn.LayerNorm(enc, eps=eps)
        self.pose_token = nn.Parameter(torch.randn(1, 1, dec) * 0.02)
        self.pose_retriever = PoseMemory(config)
        self.decoder_embed, self.decoder_embed_memory = nn.Linear(enc, dec), nn.Linear(enc, dec)
        self.dec_blocks, self.dec_blocks_memory = (
            nn.ModuleList(DecoderBlock(dec, heads, config.mlp_ratio, eps) for _ in range(config.dec_depth))
            for heads in (config.dec_num_heads, config.memory_dec_num_heads)
        )
        self.dec_norm = nn.LayerNorm(dec, eps=eps)
        self.memory_attn_head = token_head(enc + dec, enc)
        self.value_encoder = nn.ModuleList(
            EncoderBlock(enc, config.value_num_heads, config.value_mlp_ratio, eps) for _ in range(config.value_depth)
        )
        self.value_norm = nn.LayerNorm(enc, eps=eps)
        self.value_out = nn.Linear(enc, enc)
        self.downstream_head = RecurrentHead(config)

    @staticmethod
    def adapt_state_dict(state: Mapping[str, Any]) -> dict[str, Any]:
        """Published names to ours: doubled and unused tensors dropped, the pointers' decoder and the pointmaps' patches
        filled from the images' where a file has but those.
        """
        adapted = drop_unused(state, ("mask_token", "dec_norm_memory.weight", "dec_norm_memory.bias"))
        fill_blocks(adapted, "dec_blocks", "dec_blocks_memory")
        fill_blocks(adapted, "patch_embed", "pts_patch_embed")
        return adapted

    def encode(self, images: Tensor) -> Encoded:
        """images: (B, 3, H, W) RGB in -1..1. Raises ValueError for sides that are no multiples of the patch."""
        layers = (self.patch_embed, self.enc_blocks, self.enc_norm)
        return encode_grid(images, *layers, self.config.rope_base, ENCODER_HALF)

    def start(self) -> Point3rState:
        """The state before the first view."""
        return Point3rState(self.pose_retriever.mem)

    def step(
        self, view: Encoded, state: Point3rState, merging: bool = True, units: float | None = None
    ) -> tuple[StreamPrediction, Point3rState]:
        """The next view of a sequence, and the state behind it; the given one is left as it is.

        merging: False keeps every pointer, as in the first stage of training. units: see find_nearest(), if not as
        configured. Raises ValueError for a batch of views,
        or for a view of another size than the one before.
        """
        if len(view.tokens) != 1 or (state.seen is not None and len(state.seen) != view.tokens.shape[1]):
            raise ValueError("a sequence goes view by view, and its views have one size")
        mean = view.tokens.mean(dim=1, keepdim=True)
        pose_token = self.pose_token if state.views == 0 else self.pose_retriever.read(mean, state.pose_memory)
        layers = self.decode(view, state, pose_token)
        prediction = self.downstream_head(layers, view)
        pose_memory = self.pose_retriever.write(mean, layers[-1][:, :1], state.pose_memory)
        new = self.make_pointers(view, layers[-1][:, 1:], prediction.world_points)
        if state.pointers is None:
            pointers = new
        elif merging:
            pointers = merge(state.pointers, new, units or self.config.merge_units)
        else:
            pointers = append(state.pointers, new)
        return prediction, Point3rState(pose_memory, pointers, new.positions, state.views + 1)

    def decode(self, view: Encoded, state: Point3rState, pose_token: Tensor, whole: bool = False) -> list[Tensor]:
        """Tokens of every depth of the view: the encoder's, then each block's with the pose token in front, the last
        normed. The first view of a sequence looks at itself in place of pointers, and knows no places.

        whole: also run the pointers' last block, on which nothing depends.
        """
        config = self.config
        pointers = self.decoder_embed_memory(view.tokens) if state.pointers is None else state.pointers.features[None]
        tokens = torch.cat([pose_token, self.decoder_embed(view.tokens)], dim=1)
        heads = (config.dec_num_heads, config.memory_dec_num_heads)
        ropes = [(None, None) if state.pointers is None else self._ropes(state, count) for count in heads]
        (rope, rope_there), (pointer_rope_there, pointer_rope) = ropes
        layers = [view.tokens]
        for depth, block in enumerate(self.dec_blocks, start=1):
            before = tokens
            tokens = block(before, pointers, rope, rope_there)
            layers.append(tokens)
            if depth < config.dec_depth or whole:
                pointers = self.dec_blocks_memory[depth - 1](pointers, before, pointer_rope, pointer_rope_there)
        layers[-1] = self.dec_norm(tokens)
        return layers

    def make_pointers(self, view: Encoded, tokens: Tensor, world_points: Tensor) -> Pointers:
        """One pointer for each patch of a view. tokens: (1, N, dec C), decoded and normed, without the pose token.
        world_points: (1, H, W, 3).
        """
        config = self.config
        maps = world_points.permute(0, 3, 1, 2)
        keys = self.memory_attn_head(torch.cat([view.tokens, tokens], dim=-1))
        seen = encode_grid(maps, self.pts_patch_embed, self.value_encoder, self.value_norm, config.rope_base)
        features = self.decoder_embed_memory(keys + self.value_out(seen.tokens))
        positions = avg_pool2d(maps, config.patch_size).flatten(2).transpose(1, 2)
        return Pointers(positions[0], features[0].float())

    def _ropes(self, state: Point3rState, heads: int) -> tuple[Any, Any]:
        """Tables for the view's tokens, pose token first, and for the pointers, in a decoder with so many heads."""
        head_dim, bases = self.config.dec_embed_dim // heads, self.config.rope3d_bases
        return (
            rope_tables_in_space(state.seen[None], head_dim, bases, untouched=1),
            rope_tables_in_space(state.pointers.positions[None], head_dim, bases),
        )

"""Spann3R: DUSt3R on neighbouring frames, the first of which is replaced by what a memory knows of it.

Wang and Agapito, "3D Reconstruction with Spatial Memory", arXiv 2408.16061.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .config import count_blocks, drop_unused, fill_blocks
from .dust3r import Dust3r, Dust3rConfig, Encoded, sizes_from_shapes
from .layers.blocks import EncoderBlock, token_head
from .layers.patches import PatchEmbed
from .outputs import ViewPrediction
from .spann3r_memory import MemoryLimits, SpatialMemory


@dataclass(frozen=True)
class Spann3rConfig(Dust3rConfig):
    """The defaults are those of the published model. value_*: the encoder of pointmaps. The others: MemoryLimits."""

    value_depth: int = 6
    value_num_heads: int = 16
    value_mlp_ratio: float = 4
    memory_norm_eps: float = 1e-5
    work_mem_size: int = 5
    long_mem_size: int = 4000
    attn_thresh: float = 5e-4
    sim_thresh: float = 0.95

    @property
    def limits(self) -> MemoryLimits:
        return MemoryLimits(self.work_mem_size, self.long_mem_size, self.attn_thresh, self.sim_thresh)

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, Any]) -> Spann3rConfig:
        """From the shapes of a published state dict, whose heads of attention are all 64 wide."""
        inner = {name.removeprefix("dust3r."): shape for name, shape in shapes.items() if name.startswith("dust3r.")}
        hidden, width = shapes["value_encoder.0.mlp.fc1.weight"]
        return cls(
            **sizes_from_shapes(inner),
            value_depth=count_blocks(shapes, "value_encoder"),
            value_num_heads=max(1, width // 64),
            value_mlp_ratio=hidden / width,
        )


class PairStep(NamedTuple):
    """A frame decoded together with the next one.

    first, second: predictions of both, in the sequence's world, which is the first frame's camera; the scale is
    arbitrary. keys, values: (B, N, C) that the first frame gives to the memory. next_query: (B, N, C) with which the
    second is looked up in it.
    """

    first: ViewPrediction
    second: ViewPrediction
    keys: Tensor
    values: Tensor
    next_query: Tensor


class Spann3r(nn.Module):
    """DUSt3R (`dust3r.*`), heads for keys, an encoder of pointmaps for values, norms of the memory."""

    def __init__(self, config: Spann3rConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or Spann3rConfig()
        width = config.enc_embed_dim
        self.dust3r = Dust3r(config)
        self.attn_head_1, self.attn_head_2 = (token_head(width + config.dec_embed_dim, width) for _ in range(2))
        self.pos_patch_embed = PatchEmbed(config.patch_size, width)
        self.value_encoder = nn.ModuleList(
            EncoderBlock(width, config.value_num_heads, config.value_mlp_ratio, config.layer_norm_eps)
            for _ in range(config.value_depth)
        )
        self.value_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.value_out = nn.Linear(width, width)
        self.norm_q, self.norm_k, self.norm_v = (nn.LayerNorm(width, eps=config.memory_norm_eps) for _ in range(3))

    @staticmethod
    def adapt_state_dict(state: Mapping[str, Any]) -> dict[str, Any]:
        """Published names to ours, as DUSt3R's."""
        adapted = drop_unused(state, ("dust3r.mask_token",))
        fill_blocks(adapted, "dust3r.dec_blocks", "dust3r.dec_blocks2")
        return adapted

    def encode(self, images: Tensor) -> Encoded:
        """images: (B, 3, H, W) RGB in -1..1. Raises ValueError for sides that are no multiples of the patch."""
        return self.dust3r.encode(images)

    def start(self) -> SpatialMemory:
        """The memory before the first frame."""
        return SpatialMemory(self.config.limits)

    def look_up(self, view: Encoded, query: Tensor, memory: SpatialMemory) -> Encoded:
        """The view with what memory knows of it in place of its own tokens. query: next_query of the step before."""
        fused = memory.read(query[0], self.norm_q, self.norm_k, self.norm_v)[None]
        return view._replace(tokens=fused)

    def step(self, first: Encoded, fused: Encoded, second: Encoded) -> PairStep:
        """Decode two neighbouring frames. fused: the first as look_up() gives it, or itself at the beginning."""
        layers1, layers2 = self.dust3r.decode(fused, second)
        prediction1, prediction2 = self.dust3r.read_layers(fused, second, layers1, layers2)
        keys = self.attn_head_1(torch.cat([first.tokens, layers1[-1]], dim=-1))
        query = self.attn_head_2(torch.cat([second.tokens, layers2[-1]], dim=-1))
        return PairStep(prediction1, prediction2, keys, self.encode_points(prediction1.points) + keys, query)

    def encode_points(self, points: Tensor) -> Tensor:
        """A pointmap (B, H, W, 3) to tokens (B, N, C)."""
        tokens = self.pos_patch_embed(points.permute(0, 3, 1, 2))
        for block in self.value_encoder:
            tokens = block(tokens)
        return self.value_out(self.value_norm(tokens))


class Spann3rStream:
    """A sequence frame by frame, in order. A frame's result is there when the next frame is, the last one's with it.

    memory, newest (the newest frame, encoded) and query (with which it will be looked up) are all that is kept.
    """

    def __init__(self, network: Spann3r) -> None:
        self.network = network
        self.memory = network.start()
        self.newest: Encoded | None = None
        self.query: Tensor | None = None

    def push(self, view: Encoded) -> PairStep | None:
        """The next frame, encoded, one at a time. Returns the step of the frame before and this one: its `first` is
        the frame before's result, its `second` this frame's if no other follows. None for the very first frame.

        Raises ValueError for more than one frame, or one of another size.
        """
        if len(view.tokens) != 1:
            raise ValueError("a sequence goes frame by frame")
        before, self.newest = self.newest, view
        if before is None:
            return None
        if before.grid != view.grid:
            raise ValueError("frames of a sequence have one size")
        fused = before if self.query is None else self.network.look_up(before, self.query, self.memory)
        step = self.network.step(before, fused, view)
        self.memory.add(step.keys[0], step.values[0])
        self.query = step.next_query
        return step


class Ordered(NamedTuple):
    """order: indices of frames as they were chosen. predictions: in that order. scores: (n, n) of all pairs."""

    order: list[int]
    predictions: list[ViewPrediction]
    scores: Tensor
    memory: SpatialMemory


def run_unordered(
    network: Spann3r, views: list[Encoded], watch: Callable[[PairStep, SpatialMemory], None] = lambda step, memory: None
) -> Ordered:
    """Frames in any order (at least two, of one size): begins with the pair that DUSt3R is surest of, and goes on with
    the frame that the memory is surest of. Decodes about 1.5 n^2 pairs; keeps one prediction a frame and three more.

    watch: hears of every chosen step, and may raise to stop. Raises ValueError for less than two frames.
    """
    if len(views) < 2:
        raise ValueError("there must be two frames or more")
    scores = pair_scores(network.dust3r, views)
    first, last = divmod(int(scores.argmax()), len(views))
    memory = network.start()
    step = network.step(views[first], views[first], views[last])
    memory.add(step.keys[0], step.values[0])
    watch(step, memory)
    order, predictions = [first, last], [step.first]
    left = [index for index in range(len(views)) if index not in order]
    while left:
        fused = network.look_up(views[last], step.next_query, memory)
        best_score, best = 0.0, None
        for index in left:
            candidate = network.step(views[last], fused, views[index])
            score = sureness(candidate.first, candidate.second)
            if best is None or score > best_score:
                best_score, best, chosen = score, candidate, index
        step, last = best, chosen
        memory.add(step.keys[0], step.values[0])
        watch(step, memory)
        predictions.append(step.first)
        order.append(last)
        left.remove(last)
    return Ordered(order, [*predictions, step.second], scores, memory)


def pair_scores(network: Dust3r, views: list[Encoded]) -> Tensor:
    """(n, n): how sure the network is of every pair (first, second); 0 on the diagonal."""
    scores = torch.zeros(len(views), len(views))
    for i, first in enumerate(views):
        for j, second in enumerate(views):
            if i != j:
                scores[i, j] = sureness(*network.predict(first, second))
    return scores


def sureness(first: ViewPrediction, second: ViewPrediction) -> float:
    """Sum of both means of (c - 1) / c over confidences c, in 0..2."""
    return float(sum(((view.confidence - 1) / view.confidence).mean() for view in (first, second)))

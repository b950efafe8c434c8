"""Spann3R's memory of keys and values: which frames go in, what is thrown out, what a query gets back.

Wang and Agapito, "3D Reconstruction with Spatial Memory", arXiv 2408.16061, section 3.3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

# Tokens offered so few frames ago are kept whatever they were read; their weight is beyond any other.
GRACE_FRAMES = 5
PROTECTED = 1e8
EPSILON = 1e-12

Norm = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class MemoryLimits:
    """work_mem_size: frames of working memory. long_mem_size: tokens kept when memory is pruned; 0 = working memory
    only. attn_thresh: weights below it are not read. sim_thresh: a frame more similar than this to one of working
    memory is not stored; 1 = every frame is.
    """

    work_mem_size: int = 5
    long_mem_size: int = 4000
    attn_thresh: float = 5e-4
    sim_thresh: float = 0.95


class SpatialMemory:
    """The memory of one sequence, T tokens of width E, on the device of what is added.

    keys, values: (T, E), oldest first until the first pruning, then by weight. counts: (T,), frames stored since.
    attention: (T,), the sum of weights with which a token was read. frames: of working memory. long_tokens: of
    long-term memory. similarity: of the frame offered last to the most similar one, None where it was not compared.
    At the published sizes it grows to 5 times long_mem_size x E numbers at most, 80 MB.
    """

    def __init__(self, limits: MemoryLimits) -> None:
        self.limits = limits
        self.keys = self.values = torch.empty(0, 0)
        self.counts = self.attention = torch.empty(0)
        self.frames = 0
        self.long_tokens = 0
        self.similarity: float | None = None

    def __len__(self) -> int:
        return len(self.counts)

    def add(self, keys: Tensor, values: Tensor) -> bool:
        """Offer a frame: keys and values (P, E), P the same for every frame. Returns whether it was stored."""
        self.similarity = self._similarity(keys)
        if self.similarity is not None and self.similarity > self.limits.sim_thresh:
            return False
        new = torch.zeros(len(keys), device=keys.device)  # counting takes float32, whatever keys are in
        if len(self) == 0:
            self.keys, self.values, self.counts, self.attention = keys, values, new, new
        else:
            self.keys, self.values = torch.cat([self.keys, keys]), torch.cat([self.values, values])
            self.counts, self.attention = torch.cat([self.counts + 1, new]), torch.cat([self.attention, new])
        self.frames += 1
        self._make_room(len(keys))
        return True

    def read(self, query: Tensor, norm_query: Norm, norm_key: Norm, norm_value: Norm) -> Tensor:
        """query: (P, E). Returns (P, E): what is remembered, added to the query. Reading makes tokens worth keeping.

        Raises ValueError when nothing is stored.
        """
        if len(self) == 0:
            raise ValueError("nothing is stored yet")
        weights = norm_query(query) @ norm_key(self.keys).T / query.shape[-1] ** 0.5
        weights = weights.softmax(dim=-1)
        if self.limits.attn_thresh > 0:
            weights = torch.where(weights < self.limits.attn_thresh, 0, weights)
            weights = weights / weights.sum(dim=-1, keepdim=True).clip(min=EPSILON)
        self.attention = self.attention + weights.sum(dim=0)
        return weights @ norm_value(self.values) + query

    def _similarity(self, keys: Tensor) -> float | None:
        """The mean over patches of cosines, to the most similar frame among the last of memory."""
        if len(self) == 0 or self.limits.sim_thresh == 1:
            return None
        recent = self.keys[-self.frames * len(keys) :].view(-1, *keys.shape)
        return float(cosine_similarity(recent.float(), keys.float(), dim=-1).mean(dim=1).max())

    def _make_room(self, per_frame: int) -> None:
        limits = self.limits
        if self.frames > limits.work_mem_size:
            self.frames -= 1
            if limits.long_mem_size == 0:
                self._keep(slice(per_frame, None))
            else:
                self.long_tokens += per_frame
        if self.long_tokens > limits.long_mem_size:
            weight = self.attention / self.counts
            weight = torch.where(self.counts < limits.work_mem_size + GRACE_FRAMES, PROTECTED, weight)
            self._keep(weight.topk(limits.long_mem_size).indices)
            self.long_tokens = limits.long_mem_size - self.frames * per_frame

    def _keep(self, chosen: slice | Tensor) -> None:
        self.keys, self.values = self.keys[chosen], self.values[chosen]
        self.counts, self.attention = self.counts[chosen], self.attention[chosen]

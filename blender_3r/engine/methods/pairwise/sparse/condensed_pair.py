"""What is kept of a pair's predictions: the form in which the collector takes them, and in which a job keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .condense import Fallback, PairMatches


@dataclass(frozen=True)
class CondensedPair:
    """The images are matches.first and matches.second.

    own: of either image, points (H, W, 3) in its own camera's frame and confidence (H, W). fallbacks: the blocks of the
    first image in the second's frame, and the other way round. share: of pixels with some confidence, see
    SparseSettings.joining_share.
    """

    matches: PairMatches
    own: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]
    fallbacks: tuple[Fallback, Fallback]
    share: float

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything by name, for a file."""
        found = {
            "xy_first": self.matches.xy_first,
            "xy_second": self.matches.xy_second,
            "match_confidence": self.matches.confidence,
            "shift_second": self.matches.shift_second,
            "share": torch.tensor(self.share, dtype=torch.float64),
        }
        for number, ((points, confidence), fallback) in enumerate(zip(self.own, self.fallbacks)):
            found |= {f"points_{number}": points, f"confidence_{number}": confidence}
            found |= {f"block_points_{number}": fallback.points, f"block_confidence_{number}": fallback.confidence}
        return {name: value.cpu().numpy() for name, value in found.items()}

    @classmethod
    def from_arrays(
        cls, ends: tuple[int, int], sizes: tuple[tuple[int, int], tuple[int, int]], arrays: Mapping[str, np.ndarray]
    ) -> CondensedPair | None:
        """What arrays() gave of images of these sizes (height, width); None when it is not that."""
        try:
            values = {name: torch.from_numpy(array) for name, array in arrays.items()}
            names = ("xy_first", "xy_second", "match_confidence", "shift_second")
            matches = PairMatches(*ends, *(values[name] for name in names))
            own = tuple((values[f"points_{number}"], values[f"confidence_{number}"]) for number in (0, 1))
            fallbacks = tuple(
                Fallback(values[f"block_points_{number}"], values[f"block_confidence_{number}"]) for number in (0, 1)
            )
            share = float(values["share"])
        except (KeyError, TypeError, ValueError):
            return None
        fits = all(confidence.shape == size for (_, confidence), size in zip(own, sizes))
        return cls(matches, own, fallbacks, share) if fits else None

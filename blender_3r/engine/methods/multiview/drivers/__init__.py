"""Each architecture's way from pictures to cameras and depth; one module each.

A driver encodes every picture by itself, which is done once, and relates any of the encoded views in a pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ....reconstruction import Intrinsics
from ...pairwise.pictures import Picture
from ..options import Options
from ..predictions import Prediction


@dataclass(frozen=True)
class View:
    """An encoded view on its way into a pass.

    number: among the source's pictures. tokens: what the driver's encode() gave. lens: known, of the original frame.
    pose: (4, 4) known, world_from_camera. depth: (H, W) known, along z, 0 where not; None = not known.
    """

    number: int
    picture: Picture
    tokens: Any
    lens: Intrinsics | None = None
    pose: np.ndarray | None = None
    depth: np.ndarray | None = None


class Driver(Protocol):
    """fewest: views below which some are given twice. most: views that one pass takes at all."""

    fewest: int
    most: int

    def encode(self, image: Tensor) -> Any:
        """A picture (1, 3, h, w) to tokens: a tensor or something else with to(device)."""
        ...

    def predict(self, views: Sequence[View], device: torch.device) -> Prediction:
        """Relate the views; tokens are taken to the device."""
        ...


def make_driver(architecture: str, network: nn.Module, options: Options) -> Driver:
    """The driver of an architecture (a key of layout.PATCHES) for a loaded network."""
    from .fast3r import Fast3rDriver
    from .mv_dust3r import MvDust3rDriver
    from .pi3 import Pi3Driver
    from .vggt import VggtDriver

    drivers = {
        "vggt": VggtDriver,
        "pi3": Pi3Driver,
        "pi3x": Pi3Driver,
        "fast3r": Fast3rDriver,
        "mv_dust3r": MvDust3rDriver,
    }
    return drivers[architecture](network, options)

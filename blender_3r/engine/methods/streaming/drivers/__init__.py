"""One driver for each network: encoded frames in, in order; views out, as soon as they are known.

All have the same form, see Driver. Steps are whole: a push that is broken off (by a cancel, or because memory ran out)
leaves the driver as it was, so that its state can be kept and the job goes on from there.
"""

from __future__ import annotations

import importlib
from typing import Protocol

import numpy as np
import torch
from torch import nn

from ....models.dust3r import Encoded
from ..options import Options
from .finished import Finished

__all__ = ["Driver", "Finished", "make_driver"]

DRIVERS = {
    "cut3r": ("cut3r", "Cut3rDriver"),
    "point3r": ("point3r", "Point3rDriver"),
    "spann3r": ("spann3r", "Spann3rDriver"),
    "wint3r": ("wint3r", "WinT3rDriver"),
}


class Driver(Protocol):
    """What the pipeline asks of a driver. reach: how many of the newest frames may still get a result, or a better
    one. can_repeat: whether again() is there.
    """

    reach: int

    def push(self, view: Encoded, pinhole: np.ndarray | None) -> list[Finished]:
        """The next frame, encoded, a batch of one. pinhole: its camera matrix (3, 3) in network pixels where the user
        knows it (the first pixel's centre at 0). Returns what is known now of this and earlier frames.
        """
        ...

    def finish(self) -> list[Finished]:
        """No frame follows: what was waited with."""
        ...

    def again(self) -> None:
        """The next push is the first frame once more."""
        ...

    def state(self) -> dict[str, np.ndarray]:
        """All that must be kept to go on behind the frame pushed last, as plain numbers."""
        ...

    def restore(self, arrays: dict[str, np.ndarray], grid: tuple[int, int]) -> None:
        """Go on from a state. grid: rows and columns of patches. Raises ValueError or KeyError for what is none."""
        ...


def make_driver(
    architecture: str, network: nn.Module, options: Options, device: torch.device, image_size: int
) -> Driver:
    """The driver of a network, before its first frame. image_size: the long side of pictures in pixels.

    Raises EngineError("usage") for options that cannot be.
    """
    module, name = DRIVERS[architecture]
    chosen = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    return chosen(network, options, device, image_size)

"""How the frames of a source become pictures of a network: their sizes, known before a frame is read. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..pairwise.pictures import SQUARE_SIZE, Picture, prepare, sizes_of
from .pictures import (
    PATCH,
    PI3_PIXELS,
    VGGT_SIZE,
    Cut,
    UnitPicture,
    pad_to,
    pi3_size,
    prepare_for_pi3,
    prepare_for_vggt,
    vggt_cut,
)

Size = tuple[int, int]
PATCHES = {"vggt": PATCH, "pi3": PATCH, "pi3x": PATCH, "fast3r": 16, "mv_dust3r": 16}


class Layout:
    """Pictures of one source for one architecture.

    sizes: (h, w) of each frame's picture. scaled: (H', W') of each whole scaled frame, which the job's maps cover.
    """

    def __init__(self, architecture: str, frames: Sequence[Size], image_size: int) -> None:
        """frames: (H, W) of each. image_size: about the long side, in pixels; MV-DUSt3R takes its own only."""
        self.architecture, self.image_size = architecture, image_size
        self.sizes: list[Size]
        self.scaled: list[Size]
        self._prepare: Callable[[np.ndarray], Picture]
        if architecture == "vggt":
            self._for_vggt(frames)
        elif architecture in ("pi3", "pi3x"):
            self._for_pi3(frames)
        else:
            size = SQUARE_SIZE if architecture == "mv_dust3r" else image_size
            pairs = [sizes_of(width, height, size) for height, width in frames]
            self.sizes, self.scaled = [picture for picture, _ in pairs], [whole for _, whole in pairs]
            self._prepare = lambda image: prepare(image, size)

    def prepare(self, image: np.ndarray) -> Picture:
        """The picture of a frame (H, W, 3) uint8 RGB. Raises EngineError("input") for one that cannot be used."""
        return self._prepare(image)

    def tokens(self, frame: int) -> int:
        """Patches of a frame's picture."""
        height, width = self.sizes[frame]
        patch = PATCHES[self.architecture]
        return (height // patch) * (width // patch)

    def _for_vggt(self, frames: Sequence[Size]) -> None:
        """As VGGT's loader, in its mode "pad" where "crop" would cut frames that are higher than wide."""
        side = max(PATCH, round(self.image_size / PATCH) * PATCH)
        cuts = [vggt_cut(frame, "crop", side) for frame in frames]
        mode = "pad" if any(_loses(cut) for cut in cuts) else "crop"
        cuts = [vggt_cut(frame, mode, side) for frame in frames]
        common = (max(cut.size[0] for cut in cuts), max(cut.size[1] for cut in cuts))
        self.sizes, self.scaled = [common] * len(frames), [cut.scaled[::-1] for cut in cuts]

        def make(image: np.ndarray) -> UnitPicture:
            return pad_to(prepare_for_vggt(image, mode, side), common)

        self._prepare = make

    def _for_pi3(self, frames: Sequence[Size]) -> None:
        """The first frame's shape for all: others are stretched to it, as in the authors' loader."""
        limit = max(PATCH**2, round(PI3_PIXELS * (self.image_size / VGGT_SIZE) ** 2))
        size = pi3_size(frames[0], limit)
        self.sizes = self.scaled = [size] * len(frames)
        self._prepare = lambda image: prepare_for_pi3(image, size)


def _loses(cut: Cut) -> bool:
    return cut.size[0] < cut.scaled[1]

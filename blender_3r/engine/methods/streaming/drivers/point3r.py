"""Point3R: one frame after the other through a growing set of pointers. Specification section 5."""

from __future__ import annotations

import numpy as np
import torch

from ....models.dust3r import Encoded
from ....models.point3r import Point3r, Point3rState
from ....models.point3r_memory import Pointers
from ..options import Options
from .finished import Finished, taken, taken_count
from .recurrent import IDENTITY, finished_view


class Point3rDriver:
    """A frame's result is there at once and stays, unless the frames are gone through again."""

    reach = 1

    def __init__(self, network: Point3r, options: Options, device: torch.device, image_size: int) -> None:
        self.network, self.options, self.device = network, options, device
        self._state = network.start()
        self._number = 0

    def push(self, view: Encoded, pinhole: np.ndarray | None = None) -> list[Finished]:
        options = self.options
        prediction, self._state = self.network.step(
            view, self._state, options.merge_pointers is not False, options.merge_units
        )
        self._number += 1
        return [finished_view(self._number - 1, prediction, options.camera_from, IDENTITY)]

    def finish(self) -> list[Finished]:
        return []

    def again(self) -> None:
        self._number = 0

    def state(self) -> dict[str, np.ndarray]:
        state = self._state
        kept = {"pose_memory": state.pose_memory}
        if state.pointers is not None:
            kept |= {"positions": state.pointers.positions, "features": state.pointers.features, "seen": state.seen}
        return {
            **{name: tensor.float().cpu().numpy() for name, tensor in kept.items()},
            "views": np.array(state.views),
            "number": np.array(self._number),
        }

    def restore(self, arrays: dict[str, np.ndarray], grid: tuple[int, int]) -> None:
        memory = taken(arrays, "pose_memory", *self.network.start().pose_memory.shape)
        features = taken(arrays, "features", None, self.network.config.dec_embed_dim)
        positions = taken(arrays, "positions", len(features), 3)
        seen = taken(arrays, "seen", grid[0] * grid[1], 3)
        memory, features, positions, seen = (
            torch.from_numpy(array).to(self.device) for array in (memory, features, positions, seen)
        )
        number, views = taken_count(arrays, "number"), taken_count(arrays, "views")
        self._state, self._number = Point3rState(memory, Pointers(positions, features), seen, views), number

"""CUT3R: one frame after the other through a state of fixed size. Specification sections 3.1 and 5."""

from __future__ import annotations

import numpy as np
import torch

from ....geometry.similarity import Similarity
from ....models.cut3r import Cut3r, Cut3rState
from ....models.dust3r import Encoded
from ..options import Options
from .finished import Finished, taken, taken_count
from .recurrent import IDENTITY, finished_view


class Cut3rDriver:
    """A frame's result is there at once and stays, unless the frames are gone through again.

    Where the state begins anew, the last frame before is looked at once more by the new state: its two cameras and
    depths tell how the new state's world lies in the stream's.
    """

    reach = 1

    def __init__(self, network: Cut3r, options: Options, device: torch.device, image_size: int) -> None:
        self.network, self.options, self.device = network, options, device
        self._state = network.start()
        self._world = IDENTITY
        self._number = 0
        self._pass = 0

    def push(self, view: Encoded, pinhole: np.ndarray | None = None) -> list[Finished]:
        options = self.options
        update = self._pass == 0 or options.revisit_update is not False
        resets = bool(options.reset_every) and (self._number + 1) % options.reset_every == 0
        prediction, state = self.network.step(view, self._state, update, resets)
        found = finished_view(self._number, prediction, options.camera_from, self._world)
        world = self._world
        if resets:
            prediction, state = self.network.step(view, state)
            world = _linked(found, finished_view(self._number, prediction, options.camera_from, IDENTITY), world)
        self._state, self._world, self._number = state, world, self._number + 1
        return [found]

    def finish(self) -> list[Finished]:
        return []

    def again(self) -> None:
        self._number = 0
        self._pass += 1

    def state(self) -> dict[str, np.ndarray]:
        return {
            "tokens": self._state.tokens.float().cpu().numpy(),
            "memory": self._state.memory.float().cpu().numpy(),
            "views": np.array(self._state.views),
            "world": self._world.matrix.astype(np.float64),
            "number": np.array(self._number),
            "pass": np.array(self._pass),
        }

    def restore(self, arrays: dict[str, np.ndarray], grid: tuple[int, int]) -> None:
        begin = self.network.start()
        tokens = torch.from_numpy(taken(arrays, "tokens", *begin.tokens.shape)).to(self.device)
        memory = torch.from_numpy(taken(arrays, "memory", *begin.memory.shape)).to(self.device)
        matrix = arrays["world"]
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not np.linalg.det(matrix[:3, :3]) > 0:
            raise ValueError("world is no similarity")
        scale = np.cbrt(np.linalg.det(matrix[:3, :3]))
        world = Similarity(scale, matrix[:3, :3] / scale, matrix[:3, 3])
        self._number, self._pass = taken_count(arrays, "number"), taken_count(arrays, "pass")
        self._state = Cut3rState(tokens, memory, taken_count(arrays, "views"))
        self._world = world


def _linked(before: Finished, after: Finished, world: Similarity) -> Similarity:
    """The stream's world from that of a new state; both saw the same frame. The old one if a camera is missing."""
    if before.pose is None or after.pose is None:
        return world
    usable = (before.points[..., 2] > 0) & (after.points[..., 2] > 0)
    ratio = before.points[usable][:, 2] / after.points[usable][:, 2]
    scale = np.float64(np.median(ratio)) if len(ratio) else world.scale
    rotation = before.pose[:3, :3] @ after.pose[:3, :3].T
    return Similarity(scale, rotation, before.pose[:3, 3] - scale * rotation @ after.pose[:3, 3])

"""What moves by itself in the frames of a finished job: found in its depth and tracks, or told by the user's masks."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from ..geometry.motion import REACH, DepthMap, choose_witnesses, find_moving, moving_region
from ..jobfolder import JobFolder
from ..media.masks import Masks
from ..reconstruction import Intrinsics, Reconstruction

if TYPE_CHECKING:
    from ..media.frames import FrameSource

AUTO, OFF = "auto", "off"  # of the setting "moving"; anything else is the path of masks, white over what moves
_KEPT_BYTES = 256 << 20  # of depth maps; those of a large video fit, as far as others are asked


class MovingParts:
    """Answers for one view after the other, in time; only the maps of a stretch of the shot are in memory.

    indices: the solved views with depth, ascending. warnings: sentences for the user. Raises EngineError("input") for
    masks that cannot be used, and while it answers for arrays that are damaged.
    """

    def __init__(
        self, job: JobFolder, result: Reconstruction, indices: list[int], wish: str, frames: FrameSource
    ) -> None:
        self._job, self._views, self._indices = job, result.views, indices
        self._masks = None if wish in (AUTO, OFF) else Masks(wish, frames)
        self.warnings = [] if self._masks is None else self._masks.warnings
        self.is_wanted = result.kind == "video" and wish != OFF and (self._masks is not None or len(indices) > 1)
        self._tracks = _Tracks.of(job) if self.is_wanted and self._masks is None else None
        self._maps: OrderedDict[int, DepthMap] = OrderedDict()

    def of(self, place: int, sky: np.ndarray) -> np.ndarray:
        """(h, w) bool of the view indices[place]. sky: (h, w) bool, whose depth is a guess and never moves."""
        index = self._indices[place]
        if self._masks is not None:
            allowed = self._masks.allowed(index, sky.shape)
            return np.zeros(sky.shape, bool) if allowed is None else ~allowed
        seeds = None if self._tracks is None else self._tracks.region(index, self._views[index].intrinsics, sky.shape)
        witnesses = [self._map(other) for other in choose_witnesses(self._indices, place)]
        return find_moving(self._map(index), witnesses, seeds) & ~sky

    def _map(self, index: int) -> DepthMap:
        found = self._maps.get(index)
        if found is None:
            found = self._maps[index] = DepthMap.of(self._views[index], self._job.read_view(index)["depth"])
            most = min(2 * REACH + 1, max(4, _KEPT_BYTES // found.size_bytes))
            while len(self._maps) > most:
                self._maps.popitem(last=False)
        self._maps.move_to_end(index)
        return found


class _Tracks:
    """The tracks of a job and which of them move."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        order = np.argsort(arrays["frame"], kind="stable")
        self._frame, self._xy = arrays["frame"][order], arrays["xy"][order]
        self._moving = arrays["moving"][arrays["track"][order]]

    @classmethod
    def of(cls, job: JobFolder) -> _Tracks | None:
        """None where there are none, or nobody asked which move."""
        arrays = job.read_npz("tracks")
        return cls(arrays) if arrays is not None and arrays.get("moving", np.zeros(0)).any() else None

    def region(self, index: int, lens: Intrinsics, shape: tuple[int, int]) -> np.ndarray:
        """(h, w) bool of a view's map of that shape."""
        start, stop = np.searchsorted(self._frame, (index, index + 1))
        xy = self._xy[start:stop] * (np.array(shape[::-1]) / (lens.width, lens.height))
        return moving_region(xy, self._moving[start:stop], shape)

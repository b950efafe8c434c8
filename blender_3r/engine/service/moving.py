"""What moves by itself in the frames of a finished job: found in its depth and tracks, or told by the user's masks."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from ..geometry.motion import REACH, DepthMap, choose_witnesses, gather, settle
from ..geometry.placed_tracks import PlacedTracks
from ..jobfolder import JobFolder
from ..media.masks import Masks
from ..reconstruction import Intrinsics, Reconstruction

if TYPE_CHECKING:
    from ..media.frames import FrameSource

AUTO, OFF = "auto", "off"  # of the setting "moving"; anything else is the path of masks, white over what moves
_KEPT_BYTES = 256 << 20  # of depth maps; those of a large video fit, as far as others are asked


class MovingParts:
    """Goes through the solved views with depth in time, once forward and once backward.

    In memory are only the maps of a stretch of the shot, and a byte for every fourth pixel. indices: of the views,
    ascending. warnings: sentences for the user. Raises EngineError("input") for masks that cannot be used, and while
    it works for arrays that are damaged.
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
        self._said: dict[int, np.ndarray] = {}
        self._moving: dict[int, np.ndarray] = {}  # by view, packed bits

    def look(self, place: int) -> None:
        """Ask all about the view indices[place]; to be done for each of them, the first one first."""
        if self._masks is None:
            index = self._indices[place]
            before, after = choose_witnesses(self._indices, place)
            self._said[index] = gather(
                self._map(index), *([self._map(one) for one in side] for side in (before, after))
            )
            self._settle(place, [place - 1])

    def of(self, place: int) -> np.ndarray:
        """(h, w) bool: what moves in the view indices[place]; once all were looked at, the last one first."""
        index = self._indices[place]
        if self._masks is not None:
            shape = self._job.read_view(index)["depth"].shape
            allowed = self._masks.allowed(index, shape)
            return np.zeros(shape, bool) if allowed is None else ~allowed
        return self._settle(place, [place - 1, place + 1])

    def _settle(self, place: int, beside: list[int]) -> np.ndarray:
        index = self._indices[place]
        here, neighbours = self._map(index), []
        for other in (self._indices[one] for one in beside if 0 <= one < len(self._indices)):
            there = self._map(other)
            bits = np.unpackbits(self._moving[other], count=there.depth.size)
            neighbours.append((there, bits.astype(bool).reshape(there.depth.shape)))
        moving = settle(here, self._said[index], neighbours) & ~self._sky(index)
        self._moving[index] = np.packbits(moving)
        return moving

    def _sky(self, index: int) -> np.ndarray:
        """(h, w) bool: its depth is a guess, so that it never moves."""
        return np.asarray(self._job.read_extra(index, "sky"))

    def _map(self, index: int) -> DepthMap:
        found = self._maps.get(index)
        if found is None:
            view, arrays = self._views[index], self._job.read_view(index)
            depth = arrays["depth"]
            tracks = None if self._tracks is None else self._tracks.of_view(index, view.intrinsics, depth.shape)
            found = self._maps[index] = DepthMap.of(view, depth, arrays["color"], tracks)
            most = min(2 * REACH + 1, max(4, _KEPT_BYTES // found.size_bytes))
            while len(self._maps) > most:
                self._maps.popitem(last=False)
        self._maps.move_to_end(index)
        return found


class _Tracks:
    """The tracks of a job, which of them move, and which helped to solve the cameras."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        order = np.argsort(arrays["frame"], kind="stable")
        self._frame, self._xy = arrays["frame"][order], arrays["xy"][order]
        self._moving = arrays["moving"][arrays["track"][order]]
        self._stands = arrays["kept"][order] & ~self._moving

    @classmethod
    def of(cls, job: JobFolder) -> _Tracks | None:
        """None where there are none, or nobody asked which move."""
        arrays = job.read_npz("tracks")
        return cls(arrays) if arrays is not None and "moving" in arrays and len(arrays["frame"]) else None

    def of_view(self, index: int, lens: Intrinsics, shape: tuple[int, int]) -> PlacedTracks:
        """Those that pass through a view with a map of that shape."""
        start, stop = np.searchsorted(self._frame, (index, index + 1))
        xy = self._xy[start:stop] * (np.array(shape[::-1]) / (lens.width, lens.height))
        return PlacedTracks(xy, self._moving[start:stop], self._stands[start:stop])

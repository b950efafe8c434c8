"""Frames of a source, decoded one at a time, whatever the source is."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable

import cv2
import numpy as np

from ..errors import EngineError
from ..source import Source
from .images import MIN_SIDE, ImageReader
from .info import FrameInfo
from .movies import MovieReader, RigReader

__all__ = ["FrameInfo", "FrameSource", "open_source"]

_CACHE_BYTES = 192 << 20
_CACHE_FRAMES = 48


class FrameSource:
    """Random access to the frames of a source; forward through a movie is fast.

    kind: "video" (one camera over time) or "photos". infos: one FrameInfo per frame. warnings: sentences for the user.
    Safe to read from several threads; memory is bounded by a small cache of the frames read last.
    """

    def __init__(self, source: Source, reader: MovieReader | RigReader | ImageReader) -> None:
        self.source = source
        self.kind: str = reader.kind
        self.fps: float | None = reader.fps
        self.infos: list[FrameInfo] = reader.infos
        self.warnings: list[str] = [*source.warnings, *reader.warnings]
        self._reader = reader
        self._lock = threading.Lock()
        # Photos are decoded side by side; a movie has one decoder.
        self._decoding = threading.Lock() if isinstance(reader, MovieReader) else contextlib.nullcontext()
        self._cache: OrderedDict[int, np.ndarray] = OrderedDict()

    def __len__(self) -> int:
        return len(self.infos)

    def read(self, index: int, max_side: int | None = None, gray: bool = False) -> np.ndarray:
        """Frame index (into infos) as (h, w, 3) uint8 RGB, or (h, w) for gray; upright.

        max_side: scale down so that the longer side is at most that; never up. Raises EngineError("input") when the
        file cannot be read any more, IndexError outside the range.
        """
        if not 0 <= index < len(self.infos):
            raise IndexError(f"frame {index} of {len(self.infos)}")
        image = self._decode(index)
        if max_side is not None and max(image.shape[:2]) > max_side:
            scale = max_side / max(image.shape[:2])
            height, width = (max(1, round(side * scale)) for side in image.shape[:2])
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
            return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if gray else image
        # A copy: what the caller does to it must not reach the cache.
        return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if gray else image.copy()

    def files(self) -> dict[int, str]:
        """{index: path} of the frames that are image files of their own; empty for movies."""
        return dict(enumerate(self._reader.paths)) if isinstance(self._reader, ImageReader) else {}

    def close(self) -> None:
        with self._decoding, self._lock:
            self._reader.close()
            self._cache.clear()

    def _decode(self, index: int) -> np.ndarray:
        with self._decoding:
            with self._lock:
                image = self._cache.get(index)
                if image is not None:
                    self._cache.move_to_end(index)
                    return image
            image = self._reader.decode(index)
            with self._lock:
                self._cache[index] = image
                while len(self._cache) > 1 and (
                    len(self._cache) > _CACHE_FRAMES or self._cached_bytes() > _CACHE_BYTES
                ):
                    self._cache.popitem(last=False)
            return image

    def _cached_bytes(self) -> int:
        return sum(image.nbytes for image in self._cache.values())


def open_source(source: Source, on_progress: Callable[[int, int], None] | None = None) -> FrameSource:
    """Open the footage: count and check its frames. on_progress(done, total) may raise to stop.

    Raises EngineError("input") with a sentence when nothing in it can be used.
    """
    readers = {"movie": MovieReader, "rig": RigReader, "sequence": ImageReader, "photos": ImageReader}
    frames = FrameSource(source, readers[source.kind](source, on_progress))
    largest = max(frames.infos, key=lambda info: min(info.width, info.height))
    if min(largest.width, largest.height) < MIN_SIDE:
        frames.close()
        raise EngineError(
            "input",
            f"The frames are only {largest.width} x {largest.height} pixels large.",
            f"Use footage of at least {MIN_SIDE} pixels a side; 640 and more give good results.",
        )
    return frames

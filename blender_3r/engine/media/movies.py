"""Movies to frames: exact frame numbers by sequential decoding, quick steps back and forth by verified seeking."""

from __future__ import annotations

import bisect
import math
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from ..errors import EngineError
from ..source import Source
from .info import FrameInfo

# Containers without a frame table state a count derived from the duration: a frame or two off is no damage.
_COUNT_TOLERANCE = 2
_SEEK_AHEAD = 24  # frames; nearer ones are reached sooner by decoding on than by seeking to a key frame
_UNEVEN = 0.25  # of a frame's duration; larger deviations of the time stamps mean a variable frame rate


class Movie:
    """One movie file, read by frame number (from 0, in decoding order).

    The range asked for is decoded once when opened: container headers lie about counts, and time stamps are the only
    way to know where a seek landed. times: time stamp (ms) of every frame from 0 to the last one asked for.
    Raises EngineError("input") when no frame can be read.
    """

    def __init__(
        self, path: str, last: int | None = None, on_progress: Callable[[int, int], None] | None = None
    ) -> None:
        self.path = Path(path)
        self.warnings: list[str] = []
        self._capture = self._open()
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps: float | None = fps if math.isfinite(fps) and 0.1 <= fps <= 1000 else None
        expected = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self._expected = int(expected) if math.isfinite(expected) and 0 < expected < 1e8 else 0
        self.times = self._scan(last, on_progress)
        self._judge(last)
        self._rewind()
        first = self.read(0)
        self.height, self.width = first.shape[:2]

    def __len__(self) -> int:
        return len(self.times)

    def read(self, number: int) -> np.ndarray:
        """Frame number as (h, w, 3) uint8 RGB, orientation applied."""
        if not self._position < number + 1 <= self._position + _SEEK_AHEAD:
            self._seek(number)
        while self._position <= number:
            if not self._capture.grab():
                raise EngineError(
                    "input",
                    f"Frame {number} of {self.path.name} could be read before but not any more.",
                    "Check that the file is not being changed.",
                )
            self._position += 1
        good, frame = self._capture.retrieve()
        if not good or frame is None:
            raise EngineError("input", f"Frame {number} of {self.path.name} cannot be decoded.", "Convert the movie.")
        return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)

    def close(self) -> None:
        self._capture.release()

    # -- inside

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise EngineError(
                "input",
                f"{self.path.name} cannot be read as a movie: it is damaged, incomplete or of an unknown format.",
                "Play it in a video player; if it plays there, convert it to MP4 (H.264).",
            )
        self._position = 0  # number of the frame that the next grab() decodes
        return capture

    def _scan(self, last: int | None, on_progress: Callable[[int, int], None] | None) -> list[float]:
        total = self._expected if last is None else last + 1
        times: list[float] = []
        while (last is None or len(times) <= last) and self._capture.grab():
            times.append(self._capture.get(cv2.CAP_PROP_POS_MSEC))
            if on_progress is not None and len(times) % 16 == 0:
                on_progress(len(times), max(total, len(times)))
        if not times:
            raise EngineError(
                "input", f"No frame of {self.path.name} can be read.", "Check the file, or convert it to MP4 (H.264)."
            )
        return times

    def _judge(self, last: int | None) -> None:
        name, count = self.path.name, len(self.times)
        wanted = self._expected if last is None else min(self._expected, last + 1)
        if count < wanted - (_COUNT_TOLERANCE if last is None else 0):
            self.warnings.append(
                f"{name} is cut short: {count} of {self._expected} frames can be read, the last good one is frame "
                f"{count - 1}."
            )
        if self.fps is None:
            self.warnings.append(f"{name} does not state its frame rate.")
        steps = np.diff(self.times)
        if len(steps) >= 2 and np.max(np.abs(steps - np.median(steps))) > _UNEVEN * np.median(steps):
            self.warnings.append(
                f"{name} has a variable frame rate: the camera may drift against the plate. Convert it."
            )

    def _rewind(self) -> None:
        self._capture.release()
        self._capture = self._open()

    def _seek(self, number: int) -> None:
        """Stand before or at number: seek, see by the time stamp where that led, else start over from frame 0."""
        for target in (number, number - _SEEK_AHEAD):
            if target <= 0 or not self._capture.set(cv2.CAP_PROP_POS_FRAMES, target) or not self._capture.grab():
                continue
            time = self._capture.get(cv2.CAP_PROP_POS_MSEC)
            landed = bisect.bisect_left(self.times, time - 0.01)
            # Seeking back to the landed frame is not needed: read() goes on from the one after it, so landing on the
            # wanted frame itself counts as already grabbed.
            if landed <= number and landed < len(self.times) and abs(self.times[landed] - time) < 0.01:
                self._position = landed + 1
                return
        self._rewind()


class MovieReader:
    """The frames of a "movie" source: every step-th of the range."""

    kind = "video"

    def __init__(self, source: Source, on_progress: Callable[[int, int], None] | None = None) -> None:
        self._movie = Movie(source.files[0], source.last, on_progress)
        self.fps = self._movie.fps
        self.warnings = self._movie.warnings
        count = len(self._movie)
        first = max(source.first or 0, 0)
        numbers = range(first, count, source.step)
        if not numbers:
            raise EngineError(
                "input",
                f"{self._movie.path.name} has no frame {first}: its frames are 0 to {count - 1}.",
                "Choose a range inside.",
            )
        if source.last is not None and source.last >= count:
            self.warnings.append(f"{self._movie.path.name} ends at frame {count - 1}, before frame {source.last}.")
        self.infos = [
            FrameInfo(i, f"frame_{n:04d}", n, self._movie.width, self._movie.height, None, "movie")
            for i, n in enumerate(numbers)
        ]

    def decode(self, index: int) -> np.ndarray:
        """Frame at index (into infos) as (h, w, 3) uint8 RGB."""
        number = self.infos[index].frame
        assert number is not None  # narrowed for readers: every frame of a movie has a number
        return self._movie.read(number)

    def close(self) -> None:
        self._movie.close()


class RigReader:
    """A "rig" source: one frame, rig_frame, of every movie; each camera has its own lens."""

    kind = "photos"
    fps = None

    def __init__(self, source: Source, on_progress: Callable[[int, int], None] | None = None) -> None:
        self.warnings: list[str] = []
        self.infos: list[FrameInfo] = []
        self._files: list[str] = []
        self._number = source.rig_frame
        folder = os.path.commonpath([os.path.dirname(file) for file in source.files])
        for done, file in enumerate(source.files[:: source.step]):
            try:
                width, height = self._size(file)
            except EngineError as error:
                self.warnings.append(f"{Path(file).name} is left out: {error.message}")
                continue
            name = Path(os.path.relpath(file, folder)).as_posix()
            self._files.append(file)
            self.infos.append(FrameInfo(len(self.infos), name, self._number, width, height, None, name))
            if on_progress is not None:
                on_progress(done + 1, len(source.files))
        if not self.infos:
            raise EngineError(
                "input",
                f"None of the {len(source.files)} movies has a readable frame {self._number}.",
                "Choose a frame that all cameras recorded.",
            )

    def decode(self, index: int) -> np.ndarray:
        """The frame of camera index as (h, w, 3) uint8 RGB."""
        movie = Movie(self._files[index], last=self._number)
        try:
            return movie.read(self._number)
        finally:
            movie.close()

    def close(self) -> None:
        """Movies are open only while they are read."""

    def _size(self, file: str) -> tuple[int, int]:
        movie = Movie(file, last=self._number)
        try:
            if len(movie) <= self._number:
                raise EngineError("input", f"it has frames 0 to {len(movie) - 1} only, not {self._number}.")
            return movie.width, movie.height
        finally:
            movie.close()

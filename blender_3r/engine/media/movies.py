"""Movies to frames: exact frame numbers, whatever the container says, and quick steps back and forth."""

from __future__ import annotations

import bisect
import math
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from ..errors import EngineError
from ..source import Source
from .info import FrameInfo

# Containers without a frame table state a count derived from the duration: a frame or two off is no damage.
_COUNT_TOLERANCE = 2
_SEEK_AHEAD = 24  # frames; nearer ones are reached sooner by decoding on than by seeking to a key frame
_REORDERING = 64  # packets that may come before earlier frames; codecs use at most 16
_SAME_TIME = 0.01  # ms
_UNEVEN = 0.25  # of a frame's duration; larger deviations of the time stamps mean a variable frame rate


class Movie:
    """One movie file, read by frame number, counted from 0 in order of time.

    Container headers lie about counts, so the packets are counted when the movie is opened: without decoding, but
    where header and count disagree, both ends are decoded to see who is right. The packets' time stamps then tell
    which frame a seek, or a decoder that lost a frame, stands at.
    last: the last frame that will be asked for. times: time stamp (ms) of every frame from 0 to last.
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
        self.times = self._packet_times(last)
        complete = len(self.times) == (self._expected if last is None else min(self._expected, last + 1))
        if not self.times or not (complete or self._ends_decode()):
            self.times = self._decoded_times(last, on_progress)
        else:
            self._warn_if_uneven()
        self._judge(last)
        first = self.read(0)
        self.height, self.width = first.shape[:2]

    def __len__(self) -> int:
        return len(self.times)

    def read(self, number: int) -> np.ndarray:
        """Frame number as (h, w, 3) uint8 RGB, orientation applied; a lost frame is replaced by the next one."""
        if not self._position <= number + 1 <= self._position + _SEEK_AHEAD:
            self._seek(number)
        while self._position <= number:
            if not self._grab():
                raise EngineError(
                    "input",
                    f"Frame {number} of {self.path.name} cannot be decoded.",
                    "Check that the file is whole; if it plays in a video player, convert it to MP4 (H.264).",
                )
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
        self._position = 0  # one more than the number of the frame decoded last
        return capture

    def _reopen(self) -> None:
        self._capture.release()
        self._capture = self._open()

    def _packet_times(self, last: int | None) -> list[float]:
        """Time stamps by reading packets only; empty where they are no sound measure."""
        packets = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        times: list[float] = []
        try:
            if not packets.set(cv2.CAP_PROP_FORMAT, -1):
                return []
            while (last is None or len(times) <= last + _REORDERING) and packets.grab():
                times.append(packets.get(cv2.CAP_PROP_POS_MSEC))
        finally:
            packets.release()
        times.sort()
        sound = all(b - a > 2 * _SAME_TIME for a, b in pairwise(times))
        return times[: None if last is None else last + 1] if sound else []

    def _ends_decode(self) -> bool:
        """Whether the first and the last packet yield the frames that their time stamps promise."""
        if not (self._grab() and self._position == 1):
            return False
        self._seek(len(self.times) - 1)
        while self._position < len(self.times):
            if not self._grab():
                return False
        return True

    def _decoded_times(self, last: int | None, on_progress: Callable[[int, int], None] | None) -> list[float]:
        """Time stamps by decoding everything: slow, and right for damaged files too."""
        self._reopen()
        total = self._expected if last is None else last + 1
        times: list[float] = []
        while (last is None or len(times) <= last) and self._capture.grab():
            time = self._capture.get(cv2.CAP_PROP_POS_MSEC)
            # Without usable stamps every frame gets a later one, so that counting still works.
            times.append(time if not times or time > times[-1] + 2 * _SAME_TIME else times[-1] + 1.0)
            if on_progress is not None and len(times) % 16 == 0:
                on_progress(len(times), max(total, len(times)))
        if not times:
            raise EngineError(
                "input", f"No frame of {self.path.name} can be read.", "Check the file, or convert it to MP4 (H.264)."
            )
        self._reopen()
        return times

    def _grab(self) -> bool:
        """Decode the next frame and note which one it is."""
        if not self._capture.grab():
            return False
        landed = self._frame_at(self._capture.get(cv2.CAP_PROP_POS_MSEC))
        self._position = self._position + 1 if landed is None else max(landed + 1, self._position + 1)
        return True

    def _frame_at(self, time: float) -> int | None:
        number = bisect.bisect_left(self.times, time - _SAME_TIME)
        known = number < len(self.times) and abs(self.times[number] - time) <= _SAME_TIME
        return number if known else None

    def _seek(self, number: int) -> None:
        """Stand at or before number: seek, and see by the time stamp where that led; else start over."""
        for target in (number, number - _SEEK_AHEAD):
            if target <= 0 or not self._capture.set(cv2.CAP_PROP_POS_FRAMES, target) or not self._capture.grab():
                continue
            landed = self._frame_at(self._capture.get(cv2.CAP_PROP_POS_MSEC))
            if landed is not None and landed <= number:
                self._position = landed + 1
                return
        self._reopen()

    def _judge(self, last: int | None) -> None:
        name, count = self.path.name, len(self.times)
        wanted = self._expected if last is None else min(self._expected, last + 1)
        if count < wanted - (_COUNT_TOLERANCE if last is None else 0):
            if count > 1:  # the packet at the cut may be half a frame
                self.times.pop()
                count -= 1
            self.warnings.append(
                f"{name} is cut short: {count} of {self._expected} frames can be read, the last good one is frame "
                f"{count - 1}."
            )
        if self.fps is None:
            self.warnings.append(f"{name} does not state its frame rate.")

    def _warn_if_uneven(self) -> None:
        steps = np.diff(self.times)
        if len(steps) >= 2 and np.max(np.abs(steps - np.median(steps))) > _UNEVEN * np.median(steps):
            self.warnings.append(
                f"{self.path.name} has a variable frame rate: the camera may drift against the plate. Convert it to a "
                "constant one."
            )


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

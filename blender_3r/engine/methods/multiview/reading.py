"""The frames of a source as a network's pictures, made when they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...errors import EngineError
from ...media.frames import FrameSource
from ..pairwise.pictures import Picture
from .layout import Layout

KEPT_BYTES = 512 << 20  # of pictures read ahead; others are made again


class Pictures:
    """used: the frames that can be read, by the number of their picture."""

    def __init__(self, frames: FrameSource, layout: Layout) -> None:
        self.frames, self.layout = frames, layout
        self.used: list[int] = []
        self._made: dict[int, Picture] = {}
        self._bytes = 0

    def read_all(self, report: Callable[[int, int], None]) -> dict[int, str]:
        """Find out which frames can be used; by frame, why another cannot.

        Raises EngineError("input") when none can.
        """
        notes: dict[int, str] = {}
        for frame, info in enumerate(self.frames.infos):
            try:
                picture = self._make(frame)
                if self._bytes + picture.whole.nbytes <= KEPT_BYTES:
                    self._keep(len(self.used), picture)
                self.used.append(frame)
            except EngineError as error:
                if error.kind != "input":
                    raise
                name = Path(info.file).name
                notes[frame] = error.message if name in error.message else f"{name}: {error.message}"
            report(frame + 1, len(self.frames))
        if not self.used:
            raise EngineError(
                "input", f"None of the images can be used. {next(iter(notes.values()))}", "Check the files."
            )
        return notes

    def get(self, number: int) -> Picture:
        """The picture of that number. Raises EngineError("input") when its frame cannot be read any more."""
        if number not in self._made:
            self._keep(number, self._make(self.used[number]))
        return self._made[number]

    def forget(self, before: int) -> None:
        """Pictures with lower numbers are needed no more."""
        for number in [number for number in self._made if number < before]:
            self._bytes -= self._made.pop(number).whole.nbytes

    def _make(self, frame: int) -> Picture:
        return self.layout.prepare(self.frames.read(frame))

    def _keep(self, number: int, picture: Picture) -> None:
        self._made[number] = picture
        self._bytes += picture.whole.nbytes

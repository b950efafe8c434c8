"""The frames of a stream as its network reads them, decoded a few ahead of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ...errors import EngineError
from ...media.frames import FrameSource
from ..pairwise.pictures import Picture
from .network import Model
from .pictures import prepare_for, prepare_like

AHEAD = 3  # frames decoded before they are asked for


@dataclass(frozen=True)
class Arrival:
    """A frame of the source. picture: None when it cannot be used; note then says why, as a sentence."""

    frame: int
    picture: Picture | None
    note: str = ""


class Reader:
    """Pictures of one size, that of the first frame that can be read; frames of another shape lose their edges.

    size: (h, w) of all pictures, None before the first. reshaped: names of frames of another shape.
    """

    def __init__(self, frames: FrameSource, model: Model, size: tuple[int, int] | None = None) -> None:
        self.frames = frames
        self.model = model
        self.size = size
        self.reshaped: list[str] = []

    def read(self, indices: Sequence[int]) -> Iterator[Arrival]:
        """The frames of the source with these indices, in order; one thread decodes ahead."""
        waiting: deque[Future[Arrival]] = deque()
        with ThreadPoolExecutor(1, "frames") as pool:
            try:
                for index in indices:
                    waiting.append(pool.submit(self._arrive, index))
                    if len(waiting) > AHEAD:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _arrive(self, index: int) -> Arrival:
        try:
            return Arrival(index, self._picture(index))
        except EngineError as error:
            if error.kind != "input":
                raise
            name = Path(self.frames.infos[index].file).name
            return Arrival(index, None, error.message if name in error.message else f"{name}: {error.message}")

    def _picture(self, index: int) -> Picture:
        image, architecture = self.frames.read(index), self.model.architecture
        picture = prepare_for(architecture, image, self.model.image_size)
        if self.size is None:
            self.size = picture.size
        if picture.size == self.size:
            return picture
        name = Path(self.frames.infos[index].file).name
        if name not in self.reshaped:
            self.reshaped.append(name)
        return prepare_like(architecture, image, self.size)


def in_groups(arrivals: Iterable[Arrival], size: int) -> Iterator[list[Arrival]]:
    """Neighbours, at most size of them."""
    group: list[Arrival] = []
    for arrival in arrivals:
        group.append(arrival)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group

"""What every method speaks: it turns frames into a stream of events, and asks its context whether to go on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from ..errors import Cancelled
from ..jobfolder import JobFolder
from ..reconstruction import Reconstruction

if TYPE_CHECKING:
    from ..media.frames import FrameSource


@dataclass(frozen=True)
class Progress:
    """stage: a short phrase for the user ("Tracking points"). fraction of the whole job, 0..1."""

    stage: str
    done: int
    total: int
    fraction: float


@dataclass(frozen=True)
class CamerasSolved:
    """The cameras so far: a first result or a correction. sparse: the arrays of JobFolder.write_sparse.

    corrected: indices of views that were announced with other cameras before.
    """

    reconstruction: Reconstruction
    sparse: dict[str, np.ndarray] | None = None
    tracks: dict[str, np.ndarray] | None = None
    corrected: tuple[int, ...] = ()


@dataclass(frozen=True)
class ViewReady:
    """Dense arrays (depth, confidence, color) of one view."""

    index: int
    arrays: dict[str, np.ndarray]


Value = TypeVar("Value")
Event = Progress | CamerasSolved | ViewReady


@dataclass
class Context:
    """What a method may ask of its surroundings.

    job: where to look for what an earlier run of the same request left (and to keep intermediate results).
    is_cancelled: true once the user wants to stop. log: one line for the log file.
    threads: how many CPU threads to use.
    """

    job: JobFolder
    is_cancelled: Callable[[], bool] = lambda: False
    log: Callable[[str], None] = lambda text: None
    threads: int = 1

    def check_cancelled(self) -> None:
        """Raise Cancelled if the user wants to stop; call it at least every 0.2 s where the library allows."""
        if self.is_cancelled():
            raise Cancelled


@dataclass(frozen=True)
class MethodInfo:
    """What `methods` lists. commercial_use: whether results and code may be used commercially."""

    id: str
    title: str
    description: str
    commercial_use: bool
    needs: tuple[str, ...] = field(default=())


class Method(Protocol):
    """A module or object with INFO and run()."""

    INFO: MethodInfo

    def run(self, frames: FrameSource, settings: dict[str, Any], context: Context) -> Iterator[Event]:
        """Yield events until done. Raises EngineError for whatever the user must know."""
        ...


def run_reporting(work: Callable[[Callable[[Event], None]], Value]) -> Generator[Event, None, Value]:
    """work(report) in a thread of its own, yielding what it reports as it comes: `value = yield from ...`.

    Raises what work raises.
    """
    waiting: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
    outcome: list[tuple[Value | None, BaseException | None]] = []

    def target() -> None:
        try:
            outcome.append((work(waiting.put), None))
        except BaseException as error:  # raised again by the generator
            outcome.append((None, error))
        finally:
            waiting.put(None)

    threading.Thread(target=target, daemon=True).start()
    while (event := waiting.get()) is not None:
        yield event
    value, error = outcome[0]
    if error is not None:
        raise error
    return value

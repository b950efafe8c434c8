"""One source on its way through a network, frame by frame; results go out as soon as they are known."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from ...errors import EngineError
from ...media.frames import FrameSource
from ...models.dust3r import Encoded
from ..base import CamerasSolved, Context, Event, Progress, ViewReady
from ..networks import cancellable, computing, is_memory_error, release
from ..pairwise.pictures import Picture
from ..views import no_camera, view_arrays
from .drivers import Driver, Finished, make_driver
from .network import Model
from .options import SMALLER_SIZE, Options, frames_for_network
from .reading import Arrival, Reader, in_groups
from .stages import LOOKING
from .store import DRIVER, TRACK, StateFile, joined, part
from .track import Track

ENCODER_BATCH = 4  # frames encoded at once, where that is quicker than one by one: on graphics cards
# With more solved cameras than that, not every window tells them: all cameras are written anew each time.
CAMERAS_A_WINDOW = 500
ANEW = "The state of the run before could not be gone on from, so all frames were computed anew."


@dataclass
class _Place:
    """Where a stream stands: passes that are done, and how many of the pass's frames were read."""

    passes: int = 0
    read: int = 0


class Stream:
    """A source, a network, and what is known so far.

    numbers: the source's frame of each frame that went through the network in this pass. At any time but within a step
    the driver, the place and what was told belong together, so that they can be kept.
    """

    def __init__(
        self,
        frames: FrameSource,
        options: Options,
        context: Context,
        method: str,
        model: Model,
        network: nn.Module,
        device: torch.device,
        precision: str,
    ) -> None:
        self.frames, self.options, self.context, self.model = frames, options, context, model
        self.network, self.device, self.precision = network, device, precision
        self.keys = frames_for_network(len(frames), options.every)
        self.track = Track(frames, options, self.keys, method, model.is_metric)
        self.reader = Reader(frames, model)
        self.file = StateFile(context.job, context.log)
        self.numbers: list[int] = []
        self._place = _Place()
        self._pictures: dict[int, Picture] = {}  # of the newest frames, by their place in numbers
        self._undelivered: deque[Event] = deque()
        self._is_whole = True
        self._windows = 0
        with self._computing():
            self.driver = self._make_driver()
            self._go_on()

    def run(self) -> Iterator[Event]:
        """Yield the events of the job."""
        began, before = time.monotonic(), self._place.read
        try:
            yield from self._passes()
        except BaseException:
            self._leave()
            raise
        self.file.discard()
        count, seconds = self._place.read - before, time.monotonic() - began
        self.context.log(f"{count} frames in {seconds:.1f} s, {count / max(seconds, 1e-9):.2f} a second")

    # -- frames

    def _passes(self) -> Iterator[Event]:
        batch = 1 if self.device.type == "cpu" else ENCODER_BATCH
        for number in range(self._place.passes, self.options.passes):
            for group in in_groups(self.reader.read(self.keys[self._place.read :]), batch):
                views = self._encoded(group)
                for arrival in group:
                    yield from self._take(arrival, views)
            with self._computing():
                found = self.driver.finish()
            self._told(found)
            yield from self._deliver()
            if number + 1 < self.options.passes:
                self.driver.again()
                self._place, self.numbers, self._pictures = _Place(number + 1), [], {}
        if not self.numbers:
            note = next(iter(self.track.notes.values()), "")
            raise EngineError("input", f"None of the frames can be used. {note}".strip(), "Check the files.")
        self._warn_of_reshaped()
        final = self.track.announce(is_final=True)
        if not final.reconstruction.solved:
            raise no_camera()
        yield final

    def _take(self, arrival: Arrival, views: deque[Encoded]) -> Iterator[Event]:
        """One frame of the source through the driver. views: the tokens of it and of the frames behind it."""
        if arrival.picture is None:
            self.track.notes[arrival.frame] = arrival.note
            self.context.log(f"left out: {arrival.note}")
            self._place.read += 1
            return
        with self._computing():
            found = self.driver.push(views.popleft(), self._pinhole(arrival))
        self._is_whole = False
        self._place.read += 1
        self.numbers.append(arrival.frame)
        self._pictures[len(self.numbers) - 1] = arrival.picture
        self._told(found)
        yield from self._deliver()
        self._pictures.pop(len(self.numbers) - self.driver.reach, None)
        if self.file.is_due:
            self.file.write(self._state())
        total = self.options.passes * len(self.keys)
        done = self._place.passes * len(self.keys) + self._place.read
        yield Progress("Looking at frames", done, total, LOOKING + (1 - LOOKING) * done / total)

    def _encoded(self, group: list[Arrival]) -> deque[Encoded]:
        """The tokens of each picture of a group; on a graphics card together, if memory does."""
        pictures = [arrival.picture for arrival in group if arrival.picture is not None]
        if not pictures:
            return deque()
        images = torch.stack([torch.from_numpy(picture.tensor) for picture in pictures]).to(self.device)
        with self._computing():
            try:
                return deque(self.network.encode(images).split())
            except (MemoryError, RuntimeError) as error:
                if len(images) == 1 or not is_memory_error(error):
                    raise
            release(self.device)
            return deque(self.network.encode(image[None]) for image in images)

    def _pinhole(self, arrival: Arrival) -> np.ndarray | None:
        """What is known of a frame's lens, in the network's pixels."""
        if not self.track.known:
            return None
        (focal_x, focal_y), (x, y) = arrival.picture.pinhole(self.track.known[arrival.frame])
        return np.array([[focal_x, 0.0, x], [0.0, focal_y, y], [0.0, 0.0, 1.0]])

    @contextmanager
    def _computing(self) -> Iterator[None]:
        check = self.context.check_cancelled
        with cancellable(self.network, self.device, check), computing(self.device, self.precision):
            yield

    # -- results

    def _told(self, found: list[Finished]) -> None:
        """Make events of what the driver says: cameras first, then the views that hang on them."""
        for one in found:
            self.track.add(self.numbers[one.number], one, self._pictures[one.number])
        if found:
            self._windows += 1
            solved = int(np.isfinite(self.track.poses[:, 0, 0]).sum())
            if self._windows % (1 + solved // CAMERAS_A_WINDOW) == 0:
                cameras = self.track.announce()
                if cameras.reconstruction.solved:
                    self._undelivered.append(cameras)
        for one in found:
            frame = self.numbers[one.number]
            if self.options.dense and one.points is not None and np.isfinite(self.track.poses[frame]).all():
                least = self.model.min_confidence(self.options)
                picture, depth = self._pictures[one.number], one.points[..., 2]
                self._undelivered.append(ViewReady(frame, view_arrays(picture, depth, one.confidence, least)))
        self._is_whole = True

    def _deliver(self) -> Iterator[Event]:
        while self._undelivered:
            yield self._undelivered[0]
            self._undelivered.popleft()

    def _warn_of_reshaped(self) -> None:
        names = self.reader.reshaped
        if names:
            more = f" and {len(names) - 4} more" if len(names) > 4 else ""
            self.track.warnings.append(
                f"Frames of another shape than the first lost their edges: {', '.join(names[:4])}{more}."
            )

    # -- stopping and going on

    def _make_driver(self) -> Driver:
        model = self.model
        return make_driver(model.architecture, self.network, self.options, self.device, model.image_size)

    def _leave(self) -> None:
        """Put what was not taken any more into the job folder, and the state beside it."""
        if not self._is_whole or not self.numbers:
            return
        job = self.context.job
        try:
            for event in self._undelivered:
                if isinstance(event, CamerasSolved):
                    job.write_cameras(event.reconstruction)
                elif isinstance(event, ViewReady):
                    job.write_view(event.index, event.arrays)
            self.file.write(self._state())
        except Exception as error:  # the reason for leaving is what the user must hear
            self.context.log(f"the state could not be kept: {error}")

    def _state(self) -> dict[str, np.ndarray]:
        newest = [number for number in self._pictures if number > len(self.numbers) - self.driver.reach]
        own = {
            "architecture": np.array(self.model.architecture),
            "place": np.array([self._place.passes, self._place.read]),
            "sizes": np.array([self.model.image_size, *(self.reader.size or (0, 0))]),
            "numbers": np.array(self.numbers, dtype=np.int64),
            "reshaped": np.array(self.reader.reshaped, dtype=str),
            "newest": np.array(newest, dtype=np.int64),
        }
        return own | joined(self.driver.state(), self.track.state())

    def _go_on(self) -> None:
        """Take up the state of an earlier run, if it left one that can be used."""
        log = self.context.log
        kept = self.file.read()
        if kept is None:
            if self.context.job.read_cameras() is not None:
                log("an earlier run left no state to go on from: all begins anew")
                self.track.warnings.append(ANEW)
            return
        asked = self.model
        try:
            self._restore(kept)
            log(f"an earlier run is gone on with: {self._place.read} of {len(self.keys)} frames are done")
        except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
            log(f"the state of an earlier run cannot be used ({error}): all begins anew")
            self.model, self.reader = asked, Reader(self.frames, asked)
            self.track = Track(self.frames, self.options, self.keys, self.track.method, asked.is_metric)
            self._place, self.numbers, self._pictures = _Place(), [], {}
            self.driver = self._make_driver()
            self.track.warnings.append(ANEW)

    def _restore(self, kept: dict[str, np.ndarray]) -> None:
        """Raises ValueError or the like for a state that is not of this stream."""
        if str(kept["architecture"]) != self.model.architecture:
            raise ValueError("it is that of another model")
        size, height, width = (int(side) for side in kept["sizes"])
        if size != self.model.image_size and not (self.options.allow_smaller and size == SMALLER_SIZE):
            raise ValueError("it is that of other sizes")
        self.model = self.reader.model = replace(self.model, image_size=size)
        self.reader.size = height, width
        self.reader.reshaped = [str(name) for name in kept["reshaped"]]
        self._place = _Place(*(int(number) for number in kept["place"]))
        self.numbers = [int(number) for number in kept["numbers"]]
        read = self.keys[: self._place.read]
        if len(read) != self._place.read or not set(self.numbers) <= set(read):
            raise ValueError("its frames are not those of the source")
        patch = self.network.config.patch_size
        self.driver.restore(part(kept, DRIVER), (height // patch, width // patch))
        self.track.restore(part(kept, TRACK))
        for number in kept["newest"].tolist():
            (arrival,) = self.reader.read([self.numbers[number]])
            if arrival.picture is None:
                raise ValueError(arrival.note)
            self._pictures[number] = arrival.picture

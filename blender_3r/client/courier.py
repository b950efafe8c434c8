"""Brings what a job yields into the scene it was started in: while it runs, and all of it at its end.

What is read is read in a thread. What is built is built in the main thread, a few milliseconds per tick; between two
ticks the scene is as before or complete. An artist who undoes something, loads a file or enters another mode goes
first: what was half built is forgotten and begun again.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Generator
from typing import NamedTuple

import bpy

from ..engine.errors import EngineError
from .delivery import Delivered, Delivery, Home, Reading
from .job import Failure, Job
from .window import has_window, is_artist_busy, window_of

BUILD_S = 0.008  # of a tick, for building; one step at least
GROW_AGAIN_S = 5.0  # what a running job has so far is not brought in more often,
GROW_SHARE = 0.1  # and takes at most this share of the time


class Told(NamedTuple):
    """What the panel is told. notes: what the import had to say. is_waiting: for an artist who is busy."""

    notes: list[str]
    failure: Failure | None
    is_waiting: bool


class Courier:
    """For one job, from its start on. Call `tick` often; it never waits."""

    def __init__(self, job: Job, home: Home, delivery: Delivery) -> None:
        self._job, self._home, self._delivery = job, home, delivery
        self._reading: Reading | None = None
        self._steps: Generator[None, None, Delivered] | None = None
        self._notes: list[str] = []
        self._failure: Failure | None = None
        self._is_waiting = False
        self._final = "due"  # then "read", then "over"; of a job that was not done "over" at once
        self._is_growing = True
        self._seen = 0  # the job's results_revision that is in the scene
        self._grow_at = 0.0
        self._cost_s = 0.0  # of what is being brought in, so far
        self._has_loose_changes = False  # brought in after the last undo step
        self._left_at: float | None = None  # when the window was left to redraw what had grown

    @property
    def told(self) -> Told:
        return Told(self._notes, self._failure, self._is_waiting)

    @property
    def is_at_work(self) -> bool:
        """Whether a result is still to come into the scene, which could take it."""
        is_due = self._final == "due" and (self._job.state.status == "done" or self._reading is not None)
        return self._job.state.is_over and self._home.is_open and (is_due or self._final == "read")

    @property
    def has_unseen(self) -> bool:
        """Whether the final result was read, and not brought in."""
        return self._final == "read"

    @property
    def is_building(self) -> bool:
        return self._steps is not None and not self._is_waiting

    @property
    def is_hurried(self) -> bool:
        """Whether the next tick should come as soon as it can."""
        return self.is_building or self._left_at is not None

    def tick(self) -> bool:
        """Go on. Returns whether there is anything new to tell, or to see."""
        before = self.told
        if self._left_at is not None:
            self._delivery.redrawn(time.monotonic() - self._left_at)
            self._left_at = None
        if self._job.state.is_over:
            self._on_end()
        elif self._reading is None and self._is_growing and self._home.is_open:
            self._read_growth()
        is_new = self._reading is not None and self._reading.is_done and self._bring()
        return is_new or self.told != before

    def deliver(self) -> None:
        """All of it at once, for scripts and `blender -b`, after a job that is done. Raises EngineError."""
        self._final = "over"
        data = self._delivery.read(self._job.folder, True)

        def build() -> Generator[None, None, None]:
            delivered = yield from self._delivery.build(self._home.find_scene(), data, True)
            self._notes = delivered.notes

        for _ in build():
            pass

    def before_undo(self) -> None:
        """Undo knows nothing of what is made aside; and afterwards the scene may show less than there is."""
        self._forget_steps()
        self._seen = -1

    def close(self) -> None:
        """Leave nothing that is half built."""
        self._forget_steps()
        self._reading = None

    # -- inside

    def _on_end(self) -> None:
        """The job is over: its result is due, or what was brought in so far is to stay."""
        is_reading = self._reading is not None and not self._reading.is_done
        if self._final != "due" or is_reading:
            return
        self._forget_steps()
        self._final, self._reading, self._is_waiting = "over", None, False
        if self._job.state.status == "done":
            self._final = "read"
            self._begin_reading(is_final=True)
        elif self._has_loose_changes:
            self._close_undo_step()

    def _read_growth(self) -> None:
        revision = self._job.state.results_revision
        if revision and revision != self._seen and time.monotonic() >= self._grow_at:
            self._seen = revision
            self._begin_reading(is_final=False)

    def _begin_reading(self, is_final: bool) -> None:
        self._cost_s = 0.0
        self._reading = Reading(self._delivery, self._job.folder, is_final)

    def _bring(self) -> bool:
        """Build on. Returns whether there is anything new to see."""
        scene, is_final = self._home.find_scene(), self._reading.is_final
        if scene is None:
            self._forget_steps()
            if self._home.is_open or not is_final:  # the scene was removed; or it would come late
                self._end()
            return False
        window = window_of(scene)
        self._is_waiting = is_artist_busy(window)
        if self._is_waiting:
            return False
        began, cpu = time.monotonic(), time.thread_time()
        try:
            with bpy.context.temp_override(window=window):
                delivered = self._build(scene, began + BUILD_S)
        except EngineError as error:
            self._fail(Failure(error.message, error.hint, error.kind))
        except Exception as error:  # a timer's exception would end the timer, and nobody would see it
            traceback.print_exc()
            self._fail(
                Failure(
                    f"The result could not be brought into the scene ({error}).",
                    "It is kept in the job folder: try Import Reconstruction. The console tells more.",
                )
            )
            self._is_growing = False
        else:
            self._cost_s += time.thread_time() - cpu
            if delivered is None:
                return False
            self._is_growing &= delivered.is_there
            if is_final:
                self._notes = delivered.notes
            elif delivered.is_there and not delivered.is_new and has_window():  # else there is more to do than to draw
                self._left_at = time.monotonic()
            self._end()
        return True

    def _build(self, scene: bpy.types.Scene, until: float) -> Delivered | None:
        """Steps until that time, one at least; the undo step comes with the last one. None: there is more to do."""
        if self._reading.error is not None:
            raise self._reading.error
        if self._steps is None:
            self._steps = self._delivery.build(scene, self._reading.data, self._reading.is_final)
        while True:
            try:
                next(self._steps)
            except StopIteration as end:
                self._push(end.value)
                return end.value
            if time.monotonic() >= until:
                return None

    def _push(self, delivered: Delivered) -> None:
        self._has_loose_changes = delivered.is_there and not delivered.is_new
        if delivered.is_new:
            message = self._job.undo_step if self._reading.is_final else "Reconstruct: First Results"
            bpy.ops.ed.undo_push(message=message)

    def _close_undo_step(self) -> None:
        """What grew is part of the scene from now on: later undo steps must not take it back."""
        scene = self._home.find_scene()
        if scene is not None and not is_artist_busy(window_of(scene)):
            with bpy.context.temp_override(window=window_of(scene)):
                bpy.ops.ed.undo_push(message="Reconstruct: Results So Far")

    def _fail(self, failure: Failure) -> None:
        """While the job runs its folder changes under who reads it: the next time will do."""
        if self._reading.is_final:
            self._failure = failure
        self._end()

    def _end(self) -> None:
        """What was read is in the scene, or will never be."""
        cost_s = self._cost_s + self._reading.cpu_s
        self._grow_at = time.monotonic() + max(GROW_AGAIN_S, cost_s / GROW_SHARE)
        if self._reading.is_final:
            self._final = "over"
        self._is_waiting = False
        self.close()

    def _forget_steps(self) -> None:
        steps, self._steps = self._steps, None
        if steps is not None:
            steps.close()

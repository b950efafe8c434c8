"""What goes on in this Blender: the one running job, those that wait for their turn, the one running installation, and
the timer that pumps all of them.

Nothing here waits. The timer looks at the engine's messages for a few milliseconds per tick and tells the panels to
redraw when something changed; a `Courier` brings results into the scene and file in which the job was started, and
into no other.
"""

from __future__ import annotations

import atexit
import time
from collections.abc import Callable
from typing import Any

import bpy

from ..engine.errors import EngineError
from .courier import Courier
from .delivery import Home, Turn
from .environment import Status
from .installer import Installer
from .job import EXIT_GRACE_S, Failure, Job
from .keeper import Keeper
from .window import has_window, redraw

TICK_S = 0.1
HURRY_TICK_S = 0.01  # while a result is being built, in slices, and to see how long its redraw took
REDRAW_S = 1.0  # the time left counts down even when the engine says nothing new


class Session:
    """engine: whether it can be started. job: the running one, or the last one until it is dismissed.

    failure: what went wrong outside the engine (it could not be started, its result could not be brought in). waiting:
    jobs whose turn comes after it, in order. past: how the earlier jobs of this row ended, as sentences. keeper: has
    the engine between two jobs.
    """

    def __init__(self) -> None:
        self.engine = Status("missing", "")
        self.keeper = Keeper()
        self.waiting: list[Turn] = []
        self.past: list[str] = []
        self._turn: Turn | None = None
        self.job: Job | None = None
        self.home: Home | None = None
        self.installer: Installer | None = None
        self.failure: Failure | None = None
        self.is_waiting = False  # a result is there, but the artist is busy in a mode that must not be disturbed
        self.notes: list[str] = []  # what the import had to say
        self._courier: Courier | None = None
        self._drawn_at = 0.0
        self._install_seen: object = None
        self._on_installed: Callable[[], None] | None = None

    @property
    def is_running(self) -> bool:
        return self.job is not None and not self.job.state.is_over

    @property
    def is_installing(self) -> bool:
        return self.installer is not None and self.installer.state.status == "running"

    # -- jobs

    @property
    def is_taken(self) -> bool:
        """Whether a new job has to wait: for the running one, its result or its turn."""
        return self.is_running or self._is_delivering or bool(self.waiting)

    @property
    def _is_delivering(self) -> bool:
        return self._courier is not None and self._courier.is_at_work

    def turns(self) -> list[Turn]:
        """The running job's and those that wait."""
        return ([self._turn] if self.is_running and self._turn is not None else []) + self.waiting

    def start(self, turn: Turn) -> None:
        """Start a job, or let it wait for its turn. Raises EngineError when it cannot be started."""
        if self.is_taken:
            self.waiting.append(turn)
        else:
            self._begin(turn)
        self._wake()

    def forget_waiting(self) -> None:
        """Let no other job start after the running one."""
        self.waiting.clear()
        redraw()

    def _begin(self, turn: Turn) -> None:
        job = turn.launch()
        self.dismiss()
        self.job, self.home, self._turn = job, turn.home, turn
        self._courier = Courier(job, turn.home, turn.delivery)

    def _begin_next(self) -> bool:
        """The next one's turn, once the last result is in the scene or cannot come there now."""
        if not self.waiting or self.is_running or self.is_installing or self._is_delivering:
            return False
        turn, past = self.waiting.pop(0), self.past
        if self.job is not None or self.failure is not None:
            past = [*past, self._outcome()]
        try:
            self._begin(turn)
        except EngineError as error:
            self.fail(Failure(error.message, error.hint, error.kind))
            self._turn = turn
        self.past = past
        return True

    def _outcome(self) -> str:
        """How the last job ended, in a sentence."""
        failure = self.failure or self.job.state.failure
        name = self._turn.name if self._turn is not None else "A job"
        if failure is not None:
            return f"{name}: {failure.message}"
        if self.job.state.status == "cancelled":
            return f"{name} was cancelled."
        text = self.job.state.summary.get("text") or "Done."
        is_kept = self._courier is not None and self._courier.has_unseen
        return f"{name}: {text}" + (" It is kept in its job folder: its file was closed." if is_kept else "")

    def fail(self, failure: Failure) -> None:
        """Show a failure that happened before there was a job."""
        self.dismiss()
        self.failure = failure
        redraw()

    def cancel(self) -> None:
        if self.job is not None:
            self.job.cancel()
            redraw()

    def dismiss(self) -> None:
        """Forget the last job's result line; a running one is left alone."""
        if not self.is_running:
            if self._courier is not None:
                self._courier.close()
            self.job = self.home = self.failure = self._courier = self._turn = None
            self.notes, self.past, self.is_waiting = [], [], False
            redraw()

    def wait(self, report: Callable[[str], None] = lambda stage: None) -> None:
        """Pump the job to its end, for scripts and `blender -b`, where no timer runs; deliver what came of it."""
        stage = ""
        while self.is_running:
            self.job.pump()
            if self.job.state.stage != stage:
                stage = self.job.state.stage
                report(stage)
            time.sleep(0.02)
        if self.job.state.status == "done":
            try:
                self._courier.deliver()
            except EngineError as error:
                self.failure = Failure(error.message, error.hint, error.kind)
            self.notes = self._courier.told.notes

    # -- installation

    def install(self, installer: Installer, on_end: Callable[[], None]) -> None:
        """Take over an installation that was just started. on_end: called once, in the main thread."""
        self.keeper.rest()  # its files are about to change
        self.installer = installer
        self._on_installed = on_end
        self._install_seen = None
        self._wake()

    def cancel_install(self) -> None:
        if self.installer is not None:
            self.installer.cancel()

    # -- the timer

    def tick(self) -> float | None:
        """One turn; returns the seconds until the next, or None when there is nothing left to do."""
        changed = self.is_running and self.job.pump()
        changed |= self._pump_installer()
        if self._courier is not None and self._courier.tick():
            changed = True
            self.notes, failure, self.is_waiting = self._courier.told
            self.failure = failure or self.failure
        changed |= self._begin_next()
        is_busy = self.is_taken or self.is_installing
        now = time.monotonic()
        if changed or (is_busy and now - self._drawn_at > REDRAW_S):
            self._drawn_at = now
            redraw()
        if self._courier is not None and self._courier.is_hurried:
            return HURRY_TICK_S
        return TICK_S if is_busy else None

    def _pump_installer(self) -> bool:
        if self.installer is None or self.installer.state is self._install_seen:
            return False
        self._install_seen = state = self.installer.state
        if state.status != "running" and self._on_installed is not None:
            on_end, self._on_installed = self._on_installed, None
            on_end()
        return True

    def _wake(self) -> None:
        if has_window() and not bpy.app.timers.is_registered(_tick):
            bpy.app.timers.register(_tick, first_interval=TICK_S, persistent=True)
        redraw()

    # -- files, undo and the end

    def before_undo(self) -> None:
        if self._courier is not None:
            self._courier.before_undo()

    def _homes(self) -> list[Home]:
        return [home for home in (self.home, *(turn.home for turn in self.waiting)) if home is not None]

    def before_load(self) -> None:
        self.before_undo()  # what is half built goes with the file
        for home in self._homes():
            home.before_load()

    def after_load(self) -> None:
        for home in self._homes():
            home.after_load()
        if self._is_delivering:
            self._wake()

    def close(self) -> None:
        """End what runs and wait for its end, for at most a few seconds."""
        if bpy.app.timers.is_registered(_tick):
            bpy.app.timers.unregister(_tick)
        if self._courier is not None:
            self._courier.close()
        self.end_processes()
        self.__init__()

    def end_processes(self) -> None:
        """The engine's, and the installer's."""
        if self.job is not None:
            self.job.close()
        self.keeper.close(EXIT_GRACE_S)
        if self.installer is not None:
            self.installer.close()


session = Session()


def _tick() -> float | None:
    return session.tick()


@bpy.app.handlers.persistent
def _before_load(*_: Any) -> None:
    session.before_load()


@bpy.app.handlers.persistent
def _after_load(*_: Any) -> None:
    session.after_load()


@bpy.app.handlers.persistent
def _before_render(*_: Any) -> None:
    session.keeper.rest()  # a render needs the graphics card now


@bpy.app.handlers.persistent
def _before_undo(*_: Any) -> None:
    session.before_undo()


def _at_exit() -> None:
    session.end_processes()


_HANDLERS = {
    "load_pre": _before_load,
    "load_post": _after_load,
    "undo_pre": _before_undo,
    "redo_pre": _before_undo,
    "render_init": _before_render,
}


def register() -> None:
    for name, handler in _HANDLERS.items():
        getattr(bpy.app.handlers, name).append(handler)
    atexit.register(_at_exit)


def unregister() -> None:
    session.close()
    atexit.unregister(_at_exit)
    for name, handler in _HANDLERS.items():
        getattr(bpy.app.handlers, name).remove(handler)

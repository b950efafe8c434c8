"""What goes on in this Blender: the one running job, those that wait for their turn, the one running installation, and
the timer that pumps all of them.

Nothing here waits. The timer looks at the engine's messages for a few milliseconds per tick, tells the panels to
redraw when something changed, and brings results into the scene and file in which the job was started, and into no
other. How that is done comes with the job (`Delivery`): reading in a thread, making datablocks in the main thread.
"""

from __future__ import annotations

import atexit
import time
import traceback
from collections.abc import Callable
from typing import Any

import bpy

from ..engine.errors import EngineError
from .delivery import Delivery, Home, Reading, Turn
from .environment import Status
from .installer import Installer
from .job import EXIT_GRACE_S, Failure, Job
from .keeper import Keeper

TICK_S = 0.1
REDRAW_S = 1.0  # the time left counts down even when the engine says nothing new
CAMERAS_AGAIN_S = 5.0  # corrections of the cameras are not brought in more often


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
        self._delivery: Delivery | None = None
        self._reading: Reading | None = None
        self._is_due = False  # the final result is to be brought in
        self._delivered_at = 0.0
        self._cameras_seen = 0
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
        """Whether a new job has to wait."""
        return self.is_running or bool(self.waiting)

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
        self._delivery = turn.delivery
        self._cameras_seen, self._delivered_at = 0, 0.0

    def _begin_next(self) -> bool:
        """The next one's turn, once the last result is in the scene or cannot come there now."""
        is_delivering = self._is_due or (self._reading is not None and self.home.is_open)
        if not self.waiting or self.is_running or self.is_installing or is_delivering:
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
        return f"{name}: {text}" + (" It is kept in its job folder: its file was closed." if self._reading else "")

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
            self.job = self.home = self.failure = self._delivery = self._reading = self._turn = None
            self._is_due = self.is_waiting = False
            self.notes, self.past = [], []
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
            scene = self.home.find_scene()
            self.notes = self._delivery.build(scene, self._delivery.read(self.job.folder, True), True)

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
        changed = self._pump_job() | self._pump_installer()
        if self._reading is not None and self._reading.is_done:
            changed |= self._deliver()
        changed |= self._begin_next()
        is_delivering = self._is_due or (self._reading is not None and self.home.is_open)
        is_busy = self.is_taken or self.is_installing or is_delivering
        now = time.monotonic()
        if changed or (is_busy and now - self._drawn_at > REDRAW_S):
            self._drawn_at = now
            redraw()
        return TICK_S if is_busy else None

    def _pump_job(self) -> bool:
        if self.is_running:
            changed = self.job.pump()
            self._is_due = self.job.state.status == "done"
        else:
            changed = False
        early_waits = self._reading is not None and self._reading.is_done  # for the artist, until it is overtaken
        if self._is_due and (self._reading is None or early_waits):
            self._is_due = False
            self._reading = Reading(self._delivery, self.job.folder, is_final=True)
        elif self._reading is None and self.is_running and self._has_new_cameras():
            self._cameras_seen = self.job.state.cameras_revision
            self._reading = Reading(self._delivery, self.job.folder, is_final=False)
        return changed

    def _has_new_cameras(self) -> bool:
        is_time = time.monotonic() - self._delivered_at > CAMERAS_AGAIN_S
        return is_time and self.job.state.cameras_revision > self._cameras_seen

    def _pump_installer(self) -> bool:
        if self.installer is None or self.installer.state is self._install_seen:
            return False
        self._install_seen = state = self.installer.state
        if state.status != "running" and self._on_installed is not None:
            on_end, self._on_installed = self._on_installed, None
            on_end()
        return True

    def _deliver(self) -> bool:
        """Bring what was read into the scene, as one undo step. Returns whether the panel shows anything new."""
        scene = self.home.find_scene()
        if scene is None:
            if self.home.is_open or not self._reading.is_final:  # the scene was removed, or cameras would come late
                self._reading = None
            return False
        window = _window_of(scene)
        if is_artist_busy(window):
            was_waiting, self.is_waiting = self.is_waiting, True
            return not was_waiting
        reading, self._reading, self.is_waiting = self._reading, None, False
        try:
            if reading.error is not None:
                raise reading.error
            with bpy.context.temp_override(window=window):
                self.notes = self._delivery.build(scene, reading.data, reading.is_final)
                bpy.ops.ed.undo_push(message="Reconstruct" if reading.is_final else "Reconstruct: Cameras")
        except EngineError as error:
            self.failure = Failure(error.message, error.hint, error.kind)
        except Exception as error:  # a timer's exception would end the timer, and nobody would see it
            traceback.print_exc()
            self.failure = Failure(
                f"The result could not be brought into the scene ({error}).",
                "It is kept in the job folder: try Import Reconstruction. The console tells more.",
            )
        self._delivered_at = time.monotonic()
        return True

    def _wake(self) -> None:
        if has_window() and not bpy.app.timers.is_registered(_tick):
            bpy.app.timers.register(_tick, first_interval=TICK_S, persistent=True)
        redraw()

    # -- files and the end

    def _homes(self) -> list[Home]:
        return [home for home in (self.home, *(turn.home for turn in self.waiting)) if home is not None]

    def before_load(self) -> None:
        for home in self._homes():
            home.before_load()

    def after_load(self) -> None:
        for home in self._homes():
            home.after_load()
        if self._reading is not None:
            self._wake()

    def close(self) -> None:
        """End what runs and wait for its end, for at most a few seconds."""
        if bpy.app.timers.is_registered(_tick):
            bpy.app.timers.unregister(_tick)
        if self.job is not None:
            self.job.close()
        self.keeper.close(EXIT_GRACE_S)
        if self.installer is not None:
            self.installer.close()
        self.__init__()


session = Session()


def redraw() -> None:
    """Let the sidebars and the preferences show what is new, without redrawing the 3D views themselves."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()
            elif area.type == "PREFERENCES":
                area.tag_redraw()


def has_window() -> bool:
    """Without one no timer runs between a script's statements."""
    return not bpy.app.background


def is_artist_busy(window: bpy.types.Window) -> bool:
    """Whether new objects and an undo step now would disturb: other modes than Object and Pose, transforms, renders."""
    if bpy.app.is_job_running("RENDER") or bpy.app.is_job_running("OBJECT_BAKE"):
        return True
    with bpy.context.temp_override(window=window):
        if bpy.context.mode not in ("OBJECT", "POSE"):
            return True
    return any(operator.bl_idname.startswith("TRANSFORM_OT") for operator in window.modal_operators)


def _window_of(scene: bpy.types.Scene) -> bpy.types.Window:
    windows = bpy.context.window_manager.windows
    return next((window for window in windows if window.scene == scene), windows[0])


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


def _at_exit() -> None:
    if session.job is not None:
        session.job.close()
    session.keeper.close(EXIT_GRACE_S)
    if session.installer is not None:
        session.installer.close()


def register() -> None:
    bpy.app.handlers.load_pre.append(_before_load)
    bpy.app.handlers.load_post.append(_after_load)
    bpy.app.handlers.render_init.append(_before_render)
    atexit.register(_at_exit)


def unregister() -> None:
    session.close()
    atexit.unregister(_at_exit)
    bpy.app.handlers.render_init.remove(_before_render)
    bpy.app.handlers.load_post.remove(_after_load)
    bpy.app.handlers.load_pre.remove(_before_load)

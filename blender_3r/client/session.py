"""What goes on in this Blender: the one running job, the one running installation, the timer that pumps both.

Nothing here waits. The timer looks at the engine's messages for a few milliseconds per tick, tells the panels to
redraw when something changed, and brings results into the scene and file in which the job was started, and into no
other. How that is done comes with the job (`Delivery`): reading in a thread, making datablocks in the main thread.
"""

from __future__ import annotations

import atexit
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from ..engine.errors import EngineError
from .environment import Status
from .installer import Installer
from .job import Failure, Job

TICK_S = 0.1
REDRAW_S = 1.0  # the time left counts down even when the engine says nothing new
CAMERAS_AGAIN_S = 5.0  # corrections of the cameras are not brought in more often


@dataclass(frozen=True)
class Delivery:
    """How a result comes into the scene; the flag says whether it is the final one, else cameras only.

    read: job folder to whatever build needs; runs in a thread, so it must not touch bpy. build: makes the datablocks
    and returns sentences for the user. Both raise EngineError.
    """

    read: Callable[[Path, bool], Any]
    build: Callable[[bpy.types.Scene, Any, bool], list[str]]


class Reading:
    """Delivery.read in a thread. is_final: as there. data or error once is_done."""

    def __init__(self, delivery: Delivery, folder: Path, is_final: bool) -> None:
        self.is_final = is_final
        self.data: Any = None
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(delivery, folder), name="3R import", daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def _run(self, delivery: Delivery, folder: Path) -> None:
        try:
            self.data = delivery.read(folder, self.is_final)
        except Exception as error:  # raised again in the main thread, where it is shown
            self.error = error


@dataclass
class Home:
    """The file and scene in which a job was started. uid: Blender's id of the scene, good until a file is loaded."""

    file: str
    scene: str
    uid: int
    is_open: bool = True
    was_reloaded: bool = False

    def find_scene(self) -> bpy.types.Scene | None:
        """The scene, if its file is open and the scene still there."""
        if not self.is_open:
            return None
        if self.was_reloaded:
            return bpy.data.scenes.get(self.scene)
        return next((scene for scene in bpy.data.scenes if scene.session_uid == self.uid), None)

    @property
    def file_name(self) -> str:
        return Path(self.file).name or "an unsaved file"


class Session:
    """engine: whether it can be started. job: the running one, or the last one until it is dismissed.

    failure: what went wrong outside the engine (it could not be started, its result could not be brought in).
    """

    def __init__(self) -> None:
        self.engine = Status("missing", "")
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

    def start(self, job: Job, scene: bpy.types.Scene, delivery: Delivery) -> None:
        """Take over a job that was just started from scene."""
        self.dismiss()
        self.job = job
        self.home = Home(bpy.data.filepath, scene.name, scene.session_uid)
        self._delivery = delivery
        self._cameras_seen, self._delivered_at = 0, 0.0
        self._wake()

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
            self.job = self.home = self.failure = self._delivery = self._reading = None
            self._is_due = self.is_waiting = False
            self.notes = []
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
        is_delivering = self._is_due or (self._reading is not None and self.home.is_open)
        is_busy = self.is_running or self.is_installing or is_delivering
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
        if not bpy.app.background and not bpy.app.timers.is_registered(_tick):
            bpy.app.timers.register(_tick, first_interval=TICK_S, persistent=True)
        redraw()

    # -- files and the end

    def before_load(self) -> None:
        if self.home is not None and self.home.is_open:
            self.home.file = bpy.data.filepath  # it may have been saved under a name since

    def after_load(self) -> None:
        if self.home is not None:
            self.home.is_open = bool(self.home.file) and bpy.data.filepath == self.home.file
            self.home.was_reloaded = True
            if self._reading is not None:
                self._wake()

    def close(self) -> None:
        """End what runs and wait for its end, for at most a few seconds."""
        if bpy.app.timers.is_registered(_tick):
            bpy.app.timers.unregister(_tick)
        if self.job is not None:
            self.job.close()
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


def _at_exit() -> None:
    if session.job is not None:
        session.job.close()
    if session.installer is not None:
        session.installer.close()


def register() -> None:
    bpy.app.handlers.load_pre.append(_before_load)
    bpy.app.handlers.load_post.append(_after_load)
    atexit.register(_at_exit)


def unregister() -> None:
    session.close()
    atexit.unregister(_at_exit)
    bpy.app.handlers.load_post.remove(_after_load)
    bpy.app.handlers.load_pre.remove(_before_load)

"""Reconstruct: footage and settings to a running job; and what is done with a job: cancel, look, forget."""

from __future__ import annotations

import functools
import os
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy
from bpy.app.translations import pgettext_iface as iface_

from .. import preferred
from ..client import environment
from ..client.delivery import Delivered, Delivery, Home, Turn
from ..client.job import Failure, Job
from ..client.library import library
from ..client.session import session
from ..client.window import has_window, window_of
from ..engine import __version__
from ..engine.errors import EngineError
from ..scene.growth import Growth
from ..scene.job import ImportOptions, ImportResult, build_job_in_slices
from ..scene.jobdata import JobData, read_job
from . import footage, model_choice
from .footage_facts import job_folder
from .masks import draw_mask, mask_settings

if TYPE_CHECKING:
    from ..properties import THREER_PG_settings

REPORT_AFTER_S = 0.3
POINTS = {"draft": 300_000, "normal": 1_000_000, "fine": 3_000_000}  # brought into the scene where 0 is set


def request_of(settings: THREER_PG_settings) -> dict[str, Any]:
    """The form of request.json. Raises EngineError when the footage or a setting is wrong."""
    source = footage.source_of(settings)
    values: dict[str, Any] = {"quality": settings.quality, "lens": settings.lens, "dense": settings.dense}
    focal = footage.focal_in_pixels(settings)
    if focal is not None:
        values["focal_px"] = focal
    if settings.center != "auto":
        values["center"] = settings.center
    values |= mask_settings(settings)
    if settings.points:
        values["points"] = settings.points
    if not settings.find_moving:
        values["moving"] = "off"
    values |= model_choice.network_settings(settings)
    return {"engine_version": __version__, "method": settings.method, "source": source.to_json(), "settings": values}


def delivery_of(settings: THREER_PG_settings) -> Delivery:
    """How the result is to come into the scene, with the settings of this moment."""
    budget = settings.points or POINTS[settings.quality]
    moving = settings.moving  # as it is now, not when the result comes
    options = ImportOptions(
        budget,
        match_scene=settings.match_scene,
        slideshow=settings.slideshow,
        moving=moving,
        as_cloud=settings.points_as == "CLOUD",
    )
    growth = Growth(uuid.uuid4().hex, options)
    shows_report = settings.show_report and has_window()

    def read(folder: Path, is_final: bool) -> JobData:
        return read_job(folder, budget if is_final else min(budget, growth.points), moving)

    def build(scene: bpy.types.Scene, data: JobData, is_final: bool) -> Generator[None, None, Delivered]:
        if not is_final:
            grown = yield from growth.build_in_slices(scene, data)
            return Delivered([], *grown)
        result = yield from build_job_in_slices(scene, data, options)
        if shows_report:
            show = functools.partial(_show_report, scene.name, result.root.name)
            bpy.app.timers.register(show, first_interval=REPORT_AFTER_S)
        return Delivered([*result.warnings, *_shortage(result)])

    return Delivery(read, build, growth.redrawn)


def _show_report(scene_name: str, root_name: str) -> None:
    """Ask for the report of what was just brought in; called once its undo step is there."""
    scene, root = bpy.data.scenes.get(scene_name), bpy.data.objects.get(root_name)
    if scene is None or root is None:
        return
    with bpy.context.temp_override(window=window_of(scene), active_object=root):
        if bpy.ops.threer.report.poll():
            bpy.ops.threer.report()


def _shortage(result: ImportResult) -> Iterator[str]:
    """A sentence if not all points came along."""
    if session.job.state.summary.get("points", 0) > result.point_count > 0:
        count = f"{result.point_count:,}".replace(",", " ")
        yield iface_("{} of the points are in the scene: Point Budget allows more.").format(count)


class THREER_OT_reconstruct(bpy.types.Operator):
    """Find the camera and the scene's points from the footage, in the background"""

    bl_idname = "threer.reconstruct"
    bl_label = "Reconstruct"
    bl_options = {"REGISTER"}  # the results come later, each with an undo step of its own

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        reason = why_not(context.scene.threer)
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.threer
        preferred.refresh_engine()
        if session.engine.state != "ready":
            self.report({"ERROR"}, session.engine.text)
            return {"CANCELLED"}
        library.catalogue.make_room()
        is_later = session.is_taken
        try:
            session.start(_turn(settings, context.scene))
        except EngineError as error:
            return refuse(self, Failure(error.message, error.hint, error.kind))
        if is_headless():
            return wait_for_job(self)
        if is_later:
            self.report({"INFO"}, iface_("{} comes after the running job").format(session.waiting[-1].name))
        return {"FINISHED"}


class THREER_OT_cancel(bpy.types.Operator):
    """Stop the running job; what was computed is kept"""

    bl_idname = "threer.cancel"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return _poll(cls, session.is_running, "No job is running")

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.cancel()
        return {"FINISHED"}


class THREER_OT_forget_waiting(bpy.types.Operator):
    """Start none of the jobs that wait; the running one goes on"""

    bl_idname = "threer.forget_waiting"
    bl_label = "Remove Waiting Jobs"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return _poll(cls, bool(session.waiting), "No job waits")

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.forget_waiting()
        return {"FINISHED"}


class THREER_OT_dismiss(bpy.types.Operator):
    """Remove this message; the job folder and the scene stay as they are"""

    bl_idname = "threer.dismiss"
    bl_label = "Dismiss"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return _poll(cls, not session.is_running, "The job is still running")

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.dismiss()
        return {"FINISHED"}


class THREER_OT_import_last(bpy.types.Operator):
    """Bring what the last job computed into this scene"""

    bl_idname = "threer.import_last"
    bl_label = "Import What There Is"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return _poll(cls, session.job is not None and context.mode == "OBJECT", "Switch to Object Mode first")

    def execute(self, context: bpy.types.Context) -> set[str]:
        return bpy.ops.threer.import_job(directory=str(session.job.folder), moving=context.scene.threer.moving)


class THREER_OT_open_log(bpy.types.Operator):
    """Open the log file of the last job or installation"""

    bl_idname = "threer.open_log"
    bl_label = "Open Log"
    bl_options = {"INTERNAL"}

    is_install: bpy.props.BoolProperty(name="Installation", options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        if self.is_install:
            return _open(self, environment.install_log(preferred.engine_folder()))
        if session.job is None:
            self.report({"WARNING"}, "There is no job whose log could be opened")
            return {"CANCELLED"}
        return _open(self, session.job.log)


class THREER_OT_open_job(bpy.types.Operator):
    """Open the folder that holds the last job's cameras and points"""

    bl_idname = "threer.open_job"
    bl_label = "Open Job Folder"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return _poll(cls, session.job is not None, "No job was started yet")

    def execute(self, context: bpy.types.Context) -> set[str]:
        return _open(self, session.job.folder)


# -- inside


def wait_for_job(operator: bpy.types.Operator) -> set[str]:
    """Without a window nothing else could run meanwhile: stay until the end of the job, and report it."""
    session.wait(lambda stage: print(f"3R: {stage}", flush=True))
    state = session.job.state
    failure = session.failure or state.failure
    if failure is not None:
        operator.report({"ERROR"}, f"{failure.message} {failure.hint}".strip())
        return {"CANCELLED"}
    operator.report({"INFO"}, str(state.summary.get("text") or iface_("{} Done").format(iface_(session.job.title))))
    return {"FINISHED"}


def launcher(make: Callable[[], Job]) -> Callable[[], Job]:
    """make, which starts a job, with an engine that cannot be started told as an EngineError."""

    def launch() -> Job:
        try:
            return make()
        except OSError as error:
            raise EngineError(
                "machine",
                f"The engine cannot be started ({error.strerror or error}).",
                "Install the engine again, or check the engine Python in the preferences.",
            ) from error

    return launch


def refuse(operator: bpy.types.Operator, failure: Failure) -> set[str]:
    """Tell why a job cannot be started, in the panel too."""
    if not session.is_taken:  # else the panel shows the running job
        session.fail(failure)
    operator.report({"ERROR"}, f"{failure.message} {failure.hint}".strip())
    return {"CANCELLED"}


def is_headless() -> bool:
    """No window, so no timer runs between a script's statements."""
    return bpy.app.background


def why_not(settings: THREER_PG_settings) -> str:
    """Why Reconstruct cannot be pressed, as a sentence; empty when it can."""
    if session.is_installing:
        return "The engine is being installed"
    if session.engine.state != "ready":
        return "Install the engine first"
    if not footage.has_pick(settings):
        return "Pick footage first"
    if session.is_taken and any(turn.key == footage.pick_key(settings) for turn in session.turns()):
        return "This footage is being reconstructed already: wait for it or cancel it"
    return settings.info_error or model_choice.obstacle(settings)


def ask_for_estimate(scene: bpy.types.Scene) -> None:
    """Ask what a job with the scene's settings would need, as far as they mean one."""
    settings = scene.threer
    try:
        request = request_of(settings)
    except EngineError:  # the panel shows it with the footage
        library.catalogue.forget_estimate()
        return
    size = settings.info_width, settings.info_height
    library.catalogue.wish_estimate(request, settings.info_used, size, preferred.jobs_folder())


def _turn(settings: THREER_PG_settings, scene: bpy.types.Scene) -> Turn:
    """A job with the settings of this moment. Raises EngineError when footage or a setting is wrong."""
    request, source = request_of(settings), footage.source_of(settings)
    folder = job_folder(preferred.jobs_folder(), source, [turn.folder for turn in session.turns()])
    command = preferred.serve_command()
    request["settings"] |= draw_mask(settings, source, folder)
    launch = launcher(lambda: Job(command, folder, request, keeper=session.keeper))
    return Turn(source.name, footage.pick_key(settings), folder, launch, Home.of(scene), delivery_of(settings))


def _poll(cls: type[bpy.types.Operator], is_possible: bool, reason: str) -> bool:
    if not is_possible:
        cls.poll_message_set(reason)
    return is_possible


def _open(operator: bpy.types.Operator, path: Path) -> set[str]:
    if not os.path.exists(path):
        operator.report({"WARNING"}, iface_("{} is not there (any more)").format(path))
        return {"CANCELLED"}
    operator.report({"INFO"}, str(path))
    opener: Callable[..., set[str]] = bpy.ops.wm.path_open
    return opener(filepath=str(path))


classes = (
    THREER_OT_reconstruct,
    THREER_OT_cancel,
    THREER_OT_forget_waiting,
    THREER_OT_dismiss,
    THREER_OT_import_last,
    THREER_OT_open_log,
    THREER_OT_open_job,
)

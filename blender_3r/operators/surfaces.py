"""Surfaces from a job in the scene: one of all views, made by the engine; one per view; and how they look."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy

from .. import preferred
from ..client.delivery import Delivered, Delivery, Home, Turn
from ..client.job import Failure
from ..client.library import library
from ..client.session import session
from ..client.surface_job import SurfaceJob
from ..engine.errors import EngineError
from ..engine.jobfolder import JobFolder
from ..scene import tags
from ..scene.jobdata import JobData, read_job
from ..scene.plate import scene_frames
from ..scene.surface_data import Surfaces, dense_views, read_fused, spread
from ..scene.surface_looks import LOOKS, set_look
from ..scene.surfaces import (
    SurfaceResult,
    add_fused_surface,
    add_view_surfaces,
    build_surfaces_in_slices,
    job_of,
    surfaces_of,
)
from .on_job import has_job
from .reconstruct import is_headless, launcher, refuse, wait_for_job

if TYPE_CHECKING:
    from ..surface_properties import THREER_PG_surfaces


class _SurfaceOperator:
    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return has_job(cls, context)


class THREER_OT_make_surface(_SurfaceOperator, bpy.types.Operator):
    """Fuse the depth of all views into one surface, in the background"""

    bl_idname = "threer.make_surface"
    bl_label = "Make Surface"
    bl_options = {"REGISTER"}  # the result comes later, with an undo step of its own

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        folder = Path(job_of(context))
        busy = session.is_taken and any(turn.folder == folder for turn in session.turns())
        for is_wrong, reason in (
            (session.is_installing, "The engine is being installed"),
            (session.engine.state != "ready", "Install the engine first"),
            (busy, "This reconstruction is being worked on: wait for it or cancel it"),
        ):
            if is_wrong:
                cls.poll_message_set(reason)
                return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        preferred.refresh_engine()
        if session.engine.state != "ready":
            self.report({"ERROR"}, session.engine.text)
            return {"CANCELLED"}
        library.catalogue.make_room()
        try:
            session.start(_turn(context))
        except EngineError as error:
            return refuse(self, Failure(error.message, error.hint, error.kind))
        return wait_for_job(self) if is_headless() else {"FINISHED"}


class THREER_OT_import_surface(_SurfaceOperator, bpy.types.Operator):
    """Bring in the surface that was made before, here or by the command line; one in the scene is updated"""

    bl_idname = "threer.import_surface"
    bl_label = "Import Surface"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        return _report(self, lambda: add_fused_surface(context.scene, job_of(context)))


class THREER_OT_add_view_surfaces(_SurfaceOperator, bpy.types.Operator):
    """Make a surface of each view's depth, cut at depth edges, with the view's own frame on it"""

    bl_idname = "threer.add_view_surfaces"
    bl_label = "Add View Surfaces"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings, folder = context.scene.threer.surfaces, job_of(context)

        def add() -> SurfaceResult:
            data = read_job(folder, 0)
            views = _chosen_views(context, settings, data, dense_views(JobFolder.open(folder), data))
            return add_view_surfaces(
                context.scene,
                folder,
                views,
                settings.budget,
                settings.min_confidence,
                settings.edge_angle,
                settings.moving,
            )

        return _report(self, add)


class THREER_OT_surface_look(_SurfaceOperator, bpy.types.Operator):
    """Show the surfaces of this reconstruction like that: the selected ones, or all if none is selected"""

    bl_idname = "threer.surface_look"
    bl_label = "Surface Look"
    bl_options = {"REGISTER", "UNDO"}

    look: bpy.props.EnumProperty(name="Look", items=LOOKS)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        if not surfaces_of(context.scene, job_of(context)):
            cls.poll_message_set("There is no surface yet")
            return False
        return True

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """The tool tip of the button: what the look is."""
        return next(text for name, _, text in LOOKS if name == properties.look)

    def execute(self, context: bpy.types.Context) -> set[str]:
        there = surfaces_of(context.scene, job_of(context))
        for item in [one for one in there if one.select_get()] or there:
            set_look(item, self.look)
        return {"FINISHED"}


# -- inside


def _report(operator: bpy.types.Operator, make: Callable[[], SurfaceResult]) -> set[str]:
    """Make surfaces, and tell what came of it."""
    try:
        result = make()
    except EngineError as error:
        operator.report({"ERROR"}, str(error))
        return {"CANCELLED"}
    operator.report({"INFO"}, result.text)
    for sentence in result.warnings:  # the status bar shows the last one
        operator.report({"WARNING"}, sentence)
    return {"FINISHED"}


def _turn(context: bpy.types.Context) -> Turn:
    folder, settings = Path(job_of(context)), context.scene.threer.surfaces
    command = preferred.serve_command()
    wishes: dict[str, Any] = {
        "detail": settings.detail,
        "voxel": settings.voxel if settings.use_voxel else None,
        "faces": settings.faces,
        "min_confidence": settings.min_confidence,
        "moving": settings.moving,
        "texture": int(settings.texture) or None,
    }

    launch = launcher(lambda: SurfaceJob(command, folder, wishes, keeper=session.keeper))
    name = f"Surface of {folder.name}"
    return Turn(name, ("surface", str(folder)), folder, launch, Home.of(context.scene), Delivery(_read, _build))


def _read(folder: Path, is_final: bool) -> Surfaces | None:
    return read_fused(folder) if is_final else None


def _build(scene: bpy.types.Scene, data: Surfaces | None, is_final: bool) -> Generator[None, None, Delivered]:
    if data is None:
        return Delivered([], is_new=False)
    result = yield from build_surfaces_in_slices(scene, data)
    return Delivered(result.warnings)


def _chosen_views(
    context: bpy.types.Context, settings: THREER_PG_surfaces, data: JobData, dense: list[int]
) -> list[int]:
    """Indices of the views that the settings mean, of those with depth."""
    if settings.which == "ALL" or not dense:
        return dense
    if settings.which == "SPREAD":
        return spread(dense, settings.count)
    views = data.reconstruction.views
    if data.is_video:
        frames = scene_frames(data, [views[index] for index in dense])
        now = context.scene.frame_current
        return [min(zip(dense, frames, strict=True), key=lambda pair: abs(pair[1] - now))[0]]
    camera = context.scene.camera
    file = camera.get(tags.VIEW) if camera is not None else None
    return [index for index in dense if views[index].file == file] or dense[:1]


classes = (
    THREER_OT_make_surface,
    THREER_OT_import_surface,
    THREER_OT_add_view_surfaces,
    THREER_OT_surface_look,
)

"""Export a job: by the engine in the background, or by Blender's exporters as it stands in the scene; load depth."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty

from .. import preferred
from ..client.delivery import Delivered, Delivery, Home, Turn
from ..client.export_job import ExportJob
from ..client.job import Failure
from ..client.library import library
from ..client.session import session
from ..engine.errors import EngineError
from ..engine.export import FORMATS as ENGINE_FORMATS
from ..scene.depth_images import FOLDER, load_depth
from ..scene.handover import FORMATS as SCENE_FORMATS
from ..scene.handover import export_scene
from ..scene.jobdata import JobData, read_job
from ..scene.plate import is_movie
from ..scene.surfaces import job_of
from .on_job import has_job
from .reconstruct import is_headless, launcher, refuse, wait_for_job

POINTS = ("ply", "ply-frames", "glb", "colmap", "transforms", "jsx")  # what a limit of points means something to
DENSE = ("ply", "ply-frames", "glb", "depth", "depth-png", "depth-npy")  # and a minimum of confidence
MOVING = ("ply", "glb")  # and what moves by itself
IMAGES = ("colmap", "transforms")

_SCENE_ITEMS = [(name, one.title, f"{one.text}. As it stands in the scene") for name, one in SCENE_FORMATS.items()]
_ENGINE_ITEMS = [(name, one.title, one.text[0].upper() + one.text[1:]) for name, one in ENGINE_FORMATS.items()]


class THREER_OT_export(bpy.types.Operator):
    """Write cameras, points, surfaces or depth of this reconstruction for another program"""

    bl_idname = "threer.export"
    bl_label = "Export Reconstruction"
    bl_options = {"REGISTER", "PRESET"}

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    check_existing: BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})
    format: EnumProperty(name="Format", items=_SCENE_ITEMS + _ENGINE_ITEMS, default="usd")
    points: IntProperty(name="Points", description="At most so many points; 0: all", default=100_000, min=0)
    surfaces: BoolProperty(name="Surfaces", description="The surfaces that are in the scene, too", default=True)
    mesh: BoolProperty(name="Surface per View", description="A surface of each view's depth instead of points")
    images: BoolProperty(name="Images", description="Write the frames too, as trainers need them", default=True)
    undistorted: BoolProperty(
        name="Undistorted", description="Images without lens distortion, and cameras that have none", default=False
    )
    nulls: IntProperty(name="Nulls", description="Nulls at so many solved points", default=30, min=1, soft_max=200)
    moving: EnumProperty(
        name="Moving",
        description="What of footage that moves by itself is written, beside what stands",
        items=(
            ("static", "None", "Nothing that moves"),
            ("frame", "Current Frame", "What moves, where it is at the current frame"),
            ("all", "All Frames", "What moves, everywhere it ever is"),
            ("only", "Nothing Else", "What moves, everywhere it ever is, without what stands"),
        ),
    )
    every_point: BoolProperty(
        name="All Points", description="Write all points of each frame, instead of what moves in it"
    )
    min_confidence: FloatProperty(
        name="Min Confidence", description="Leave out less certain depth", min=0, max=1, subtype="FACTOR"
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return has_job(cls, context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if not self.filepath:
            folder = Path(bpy.data.filepath).parent if bpy.data.filepath else Path.home()
            self.filepath = str(folder / f"{Path(job_of(context)).name}{self._suffix}")
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def check(self, context: bpy.types.Context) -> bool:
        """Give the file name the format's ending."""
        path = self._path()
        changed = str(path) != self.filepath
        self.filepath = str(path)
        return changed

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(self, "format")
        if self.format in SCENE_FORMATS:
            layout.prop(self, "points")
            layout.prop(self, "surfaces")
            return
        if self.format == "jsx":
            layout.prop(self, "nulls")
        elif self.format in POINTS:
            layout.prop(self, "points")
        if self.format == "glb":
            layout.prop(self, "mesh")
        if self.format in MOVING:
            layout.prop(self, "moving")
        if self.format == "ply-frames":
            layout.prop(self, "every_point")
        if self.format in DENSE:
            layout.prop(self, "min_confidence")
        if self.format in IMAGES:
            layout.prop(self, "images")
            layout.prop(self, "undistorted")
        if not self._suffix:
            layout.label(text="Writes a folder", icon="FILE_FOLDER")

    def execute(self, context: bpy.types.Context) -> set[str]:
        if not self.filepath:
            self.report({"ERROR"}, "No file is chosen.")
            return {"CANCELLED"}
        folder, path = Path(job_of(context)), self._path()
        if self.format in ENGINE_FORMATS:
            try:
                options = self._options(context)
            except EngineError as error:
                self.report({"ERROR"}, str(error))
                return {"CANCELLED"}
            return start_export(self, context, folder, self.format, path, options, Delivery(_nothing, _bring_nothing))
        try:
            text = export_scene(context.scene, str(folder), self.format, path, self.points or 1 << 31, self.surfaces)
        except (EngineError, OSError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, text)
        return {"FINISHED"}

    @property
    def _suffix(self) -> str:
        return (SCENE_FORMATS.get(self.format) or ENGINE_FORMATS[self.format]).suffix

    def _path(self) -> Path:
        """The chosen file with the format's ending in place of another format's."""
        path = Path(bpy.path.abspath(self.filepath))
        ending, usd = path.suffix.lower(), {".usd", ".usda", ".usdc", ".usdz"}
        if self._suffix and (ending == self._suffix or (self.format == "usd" and ending in usd)):
            return path
        known = usd | {one.suffix for one in (*SCENE_FORMATS.values(), *ENGINE_FORMATS.values())} - {""}
        stem = path.with_suffix("") if ending in known else path
        return stem.with_name(stem.name + self._suffix)

    def _options(self, context: bpy.types.Context) -> dict[str, Any]:
        """Fields of the engine's ExportOptions. Raises EngineError for a damaged job."""
        options: dict[str, Any] = {}
        if self.format == "jsx":
            options["points"] = self.nulls
        elif self.format in POINTS and self.points:
            options["points"] = self.points
        if self.format in DENSE:
            options["min_confidence"] = self.min_confidence
        if self.format in IMAGES:
            options["images"], options["undistorted"] = self.images, self.undistorted
        if self.format == "glb":
            options["mesh"] = self.mesh
        if self.format in MOVING:
            options["moving"] = _footage_frame(context) if self.moving == "frame" else self.moving
        if self.format == "ply-frames" and self.every_point:
            options["moving"] = "all"
        return options


class THREER_OT_load_depth(bpy.types.Operator):
    """Write depth and confidence as 32-bit EXR files and load them as image sequences, in the units of the job"""

    bl_idname = "threer.load_depth"
    bl_label = "Load Depth Sequence"
    bl_options = {"REGISTER"}  # the result comes later, with an undo step of its own

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return has_job(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        folder, delivery = Path(job_of(context)), Delivery(_read_depth, _build_depth)
        return start_export(self, context, folder, "depth", folder / FOLDER, {"confidence_bits": 32}, delivery, "Depth")


def start_export(
    operator: bpy.types.Operator,
    context: bpy.types.Context,
    folder: Path,
    format_: str,
    out: Path,
    options: dict[str, Any],
    delivery: Delivery,
    title: str = "Export",
) -> set[str]:
    """Let the engine write one of its formats of the job in folder; what comes of it is brought in by delivery.

    title: what is made, for the panel, whose Retry calls the operator again.
    """
    preferred.refresh_engine()
    if session.engine.state != "ready":
        operator.report({"ERROR"}, session.engine.text)
        return {"CANCELLED"}
    library.catalogue.make_room()
    command, again = preferred.serve_command(), operator.bl_idname.lower().replace("_ot_", ".")
    launch = launcher(lambda: ExportJob(command, folder, format_, out, options, title, again, session.keeper))
    turn = Turn(f"{title} of {folder.name}", ("export", str(out)), folder, launch, Home.of(context.scene), delivery)
    try:
        session.start(turn)
    except EngineError as error:
        return refuse(operator, Failure(error.message, error.hint, error.kind))
    return wait_for_job(operator) if is_headless() else {"FINISHED"}


# -- inside


def _footage_frame(context: bpy.types.Context) -> int | str:
    """The footage's number of the scene's current frame; nothing that moves where the job is of photos."""
    data = read_job(job_of(context), 0)
    if not data.is_video:
        return "static"
    return context.scene.frame_current - int(is_movie(data))


def _nothing(folder: Path, is_final: bool) -> None:
    """An export leaves nothing to bring in."""


def _bring_nothing(scene: bpy.types.Scene, data: None, is_final: bool) -> Generator[None, None, Delivered]:
    yield
    return Delivered([], is_new=False)


def _read_depth(folder: Path, is_final: bool) -> JobData | None:
    return read_job(folder, 0) if is_final else None


def _build_depth(scene: bpy.types.Scene, data: JobData | None, is_final: bool) -> Generator[None, None, Delivered]:
    yield
    if data is None:
        return Delivered([], is_new=False)
    result = load_depth(data, Path(data.folder) / FOLDER)
    return Delivered([result.text, *result.warnings])


classes = (THREER_OT_export, THREER_OT_load_depth)

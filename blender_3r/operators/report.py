"""How good a solve is: the engine's report as a dialog with the error of every frame, its pictures in an editor."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import bpy

from ..client.delivery import Delivered, Delivery
from ..client.window import has_window, window_of
from ..engine.errors import EngineError
from ..scene import tags
from ..scene.jobdata import read_job
from ..scene.report import FOLDER, PICTURES, Report, load_pictures, read_report
from ..scene.surfaces import job_of
from ..widgets import text
from .export import start_export
from .on_job import has_job

WIDTH_PX = 560  # of the dialog, at scale 1
PLOT_SCALE = 27.0  # times the height of a button: about as wide as the dialog


class THREER_OT_report(bpy.types.Operator):
    """Show how good the solve is: frames solved, reprojection error, coverage, and the error of every frame"""

    bl_idname = "threer.report"
    bl_label = "Report"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return has_job(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        folder = Path(job_of(context))
        return start_export(self, context, folder, "report", folder / FOLDER, {}, Delivery(_read, _build), "Report")


class THREER_OT_show_report(bpy.types.Operator):
    """Show the report that was made last"""

    bl_idname = "threer.show_report"
    bl_label = "Report"
    bl_options = {"INTERNAL"}

    job: bpy.props.StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self.execute(context) == {"CANCELLED"}:
            return {"CANCELLED"}
        # A popup without buttons would be gone with the next movement of the mouse.
        return context.window_manager.invoke_props_dialog(self, width=WIDTH_PX, title="Report", confirm_text="Close")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Read the report; without a window that is all."""
        try:
            self._report = read_report(self.job, Path(self.job) / FOLDER)
        except EngineError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}

    def draw(self, context: bpy.types.Context) -> None:
        report: Report = self._report
        layout = self.layout
        layout.label(text=report.title, icon="CHECKMARK" if report.is_complete else "INFO")
        grid = layout.grid_flow(row_major=True, columns=2, even_columns=True, align=True)
        for what, value in report.lines:
            row = grid.split(factor=0.6)
            label = row.row()
            label.active = False
            label.label(text=what)
            row.label(text=value)
        image = _find(report, "plot")
        if image is not None:
            layout.template_icon(icon_value=image.preview_ensure().icon_id, scale=PLOT_SCALE)
        for sentence in report.doubts:
            text.draw_wrapped(layout, sentence, icon="ERROR", width_px=WIDTH_PX)
        row = layout.row(align=True)
        for role in PICTURES:
            if _find(report, role) is not None:
                button = row.operator("threer.open_report_image", text=role.title(), icon="IMAGE_DATA")
                button.image = _find(report, role).name


class THREER_OT_open_report_image(bpy.types.Operator):
    """Open this picture of the report in a window of its own"""

    bl_idname = "threer.open_report_image"
    bl_label = "Open Report Image"
    bl_options = {"INTERNAL"}

    image: bpy.props.StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        image = bpy.data.images.get(self.image)
        if image is None:
            self.report({"WARNING"}, "This picture is not in the file any more: make the report again")
            return {"CANCELLED"}
        bpy.ops.wm.window_new()
        window = context.window_manager.windows[-1]
        area = window.screen.areas[0]
        area.type = "IMAGE_EDITOR"
        area.spaces.active.image = image
        region = next(region for region in area.regions if region.type == "WINDOW")
        with context.temp_override(window=window, area=area, region=region):
            bpy.ops.image.view_all(fit_view=True)
        return {"FINISHED"}


# -- inside


def _find(report: Report, role: str) -> bpy.types.Image | None:
    return tags.find(bpy.data.images, report.job, role)


def _read(folder: Path, is_final: bool) -> tuple[Report, str] | None:
    if not is_final:
        return None
    data = read_job(folder, 0)
    return read_report(data.folder, Path(data.folder) / FOLDER), data.name


def _build(scene: bpy.types.Scene, data: tuple[Report, str] | None, is_final: bool) -> Generator[None, None, Delivered]:
    yield
    if data is None:
        return Delivered([], is_new=False)
    report, name = data
    load_pictures(report, name)
    if has_window():
        bpy.app.timers.register(lambda: _show(report.job, scene.name), first_interval=0.05)
    return Delivered([])


def _show(job: str, scene_name: str) -> None:
    """In a tick of its own: the images' undo step comes first."""
    scene = bpy.data.scenes.get(scene_name)
    if scene is not None:
        with bpy.context.temp_override(window=window_of(scene)):
            bpy.ops.threer.show_report("INVOKE_DEFAULT", job=job)


classes = (THREER_OT_report, THREER_OT_show_report, THREER_OT_open_report_image)

"""The tab's main panel: footage, method, Reconstruct, and how it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..client.job import SILENCE_S, Job
from ..client.pick import Pick
from ..client.session import session
from ..scene.shown import shown_footage
from ..widgets import text
from . import engine, method
from .presets import THREER_PT_presets

if TYPE_CHECKING:
    from ..properties import THREER_PG_settings


class THREER_PT_main(bpy.types.Panel):
    bl_label = "Reconstruct Footage"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "3R"

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        THREER_PT_presets.draw_panel_header(self.layout)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        settings = context.scene.threer
        if session.engine.state != "ready" or session.is_installing:
            engine.draw_status(layout.box())
        column = layout.column()
        _draw_footage(column, settings)
        column.separator()
        column.use_property_split = True
        column.use_property_decorate = False
        method.draw_method(column, context.scene)
        column.row().prop(settings, "quality", expand=True)
        method.draw_estimate(layout, context.scene)
        layout.separator(factor=0.5)
        if session.is_running:
            draw_running(layout, settings)
        else:
            row = layout.row()
            row.scale_y = 1.6
            row.operator("threer.reconstruct", icon="CON_CAMERASOLVER")
            draw_outcome(layout, context)
        draw_row(layout)
        layout.separator(factor=0.5)
        layout.operator("threer.import_job", text="Import Reconstruction...", icon="IMPORT")


# -- footage


def _draw_footage(layout: bpy.types.UILayout, settings: THREER_PG_settings) -> None:
    layout.prop(settings, "source", text="")
    if settings.source == "CLIP":
        layout.template_ID(settings, "clip", open="clip.open")
    elif settings.source == "IMAGE":
        layout.template_ID(settings, "image", open="image.open")
    elif settings.source == "RIG":
        _draw_rig(layout, settings)
    else:
        row = layout.row(align=True)
        row.prop(settings, "path", text="", placeholder="Movie, image or folder")
        row.operator("threer.pick_footage", text="", icon="FILE_FOLDER")
        found = shown_footage(bpy.context)
        if found is not None and not settings.path:
            layout.operator("threer.pick_shown", text=iface_("Use {}").format(found.name), icon="IMAGE_BACKGROUND")
        if settings.info_kind in ("sequence", "photos"):
            layout.row().prop(settings, "image_kind", expand=True)
    draw_facts(layout, settings)


def _draw_rig(layout: bpy.types.UILayout, settings: THREER_PG_settings) -> None:
    count = len(settings.files)
    label = iface_("{} Movies").format(count) if count > 1 else iface_("Pick One Movie per Camera")
    layout.operator("threer.pick_footage", text=label, icon="FILE_FOLDER").is_rig = True


def draw_facts(layout: bpy.types.UILayout, settings: THREER_PG_settings) -> None:
    """Count, size, rate; warnings; or why the footage cannot be used."""
    if settings.info_text:
        text.draw_wrapped(layout, settings.info_text, icon=_KIND_ICONS.get(settings.info_kind, "NONE"))
    if settings.info_kind and settings.info_used != settings.info_count and not settings.info_error:
        used = iface_("Uses {} of {}").format(settings.info_used, settings.info_count)
        layout.label(text=used, icon="PREVIEW_RANGE")
    for warning in filter(None, settings.info_warnings.split("\n")):
        text.draw_wrapped(layout, warning, icon="ERROR")
    if settings.info_error:
        column = layout.column()
        column.alert = True
        text.draw_wrapped(column, settings.info_error, icon="ERROR")


_KIND_ICONS = {"movie": "FILE_MOVIE", "sequence": "RENDERLAYERS", "photos": "IMAGE_DATA", "rig": "CAMERA_STEREO"}


# -- a running job


def draw_running(layout: bpy.types.UILayout, settings: THREER_PG_settings) -> None:
    """How far the running job is, and the button that stops it."""
    state = session.job.state
    column = layout.column(align=True)
    column.progress(factor=state.fraction, text=f"{iface_(state.stage)}  {state.fraction * 100:.0f} %")
    left = session.job.time_left_s
    row = column.row()
    elapsed = iface_("{} so far").format(text.duration(session.job.elapsed_s))
    row.label(text=text.time_left(left) if left is not None else elapsed)
    button = row.row()
    button.enabled = state.status != "cancelling"
    button.operator("threer.cancel", icon="X", text="Cancel")
    if state.pick is not None and state.pick.why != method.shown_pick(settings):
        method.draw_pick(layout, state.pick)
    if state.solved is not None:
        found = iface_("{} of {} cameras found").format(state.solved, state.total)
        layout.label(text=found, icon="CAMERA_DATA")
    _draw_restarted(layout)
    if state.status == "running" and session.job.silent_s > SILENCE_S:
        silence = text.duration(session.job.silent_s)
        sentence = iface_("No news from the engine for {}. It may still be working.").format(silence)
        text.draw_wrapped(layout, sentence, icon="TIME")
    if session.home.find_scene() is None:
        sentence = iface_("The job was started in {}.").format(session.home.file_name)
        text.draw_wrapped(layout, sentence, icon="INFO")
    _draw_waiting(layout)


def draw_row(layout: bpy.types.UILayout) -> None:
    """The jobs before this one and those after it."""
    for sentence in session.past:
        text.draw_wrapped(layout, sentence, icon="INFO")
    if session.waiting:
        row = layout.row()
        row.label(text=iface_("Next: {}").format(", ".join(turn.name for turn in session.waiting)), icon="TIME")
        row.operator("threer.forget_waiting", text="", icon="X", emboss=False)
    if session.is_running and bpy.ops.threer.reconstruct.poll():  # other footage is picked meanwhile
        layout.operator("threer.reconstruct", text="Reconstruct Next", icon="CON_CAMERASOLVER")


def _draw_restarted(layout: bpy.types.UILayout) -> None:
    if session.job.state.was_restarted:
        text.draw_wrapped(layout, iface_("The engine stopped unexpectedly and was started again."), icon="INFO")


def _draw_waiting(layout: bpy.types.UILayout) -> None:
    if session.is_waiting:
        text.draw_wrapped(layout, iface_("The result appears as soon as you are back in Object Mode."), icon="INFO")


# -- how it ended


def draw_outcome(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """What came of the last job, if there was one."""
    job = session.job
    failure = session.failure or (job.state.failure if job is not None else None)
    if failure is not None:
        _draw_failure(layout.box(), failure)
    elif job is not None and job.state.status == "cancelled":
        _draw_cancelled(layout.box())
    elif job is not None and job.state.status == "done":
        _draw_done(layout.box())


def _title(box: bpy.types.UILayout, title: str, icon: str, alert: bool = False) -> None:
    row = box.row()
    label = row.row()
    label.alert = alert
    label.label(text=title, icon=icon)
    row.operator("threer.dismiss", text="", icon="X", emboss=False)


def _draw_failure(box: bpy.types.UILayout, failure: object) -> None:
    job = session.job or Job
    _title(box, iface_("{} Failed").format(iface_(job.title)), "CANCEL", alert=True)
    text.draw_wrapped(box, failure.message)
    if failure.hint:
        text.draw_wrapped(box, failure.hint, icon="INFO")
    if failure.log:
        text.draw_wrapped(box, f"{iface_('Log')}: {failure.log[-1][:120]}")
    row = box.row(align=True)
    row.operator(job.again, text="Retry", icon="FILE_REFRESH")
    if session.job is not None:
        row.operator("threer.open_log", icon="TEXT")
    _draw_kept(box)


def _draw_cancelled(box: bpy.types.UILayout) -> None:
    _title(box, iface_("Cancelled"), "PAUSE")
    if session.job.again == Job.again:
        text.draw_wrapped(box, iface_("What was computed is kept. Reconstruct goes on from there."))
    else:
        text.draw_wrapped(box, iface_("The reconstruction and the scene are as before."))
    _draw_kept(box)


def _draw_kept(box: bpy.types.UILayout) -> None:
    if session.job is not None and session.job.state.solved:
        box.operator("threer.import_last", icon="IMPORT")


def _draw_done(box: bpy.types.UILayout) -> None:
    summary = session.job.state.summary
    solved, total = summary.get("solved", 0), summary.get("total", 0)
    if session.job.again == Job.again:
        _title(box, iface_("{} of {} frames solved").format(solved, total), "CHECKMARK" if solved == total else "INFO")
    elif "faces" in summary:
        faces = text.count(summary["faces"])
        _title(box, iface_("{} of {} faces").format(iface_(session.job.title), faces), "CHECKMARK")
    else:
        _title(box, iface_("{} Done").format(iface_(session.job.title)), "CHECKMARK")
        text.draw_wrapped(box, str(summary.get("text", "")), icon="BLANK1")
    facts = box.column(align=True)
    facts.scale_y = 0.8
    for line in _facts(summary):
        facts.label(text=line, icon="BLANK1")
    picked = Pick.from_message(summary.get("choice"))
    if picked is not None:
        text.draw_wrapped(box, picked.why, icon="BLANK1")
    for warning in _warnings(summary):
        text.draw_wrapped(box, warning, icon="ERROR")
    _draw_restarted(box)
    for note in session.notes:
        text.draw_wrapped(box, note, icon="INFO")
    if session.home.find_scene() is None:
        text.draw_wrapped(
            box,
            iface_("The job was started in {}, so it is not brought in here.").format(session.home.file_name),
            icon="INFO",
        )
        box.operator("threer.import_last", text="Import Here", icon="IMPORT")
    _draw_waiting(box)
    if session.job.again == Job.again:
        box.operator("threer.report", icon="GRAPH")
    row = box.row(align=True)
    row.operator("threer.open_job", text="Job Folder", icon="FILE_FOLDER")
    row.operator("threer.open_log", text="Log", icon="TEXT")


def _facts(summary: dict[str, object]) -> list[str]:
    facts = []
    names = ("reproj_error_px", "seconds", "points", "interpolated")
    error, seconds, points, interpolated = (summary.get(name) for name in names)
    if isinstance(interpolated, int) and interpolated:
        facts.append(iface_("{} frames interpolated").format(text.count(interpolated)))
    if isinstance(error, int | float):
        facts.append(iface_("Mean error {:.2f} px").format(error))
    if isinstance(points, int) and points:
        facts.append(iface_("{} points").format(text.count(points)))
    if isinstance(seconds, int | float):
        facts.append(iface_("Took {}").format(text.duration(seconds)))
    return facts


def _warnings(summary: dict[str, object]) -> list[str]:
    """What the artist must know of the result, in words."""
    found = [str(warning) for warning in summary.get("warnings") or ()]
    failed = [check for check in summary.get("checks") or () if not check.get("passed", True)]
    return found + [check["text"] for check in failed if check.get("text") and check["text"] not in found]


classes = (THREER_PT_main,)

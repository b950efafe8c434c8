"""The models: the list with licence, size and downloads, in the preferences and as a closed part of the tab."""

from __future__ import annotations

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..client.library import library
from ..client.model_facts import Download, Model
from ..operators import model_choice
from ..widgets.licence import download_size, draw_commercial, memory_size
from ..widgets.text import draw_wrapped, is_narrow, megabytes, time_left

METHOD_TITLES = {"pairwise": "Pairwise", "streaming": "Streaming", "multiview": "Multi-View"}


def draw_models(layout: bpy.types.UILayout) -> None:
    """The whole page."""
    catalogue = library.catalogue
    if not catalogue.is_usable:
        draw_wrapped(layout, "The engine knows the models. Install it first.", icon="INFO")
        return
    library.wish_list()
    _draw_messages(layout)
    if not catalogue.models:
        _draw_nothing(layout)
        return
    if "PyTorch" in catalogue.missing:
        draw_needs_full(layout, "These models need the Full engine, which has PyTorch.")
    shown = model_choice.listed()
    for method in dict.fromkeys([*METHOD_TITLES, *(model.method for model in shown)]):
        if not any(model.method == method for model in shown):
            continue
        column = layout.column(align=True)
        column.label(text=METHOD_TITLES.get(method, method.capitalize()))
        for model in shown:
            if model.method == method:
                _draw_model(column, model)
    hidden = model_choice.hidden_count()
    if hidden:
        sentence = iface_("{} models that allow no commercial use are left out.").format(hidden)
        draw_wrapped(layout, sentence, icon="HIDE_ON")
    for problem in catalogue.problems:
        draw_wrapped(layout, problem, icon="ERROR")
    _draw_foot(layout)


def _draw_messages(layout: bpy.types.UILayout) -> None:
    """What the last action had to say."""
    catalogue = library.catalogue
    if catalogue.failure is None and not catalogue.note:
        return
    box = layout.box()
    row = box.row()
    column = row.column()
    if catalogue.failure is not None:
        column.alert = True
        draw_wrapped(column, catalogue.failure.message, icon="ERROR")
        draw_wrapped(box, catalogue.failure.hint, icon="BLANK1")
        if catalogue.failure.log:
            draw_wrapped(box, f"{iface_('Log')}: {catalogue.log}: {catalogue.failure.log[-1][:120]}", icon="BLANK1")
    else:
        draw_wrapped(column, catalogue.note, icon="CHECKMARK")
    row.operator("threer.dismiss_models", text="", icon="X", emboss=False)


def _draw_nothing(layout: bpy.types.UILayout) -> None:
    if library.catalogue.status == "failed":
        layout.operator("threer.refresh_models", icon="FILE_REFRESH")
    else:
        layout.label(text="Asking the engine for its models...", icon="SORTTIME")


def _draw_foot(layout: bpy.types.UILayout) -> None:
    catalogue = library.catalogue
    row = layout.row(align=True)
    row.operator("threer.add_checkpoint", text="Add Checkpoint...", icon="ADD")
    row.operator("threer.refresh_models", text="", icon="FILE_REFRESH")
    if catalogue.is_adding:
        draw_wrapped(layout, "The checkpoint is being looked at.", icon="SORTTIME")
    if catalogue.free_bytes is None:
        place = iface_("Folder: {}").format(catalogue.hub)
    else:
        place = iface_("Folder: {}, {} free").format(catalogue.hub, megabytes(catalogue.free_bytes))
    draw_wrapped(layout, place, icon="FILE_FOLDER")


# -- one model


def _draw_model(layout: bpy.types.UILayout, model: Model) -> None:
    is_open = library.expanded == model.id
    download = library.catalogue.downloads.get(model.id)
    box = layout.box()
    row = box.row(align=True)
    arrow = "DOWNARROW_HLT" if is_open else "RIGHTARROW"
    title = row.row(align=True)
    title.alignment = "LEFT"
    title.operator("threer.show_model", text=model.title, icon=arrow, emboss=False).model = model.id
    state = row.row(align=True)
    state.alignment = "RIGHT"
    if not is_narrow():
        state.label(text="Commercial use" if model.commercial_use else "No commercial use")
        state.separator()
    if model.downloaded:
        state.label(text="", icon="CHECKMARK")
    elif download is None:
        text = "" if is_narrow() else _short_size(model)
        state.operator("threer.download_model", text=text, icon="IMPORT").model = model.id
    if download is not None:
        draw_download(box, download)
    elif model.begun_bytes and not model.downloaded:
        _draw_begun(box, model)
    if is_open:
        _draw_details(box, model)


def _short_size(model: Model) -> str:
    return megabytes(model.download_bytes) if model.download_bytes else "Download"


def draw_download(layout: bpy.types.UILayout, download: Download) -> None:
    """A download with its bar and its buttons."""
    column = layout.column(align=True)
    row = column.row(align=True)
    row.progress(factor=download.fraction, text=bar_text(download))
    if download.status in ("paused", "failed"):
        row.operator("threer.resume_download", text="", icon="PLAY").model = download.model
    else:
        button = row.row(align=True)
        button.enabled = download.status in ("running", "waiting")
        button.operator("threer.pause_download", text="", icon="PAUSE").model = download.model
    row.operator("threer.cancel_download", text="", icon="X").model = download.model
    if download.failure is not None:
        alert = column.column()
        alert.alert = True
        draw_wrapped(alert, download.failure.message, icon="ERROR")
        draw_wrapped(column, download.failure.hint, icon="BLANK1")
        return
    draw_wrapped(column, state_text(download), icon="BLANK1")


def bar_text(download: Download) -> str:
    """ "43 %   1 184 of 2 755 MB"."""
    if not download.total:
        return "0 %"
    count = iface_("{:,.0f} of {:,.0f} MB").format(download.done / 1e6, download.total / 1e6).replace(",", " ")
    return f"{download.fraction * 100:.0f} %   {count}"


def state_text(download: Download) -> str:
    """What goes on, in words."""
    if download.status == "running":
        left = f", {time_left(download.eta_s)}" if download.eta_s is not None else ""
        return f"{iface_(download.stage or 'Looking at the server')}{left}"
    return {
        "waiting": "Waits for the other download",
        "pausing": "Stopping",
        "paused": "Paused. What has come is kept.",
        "dropping": "Removing what has come",
        "failed": "Failed. What has come is kept.",
    }[download.status]


def _draw_begun(layout: bpy.types.UILayout, model: Model) -> None:
    """A download of an earlier session."""
    download = Download(model.id, "paused", done=model.begun_bytes, total=model.download_bytes)
    draw_download(layout, download)


def _draw_details(layout: bpy.types.UILayout, model: Model) -> None:
    column = layout.column(align=True)
    if model.good_for:
        draw_wrapped(column, model.good_for, icon="INFO")
    draw_commercial(column, model)
    draw_wrapped(column, iface_("Licence: {}").format(model.license), icon="TEXT")
    draw_wrapped(column, _sizes(model), icon="MEMORY")
    if model.notes:
        draw_wrapped(column, model.notes, icon="BLANK1")
    draw_wrapped(column, model.source, icon="URL")
    row = column.row(align=True)
    if model.license_url:
        row.operator("wm.url_open", text="Licence").url = model.license_url
    if model.paper:
        row.operator("wm.url_open", text="Publication").url = model.paper
    if model.downloaded:
        row.operator("threer.remove_model", text="Remove", icon="TRASH").model = model.id


def _sizes(model: Model) -> str:
    parts = [download_size(model)] if not model.downloaded or model.own else [megabytes(model.download_bytes)]
    if model.memory_bytes:
        parts.append(memory_size(model))
    if model.image_size:
        parts.append(iface_("images of {} pixels").format(model.image_size))
    return ", ".join(parts)


# -- shared with the main panel


def draw_needs_full(layout: bpy.types.UILayout, sentence: str = model_choice.NEEDS_FULL) -> None:
    """What to do about an engine without PyTorch."""
    column = layout.column()
    draw_wrapped(column, sentence, icon="INFO")
    column.operator("threer.install_full", icon="IMPORT")


class THREER_PT_models(bpy.types.Panel):
    bl_label = "Models"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "3R"
    bl_parent_id = "THREER_PT_main"
    bl_options = {"DEFAULT_CLOSED"}
    bl_order = 8

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return library.catalogue.is_usable

    def draw(self, context: bpy.types.Context) -> None:
        draw_models(self.layout)


classes = (THREER_PT_models,)

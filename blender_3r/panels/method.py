"""Method, model and what a job with them will need: rows of the main panel, and the sub-panel for the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..client.library import library
from ..client.model_facts import Model
from ..client.pick import Pick
from ..client.session import session
from ..operators import model_choice
from ..widgets.text import draw_wrapped, megabytes
from .models import draw_download, draw_needs_full

if TYPE_CHECKING:
    from ..properties import THREER_PG_settings


def draw_method(layout: bpy.types.UILayout, scene: bpy.types.Scene) -> None:
    """The method: what the engine would choose, or the model of a network with what stands in its way."""
    settings = scene.threer
    layout.prop(settings, "method")
    if settings.method == model_choice.AUTO:
        _draw_auto(layout, scene)
    elif model_choice.needs_model(settings):
        _draw_network(layout, settings)


def _draw_auto(layout: bpy.types.UILayout, scene: bpy.types.Scene) -> None:
    """One line: what the engine would choose, and why."""
    settings = scene.threer
    if session.engine.state != "ready" or not settings.info_used or settings.info_error:
        return
    model_choice.wish_estimate(scene)
    picked = model_choice.pick(settings)
    if picked is None:
        _draw_no_pick(layout)
    elif picked.method:
        draw_pick(layout, picked)
        if picked.suggested:
            _draw_suggested(layout, picked)
        _draw_options(layout, settings)
    else:
        column = layout.column()
        column.alert = True
        draw_wrapped(column, picked.why, icon="ERROR")
        if picked.needs_engine:
            layout.operator("threer.install_full", icon="IMPORT")
        elif picked.suggested:
            _draw_suggested(layout, picked)
        else:
            draw_wrapped(layout, picked.hint, icon="BLANK1")


def draw_pick(layout: bpy.types.UILayout, picked: Pick) -> None:
    """The line of a choice."""
    draw_wrapped(layout, picked.why, icon="CHECKMARK")


def shown_pick(settings: THREER_PG_settings) -> str:
    """The line that stands under the menu, "" for none."""
    picked = model_choice.pick(settings)
    return picked.why if picked is not None else ""


def _draw_no_pick(layout: bpy.types.UILayout) -> None:
    failure = library.catalogue.estimate_failure
    if not library.is_estimate_current:
        layout.label(text="Looking which method fits...", icon="SORTTIME")
    elif failure is not None:
        draw_wrapped(layout, f"{failure.message} {failure.hint}".strip(), icon="INFO")


def _draw_suggested(layout: bpy.types.UILayout, picked: Pick) -> None:
    """The download that would help."""
    library.wish_list()
    model = library.catalogue.models.get(picked.suggested)
    download = library.catalogue.downloads.get(picked.suggested)
    if download is not None:
        draw_download(layout, download)
    elif model is not None:
        text = iface_("Download {}...").format(model.title)
        layout.operator("threer.download_model", text=text, icon="IMPORT").model = model.id


def _draw_network(layout: bpy.types.UILayout, settings: THREER_PG_settings) -> None:
    """The model, and what stands in its way."""
    if model_choice.needs_full_engine():
        draw_needs_full(layout.box())
        return
    library.wish_list()
    id_ = model_choice.model_id(settings)
    model = library.catalogue.models.get(id_)
    split = layout.split(factor=0.4)
    name = split.row()
    name.alignment = "RIGHT"
    name.label(text="Model")
    split.menu("THREER_MT_model", text=model.title if model is not None else id_)
    if model is not None:
        _draw_model(layout, model)
    elif library.catalogue.status == "known":
        sentence = iface_("There is no model {} on this machine's list. Choose another one.").format(id_)
        draw_wrapped(layout, sentence, icon="ERROR")
    elif library.catalogue.status == "failed":
        draw_wrapped(layout, f"{library.catalogue.failure.message} {iface_('See Models.')}", icon="ERROR")
    _draw_options(layout, settings)


def _draw_options(layout: bpy.types.UILayout, settings: THREER_PG_settings) -> None:
    """What only the method in use can be told."""
    method = model_choice.method_in_use(settings)
    if method == "streaming":
        layout.prop(settings, "every")
    if method in model_choice.DEFAULTS and model_choice.can_refine(settings):
        layout.prop(settings, "refine")
        if settings.refine and settings.dense:
            layout.prop(settings, "hold_scale")


def _draw_model(layout: bpy.types.UILayout, model: Model) -> None:
    download = library.catalogue.downloads.get(model.id)
    if not model.allowed:
        column = layout.column()
        column.alert = True
        draw_wrapped(column, model_choice.FORBIDDEN, icon="CANCEL")
    elif download is not None:
        draw_download(layout, download)
    elif not model.downloaded:
        sentence = iface_("Its weights are not on this machine.")
        if model.download_bytes:
            sentence = iface_("Its weights are not on this machine ({}).").format(megabytes(model.download_bytes))
        draw_wrapped(layout, sentence, icon="INFO")
        layout.operator("threer.download_model", text="Download...", icon="IMPORT").model = model.id
    elif not model.commercial_use:
        draw_wrapped(layout, iface_("{}: no commercial use").format(model.license), icon="INFO")


def draw_estimate(layout: bpy.types.UILayout, scene: bpy.types.Scene) -> None:
    """What a job with the scene's settings will need, where a network is to do it or something is wrong."""
    settings = scene.threer
    picked = model_choice.pick(settings)
    if settings.method == model_choice.AUTO:
        if picked is None or not picked.method:  # told with the method
            return
    elif not model_choice.needs_model(settings) or library.catalogue.status != "known":
        return
    if not settings.info_used or model_choice.obstacle(settings):
        return
    model_choice.wish_estimate(scene)
    found = library.catalogue.estimate
    if not library.is_estimate_current or found is None:
        failure = library.catalogue.estimate_failure
        if failure is not None and library.is_estimate_current:
            draw_wrapped(layout, f"{failure.message} {failure.hint}".strip(), icon="INFO")
        else:
            layout.label(text="Estimating what it needs...", icon="SORTTIME")
        return
    if found.get("fits", True):
        if model_choice.method_in_use(settings) != "classic":
            draw_wrapped(layout, str(found.get("text", "")), icon="MEMORY")
        return
    column = layout.column()
    column.alert = True
    draw_wrapped(column, str(found.get("text", "")), icon="ERROR")
    draw_wrapped(layout, str(found.get("hint", "")), icon="BLANK1")


class THREER_PT_machine(bpy.types.Panel):
    bl_label = "Device and Memory"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "3R"
    bl_parent_id = "THREER_PT_main"
    bl_options = {"DEFAULT_CLOSED"}
    bl_order = 4

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return model_choice.method_in_use(context.scene.threer) in model_choice.DEFAULTS

    def draw(self, context: bpy.types.Context) -> None:
        settings = context.scene.threer
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column()
        column.prop(settings, "device")
        if settings.device == "cuda":
            column.prop(settings, "card")
        column.prop(settings, "precision")
        column.prop(settings, "use_memory_limit")
        if settings.use_memory_limit:
            column.prop(settings, "memory_gb")
        column.prop(settings, "allow_smaller")
        if model_choice.method_in_use(settings) == "multiview":
            column.prop(settings, "chunk_size")


classes = (THREER_PT_machine,)

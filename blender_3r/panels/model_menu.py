"""The menu of the models that a method can use: what each is good at, its licence, what it takes."""

from __future__ import annotations

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..client.library import library
from ..client.model_facts import Model
from ..operators import model_choice
from ..widgets.licence import memory_size
from ..widgets.text import megabytes


class THREER_MT_model(bpy.types.Menu):
    """The models that the method can use"""

    bl_label = "Model"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        settings = context.scene.threer
        models = model_choice.choices(settings)
        if not models:
            layout.label(text=_none(), icon="INFO")
        for title, is_here in (("On This Machine", True), ("To Download", False)):
            group = [model for model in models if model.downloaded is is_here]
            if group:
                layout.label(text=title)
                layout.separator()
            for model in group:
                _draw_model(layout, model, model.id == model_choice.model_id(settings))
        hidden = model_choice.hidden_count()
        if hidden:
            sentence = iface_("{} models that allow no commercial use are left out").format(hidden)
            layout.label(text=sentence, icon="HIDE_ON")


def _draw_model(layout: bpy.types.UILayout, model: Model, is_chosen: bool) -> None:
    """The model to choose, and two lines on it."""
    icon = "RADIOBUT_ON" if is_chosen else "RADIOBUT_OFF"
    layout.operator("threer.choose_model", text=model.title, icon=icon).model = model.id
    lines = layout.column(align=True)
    lines.scale_y = 0.8
    if model.good_for:
        lines.label(text=model.good_for, icon="BLANK1")
    lines.label(text=facts(model), icon="BLANK1")
    layout.separator(factor=0.5)


def facts(model: Model) -> str:
    """ "No commercial use, 2.8 GB on disk, 3.3 GB of memory"."""
    parts = [iface_("Commercial use allowed") if model.commercial_use else iface_("No commercial use")]
    if model.download_bytes:
        words = iface_("about {} on disk") if model.download_is_estimate else iface_("{} on disk")
        parts.append(words.format(megabytes(model.download_bytes)))
    if model.memory_bytes:
        parts.append(memory_size(model))
    return ", ".join(parts)


def _none() -> str:
    if library.catalogue.status in ("known", "failed"):
        return "This engine has no model for the method"
    return "Asking the engine for its models..."


classes = (THREER_MT_model,)

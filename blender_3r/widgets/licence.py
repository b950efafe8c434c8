"""What a model's licence says, in the dialog before a download; and what Remove removes."""

from __future__ import annotations

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..client import licences
from ..client.library import library
from ..client.model_facts import Model
from .text import draw_wrapped, megabytes

WIDTH_PX = 560  # of the dialog, at scale 1

# What well-known licences come down to. The text itself is what counts, and it stands below.
SUMMARIES = {
    "CC BY-NC-SA 4.0": (
        "You may use and change the weights for purposes that are not commercial, if you name the authors.",
        "What you make of the weights themselves and pass on must carry the same licence.",
        "Whether results count as use for commerce is for you, your client and the licence to say.",
    ),
    "CC BY-NC 4.0": (
        "You may use and change the weights for purposes that are not commercial, if you name the authors.",
        "Whether results count as use for commerce is for you, your client and the licence to say.",
    ),
}


def draw_licence(
    layout: bpy.types.UILayout, operator: bpy.types.Operator, model: Model, folder: str, free_bytes: int | None
) -> None:
    """The dialog: what the licence allows, its text, size, where the files go, and the box to tick.

    operator: has the properties page and accept.
    """
    column = layout.column()
    column.label(text=model.title, icon="OUTLINER_DATA_CAMERA")
    draw_commercial(column, model)
    draw_wrapped(column, iface_("Licence: {}").format(model.license), icon="TEXT", width_px=WIDTH_PX)
    for sentence in SUMMARIES.get(model.license, ()):
        draw_wrapped(column, sentence, icon="BLANK1", width_px=WIDTH_PX)
    if model.notes:
        draw_wrapped(column, model.notes, icon="BLANK1", width_px=WIDTH_PX)
    pages = licences.pages(model.license)
    if pages:
        _draw_text(column, operator, pages)
    _draw_links(column, model, bool(pages))
    column.separator()
    draw_wrapped(column, model.source, icon="IMPORT", width_px=WIDTH_PX)
    size = download_size(model)
    place = iface_("{} into {}.").format(f"{size[0].upper()}{size[1:]}", folder)
    if free_bytes is not None:
        place += " " + iface_("{} are free there.").format(megabytes(free_bytes))
    draw_wrapped(column, place, icon="DISK_DRIVE", width_px=WIDTH_PX)
    row = column.row()
    row.enabled = bool(pages) or not model.license_url or model.id in library.read
    row.prop(operator, "accept")


def _draw_text(layout: bpy.types.UILayout, operator: bpy.types.Operator, pages: tuple[tuple[str, ...], ...]) -> None:
    """One page of the text, word for word, and what turns the pages."""
    number = min(operator.page, len(pages))
    lines = pages[number - 1]
    column = layout.box().column(align=True)
    column.scale_y = 0.62
    for line in (*lines, *[""] * (licences.PAGE_LINES - len(lines))):  # so that the buttons stay where they are
        column.label(text=line)
    row = layout.row()
    row.label(text=iface_("Full text, page {} of {}").format(number, len(pages)))
    row.prop(operator, "page", text="Page")


def _draw_links(layout: bpy.types.UILayout, model: Model, has_text: bool) -> None:
    if model.license_url and not has_text and model.id not in library.read:
        sentence = "The publisher has the text. It has to be opened before it can be accepted."
        draw_wrapped(layout, sentence, icon="INFO", width_px=WIDTH_PX)
    row = layout.row()
    if model.license_url:
        text = "Publisher's Notice" if has_text else "Read the Licence"
        row.operator("threer.read_licence", text=text, icon="URL").model = model.id
    if model.paper:
        row.operator("wm.url_open", text="Publication", icon="URL").url = model.paper


def draw_commercial(layout: bpy.types.UILayout, model: Model) -> None:
    """Whether it may be used for paid work: in red when not."""
    if model.commercial_use:
        layout.label(text="Commercial use: allowed", icon="CHECKMARK")
        return
    row = layout.row()
    row.alert = True
    row.label(text="Commercial use: not allowed", icon="CANCEL")


def draw_removal(layout: bpy.types.UILayout, model: Model) -> None:
    """What will be gone."""
    column = layout.column()
    if model.own:
        sentence = iface_("{} is taken from the list. The file itself stays where it is.").format(model.title)
        draw_wrapped(column, sentence, icon="INFO")
        return
    size = f" ({megabytes(model.download_bytes)})" if model.download_bytes else ""
    sentence = iface_("The files of {} are deleted from this machine.").format(f"{model.title}{size}")
    draw_wrapped(column, sentence, icon="TRASH")
    draw_wrapped(column, "Other programs that share the models folder lose them too.", icon="BLANK1")


def download_size(model: Model) -> str:
    """ "about 2.8 GB", "about 1.9 of 2.8 GB left", or that nobody knows."""
    if not model.download_bytes:
        return iface_("a download of unknown size")
    size = megabytes(model.download_bytes)
    if model.begun_bytes:
        left = max(0, model.download_bytes - model.begun_bytes)
        size = iface_("{} of {} still to come").format(megabytes(left), size)
    return iface_("about {}").format(size) if model.download_is_estimate else size


def memory_size(model: Model) -> str:
    """ "3.3 GB of memory", "about 3.3 GB of memory"."""
    words = iface_("about {} of memory") if model.memory_is_estimate else iface_("{} of memory")
    return words.format(megabytes(model.memory_bytes))

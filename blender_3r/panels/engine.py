"""Whether the engine is there, what can be done about it, and how that goes."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..client import locks
from ..client.doctor import BAD, GOOD, WARNING, Report
from ..client.session import session
from ..client.work import InstallState
from ..widgets.text import draw_wrapped, is_narrow, megabytes

PACKAGE = __package__.rpartition(".")[0]
ICONS = {GOOD: "CHECKMARK", WARNING: "INFO", BAD: "ERROR"}


def draw_status(layout: bpy.types.UILayout) -> None:
    """At the top of the sidebar, as long as the engine cannot be used."""
    if session.is_installing:
        _draw_progress(layout)
        return
    if not _draw_outcome(layout):
        icon = "CHECKMARK" if session.engine.state == "ready" else "INFO"
        draw_wrapped(layout, session.engine.text, icon=icon)
    state = session.engine.state
    if state == "ready":
        return
    if state == "wrong":
        layout.operator("preferences.addon_show", text="Open Preferences", icon="PREFERENCES").module = PACKAGE
        return
    _draw_offline(layout)
    row = layout.row()
    row.scale_y = 1.4
    if state == "broken":
        row.operator("threer.repair_engine", text="Repair Engine", icon="FILE_REFRESH")
    else:
        row.enabled = bpy.app.online_access
        is_old = state == "outdated"
        row.operator("threer.install_engine", text="Update Engine" if is_old else "Install Engine", icon="IMPORT")


def draw_preferences(layout: bpy.types.UILayout, preferences: bpy.types.AddonPreferences, folder: Path) -> None:
    """All there is to say and to do about the engine. folder: where it is or is to be."""
    profile = locks.PROFILES[preferences.profile]
    row = layout.row()
    row.enabled = not session.is_installing
    row.prop(preferences, "profile", expand=True)
    draw_wrapped(layout, f"{iface_(profile.text)}; {iface_(profile.size_text)}.")
    box = layout.box()
    if session.is_installing:
        _draw_progress(box)
    else:
        if not _draw_outcome(box):
            draw_wrapped(box, session.engine.text, icon=_state_icon())
        _draw_report(box)
    if not session.engine.is_own:
        size = _size()
        place = f"{folder}, {size}" if size else str(folder)
        draw_wrapped(box, iface_("Place: {}").format(place), icon="FILE_FOLDER")
    _draw_buttons(box)


def _draw_buttons(layout: bpy.types.UILayout) -> None:
    column = layout.column(align=True)
    if session.engine.state != "ready":
        _draw_offline(column)
    row = column.row(align=True)
    install = row.row(align=True)
    install.enabled = bpy.app.online_access
    if session.engine.state == "ready":
        install.operator("threer.install_engine", text="Install Again", icon="IMPORT")
    else:
        is_old = session.engine.state == "outdated"
        install.operator("threer.install_engine", text="Update" if is_old else "Install", icon="IMPORT")
    row.operator("threer.install_engine_wheels", text="From Folder...", icon="FILE_FOLDER")
    row = column.row(align=True)
    row.operator("threer.check_engine", icon="VIEWZOOM")
    row.operator("threer.repair_engine", icon="FILE_REFRESH")
    row.operator("threer.remove_engine", icon="TRASH")
    row = column.row(align=True)
    row.operator("threer.open_engine_folder", icon="FILEBROWSER")
    row.operator("threer.open_log", icon="TEXT").is_install = True


def _draw_offline(layout: bpy.types.UILayout) -> None:
    if not bpy.app.online_access:
        draw_wrapped(layout, "Blender is offline. Installing needs the network once.", icon="INTERNET_OFFLINE")
        layout.operator("extensions.userpref_allow_online", text="Allow Online Access", icon="INTERNET")


def _state_icon() -> str:
    return {"ready": "CHECKMARK", "missing": "INFO"}.get(session.engine.state, "ERROR")


def _draw_progress(layout: bpy.types.UILayout) -> None:
    state: InstallState = session.installer.state
    layout.label(text=session.installer.title, icon="IMPORT")
    draw_wrapped(layout, state.step)
    row = layout.row(align=True)
    row.progress(factor=state.fraction, text=progress_text(state))
    row.operator("threer.cancel_install", text="", icon="X")


def progress_text(state: InstallState) -> str:
    """What stands in the bar: percent, and megabytes where something is downloaded."""
    percent = f"{state.fraction * 100:.0f} %"
    if not state.total_bytes:
        return percent
    count = iface_("{:.0f} of {}").format(state.done_bytes / 1e6, megabytes(state.total_bytes))
    return f"{percent}   {count}"


def _draw_outcome(layout: bpy.types.UILayout) -> bool:
    """How the last work on the engine ended; whether there is anything to say."""
    work = session.installer
    if work is None:
        return False
    state: InstallState = work.state
    if state.status == "failed":
        _draw_failure(layout, state.failure)
    elif state.status == "cancelled":
        layout.label(text=iface_("{}: cancelled").format(iface_(work.title)), icon="CANCEL")
    elif state.text:
        report = _report()
        icon = "ERROR" if report is not None and not report.is_healthy else "CHECKMARK"
        draw_wrapped(layout, state.text, icon=icon)
    else:
        return False
    return True


def _report() -> Report | None:
    return getattr(session.installer, "report", None)


def _size() -> str:
    """What the engine takes on disk, as the last check has measured it, or else its installation."""
    report = _report()
    size = report.bytes if report is not None and report.bytes else session.engine.bytes
    return megabytes(size) if size else ""


def _draw_report(layout: bpy.types.UILayout) -> None:
    report = _report()
    for finding in report.findings if report is not None else ():
        draw_wrapped(layout, f"{iface_(finding.name)}: {iface_(finding.text)}", icon=ICONS[finding.state])
        if finding.hint:
            draw_wrapped(layout, finding.hint, icon="BLANK1")


def _draw_failure(layout: bpy.types.UILayout, failure: object) -> None:
    column = layout.column()
    column.alert = True
    draw_wrapped(column, failure.message, icon="ERROR")
    draw_wrapped(layout, failure.hint, icon="BLANK1")
    if not is_narrow():
        draw_wrapped(layout, f"{iface_('Log')}: {session.installer.log}", icon="BLANK1")
    layout.operator("threer.open_log", icon="TEXT").is_install = True


class THREER_PT_engine(bpy.types.Panel):
    bl_label = "Engine"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "3R"
    bl_parent_id = "THREER_PT_main"
    bl_options = {"DEFAULT_CLOSED"}
    bl_order = 9

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return session.engine.state == "ready" and not session.is_installing  # else it is at the top

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        if not _draw_outcome(layout):
            draw_wrapped(layout, session.engine.text, icon="CHECKMARK")
        if not session.engine.is_own:
            if size := _size():
                layout.label(text=iface_("{} on disk").format(size), icon="DISK_DRIVE")
            row = layout.row(align=True)
            row.operator("threer.check_engine", icon="VIEWZOOM")
            row.operator("threer.repair_engine", icon="FILE_REFRESH")
        layout.operator("preferences.addon_show", text="Preferences", icon="PREFERENCES").module = PACKAGE


classes = (THREER_PT_engine,)

"""Whether the engine is there, and the button that installs it."""

from __future__ import annotations

import bpy

from ..client.session import session
from .text import draw_wrapped

PACKAGE = __package__.rpartition(".")[0]


def draw_status(layout: bpy.types.UILayout) -> None:
    """Also drawn in the preferences."""
    installer = session.installer
    if session.is_installing:
        _draw_progress(layout, installer.state)
        return
    if installer is not None and installer.state.status == "failed":
        _draw_failure(layout, installer.state.failure)
    elif session.engine.state == "ready":
        draw_wrapped(layout, session.engine.text, icon="CHECKMARK")
    elif installer is not None and installer.state.status == "cancelled":
        layout.label(text="Installation cancelled", icon="CANCEL")
    else:
        draw_wrapped(layout, session.engine.text, icon="INFO")
    if session.engine.state == "ready":
        return
    if session.engine.state == "wrong":
        layout.operator("preferences.addon_show", text="Open Preferences", icon="PREFERENCES").module = PACKAGE
    else:
        _draw_install(layout)


def _draw_install(layout: bpy.types.UILayout) -> None:
    if not bpy.app.online_access:
        draw_wrapped(layout, "Blender is offline. Installing needs the network once.", icon="INTERNET_OFFLINE")
        layout.operator("extensions.userpref_allow_online", text="Allow Online Access", icon="INTERNET")
    row = layout.row()
    row.scale_y = 1.4
    row.enabled = bpy.app.online_access
    text = "Update Engine" if session.engine.state == "outdated" else "Install Engine"
    row.operator("threer.install_engine", text=text, icon="IMPORT")


def _draw_progress(layout: bpy.types.UILayout, state: object) -> None:
    layout.label(text="Installing the engine", icon="IMPORT")
    draw_wrapped(layout, state.step)
    row = layout.row(align=True)
    row.progress(factor=state.fraction, text=f"{state.fraction * 100:.0f} %")
    row.operator("threer.cancel_install", text="", icon="X")


def _draw_failure(layout: bpy.types.UILayout, failure: object) -> None:
    column = layout.column()
    column.alert = True
    draw_wrapped(column, failure.message, icon="ERROR")
    draw_wrapped(layout, failure.hint, icon="BLANK1")
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
        draw_wrapped(layout, session.engine.text, icon="CHECKMARK")
        if not session.engine.is_own:
            layout.operator("threer.install_engine", text="Install Again", icon="FILE_REFRESH")
        layout.operator("preferences.addon_show", text="Preferences", icon="PREFERENCES").module = PACKAGE


classes = (THREER_PT_engine,)

"""Install the engine, and stop installing it."""

from __future__ import annotations

import sys

import bpy

from .. import preferences
from ..client import environment
from ..client.installer import Installer
from ..client.session import session


class THREER_OT_install_engine(bpy.types.Operator):
    """Download the engine's packages (about 130 MB) into a folder of their own; Blender itself is not changed"""

    bl_idname = "threer.install_engine"
    bl_label = "Install Engine"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if session.is_installing or session.is_running:
            busy = "The engine is being installed" if session.is_installing else "A job is running"
            cls.poll_message_set(busy)
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        if not bpy.app.online_access:
            self.report(
                {"ERROR"},
                "Blender may not use the network: switch on Allow Online Access in Preferences, System, Network",
            )
            return {"CANCELLED"}
        pythons = environment.base_pythons(sys.executable, sys.prefix, bpy.app.binary_path)
        folder = preferences.engine_folder()
        try:
            installer = Installer(pythons, folder)
        except OSError as error:
            self.report({"ERROR"}, f"The engine folder {folder} cannot be written ({error.strerror})")
            return {"CANCELLED"}
        session.install(installer, preferences.refresh_engine)
        return {"FINISHED"}


class THREER_OT_cancel_install(bpy.types.Operator):
    """Stop installing; what was made half is removed"""

    bl_idname = "threer.cancel_install"
    bl_label = "Cancel Installation"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not session.is_installing:
            cls.poll_message_set("Nothing is being installed")
        return session.is_installing

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.cancel_install()
        return {"FINISHED"}


classes = (THREER_OT_install_engine, THREER_OT_cancel_install)

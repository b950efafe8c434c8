"""Install, check, repair and remove the engine; all of it in the background, one thing at a time."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import bpy

from .. import preferred
from ..client import environment
from ..client.doctor import Checkup
from ..client.installer import Installer, Remover, Repair
from ..client.session import session
from ..client.work import Work
from . import reconstruct

OFFLINE = "Blender may not use the network: switch on Allow Online Access in Preferences, System, Network"


class _EngineWork:
    """What the operators share: not during a job or beside each other, and what starts them."""

    needs_engine = False  # whether there must be something that it can work on

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        reason = why_not()
        if not reason and cls.needs_engine and not is_something_there():
            reason = "Nothing is installed"
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def start(self, make: Callable[[Path, str], Work]) -> set[str]:
        """make: engine folder and profile to the work, which begins at once."""
        folder = preferred.engine_folder()
        try:
            work = make(folder, preferred.profile())
        except OSError as error:
            self.report({"ERROR"}, f"The engine folder {folder} cannot be written ({error.strerror})")
            return {"CANCELLED"}
        session.install(work, preferred.refresh_engine)
        return self._wait(work) if reconstruct.is_headless() else {"FINISHED"}

    def _wait(self, work: Work) -> set[str]:
        """Without a window no timer runs: stay until the end."""
        step = ""
        while work.state.status == "running":
            if work.state.step != step:
                step = work.state.step
                print(f"3R: {step}", flush=True)
            time.sleep(0.05)
        preferred.refresh_engine()
        failure = work.state.failure
        if failure is not None:
            self.report({"ERROR"}, f"{failure.message} {failure.hint} Log: {work.log}")
            return {"CANCELLED"}
        self.report({"INFO"}, work.state.text)
        return {"FINISHED"}


def why_not() -> str:
    """Why the engine cannot be worked on now, as a sentence; empty when it can."""
    if session.is_installing:
        return f"{session.installer.title} is not done yet"
    return "A job is running" if session.is_running else ""


def is_something_there() -> bool:
    """Whether an engine was installed, or half of one, or the preferences name a Python that is there."""
    return session.engine.python is not None or preferred.engine_folder().is_dir()


def _pythons() -> list[Path]:
    return environment.base_pythons(sys.executable, sys.prefix, bpy.app.binary_path)


class THREER_OT_install_engine(_EngineWork, bpy.types.Operator):
    """Download the engine's packages into a folder of their own; Blender itself is not changed"""

    bl_idname = "threer.install_engine"
    bl_label = "Install Engine"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        if not bpy.app.online_access:
            self.report({"ERROR"}, OFFLINE)
            return {"CANCELLED"}
        return self.start(lambda folder, profile: Installer(_pythons(), folder, profile))


class THREER_OT_install_engine_wheels(_EngineWork, bpy.types.Operator):
    """Install the engine from a folder of package files (wheels), without a network"""

    bl_idname = "threer.install_engine_wheels"
    bl_label = "Install from Folder"
    bl_options = {"INTERNAL"}

    directory: bpy.props.StringProperty(
        name="Folder of Wheels",
        description="The folder with all package files; the manual says how to fill it",
        subtype="DIR_PATH",
        options={"HIDDEN", "SKIP_SAVE"},
    )
    filter_folder: bpy.props.BoolProperty(name="Folders", default=True, options={"HIDDEN", "SKIP_SAVE"})
    filter_glob: bpy.props.StringProperty(name="Files", default="*.whl", options={"HIDDEN", "SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        wheels = Path(bpy.path.abspath(self.directory)) if self.directory else None
        if wheels is None or not any(wheels.glob("*.whl")):
            self.report({"ERROR"}, f"There are no package files (*.whl) in {wheels or 'the folder'}")
            return {"CANCELLED"}
        return self.start(lambda folder, profile: Installer(_pythons(), folder, profile, wheels=wheels))


class THREER_OT_check_engine(_EngineWork, bpy.types.Operator):
    """Look at every file of the engine, and let it test itself and the graphics card; changes nothing"""

    bl_idname = "threer.check_engine"
    bl_label = "Check"
    bl_options = {"INTERNAL"}
    needs_engine = True

    def execute(self, context: bpy.types.Context) -> set[str]:
        own = session.engine.python if session.engine.is_own else None
        online = bpy.app.online_access
        return self.start(lambda folder, profile: Checkup(folder, profile, use_network=online, own_python=own))


class THREER_OT_repair_engine(_EngineWork, bpy.types.Operator):
    """Look for damaged packages and fetch those again; if that does not do, install anew"""

    bl_idname = "threer.repair_engine"
    bl_label = "Repair"
    bl_options = {"INTERNAL"}
    needs_engine = True

    def execute(self, context: bpy.types.Context) -> set[str]:
        online = bpy.app.online_access
        return self.start(lambda folder, profile: Repair(_pythons(), folder, profile, use_network=online))


class THREER_OT_remove_engine(_EngineWork, bpy.types.Operator):
    """Delete the engine with all its packages from this computer; jobs, models and other files stay"""

    bl_idname = "threer.remove_engine"
    bl_label = "Remove"
    bl_options = {"INTERNAL"}
    needs_engine = True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context: bpy.types.Context) -> set[str]:
        return self.start(lambda folder, profile: Remover(folder))


class THREER_OT_cancel_install(bpy.types.Operator):
    """Stop what is being done to the engine; what was made half is removed, or told to be half"""

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


class THREER_OT_open_engine_folder(bpy.types.Operator):
    """Show the folder in which the engine is installed"""

    bl_idname = "threer.open_engine_folder"
    bl_label = "Show Folder"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        folder = preferred.engine_folder()
        if not os.path.isdir(folder):
            self.report({"WARNING"}, f"{folder} is not there yet")
            return {"CANCELLED"}
        self.report({"INFO"}, str(folder))
        return bpy.ops.wm.path_open(filepath=str(folder))


classes = (
    THREER_OT_install_engine,
    THREER_OT_install_engine_wheels,
    THREER_OT_check_engine,
    THREER_OT_repair_engine,
    THREER_OT_remove_engine,
    THREER_OT_cancel_install,
    THREER_OT_open_engine_folder,
)

"""What holds for all files: where the engine's Python and the job folders are."""

from __future__ import annotations

from pathlib import Path

import bpy

from .client import environment, locks
from .client.library import library
from .client.session import session
from .panels import engine, models
from .scene.fast_display import is_drawn_by_processor


def _place_edited(self: THREER_AP_preferences, context: bpy.types.Context) -> None:
    refresh_engine()


class THREER_AP_preferences(bpy.types.AddonPreferences):
    bl_idname = __package__

    profile: bpy.props.EnumProperty(
        name="Profile",
        description="What the engine can do, and how large it is",
        items=[(profile.id, profile.title, profile.text) for profile in locks.PROFILES.values()],
        update=_place_edited,
    )
    engine_folder: bpy.props.StringProperty(
        name="Engine Folder",
        description="Where the engine is installed; empty: a folder of your user account for all Blender versions",
        subtype="DIR_PATH",
        update=_place_edited,
    )
    engine_python: bpy.props.StringProperty(
        name="Engine Python",
        description="Use this Python instead of an installed engine; it must have the packages the engine needs",
        subtype="FILE_PATH",
        update=_place_edited,
    )
    job_folder: bpy.props.StringProperty(
        name="Job Folder",
        description="Where results are kept; empty: a folder 3r_jobs beside the .blend file",
        subtype="DIR_PATH",
    )
    models_folder: bpy.props.StringProperty(
        name="Models Folder",
        description="Where model weights are kept, for several machines too; empty: the Hugging Face cache of your "
        "user account, which other programs share",
        subtype="DIR_PATH",
        update=_place_edited,
    )
    commercial_only: bpy.props.BoolProperty(
        name="Only Models for Commercial Use",
        description="Neither list, download nor run models whose licence rules out commercial use",
        update=_place_edited,
    )

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        engine.draw_preferences(layout, self, engine_folder())
        column = layout.column()
        column.enabled = not session.is_installing
        column.prop(self, "engine_folder")
        column.prop(self, "engine_python")
        layout.prop(self, "job_folder")
        layout.separator()
        layout.label(text="Models")
        layout.prop(self, "models_folder")
        layout.prop(self, "commercial_only")
        models.draw_models(layout.column())


def get() -> THREER_AP_preferences | None:
    """The preferences, or None when the package runs without being an enabled add-on (a script's import)."""
    addon = bpy.context.preferences.addons.get(__package__)
    return addon.preferences if addon else None


def engine_folder() -> Path:
    """Where the engine is, or is to be, installed."""
    chosen = _path("engine_folder")
    return Path(chosen) if chosen else environment.default_engine_folder()


def profile() -> str:
    """The engine that is wanted, a key of locks.PROFILES."""
    preferences = get()
    return preferences.profile if preferences else "classic"


def jobs_folder() -> Path:
    """Where new jobs go: the preference, else beside the .blend, else the user's data folder."""
    chosen = _path("job_folder")
    if chosen:
        return Path(chosen)
    if bpy.data.filepath:
        return Path(bpy.data.filepath).parent / "3r_jobs"
    return environment.data_folder() / "jobs"


def refresh_engine() -> None:
    """Look again whether the engine is there."""
    session.engine = environment.find_engine(_path("engine_python"), engine_folder(), profile())
    library.catalogue.configure(serve_command() if session.engine.state == "ready" else None)


def serve_command() -> list[str]:
    """How the engine is started, with what the preferences say of models."""
    command = environment.serve_command(session.engine.python)
    folder, preferences = _path("models_folder"), get()
    if folder:
        command += ["--models", folder]
    if preferences and preferences.commercial_only:
        command.append("--commercial-only")
    if is_drawn_by_processor():
        command.append("--step-aside")
    return command


def _path(name: str) -> str:
    preferences = get()
    value = getattr(preferences, name) if preferences else ""
    return bpy.path.abspath(value) if value else ""


classes = (THREER_AP_preferences,)

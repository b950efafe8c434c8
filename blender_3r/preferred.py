"""What the preferences say, for whoever is to go by it: folders, the engine that is wanted, how it is started."""

from __future__ import annotations

from pathlib import Path

import bpy

from .client import environment
from .client.library import library
from .client.session import session
from .scene.fast_display import is_drawn_by_processor


def get() -> bpy.types.AddonPreferences | None:
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

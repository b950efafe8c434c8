"""The extension switched on as an add-on, with the fake engine in its preferences."""

from __future__ import annotations

import sys
from pathlib import Path

import bpy

import blender_3r
from blender_3r.client.session import session

MODULE = "blender_3r"
ROOT = Path(__file__).resolve().parent.parent.parent
FAKE = ROOT / "tests" / "fake_engine.py"


def switch_on() -> None:
    addon = bpy.context.preferences.addons.new()
    addon.module = MODULE
    blender_3r.register()


def switch_off() -> None:
    blender_3r.unregister()
    bpy.context.preferences.addons.remove(bpy.context.preferences.addons[MODULE])


def preferences() -> bpy.types.AddonPreferences:
    return bpy.context.preferences.addons[MODULE].preferences


def use_fake_engine(folder: Path, mode: str, seconds: float = 0.3, large: int = 1) -> Path:
    """Let the preferences name a Python that runs the fake engine whatever it is asked for; jobs go to folder/jobs."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / f"python-{mode}"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" {mode} {seconds} {large}\n')
    script.chmod(0o755)
    preferences().job_folder = str(folder / "jobs")
    preferences().engine_python = str(script)
    assert session.engine.state == "ready"
    return script

"""The built extension in a Blender without a window: install it as a user would, and press its buttons.

Runs inside Blender. BLENDER_USER_RESOURCES must name a scratch folder before bpy is imported (see `environment_for`),
so that nobody's own Blender settings are touched.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import NoReturn

MODULE = "bl_ext.user_default.blender_3r"


def environment_for(user_folder: Path) -> dict[str, str]:
    """The environment variables of a Blender process whose settings lie in user_folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "BLENDER_"))}
    return {**kept, "BLENDER_USER_RESOURCES": str(user_folder), "PYTHONDONTWRITEBYTECODE": "1"}


def install(package: Path, engine_python: Path, jobs: Path) -> None:
    """Install and enable the zip in an empty file, and set its preferences. Raises RuntimeError if it cannot be."""
    import bpy

    if not os.environ.get("BLENDER_USER_RESOURCES"):
        raise RuntimeError("BLENDER_USER_RESOURCES is not set: this would change your own Blender's settings")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.extensions.package_install_files(
        filepath=str(package), repo="user_default", enable_on_install=True, overwrite=True
    )
    addon = bpy.context.preferences.addons.get(MODULE)
    if addon is None:
        raise RuntimeError(f"Blender {bpy.app.version_string} did not enable {package}")
    addon.preferences.engine_python = str(engine_python)
    addon.preferences.job_folder = str(jobs)


def reconstruct(footage: Path, **settings: object) -> None:
    """Set the footage and other settings of the scene, and press Reconstruct. Raises RuntimeError with its sentence."""
    import bpy

    panel = bpy.context.scene.threer
    panel.path = str(footage)
    for name, value in settings.items():
        setattr(panel, name, value)
    bpy.ops.threer.reconstruct()


def sentence_of(error: RuntimeError) -> str:
    """What an operator reported, without what Blender puts around it."""
    return re.sub(r"^(Error: |Operator bpy\.ops\.\S+ )", "", str(error).strip()).partition("\nLocation:")[0]


def job_folder_of(scene: object) -> Path:
    """The folder of the job whose camera is the scene's."""
    return Path(scene.camera["threer_job"])


def leave(status: int) -> NoReturn:
    """Disable the extension and end the process at once: Blender's clean-up with classes registered may hang."""
    import bpy

    bpy.ops.preferences.addon_disable(module=MODULE)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

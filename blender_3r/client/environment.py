"""Where the engine's Python is, and how it gets there. Knows nothing of bpy.

<engine folder>/classic/         a virtual environment
               /classic/installed.json   written last: what was installed; without it the folder counts as nothing
               /install.log
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
ENGINE = PACKAGE / "engine"
REQUIREMENTS = Path(__file__).resolve().parent / "engine-classic.txt"
PYTHONS = ("3.13", "3.12", "3.11")  # for which the requirements have wheels
MARKER = "installed.json"


@dataclass(frozen=True)
class Status:
    """Whether the engine can be started. python: its interpreter where it can. is_own: the user's, not installed here.

    state: "ready", "missing" (to be installed), "outdated" (to be installed anew), "wrong" (a preference is wrong).
    text: a sentence for the panel.
    """

    state: str
    text: str
    python: Path | None = None
    is_own: bool = False


def data_folder() -> Path:
    """The per-user place for what all Blender versions share; not created."""
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return base / "blender_3r"


def default_engine_folder() -> Path:
    return data_folder() / "engine"


def environment_folder(engine_folder: Path) -> Path:
    """The virtual environment inside the engine folder."""
    return engine_folder / "classic"


def python_of(environment: Path) -> Path:
    """The interpreter of a virtual environment, there or not."""
    return environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def install_log(engine_folder: Path) -> Path:
    return engine_folder / "install.log"


def requirements_hash(requirements: Path = REQUIREMENTS) -> str:
    """Changes when a pin changes, not when a comment does."""
    pins = sorted(read_pins(requirements))
    return hashlib.sha256("\n".join(pins).encode()).hexdigest()


def read_pins(requirements: Path = REQUIREMENTS) -> list[str]:
    """The lines of a requirements file that name a package."""
    lines = (line.split("#")[0].strip() for line in requirements.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("-")]


def find_engine(engine_python: str, engine_folder: Path, requirements: Path = REQUIREMENTS) -> Status:
    """Look where the preferences point. engine_python: an existing interpreter to use instead, or ""."""
    if engine_python:
        python = Path(engine_python)
        if not python.is_file():
            return Status("wrong", f"The preferences name an engine Python that is not there: {python}.")
        return Status("ready", f"Uses {python}.", python, is_own=True)
    environment = environment_folder(engine_folder)
    python = python_of(environment)
    marker = read_marker(environment)
    if marker is None:
        return Status("missing", "The engine is not installed yet.")
    if not python.exists():  # a link into a Blender that was removed
        return Status("missing", "The engine's Python is gone, probably with the Blender that installed it.")
    if marker.get("requirements") != requirements_hash(requirements):
        return Status("outdated", "This version of the extension needs a newer engine.", python)
    return Status("ready", f"Installed in {environment}.", python)


def read_marker(environment: Path) -> dict[str, object] | None:
    """What was installed, or None when nothing was, or not to the end."""
    try:
        data = json.loads((environment / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def serve_command(python: Path, engine: Path = ENGINE) -> list[str]:
    """The argument list that starts the engine's process for this one."""
    return [str(python), "-I", "-X", "utf8", str(engine), "serve", "--parent", str(os.getpid())]


def base_pythons(executable: str, prefix: str, blender: str) -> list[Path]:
    """Interpreters to try for the environment, best first: Blender's own, then those of the system.

    executable, prefix: sys.executable, sys.prefix. blender: Blender's program, which some builds name as executable;
    it must never be started in Python's place.
    """
    found: list[Path] = []
    names = ["python.exe"] if sys.platform == "win32" else [f"python{version}" for version in PYTHONS] + ["python3"]
    candidates = [Path(executable)] if executable else []
    candidates += [Path(prefix) / ("" if sys.platform == "win32" else "bin") / name for name in names]
    for name in names:
        on_path = shutil.which(name)
        if on_path:
            candidates.append(Path(on_path))
    for candidate in candidates:
        is_python = candidate.name.lower().startswith("python") and candidate.is_file()
        is_blender = bool(blender) and candidate.resolve() == Path(blender).resolve()
        if is_python and not is_blender and candidate not in found:
            found.append(candidate)
    return found

"""Where the engine's Python is, and what lies in the engine folder. Knows nothing of bpy.

<engine folder>/classic, /full   an environment per profile
               /.../installed.json   written last: what was installed; without it the folder counts as nothing
               /python           the interpreter fetched for them, where that was possible
               /tools            a small environment with pip and uv, which make the others
               /cache            downloads of an installation that did not come to its end
               /install.log
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import files, locks

PACKAGE = Path(__file__).resolve().parent.parent
ENGINE = PACKAGE / "engine"
PYTHONS = ("3.13", "3.12", "3.11")  # for which the requirements have wheels
MARKER = "installed.json"


@dataclass(frozen=True)
class Status:
    """Whether the engine can be started. python: its interpreter where it can. is_own: the user's, not installed here.

    state: "ready", "missing" (to be installed), "outdated" (to be installed anew), "broken" (to be repaired), "wrong"
    (a preference is wrong). text: a sentence for the panel. profile: the one that is there. bytes: its size on disk,
    with what belongs to it, as it was when it was installed.
    """

    state: str
    text: str
    python: Path | None = None
    is_own: bool = False
    profile: str = ""
    bytes: int = 0


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


def environment_folder(engine_folder: Path, profile: str = "classic") -> Path:
    """The virtual environment of a profile inside the engine folder."""
    return engine_folder / profile


def tools_folder(engine_folder: Path) -> Path:
    return engine_folder / "tools"


def python_folder(engine_folder: Path) -> Path:
    return engine_folder / "python"


def cache_folder(engine_folder: Path) -> Path:
    return engine_folder / "cache"


def own_folders(engine_folder: Path) -> list[Path]:
    """All that the installer makes in the engine folder, beside its log; there or not."""
    environments = [environment_folder(engine_folder, profile) for profile in locks.PROFILES]
    return [*environments, tools_folder(engine_folder), python_folder(engine_folder), cache_folder(engine_folder)]


def python_of(environment: Path) -> Path:
    """The interpreter of a virtual environment, there or not."""
    return environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def install_log(engine_folder: Path) -> Path:
    return engine_folder / "install.log"


def find_engine(engine_python: str, engine_folder: Path, profile: str = "classic", lock: Path | None = None) -> Status:
    """Look where the preferences point; reads two small files at most.

    engine_python: an existing interpreter to use instead, or "". profile: what is wanted; the full engine does for the
    classic one too. lock: its lock file, if it is not the one that comes with the extension.
    """
    if engine_python:
        python = Path(engine_python)
        if not python.is_file():
            return Status("wrong", f"The preferences name an engine Python that is not there: {python}.")
        return Status("ready", f"Uses {python}.", python, is_own=True)
    found = _find(engine_folder, profile, lock)
    if found.state != "ready" and profile == "classic":
        full = _find(engine_folder, "full", None)
        return full if full.state == "ready" else found
    return found


def _find(engine_folder: Path, profile: str, lock: Path | None) -> Status:
    environment = environment_folder(engine_folder, profile)
    python = python_of(environment)
    marker = read_marker(environment)
    name = "The engine" if profile == "classic" else f"The engine ({locks.PROFILES[profile].title})"
    if marker is None:
        return Status("missing", f"{name} is not installed yet.")
    if not python.exists():  # a link into a Blender that was removed
        return Status("missing", f"{name}'s Python is gone, probably with the Blender that installed it.")
    size = marker.get("bytes")
    facts = {"python": python, "profile": profile, "bytes": size if isinstance(size, int) else 0}
    if marker.get("unfinished"):
        return Status("broken", f"A repair of {name[0].lower()}{name[1:]} did not come to its end.", **facts)
    try:
        wanted = locks.read_lock(lock or locks.lock_path(profile)).hash
    except OSError:  # no ready-made packages for this system, and yet it is installed: from another list, by hand
        wanted = None
    if marker.get("lock") != wanted:
        return Status("outdated", "This version of the extension needs other packages in its engine.", **facts)
    return Status("ready", f"The {locks.PROFILES[profile].title} engine is installed.", **facts)


def read_marker(environment: Path) -> dict[str, object] | None:
    """What was installed, or None when nothing was, or not to the end."""
    try:
        data = json.loads((environment / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def write_marker(environment: Path, marker: dict[str, object]) -> None:
    """Replace the marker at once: it is never half there. Raises OSError."""
    temporary = environment / f"{MARKER}.new"
    temporary.write_text(json.dumps(marker), encoding="utf-8")
    files.patiently(lambda: temporary.replace(environment / MARKER))


def folder_bytes(folder: Path) -> int:
    """What a folder takes on disk: a file with several names counts once. Slow: not for the main thread."""
    sizes: dict[tuple[int, int], int] = {}
    for entry in _files(files.whole(folder)):
        try:
            facts = os.stat(entry.path, follow_symlinks=False)
        except OSError:  # deleted meanwhile
            continue
        sizes[facts.st_dev, facts.st_ino] = facts.st_size
    return sum(sizes.values())


def _files(folder: Path | str) -> Iterator[os.DirEntry[str]]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)
        else:
            yield entry


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
    candidates += [Path(prefix) / "bin" / name for name in names]
    if sys.platform == "win32":  # where Python's own installer puts it; Blender has it in bin, too
        candidates += [Path(prefix) / name for name in names]
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

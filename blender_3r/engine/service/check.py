"""The engine's self-test: what is installed, whether it works, whether there is room to write."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import EngineError
from .devices import check_devices

MARKER = "installed.json"  # in an environment that the extension installed
CLASSIC = {"numpy": "numpy", "cv2": "opencv-python-headless", "PIL": "pillow", "pycolmap": "pycolmap"}
FULL = CLASSIC | {
    "torch": "torch",
    "safetensors": "safetensors",
    "huggingface_hub": "huggingface_hub",
    "scipy": "scipy",
}
PACKAGES = {"classic": CLASSIC, "full": FULL}  # profile to modules and the packages they come from
NEEDED_BYTES = 500_000_000


def self_check(folder: str | os.PathLike[str] | None = None, profile: str | None = None) -> dict[str, Any]:
    """Facts about this engine and its problems as sentences ("ok" when there are none).

    folder: where jobs are to be written; the system's temporary folder if None. profile: what the engine must be able
    to do, a key of PACKAGES; if None, what it was installed for. Raises EngineError for an unknown profile.
    """
    profile = profile or installed_profile()
    if profile not in PACKAGES:
        raise EngineError("usage", f"There is no profile {profile}.", f"Known: {', '.join(PACKAGES)}.")
    problems: list[str] = []
    packages = {package: _package(module, package, problems) for module, package in PACKAGES[profile].items()}
    place = Path(folder) if folder is not None else Path(tempfile.gettempdir())
    free = _writable_bytes(place, problems)
    methods = [] if problems else _methods(problems)
    if not problems:
        _decode_a_picture(problems)
    return {
        "ok": not problems,
        "version": __version__,
        "profile": profile,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": os.cpu_count() or 1,
        "packages": packages,
        "devices": check_devices(profile, problems) if packages["numpy"] else [],
        "methods": methods,
        "folder": str(place),
        "free_bytes": free,
        "problems": problems,
    }


def installed_profile() -> str:
    """What the environment was made for, by its installer or, failing that, by what lies in it."""
    try:
        profile = json.loads((Path(sys.prefix) / MARKER).read_text(encoding="utf-8"))["profile"]
        return profile if profile in PACKAGES else "classic"
    except (OSError, ValueError, KeyError, TypeError):
        return "full" if importlib.util.find_spec("torch") is not None else "classic"


def _package(module: str, package: str, problems: list[str]) -> str | None:
    try:
        importlib.import_module(module)
        return importlib.metadata.version(package)
    except Exception as error:  # a damaged package fails in any way, not only by ImportError
        problems.append(f"The package {package} cannot be loaded ({error}). Install the engine again.")
        return None


def _writable_bytes(place: Path, problems: list[str]) -> int | None:
    try:
        with tempfile.TemporaryDirectory(prefix="blender_3r-check-", dir=place) as trial:
            (Path(trial) / "trial").write_bytes(b"trial")
            free = shutil.disk_usage(trial).free
    except OSError as error:
        problems.append(f"Nothing can be written to {place} ({error.strerror or error}). Choose another folder.")
        return None
    if free < NEEDED_BYTES:
        problems.append(f"Only {free / 1e6:.0f} MB are free in {place}. Free some space or choose another folder.")
    return free


def _methods(problems: list[str]) -> list[str]:
    from ..methods import list_methods

    try:
        return [info.id for info in list_methods()]
    except EngineError as error:
        problems.append(str(error))
        return []


def _decode_a_picture(problems: list[str]) -> None:
    import cv2
    import numpy as np

    picture = np.full((48, 64, 3), 128, np.uint8)
    good, data = cv2.imencode(".png", picture)
    if not good or not np.array_equal(cv2.imdecode(data, cv2.IMREAD_COLOR), picture):
        problems.append("OpenCV does not decode images as it should. Install the engine again.")

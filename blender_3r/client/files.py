"""Files that are stubborn on Windows: held by an engine that is leaving or a virus scanner, read-only, of long names.

Knows nothing of bpy.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

PATIENCE_S = 10.0  # as long as an engine takes to leave, and a virus scanner to look at a file
POLL_S = 0.2
HELD = (5, 32, 33)  # Windows' codes: access denied, sharing violation, lock violation

Value = TypeVar("Value")


def is_held(error: OSError) -> bool:
    """Whether some program has the file open. Other systems than Windows do not mind that."""
    return getattr(error, "winerror", None) in HELD


def patiently(action: Callable[[], Value]) -> Value:
    """Try again while a file is held. Raises OSError as action does, when patience is at its end."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return action()
        except OSError as error:
            if not is_held(error) or time.monotonic() >= until:
                raise
        time.sleep(POLL_S)


def remove(place: Path) -> None:
    """Remove a file, a link or a folder with all in it; it need not be there. Raises OSError."""
    place = whole(place)
    if place.is_dir() and not place.is_symlink():
        # onerror gave way to onexc in Python 3.12
        handler = {"onexc": _make_writable} if sys.version_info >= (3, 12) else {"onerror": _make_writable}
        patiently(lambda: shutil.rmtree(place, **handler))
    elif os.path.lexists(place):
        patiently(place.unlink)


def whole(path: Path) -> Path:
    """The path in the form that Windows takes at any length; elsewhere as it is."""
    return Path(verbatim(os.path.abspath(path))) if sys.platform == "win32" else path


def verbatim(name: str) -> str:
    r"""An absolute name of Windows without its limit of 260 letters: "\\?\C:\x" for "C:\x"."""
    if name.startswith("\\\\?\\"):
        return name
    return f"\\\\?\\UNC\\{name[2:]}" if name.startswith("\\\\") else f"\\\\?\\{name}"


def _make_writable(function: Callable[[str], object], path: str, reason: object) -> None:
    """What shutil.rmtree calls where it failed: Windows does not delete what is read-only."""
    error = reason if isinstance(reason, BaseException) else reason[1]
    if sys.platform != "win32" or os.stat(path, follow_symlinks=False).st_mode & stat.S_IWRITE:
        raise error
    os.chmod(path, stat.S_IWRITE)
    function(path)

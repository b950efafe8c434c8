"""How far an installation is, from what uv or pip say and from what arrives on disk."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping

from .locks import normal_name

UNPACKED = 2.7  # bytes on disk per downloaded byte: measured with numpy, OpenCV, pycolmap and pillow together
UNITS = {"B": 1, "KIB": 1024, "MIB": 1024**2, "GIB": 1024**3, "KB": 1e3, "MB": 1e6, "GB": 1e9}


class Downloads:
    """Counts bytes per package. A finished package is known exactly; within one, it is judged by what is on disk."""

    def __init__(self, sizes: Mapping[str, int], names: Iterable[str]) -> None:
        """sizes: package to bytes, as far as known. names: the packages that are wanted."""
        self.grown_bytes = 0  # on disk, since the beginning; set by who watches
        self._guard = threading.Lock()
        self._sizes = {name: int(sizes.get(name, 0)) for name in names}
        self._done: set[str] = set()
        self._running: dict[str, None] = {}
        self._unpacking = False

    def follow(self, line: str) -> None:
        """Take in a line of output."""
        with self._guard:
            if match := re.match(r"\s*Downloading (\S+) \(([\d.]+) ?([KMG]?i?B)\)", line, re.IGNORECASE):
                self._begin(match.group(1), float(match.group(2)) * UNITS[match.group(3).upper()])
            elif match := re.match(r"\s*Downloaded (\S+)", line):
                self._finish(match.group(1))
            elif re.match(r"Prepared \d|Installing collected packages|Installed \d", line):
                for name in self._sizes:
                    self._finish(name)
                self._unpacking = True

    def progress(self) -> tuple[int, int]:
        """Bytes done and in all. Nothing is known (0, 0) when no package has a size."""
        with self._guard:
            total = sum(self._sizes.values())
            done = sum(self._sizes[name] for name in self._done)
            running = sum(self._sizes[name] for name in self._running)
            arrived = min(self.grown_bytes / UNPACKED, done + 0.95 * running)
            return int(max(done, arrived)), total

    @property
    def fraction(self) -> float:
        done, total = self.progress()
        return 1.0 if self._unpacking else done / total if total else 0.0

    @property
    def step(self) -> str:
        """What is going on, in words."""
        with self._guard:
            if self._unpacking:
                return "Unpacking packages"
            if not self._running:
                return "Asking for packages"
            name = max(self._running, key=lambda name: self._sizes[name])
            return f"Downloading {name} ({self._sizes[name] / 1e6:.1f} MB)"

    def _begin(self, file: str, size: float) -> None:
        """file: a package's name (uv) or its wheel's (pip, which fetches one after the other)."""
        name = normal_name(re.split(r"-\d", file)[0] if file.endswith(".whl") else file)
        if file.endswith(".whl"):
            for other in list(self._running):
                self._finish(other)
        self._sizes[name] = self._sizes.get(name) or int(size)
        self._running[name] = None

    def _finish(self, name: str) -> None:
        name = normal_name(name)
        self._running.pop(name, None)
        if name in self._sizes:
            self._done.add(name)

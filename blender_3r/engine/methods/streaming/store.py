"""The state of a stream in the job folder, so that a stopped job goes on: numbers only, checked when they are read.

One file of the form NAME.npz; the runner removes it with the results when the request changes.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

import numpy as np

from ...errors import EngineError
from ...jobfolder import JobFolder
from ..memory import in_gigabytes

NAME = "stream"
EVERY_S = 1.0
COST_SHARE = 0.05  # of the time; a larger state is kept less often
LARGEST_BYTES, DISK_SHARE = 4 << 30, 0.25  # of the free disk
DRIVER, TRACK = "driver.", "track."


class StateFile:
    """Writes the state now and then. keeps: false once it cannot be."""

    def __init__(self, job: JobFolder, log: Callable[[str], None]) -> None:
        self.keeps = True
        self._job, self._log = job, log
        self._written, self._cost = time.monotonic(), 0.0

    @property
    def is_due(self) -> bool:
        """Whether it is time to write again."""
        since = time.monotonic() - self._written
        return self.keeps and since >= max(EVERY_S, self._cost / COST_SHARE)

    def write(self, arrays: dict[str, np.ndarray]) -> None:
        """Replace what is kept. A disk that is full only means that nothing more is kept."""
        if not self.keeps:
            return
        began = time.monotonic()
        size = sum(array.nbytes for array in arrays.values())
        try:
            if size > min(LARGEST_BYTES, DISK_SHARE * shutil.disk_usage(self._job.path).free):
                raise EngineError("machine", f"Its {in_gigabytes(size)} are too much.")
            self._job.write_npz(NAME, **arrays)
        except (EngineError, OSError) as error:
            self.keeps = False
            self._log(f"the state is no longer kept; should the job stop, it begins anew: {error}")
        self._written = time.monotonic()
        self._cost = self._written - began

    def read(self) -> dict[str, np.ndarray] | None:
        """What an earlier run kept, None when there is nothing or it is damaged."""
        return self._job.read_npz(NAME)

    def discard(self) -> None:
        """Remove it, once the job is done."""
        (self._job.path / f"{NAME}.npz").unlink(missing_ok=True)


def joined(driver: dict[str, np.ndarray], track: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Both under names of their own."""
    return {DRIVER + name: array for name, array in driver.items()} | {
        TRACK + name: array for name, array in track.items()
    }


def part(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin with DRIVER or TRACK, without that."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

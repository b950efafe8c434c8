"""The engine between two jobs: it stays for the next one, so that modules and models need not be loaded again.

An engine that is kept ends itself when nothing comes for a while (service/process.py), and with it the graphics card's
memory is free again; `rest` ends it at once. Whether it is still there shows when it is needed. Knows nothing of bpy.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from .process import EngineProcess

LEAVE_GRACE_S = 5.0  # what an engine gets to leave by itself


class Keeper:
    """Holds at most one engine, which has nothing to do."""

    def __init__(self) -> None:
        self._kept: EngineProcess | None = None
        self._command: list[str] = []

    def take(self, command: list[str], log: Path) -> tuple[EngineProcess, bool]:
        """(engine, whether it was kept): the kept one if it was started in that way and lives, else a new one.

        log: where it prints to from now on. Raises OSError when log cannot be written or no engine be started.
        """
        kept, self._kept = self._kept, None
        if kept is not None:
            if self._command == command and not kept.has_ended and kept.exit_code is None:
                try:
                    kept.log.turn_to(log)
                except OSError:
                    self.keep(command, kept)
                    raise
                return kept, True
            kept.stop(LEAVE_GRACE_S)
        return start_engine(command, log), False

    def keep(self, command: list[str], process: EngineProcess) -> None:
        """Take an engine back that has done its job."""
        self.rest()
        process.log.turn_to(None)
        self._kept, self._command = process, command

    def rest(self) -> None:
        """Let the kept engine leave, without waiting for it: something else needs the memory, or its files."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.send("quit")
            kept.stop(LEAVE_GRACE_S)

    def close(self, grace_s: float) -> None:
        """End the kept engine, and wait for that."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.send("quit")
            kept.close(grace_s)


def start_engine(command: list[str], log: Path) -> EngineProcess:
    """In the folder for temporary files: whoever outlives a job must not hold on to a folder the user may delete."""
    return EngineProcess(command, Path(tempfile.gettempdir()), log)

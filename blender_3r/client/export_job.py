"""An export by the engine as the panel shows it: a job like a reconstruction, which reads the folder of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .job import Job
from .keeper import Keeper


class ExportJob(Job):
    """format_: one of the engine's (engine/export). options: fields of its ExportOptions.

    title: what it makes, for the panel. again: the operator that asks for it once more.
    """

    def __init__(
        self,
        command: list[str],
        folder: Path,
        format_: str,
        out: Path,
        options: dict[str, Any],
        title: str,
        again: str,
        keeper: Keeper | None = None,
    ) -> None:
        self.title, self.again = title, again
        self._wishes = {"format": format_, "out": str(out), "options": options}  # before the engine is asked
        super().__init__(command, folder, {}, keeper=keeper)

    def _ask(self) -> None:
        self._send_request("export", **self._wishes)

"""The making of a fused surface as the panel shows it: a job like a reconstruction, in the folder of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .job import Job
from .keeper import Keeper


class SurfaceJob(Job):
    """settings: the engine's (surfaces/settings.py)."""

    title = "Surface"
    again = "threer.make_surface"
    undo_step = "Make Surface"

    def __init__(
        self, command: list[str], folder: Path, settings: dict[str, Any], keeper: Keeper | None = None
    ) -> None:
        self._settings = settings  # before the engine is asked
        super().__init__(command, folder, {}, keeper=keeper)

    def _ask(self) -> None:
        self._send_request("surface", settings=self._settings)

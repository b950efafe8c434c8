"""A render of the scene by another Blender, as the panel shows it: a job like a reconstruction."""

from __future__ import annotations

from pathlib import Path

from .job import Job


class RenderJob(Job):
    """Renders into a folder, which also keeps the log. command: a Blender that runs scene/render_script.py."""

    title = "Render"
    again = "threer.render_shot"

    def __init__(self, command: list[str], out: Path, name: str, movie: bool) -> None:
        """name: of the files, before the number. movie: a review movie, too. Raises as Job."""
        self._wishes = {"out": str(out), "name": name, "movie": movie}  # before the other Blender is asked
        super().__init__(command, out, {})

    def _ask(self) -> None:
        self._send_request("render", **self._wishes)

"""What a run leaves in a job folder besides its results: a log. And which folders are no place for a job."""

from __future__ import annotations

import time
from pathlib import Path

from ..diskfiles import open_to_append
from ..errors import EngineError

_RESULTS = ("cameras.json", "state.json", "tracks.npz", "views", "sparse", "surface", "gaussians")


class JobLog:
    """log.txt of a job: one line a call, with the time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, text: str) -> None:
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text.rstrip()}\n"
        try:
            with open_to_append(self._path) as file:
                file.write(line.encode(errors="replace"))
        except OSError:
            return  # a disk too full for the log is reported by whatever the job itself writes next


def refuse_foreign_folder(folder: Path) -> None:
    """Results of an earlier job are removed, so the folder must not hold anything else under the same names."""
    if folder.exists() and not folder.is_dir():
        raise EngineError("usage", f"The job folder {folder} is a file, not a folder.", "Choose a folder for the job.")
    if (folder / "request.json").exists():
        return
    for name in _RESULTS:
        path = folder / name
        if path.is_file() or (path.is_dir() and any(path.iterdir())):
            raise EngineError(
                "usage",
                f"The folder {folder} holds other files ({name}) and no job.",
                "Choose an empty or a new folder for the job.",
            )

"""The footage that a job was made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import EngineError
from ..jobfolder import JobFolder
from ..source import Source
from .frames import FrameSource, open_source


@contextmanager
def footage_of(job: JobFolder, hint: str = "Reconstruct again.") -> Iterator[FrameSource]:
    """The frames of a job that is already there. Raises EngineError("input") when they are gone.

    hint: what to do where the job does not say where its footage is.
    """
    request = job.read_json("request") or {}
    if not isinstance(request.get("source"), dict):
        raise EngineError("input", f"The job in {job.path} does not say where its footage is.", hint)
    frames = open_source(Source.from_json(request["source"]))
    try:
        yield frames
    finally:
        frames.close()

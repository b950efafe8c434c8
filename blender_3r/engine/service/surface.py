"""Makes the fused surface of a job: for the process and for the command line."""

from __future__ import annotations

import dataclasses
import os
import time
import traceback
from collections.abc import Callable
from typing import Any

from ..errors import EngineError
from ..jobfolder import JobFolder
from ..methods.base import Context, Progress
from ..surfaces.settings import SurfaceSettings
from .runner import REPORT_EVERY_S, JobLog, Report, as_engine_error, available_threads


def run_surface(
    folder: str | os.PathLike[str],
    settings: dict[str, Any],
    report: Report,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Fuse the depth of the job in folder into one mesh, put it into the job folder and return a summary.

    settings: fields of SurfaceSettings. Reports "started" and "progress". An earlier surface stays until the new one
    is whole. Raises EngineError, Cancelled included; FolderInUse while a reconstruction writes there.
    """
    wishes = SurfaceSettings.from_json(settings)
    job = JobFolder.open(folder)
    log = JobLog(job.path / "log.txt")
    with job.claimed():
        try:
            return _run_claimed(job, wishes, _Pace(report), is_cancelled, log)
        except BaseException as error:
            failure = as_engine_error(error)
            if failure.kind == "cancelled":
                failure.message, failure.hint = "The surface was cancelled.", "The job is as it was before."
            log.write(f"surface: {failure.kind}: {failure}")
            if failure.kind == "internal":
                log.write("".join(traceback.format_exception(error)))
            raise failure from error


def _run_claimed(
    job: JobFolder, settings: SurfaceSettings, pace: _Pace, is_cancelled: Callable[[], bool], log: JobLog
) -> dict[str, Any]:
    from ..media.of_job import footage_of
    from ..surfaces.fuse import fuse
    from ..surfaces.store import write_surface

    started = time.monotonic()
    result = job.read_cameras()
    if result is None or not result.solved:
        raise EngineError("input", f"The job in {job.path} has no solved cameras.", "Reconstruct first.")
    log.write(f"surface: starts, {dataclasses.asdict(settings)}")
    pace.started(job)
    context = Context(job, is_cancelled, log.write, available_threads())
    if settings.texture is None:
        surface = fuse(result, settings, context, pace)
    else:
        with footage_of(job, "Make the surface without a texture.") as frames:
            surface = fuse(result, settings, context, pace, frames)
    pace(Progress("Writing", 0, 1, 0.99))
    write_surface(job, surface, settings)
    summary = {
        "kind": "surface",
        "faces": len(surface.mesh.faces),
        "vertices": len(surface.mesh.vertices),
        "voxel": surface.voxel,
        "views": surface.views,
        "seconds": round(time.monotonic() - started, 1),
        "warnings": surface.notes,
    }
    summary["text"] = (
        f"A surface of {summary['faces']:,} faces from {surface.views} depth maps, voxels of {surface.voxel:.3g}."
    )
    if surface.texture is not None:
        summary["texture"] = settings.texture
        summary["text"] += f" Texture of {settings.texture} x {settings.texture} from {surface.texture.views} frames."
    log.write(f"surface: {summary['text']}")
    return summary


class _Pace:
    """Passes progress on, not too often, with the time left as the pace so far says."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._began = time.monotonic()
        self._said, self._stage = -1e9, ""

    def started(self, job: JobFolder) -> None:
        self._report("started", job=str(job.path), total=0, resumed=False)

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.stage == self._stage and now - self._said < REPORT_EVERY_S:
            return
        self._said, self._stage = now, progress.stage
        fraction, elapsed = progress.fraction, now - self._began
        left = round(elapsed / fraction * (1 - fraction), 1) if fraction > 0.05 and elapsed > 1 else None
        self._report(
            "progress",
            stage=progress.stage,
            done=progress.done,
            total=progress.total,
            fraction=round(fraction, 4),
            eta_s=left,
        )

"""Runs one job: a method over a source into a job folder, reporting as it goes. Process and command line share it."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import cv2

from ..errors import Cancelled, EngineError
from ..jobfolder import JobFolder
from ..media.checks import require_visible
from ..media.frames import FrameSource, open_source
from ..methods import load_method
from ..methods.base import CamerasSolved, Context, Event, Method, Progress, ViewReady
from ..reconstruction import Reconstruction
from ..source import Source
from .auto import AUTO
from .choosing import Choosing
from .failures import as_engine_error
from .job_log import JobLog, refuse_foreign_folder
from .judging import judge_views
from .moving import AUTO as AUTO_MOVING
from .settings import check_request, fingerprint
from .summary import make_summary

REPORT_EVERY_S = 0.1
STATE_EVERY_S = 1.0


class Report(Protocol):
    """Takes what happens, in the words of the protocol: report("view", index=3)."""

    def __call__(self, type_: str, **fields: Any) -> None: ...


def run_job(
    request: dict[str, Any],
    folder: str | os.PathLike[str],
    report: Report,
    is_cancelled: Callable[[], bool] = lambda: False,
    restart: bool = False,
) -> dict[str, Any]:
    """Run a request (the form of request.json) to its end and return the summary.

    Reports "started", "chosen" (method "auto"), "progress", "cameras" and "view"; what is reported lies in the job
    folder already. Results of the same request that are there are kept and announced again, unless restart; those of
    another are removed.
    Raises EngineError, Cancelled included, after the job folder's state.json and log.txt say so too; FolderInUse when
    another engine works there, whose job goes on untouched.
    """
    method, source, settings = check_request(request)  # before the folder is touched
    refuse_foreign_folder(Path(folder))
    job = JobFolder.create(folder)
    log = JobLog(job.path / "log.txt")
    run = _Run(job, request, report, is_cancelled, log)
    with job.claimed():
        return _run_claimed(run, method, source, settings, restart)


def _run_claimed(run: _Run, method: str, source: Source, settings: dict[str, Any], restart: bool) -> dict[str, Any]:
    log = run.log
    try:
        return run.go(method, source, settings, restart)
    except BaseException as error:
        failure = as_engine_error(error)
        log.write(f"{failure.kind}: {failure}")
        if failure.kind == "internal":
            log.write("".join(traceback.format_exception(error)))
        run.record_failure(failure)
        raise failure from error


def available_threads() -> int:
    """CPU threads this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Run:
    """The state of one running job."""

    def __init__(
        self,
        job: JobFolder,
        request: dict[str, Any],
        report: Report,
        is_cancelled: Callable[[], bool],
        log: JobLog,
    ) -> None:
        self.job = job
        self.choosing = Choosing(request, job, log.write)
        self.report = report
        self.is_cancelled = is_cancelled
        self.log = log
        self.state: dict[str, Any] = {
            "status": "running",
            "stage": "",
            "fraction": 0.0,
            "views_ready": 0,
            "error": None,
            "summary": None,
        }
        self._owns_folder = False
        self._started = time.monotonic()
        self._first_fraction: tuple[float, float] | None = None  # (time, fraction) of the first progress
        self._reported = self._saved = -1e9

    @property
    def request(self) -> dict[str, Any]:
        """What is to run; for the method "auto" what was chosen, once it is."""
        return self.choosing.request

    def go(self, method_id: str, source: Source, settings: dict[str, Any], restart: bool) -> dict[str, Any]:
        if method_id != AUTO:
            load_method(method_id)
        elif not restart:
            self.choosing.take_earlier()
        earlier = None if restart else self._earlier_state()
        method_id = self.request["method"]
        self.log.write(f"{'goes on' if earlier else 'starts'}: {method_id} on {source.kind} {source.name}, {settings}")
        if earlier is not None and self._is_complete(earlier):
            return self._announce_finished(earlier)
        if earlier is not None or not (self.job.path / "request.json").exists():
            self._prepare(keep=earlier is not None)
        self._progress(Progress("Reading footage", 0, 1, 0.0))
        frames = open_source(source, self._on_footage)
        try:
            for warning in frames.warnings:
                self.log.write(f"footage: {warning}")
            require_visible(frames)
            if self.choosing.is_open:
                self.choosing.choose(source, len(frames))
                earlier = None if restart else self._earlier_state()
                if earlier is not None and self._is_complete(earlier):
                    return self._announce_finished(earlier)
                self._prepare(keep=earlier is not None)
            elif not self._owns_folder:  # another job's results go only now that this footage is known to be good
                self._prepare(keep=False)
            self._announce_start(len(frames), earlier is not None)
            self._announce_results()
            return self._solve(frames)
        finally:
            frames.close()

    def record_failure(self, failure: EngineError) -> None:
        """Write the end into state.json, if this run got so far as to own the folder."""
        self.state["status"] = "cancelled" if failure.kind == "cancelled" else "failed"
        self.state["error"] = {"kind": failure.kind, "message": failure.message, "hint": failure.hint}
        try:
            self._save_state()
        except EngineError as error:
            self.log.write(f"the state could not be saved: {error}")

    # -- going on where an earlier run stopped

    def _earlier_state(self) -> dict[str, Any] | None:
        """state.json of an earlier run of the same request, or None when there is nothing to go on from."""
        try:
            asked = self.job.read_json("request")
            state = self.job.read_json("state")
            self.job.read_cameras()
        except EngineError as error:
            self.log.write(f"what is in the folder cannot be used: {error}")
            return None
        if asked is None or state is None or asked.get("fingerprint") != fingerprint(self.request):
            return None
        return state

    def _is_complete(self, earlier: dict[str, Any]) -> bool:
        if earlier.get("status") != "done" or not earlier.get("summary"):
            return False
        views = sum(1 for _ in self.job.view_indices())
        return self.job.read_cameras() is not None and views == earlier["views_ready"]

    def _announce_finished(self, earlier: dict[str, Any]) -> dict[str, Any]:
        summary = earlier["summary"]
        self._announce_start(summary["total"], True)
        self._announce_results()
        return summary

    def _announce_start(self, total: int, is_resumed: bool) -> None:
        self.report("started", job=str(self.job.path), total=total, resumed=is_resumed)
        self._announce_choice()

    def _announce_choice(self) -> None:
        choice = self.choosing.choice
        if choice is not None:
            self.report("chosen", method=choice.method, model=choice.model, why=choice.why)

    def _announce_results(self) -> None:
        cameras = self.job.read_cameras()
        if cameras is None:
            return
        self.report("cameras", solved=len(cameras.solved), total=len(cameras.views), corrected=[])
        for index in self.job.view_indices():
            self.report("view", index=index)

    def _prepare(self, keep: bool) -> None:
        self._owns_folder = True
        if not keep:
            self.job.clear_results()
            for leftover in self.job.path.glob("*.npz"):  # a method's intermediate results
                leftover.unlink(missing_ok=True)
        self.job.write_json("request", {**self.request, "fingerprint": fingerprint(self.request)})
        self.state["views_ready"] = sum(1 for _ in self.job.view_indices())
        self._save_state()

    # -- the method's events

    def _solve(self, frames: FrameSource) -> dict[str, Any]:
        """The chosen method, or classic where a network that "auto" chose cannot even begin."""
        try:
            return self._run_method(frames)
        except Exception as error:
            failure = as_engine_error(error)
            has_cameras = self.job.read_cameras() is not None
            if has_cameras or not self.choosing.fall_back(failure, len(frames), self.state["fraction"]):
                advised = self.choosing.advise(failure)
                if advised is failure:
                    raise
                raise advised from error
        self._first_fraction = None
        self._prepare(keep=False)
        self._announce_choice()
        return self._run_method(frames)

    def _run_method(self, frames: FrameSource) -> dict[str, Any]:
        """The request's method from its first event to the summary."""
        settings = self.request.get("settings") or {}
        threads = int(settings.get("threads") or available_threads())
        cv2.setNumThreads(threads)
        context = Context(self.job, self.is_cancelled, self.log.write, threads)
        events = _events(load_method(self.request["method"]), frames, settings, context)
        try:
            for event in events:
                self._take(event)
                context.check_cancelled()
        finally:
            events.close()
        result = self.job.read_cameras()
        if result is None or not result.solved:
            raise EngineError(
                "unsolved",
                "No camera could be solved from this footage.",
                "Use footage with more overlap, texture and a camera that moves sideways.",
            )
        moving = settings.get("moving", AUTO_MOVING)
        for progress in judge_views(self.job, result, frames, self.log.write, moving):
            self._take(progress)
            context.check_cancelled()
        return self._finish(result, [*frames.warnings, *self.choosing.notes])

    def _finish(self, result: Reconstruction, warnings: list[str]) -> dict[str, Any]:
        summary = make_summary(self.job, result, time.monotonic() - self._started, warnings)
        if self.choosing.choice is not None:
            summary["choice"] = self.choosing.choice.to_json()
        self.state.update(status="done", stage="Done", fraction=1.0, summary=summary)
        self._save_state()
        self.log.write(summary["text"])
        return summary

    def _take(self, event: Event) -> None:
        if isinstance(event, Progress):
            self._progress(event)
        elif isinstance(event, CamerasSolved):
            if event.sparse is not None:
                self.job.write_sparse(event.sparse)
            if event.tracks is not None:
                self.job.write_npz("tracks", **event.tracks)
            self.job.write_cameras(event.reconstruction)
            found = event.reconstruction
            self.report("cameras", solved=len(found.solved), total=len(found.views), corrected=list(event.corrected))
        elif isinstance(event, ViewReady):
            if not self.job.has_view(event.index):
                self.state["views_ready"] += 1
            self.job.write_view(event.index, event.arrays)
            self.report("view", index=event.index)
        else:
            raise TypeError(f"a method yielded {type(event).__name__}")

    def _progress(self, event: Progress) -> None:
        now = time.monotonic()
        fraction = min(1.0, max(0.0, event.fraction))
        new_stage = event.stage != self.state["stage"]
        self.state["stage"], self.state["fraction"] = event.stage, round(fraction, 4)
        if new_stage:
            self.log.write(f"{event.stage} ({fraction:.0%})")
        if new_stage or now - self._reported >= REPORT_EVERY_S:
            self._reported = now
            self.report(
                "progress",
                stage=event.stage,
                done=event.done,
                total=event.total,
                fraction=round(fraction, 4),
                eta_s=self._eta(now, fraction),
            )
        if new_stage or now - self._saved >= STATE_EVERY_S:
            self._save_state()

    def _eta(self, now: float, fraction: float) -> float | None:
        """Seconds left, from the pace since the first progress (a resumed job does not start at 0); None at first."""
        if fraction > 0 and self._first_fraction is None:
            self._first_fraction = (now, fraction)
        if self._first_fraction is None:
            return None
        elapsed, gained = now - self._first_fraction[0], fraction - self._first_fraction[1]
        if elapsed < 1.0 or gained < 0.01:
            return None
        return round(elapsed / gained * (1.0 - fraction), 1)

    def _on_footage(self, done: int, total: int) -> None:
        if self.is_cancelled():
            raise Cancelled
        self._progress(Progress("Reading footage", done, total, 0.0))

    def _save_state(self) -> None:
        if self._owns_folder:
            self._saved = time.monotonic()
            self.job.write_json("state", self.state)


def _events(method: Method, frames: FrameSource, settings: dict[str, Any], context: Context) -> Iterator[Event]:
    """What the method yields, and the step behind it where that is asked for."""
    if not settings.get("refine"):
        return method.run(frames, settings, context)
    from ..methods.refine import run_refined  # which imports much

    return run_refined(method, frames, settings, context)

"""One job from start to end as the panel shows it: messages in, state out. Knows nothing of bpy.

starting -> running -> done | failed | cancelled
              |-> cancelling -> cancelled

An engine that did its job stays for the next one, with a `Keeper`; else it ends with the job. One that died while it
was kept is replaced before anybody notices. One that dies in a job is started again, once, and goes on from the views
that are there; the panel says so. It is not when it had got nowhere, nor is a second one that dies: what killed them
would probably kill the next one too, so the user is told, and Retry goes on from the views that are there.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..engine import __version__, protocol
from ..engine.diskfiles import open_to_append
from ..engine.errors import EngineError
from .job_state import Failure, JobState
from .keeper import LEAVE_GRACE_S, Keeper, start_engine
from .pick import Pick
from .process import EngineProcess, describe_exit, read_tail

HANDSHAKE_S = 90.0  # a cold disk and a virus scanner may make the engine's first imports slow
CANCEL_GRACE_S = 6.0  # what the engine gets to end by itself after Cancel
SILENCE_S = 60.0  # after so long without news the panel says so
EXIT_GRACE_S = 0.2  # at the end of Blender: what the engine gets to leave by itself
HARMLESS = ("usage", "input", "unsolved", "cancelled")  # failures that say nothing against the engine itself

_numbers = itertools.count(1)


class Job:
    """Drives one engine process through one request. Call `pump` often; it never waits.

    title: what it makes, for the panel. again: the operator that starts it once more. undo_step: how the undo history
    calls the arrival of its result.
    """

    title = "Reconstruction"
    again = "threer.reconstruct"
    undo_step = "Reconstruct"

    def __init__(
        self,
        command: list[str],
        folder: Path,
        request: dict[str, Any],
        clock: Callable[[], float] = time.monotonic,
        keeper: Keeper | None = None,
    ) -> None:
        """Makes the job folder and starts the engine, or takes the one that keeper has.

        Raises EngineError when the folder cannot be written, OSError when the engine cannot be started.
        """
        self.id = f"{next(_numbers)} {folder.name}"  # a word about an earlier job must not be taken for this one's
        self.folder = folder
        self.request = request
        self.log = folder / "log.txt"
        self.state = JobState()
        self._clock = clock
        self._started = self._heard = self._engine_started = clock()
        self._cancelled_at: float | None = None
        self._first_fraction: float | None = None  # that the engine told
        self._command = command
        self._keeper = keeper
        self._is_kept = False
        _make_writable(folder, self.log)
        self._process, self._is_second_hand = self._engine()
        self._handlers = {
            "hello": self._on_hello,
            "started": self._on_started,
            "chosen": self._on_chosen,
            "progress": self._on_progress,
            "cameras": self._on_cameras,
            "view": self._on_view,
            "done": self._on_done,
            "failed": self._on_failed,
            "cancelled": self._on_cancelled,
        }
        if self._process.is_greeted:
            self._ask()

    @property
    def engine_pid(self) -> int:
        return self._process.pid

    @property
    def elapsed_s(self) -> float:
        return self._clock() - self._started

    @property
    def time_left_s(self) -> float | None:
        """Seconds until the end as the engine last guessed, None if it did not."""
        if self.state.eta_s is None:
            return None
        return max(0.0, self.state.eta_s - (self._clock() - self.state.eta_at))

    @property
    def silent_s(self) -> float:
        """Seconds since the engine's last message."""
        return self._clock() - self._heard

    def cancel(self) -> None:
        """Ask the engine to stop; `pump` ends it by force if it does not."""
        if self.state.is_over or self._cancelled_at is not None:
            return
        self._cancelled_at = self._clock()
        self._process.send("cancel", id=self.id)
        self._set(status="cancelling", stage="Stopping", eta_s=None)

    def pump(self, budget_s: float = 0.005) -> bool:
        """Take in what the engine said, for at most budget_s. Returns whether the state changed."""
        before = self.state.revision
        until = self._clock() + budget_s
        ended = self._process.has_ended  # asked before the queue is emptied, so no last word is lost
        drained = False
        while not self.state.is_over:
            message = self._process.poll()
            if message is None:
                drained = True
                break
            self._heard = self._clock()
            self._take(message)
            if self._clock() >= until:
                break
        if not self.state.is_over:
            if ended and drained:
                self._on_death()
            else:
                self._check_patience()
        return self.state.revision != before

    def close(self) -> None:
        """End the engine and wait for its end, about half a second at most: Blender leaves."""
        if not self.state.is_over:
            self._process.send("quit")
            self._set(status="cancelled", eta_s=None)
        elif self._is_kept:
            return
        self._process.close(EXIT_GRACE_S)

    # -- messages

    def _take(self, message: protocol.Message) -> None:
        handler = self._handlers.get(message["type"])
        if handler is None or message.get("id", self.id) != self.id:
            return
        try:
            handler(message)
        except (TypeError, ValueError, KeyError):
            return  # a message of the wrong form says nothing; the next one will
        self.state.revision += 1

    def _on_hello(self, message: protocol.Message) -> None:
        mismatch = protocol.mismatch(message)
        if mismatch:
            self._fail(
                Failure(
                    f"The engine does not fit this extension: {mismatch}.",
                    "Restart Blender; if it happens again, install the extension anew.",
                )
            )
            return
        self._process.is_greeted = True
        self._process.send("hello", protocol=protocol.VERSION, version=__version__)
        self._ask()

    def _ask(self) -> None:
        self._send_request("reconstruct", request=self.request)

    def _send_request(self, type_: str, **fields: Any) -> None:
        self._process.send(type_, id=self.id, job=str(self.folder), **fields)
        if self._cancelled_at is not None:
            self._process.send("cancel", id=self.id)

    def _on_started(self, message: protocol.Message) -> None:
        self._set_running(stage="Going on where it stopped" if message.get("resumed") else "Reading footage")
        total = message.get("total")
        self.state.total = int(total) if total else self.state.total

    def _on_chosen(self, message: protocol.Message) -> None:
        self.state.pick = Pick.from_message(message)

    def _on_progress(self, message: protocol.Message) -> None:
        fraction = min(1.0, max(0.0, float(message["fraction"])))
        if self._first_fraction is None:
            self._first_fraction = fraction
        eta = message.get("eta_s")
        self._set_running(
            stage=str(message.get("stage") or self.state.stage),
            fraction=fraction,
            eta_s=max(0.0, float(eta)) if eta is not None else None,
        )
        self.state.eta_at = self._clock()

    def _on_cameras(self, message: protocol.Message) -> None:
        self.state.solved, self.state.total = int(message["solved"]), int(message["total"])
        self.state.results_revision += 1

    def _on_view(self, message: protocol.Message) -> None:
        self.state.views_ready += 1
        self.state.results_revision += 1

    def _on_done(self, message: protocol.Message) -> None:
        summary = message.get("summary")
        self.state.summary = summary if isinstance(summary, dict) else {}
        self._end("done", is_well=True, fraction=1.0)

    def _on_failed(self, message: protocol.Message) -> None:
        kind = str(message.get("kind") or "internal")
        if kind == "cancelled":
            self._end("cancelled", is_well=True)
            return
        text = str(message.get("message") or "The engine failed without a reason.")
        log = tuple(read_tail(self.log)) if kind == "internal" else ()
        # One whose memory ran out, or that has a bug, starts afresh with the next job.
        is_well = kind in HARMLESS and "id" in message
        self._fail(Failure(text, str(message.get("hint") or ""), kind, log), is_well=is_well)

    def _on_cancelled(self, message: protocol.Message) -> None:
        self._end("cancelled", is_well=True)

    # -- what no message says

    def _on_death(self) -> None:
        if self._cancelled_at is not None:
            self._end("cancelled")
            return
        if self._is_second_hand and self.state.status == "starting":
            self._start_another()  # the kept engine had left, or been killed, before it heard of this job
            return
        got_on = self._first_fraction is not None and self.state.fraction > self._first_fraction
        if got_on and not self.state.was_restarted:
            self._restart()
            return
        code = self._process.exit_code
        happened = f"The engine {describe_exit(code)} before the job was done."
        hint = "What was computed is kept: press Retry to go on from there, or look at the log."
        if code == -9:
            hint = "Perhaps memory ran out: try quality Draft or fewer frames. What was computed is kept."
        self._fail(Failure(happened, hint, "machine", tuple(read_tail(self.log))))

    def _restart(self) -> None:
        """What is there is announced again by the next engine, and so counted again."""
        self._first_fraction = None
        self._set(status="starting", stage="Starting the engine again", eta_s=None, views_ready=0, was_restarted=True)
        happened = describe_exit(self._process.exit_code)
        self._start_another()
        self._process.log.note(f"the engine {happened}, and was started again")

    def _start_another(self) -> None:
        try:
            self._process, self._is_second_hand = start_engine(self._command, self.log), False
        except OSError as error:
            reason = error.strerror or error
            self._fail(
                Failure(f"The engine cannot be started again ({reason}).", "Install the engine again.", "machine")
            )
            return
        self._engine_started = self._heard = self._clock()

    def _engine(self) -> tuple[EngineProcess, bool]:
        if self._keeper is None:
            return start_engine(self._command, self.log), False
        return self._keeper.take(self._command, self.log)

    def _check_patience(self) -> None:
        now = self._clock()
        if self._cancelled_at is not None:
            if now - self._cancelled_at > CANCEL_GRACE_S:
                self._end("cancelled", grace_s=0.0)
        elif self.state.status == "starting" and now - self._engine_started > HANDSHAKE_S:
            self._fail(
                Failure(
                    f"The engine did not answer within {HANDSHAKE_S:.0f} seconds.",
                    "Press Retry; if it happens again, look at the log and install the engine anew.",
                    "machine",
                    tuple(read_tail(self.log)),
                ),
                grace_s=0.0,
            )

    def _set_running(self, **values: Any) -> None:
        if self.state.status == "cancelling":
            values.pop("stage", None)
            self._set(**values)
        else:
            self._set(status="running", **values)

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            setattr(self.state, name, value)
        self.state.revision += 1

    def _fail(self, failure: Failure, grace_s: float = LEAVE_GRACE_S, is_well: bool = False) -> None:
        self.state.failure = failure
        self._end("failed", grace_s, is_well)

    def _end(self, status: str, grace_s: float = LEAVE_GRACE_S, is_well: bool = False, **values: Any) -> None:
        """is_well: the engine may do another job."""
        self._set(status=status, eta_s=None, **values)
        if is_well and self._keeper is not None:
            self._is_kept = True  # no longer this job's to end
            self._keeper.keep(self._command, self._process)
        else:
            self._process.stop(grace_s)


def _make_writable(folder: Path, log: Path) -> None:
    """Make the job folder and its log. Raises EngineError when that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        open_to_append(log).close()
    except OSError as error:
        failed = "written" if os.path.isdir(folder) else "made"
        raise EngineError(
            "machine",
            f"The job folder {folder} cannot be {failed} ({error.strerror or error}).",
            "Free disk space, save the .blend elsewhere, or choose another job folder in the preferences.",
        ) from error

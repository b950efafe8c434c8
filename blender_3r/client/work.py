"""Work on the engine folder in the background: installing, checking, repairing, removing. Knows nothing of bpy.

A thread drives one child process after the other; the panel reads `state`, which is replaced as a whole.
"""

from __future__ import annotations

import contextlib
import locale
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..engine.filelock import try_lock
from . import environment, files
from .job import Failure
from .process import clean_environment, kill_tree, read_tail, start_detached

LOG_BYTES = 1_000_000  # a longer log starts anew


@dataclass(frozen=True)
class InstallState:
    """status: "running", "done", "failed", "cancelled". fraction: 0..1 of all steps. text: the outcome, when done.

    done_bytes, total_bytes: of what is being downloaded; 0 when nothing is, or when nobody knows.
    """

    status: str = "running"
    step: str = "Starting"
    fraction: float = 0.0
    failure: Failure | None = None
    done_bytes: int = 0
    total_bytes: int = 0
    text: str = ""


class Stopped(Exception):
    """Cancel was pressed."""


class Failed(Exception):
    """The work cannot go on: what failed and why, and what to do.

    lines: what the failed program said. is_final: the cause is known, and lies outside of the engine folder.
    """

    def __init__(self, message: str, hint: str = "", lines: Sequence[str] = (), is_final: bool = False) -> None:
        super().__init__(message)
        self.message, self.hint, self.lines, self.is_final = message, hint, tuple(lines), is_final


class Work:
    """Construct to start; `cancel` stops it. Subclasses say what is done in `_do`, and what is undone in `_undo`.

    title: what the panel says above the progress. log: what the children said.
    """

    title = ""

    def __init__(self, engine_folder: Path) -> None:
        """Raises OSError when engine_folder cannot be written."""
        self.state = InstallState()
        self.log = environment.install_log(engine_folder)
        self._folder = engine_folder
        self._stop = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        engine_folder.mkdir(parents=True, exist_ok=True)
        is_long = self.log.is_file() and self.log.stat().st_size > LOG_BYTES
        # closed by the thread
        self._log_file = open(self.log, "w" if is_long else "a", encoding="utf-8", buffering=1)  # noqa: SIM115
        self.note(f"== {self.title}, {time.strftime('%Y-%m-%d %H:%M:%S')}")
        self._thread = threading.Thread(target=self._run, name="3R engine installer", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Ask to stop; returns at once."""
        self._stop.set()
        process = self._process
        if process is not None and process.poll() is None:
            kill_tree(process)

    def close(self, timeout_s: float = 3.0) -> None:
        """Stop and wait for the end: Blender leaves."""
        self.cancel()
        self._thread.join(timeout_s)

    # -- the thread

    def _do(self) -> str:
        """The work; returns the outcome as a sentence. Raises Stopped, Failed, OSError."""
        raise NotImplementedError

    def _undo(self) -> None:
        """After a failure or a cancel."""

    def _leave(self) -> None:
        """After the end, when the log is closed."""

    def _run(self) -> None:
        with self._log_file:
            try:
                with only_one(self._folder):
                    outcome = self._end()
            except Failed as error:
                outcome = self._fail(error)
            except Exception as error:  # without a last word the panel would say "running" for ever
                outcome = self._fail(Failed(f"Something unforeseen happened ({type(error).__name__}: {error})."))
        with contextlib.suppress(OSError):
            self._leave()
        self.state = outcome

    def _end(self) -> InstallState:
        try:
            text = self._do()
            return InstallState("done", "Done", 1.0, text=text)
        except Stopped:
            self._undo()
            return replace(self.state, status="cancelled")
        except (Failed, OSError) as error:
            if isinstance(error, OSError):
                error = self._explain(error)
            self._undo()
            return self._fail(error)

    def _explain(self, error: OSError) -> Failed:
        place = error.filename or self._folder
        if files.is_held(error):
            return Failed(f"{place} is in use.", "End the jobs in other Blender windows, then try again.")
        reason = f"The engine cannot be written to {place} ({error.strerror or error})."
        return Failed(reason, "Free space there or choose another engine folder in the preferences.")

    def _fail(self, error: Failed) -> InstallState:
        self.note(f"{error.message} {error.hint}")
        failure = Failure(error.message, error.hint, "machine", tuple(read_tail(self.log)))
        return replace(self.state, status="failed", failure=failure)

    def call(
        self,
        command: Sequence[object],
        sentence: str,
        follow: Callable[[str], None] | None = None,
        extra: dict[str, str] | None = None,
        is_secret: bool = False,
    ) -> str:
        """Run a child to its end, its output to the log (and to `follow`). Returns the output.

        extra: more environment variables. is_secret: the output stays out of the log. Raises Failed with `sentence`,
        Stopped.
        """
        if self._stop.is_set():
            raise Stopped
        arguments = [str(part) for part in command]
        self.note("$ " + " ".join(arguments))
        try:
            process = start_detached(
                arguments,
                self._folder,
                clean_environment() | (extra or {}),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            raise Failed(f"{sentence}: {arguments[0]} does not start ({error.strerror or error}).") from None
        self._process = process
        if self._stop.is_set():  # pressed while it started
            kill_tree(process)
        lines = []
        with process.stdout as stream:
            for raw in stream:
                line = decode(raw).rstrip()
                lines.append(line)
                if not is_secret:
                    self.note(line)
                if follow is not None:
                    follow(line)
        code = process.wait()
        if self._stop.is_set():
            raise Stopped
        if code != 0:
            raise Failed(f"{sentence}: {reason_of(lines)}", "The log tells more; try again.", lines)
        return "\n".join(lines)

    def step(self, step: str, fraction: float, done_bytes: int = 0, total_bytes: int = 0) -> None:
        """Show a step; the bar never goes back. Raises Stopped."""
        if self._stop.is_set():
            raise Stopped
        fraction = max(fraction, self.state.fraction)
        self.state = InstallState("running", step, fraction, done_bytes=done_bytes, total_bytes=total_bytes)

    def note(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # a full disk shows where it matters
            self._log_file.write(line + "\n")


def decode(raw: bytes) -> str:
    """A line of a program's output: uv writes UTF-8 everywhere, Python on Windows in the system's own encoding."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode(locale.getencoding(), errors="replace")


def reason_of(lines: Sequence[str]) -> str:
    """The line of a failed program's output that says most: what the engine's check found, else the last one."""
    said = [line.strip() for line in lines if line.strip()]
    problems = [line.removeprefix("Problem: ") for line in said if line.startswith("Problem: ")]
    errors = [line for line in said if line.lower().startswith("error:")]
    return (problems or errors or said[-1:] or ["no output"])[0][:200]


@contextlib.contextmanager
def only_one(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Hold an engine folder for this process; the system lets go of it when the process ends, however it ends.

    Raises Failed when another process, a second Blender, holds it.
    """
    path = folder / "installing.lock"
    try:
        file = open(path, "a+b")  # noqa: SIM115 - closed below
    except OSError as error:
        raise Failed(
            f"The engine folder {folder} cannot be written ({error.strerror or error}).",
            "Change its rights or choose another engine folder in the preferences.",
        ) from None
    with file:
        if not try_lock(file):
            raise Failed("Another Blender is working on this engine.", "Wait until it is done, then try again.")
        yield

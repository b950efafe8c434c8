"""A job in a terminal: a progress line, Ctrl-C to stop, libraries' chatter kept out."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, TextIO

from ..errors import EXIT_CANCELLED
from .output import redirected_to
from .runner import Report, run_job
from .summary import short_time

SIGNAL_CHECK_S = 0.2  # Windows delivers signals only between waits


def run_on_console(request: dict[str, Any], folder: Path, restart: bool = False, debug: bool = False) -> dict[str, Any]:
    """Run a job, progress on standard error, and return its summary. Raises what run_job raises."""
    return on_console(lambda report, stop: run_job(request, folder, report, stop, restart), folder, debug)


def on_console(
    work: Callable[[Report, Callable[[], bool]], dict[str, Any]], folder: Path, debug: bool = False
) -> dict[str, Any]:
    """work(report, is_cancelled) in a job folder, progress on standard error; returns what it returns.

    The first Ctrl-C (or SIGTERM) asks the job to stop, the second ends the process. Unless debug, what libraries
    print goes to the job's log.txt.
    """
    with contextlib.ExitStack() as stack:
        terminal = stack.enter_context(os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace"))
        line = ProgressLine(terminal)
        stop = stack.enter_context(_stop_signals(terminal.fileno()))

        def report(type_: str, **fields: Any) -> None:
            if type_ == "started" and not debug:
                stack.enter_context(redirected_to(folder / "log.txt"))
            line.report(type_, **fields)

        # In a thread: signals reach the main one even while a library computes for long.
        with ThreadPoolExecutor(1, "job") as pool:
            job = pool.submit(work, report, lambda: bool(stop))
            try:
                while not job.done():
                    wait([job], timeout=SIGNAL_CHECK_S)
                return job.result()
            finally:
                line.close()


class ProgressLine:
    """One line rewritten in place on a terminal; in a file, a line for every stage and every tenth."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._in_place = stream.isatty()
        self._last: tuple[str, int] | None = None
        self._width = 0

    def report(self, type_: str, **fields: Any) -> None:
        if type_ == "cameras":
            self.note(f"{fields['solved']} of {fields['total']} cameras solved")
        elif type_ == "chosen":
            self.note(fields["why"])
        elif type_ == "progress":
            self._show(fields["stage"], fields["fraction"], fields["eta_s"])

    def note(self, text: str) -> None:
        """A line that stays."""
        self._clear()
        self._write(text + "\n")

    def close(self) -> None:
        self._clear()

    def _show(self, stage: str, fraction: float, eta_s: float | None) -> None:
        left = f", {short_time(eta_s)} left" if eta_s is not None else ""
        text = f"{fraction:4.0%} {stage}{left}"
        if self._in_place:
            self._write("\r" + text.ljust(self._width))
            self._width = len(text)
        elif self._last != (stage, int(fraction * 10)):
            self._last = (stage, int(fraction * 10))
            self._write(text + "\n")

    def _clear(self) -> None:
        if self._in_place and self._width:
            self._write("\r" + " " * self._width + "\r")
            self._width = 0

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


@contextlib.contextmanager
def _stop_signals(terminal: int) -> Iterator[list[int]]:
    """A list that fills when the user asks to stop."""
    asked: list[int] = []

    def on_signal(number: int, _frame: object) -> None:
        if asked:
            os._exit(EXIT_CANCELLED)  # asked twice: at once; the job folder is whole at any moment
        asked.append(number)
        # Not through the buffered stream, which may be in the middle of a write.
        os.write(terminal, b"\nStopping; once more to stop at once.\n")

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

"""A command as a process of its own: how it ended, what it took; and the machine it ran on."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TEXT_KEPT = 20000  # characters of a long output


@dataclass(frozen=True)
class Run:
    """status: exit status, negative the signal that ended it. cpu_s: user and system time of the process and of the
    children it waited for. peak_mb: resident memory (MiB) of the largest of them. stdout, stderr: their last part.
    """

    status: int
    timed_out: bool
    wall_s: float
    cpu_s: float
    peak_mb: float
    stdout: str
    stderr: str

    @property
    def ending(self) -> str:
        """How it failed, as a phrase; empty when it did not."""
        if self.timed_out:
            return f"stopped after {self.wall_s:.0f} s"
        if self.status < 0:
            return f"crashed ({signal.Signals(-self.status).name})"
        return f"exit status {self.status}" if self.status else ""


def run_measured(command: Sequence[str | Path], folder: Path, limit_s: float, cwd: Path) -> Run:
    """Run a command to its end, or end it and its children after limit_s. Output goes to files in folder.

    The memory that Linux reports never falls below that of the process which starts the command, so this module is
    for small processes: no image library is loaded here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # A switch that keeps Python from storing compiled modules would charge their compilation to every run.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    with open(folder / "stdout.txt", "wb") as stdout, open(folder / "stderr.txt", "wb") as stderr:
        started = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            _end(process)

        timer = threading.Timer(limit_s, expire)
        timer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            _end(process)
            process.wait()
            raise
        finally:
            timer.cancel()
        wall_s = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    return Run(
        process.returncode,
        expired.is_set(),
        wall_s,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / 1024,
        _tail(folder / "stdout.txt"),
        _tail(folder / "stderr.txt"),
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """A process and its children, at once."""
    with contextlib.suppress(ProcessLookupError):  # it has ended by itself
        os.killpg(process.pid, signal.SIGKILL)


def _tail(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")[-TEXT_KEPT:]


def machine() -> str:
    """Processor, cores this process may use, memory, system and how busy it is, in one line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{_processor()}, {cores} cores, {memory:.0f} GB, {platform.system()}, {busy()}"


def busy() -> str:
    """The load average of the last minute, in words."""
    return f"load average {os.getloadavg()[0]:.1f}"


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    if listed.is_file():
        for line in listed.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()

"""The engine's process: start it, talk to it without ever waiting for it, stop it for certain. Knows nothing of bpy."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from ..engine import protocol
from ..engine.diskfiles import open_to_append

LOG_TAIL_BYTES = 16384
BACKLOG = 10_000  # messages kept for a UI that is busy; beyond that the engine has to wait
MAX_NOTES = 200  # lines about garbage in the log of one job
MAX_LOG_BYTES = 32 << 20  # of what one job makes an engine print; libraries can fill a disk with warnings


def clean_environment(base: dict[str, str] | None = None) -> dict[str, str]:
    """The environment without what would make another Python load this one's modules."""
    environment = dict(os.environ if base is None else base)
    for name in list(environment):
        if name.startswith("PYTHON") or name in ("VIRTUAL_ENV", "__PYVENV_LAUNCHER__"):
            del environment[name]
    return environment


def start_detached(
    command: Sequence[str], cwd: Path, env: dict[str, str] | None = None, **pipes: object
) -> subprocess.Popen[bytes]:
    """Popen in a process group of its own, at lower priority than the UI, without a console window.

    env: instead of clean_environment(). pipes: stdin, stdout, stderr as Popen takes them. Raises OSError when the
    program cannot be started.
    """
    options: dict[str, object] = {}
    if sys.platform == "win32":
        options["creationflags"] = (
            subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.BELOW_NORMAL_PRIORITY_CLASS
        )
    else:
        options["start_new_session"] = True
    process = subprocess.Popen(list(command), cwd=cwd, env=env or clean_environment(), **pipes, **options)
    if sys.platform != "win32":
        with contextlib.suppress(OSError):  # it may have ended already
            os.setpriority(os.PRIO_PGRP, process.pid, 5)
    return process


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """End a process started by start_detached and what it started, now."""
    if sys.platform == "win32":
        if process.poll() is None:
            subprocess.run(
                ["taskkill", "/T", "/F", "/PID", str(process.pid)],
                creationflags=subprocess.CREATE_NO_WINDOW,
                capture_output=True,
                check=False,
            )
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says EPERM of a group of zombies
            os.killpg(process.pid, signal.SIGKILL)
    if process.poll() is None:
        process.kill()


def describe_exit(code: int | None) -> str:
    """What a process did in the end, in words: "ended (exit code 3)", "was killed", "crashed (SIGSEGV)"."""
    if code is None or code >= 0:
        return f"ended (exit code {code})" if code else "ended"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return "was killed" if name in ("SIGKILL", "SIGTERM") else f"crashed ({name})"


def read_tail(path: Path, lines: int = 6) -> list[str]:
    """The last lines of a log file, oldest first; empty when it cannot be read."""
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - LOG_TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]


class Log:
    """A file for what an engine prints, another one for each job; nothing is kept while there is none."""

    def __init__(self, path: Path) -> None:
        """Raises OSError when path cannot be written."""
        self._guard = threading.Lock()
        self._file: BinaryIO | None = None
        self._left = 0
        self._notes = 0
        self.turn_to(path)

    def turn_to(self, path: Path | None) -> None:
        """Close the file, and open another one. Raises OSError."""
        file = None if path is None else open_to_append(path)
        with self._guard:
            if self._file is not None:
                self._file.close()
            self._file, self._left, self._notes = file, MAX_LOG_BYTES, MAX_NOTES

    def write(self, data: bytes) -> None:
        with self._guard:
            if self._file is None or self._left <= 0:
                return
            self._left -= len(data)
            if self._left <= 0:
                data = b"\n(the engine prints too much: the rest is left out)\n"
            with contextlib.suppress(OSError):  # a full disk must not stop the reader
                self._file.write(data)

    def note(self, text: str) -> None:
        """A line of our own."""
        self._notes -= 1
        if self._notes >= 0:
            self.write(f"{text}\n".encode(errors="replace"))


class EngineProcess:
    """One engine. Construct to start it; `poll`, `send` and `stop` return at once; `close` waits for the end.

    Its standard error goes to `log`, and so do lines on its standard output that are no messages. log can be turned to
    another file for another job.
    """

    def __init__(self, command: Sequence[str], folder: Path, log: Path) -> None:
        """command: argument list. folder: working directory. Raises OSError when it cannot be started."""
        self.log = Log(log)
        self.is_greeted = False  # has said hello, of the right version
        self._incoming: queue.Queue[protocol.Message] = queue.Queue(BACKLOG)
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._ended = threading.Event()
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        try:
            self._process = start_detached(command, folder, **pipes)
        except OSError:
            self.log.turn_to(None)
            raise
        self._listener = threading.Thread(target=self._listen, name="3R engine", daemon=True)
        self._listener.start()
        for work in (self._read, self._write, self._watch):
            threading.Thread(target=work, name="3R engine", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """The process is gone and every message it sent can be polled."""
        return self._ended.is_set()

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    def send(self, type_: str, **fields: object) -> None:
        """Hand a message to the writer thread."""
        self._outgoing.put(protocol.encode(type_, **fields))

    def poll(self) -> protocol.Message | None:
        """The next message, or None if there is none now."""
        try:
            return self._incoming.get_nowait()
        except queue.Empty:
            return None

    def stop(self, grace_s: float) -> None:
        """`close` without waiting for it: nothing more is expected of this engine."""
        if not self._closed.is_set():
            self._closed.set()
            threading.Thread(target=self.close, args=(grace_s,), name="3R engine stopper", daemon=True).start()

    def close(self, grace_s: float = 0.0) -> None:
        """End the process: ask by closing its input, wait up to grace_s, then kill it with all it started."""
        self._closed.set()
        self._outgoing.put(None)
        if grace_s > 0:
            self._ended.wait(grace_s)
        if not self._ended.is_set():  # else its id may be another's by now
            kill_tree(self._process)
            self._ended.wait(2.0)  # unless it sleeps uninterruptibly

    def _read(self) -> None:
        """Reader thread: bytes to messages, until the engine's output ends."""
        decoder = protocol.Decoder()
        stream = self._process.stdout
        with stream:
            while data := os.read(stream.fileno(), 65536):
                for message in decoder.feed(data):
                    self._deliver(message)
                for line in decoder.rejected:
                    self.log.note(f"engine output that is no message ({line})")
                decoder.rejected.clear()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self.log.note("the engine closed its output without ending, so it is ended")
            kill_tree(self._process)
            self._process.wait()
        self._listener.join(2.0)  # its last words on standard error
        self.log.turn_to(None)
        self._ended.set()
        self._outgoing.put(None)

    def _listen(self) -> None:
        """Listener thread: standard error to the log."""
        stream = self._process.stderr
        with stream:
            while data := os.read(stream.fileno(), 65536):
                self.log.write(data)

    def _watch(self) -> None:
        """Watcher thread: when the engine has ended, so must its workers, which may hold its output open."""
        self._process.wait()
        kill_tree(self._process)

    def _deliver(self, message: protocol.Message) -> None:
        while not self._closed.is_set():
            try:
                self._incoming.put(message, timeout=0.5)
            except queue.Full:
                continue
            return

    def _write(self) -> None:
        """Writer thread: the only place that may block when the engine does not read."""
        stream = self._process.stdin
        with contextlib.suppress(OSError):  # the engine is gone; the reader notices
            while (line := self._outgoing.get()) is not None:
                stream.write(line)
                stream.flush()
        with contextlib.suppress(OSError):
            stream.close()

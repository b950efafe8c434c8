"""The engine as a child process: requests on standard input, reports on standard output, one job at a time.

It stays for the next job, with its modules imported and its model loaded. When none comes for a while it leaves, and
with it go the memory and the graphics card that it held.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import queue
import sys
import threading
import time
import traceback
from typing import Any, BinaryIO, NoReturn

from .. import __version__, protocol
from ..errors import Cancelled, EngineError
from .output import claim_stdout

PARENT_CHECK_S = 1.0
IDLE_S = 60.0  # without a job for so long, the process leaves
RESTART = "Restart Blender, which still runs what was there before an update."
LEAVE_S = 2.0  # what a job gets to end by itself; its folder is whole at any moment, so nothing is lost after that


class Service:
    """Takes messages, starts jobs, reports. `out` is written by one message at a time, from any thread."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._writing = threading.Lock()
        self._cancel = threading.Event()
        self._job_id: Any = None
        self._is_busy = False
        self._worker: threading.Thread | None = None
        self._active_at = time.monotonic()

    @property
    def idle_s(self) -> float:
        """Seconds since there was anything to do."""
        return 0.0 if self._is_busy else time.monotonic() - self._active_at

    def hello(self) -> None:
        self.send(
            "hello",
            protocol=protocol.VERSION,
            version=__version__,
            python=platform.python_version(),
            pid=os.getpid(),
        )

    def send(self, type_: str, **fields: Any) -> None:
        """Raises OSError when nobody listens any more."""
        line = memoryview(protocol.encode(type_, **fields))
        with self._writing:
            while line:  # the stream is unbuffered: a pipe may take less than the whole line
                line = line[self._out.write(line) or 0 :]

    def handle(self, message: protocol.Message) -> bool:
        """Act on a message; False when the process is to end."""
        kind, job_id = message["type"], message.get("id")
        self._active_at = time.monotonic()
        if kind == "quit":
            return False
        if kind == "hello":
            return self._greet(message)
        if kind == "cancel":
            if job_id is None or job_id == self._job_id:
                self._cancel.set()
        elif kind in ("reconstruct", "surface", "export", "download"):
            self._start(message)
        elif kind == "methods":
            self._answer(job_id, self._send_methods)
        elif kind == "models":
            self._answer(job_id, self._send_models)
        elif kind in ("add", "remove", "estimate"):
            threading.Thread(target=self._answer_aside, args=(message,), name=kind, daemon=True).start()
        elif kind == "check":
            self._answer(job_id, self._send_report)
        else:
            self.send("log", text=f"unknown message {kind!r} ignored")
        return True

    def stop(self) -> None:
        """Cancel the running job and give it a moment to end."""
        self._cancel.set()
        if self._worker is not None:
            self._worker.join(LEAVE_S)

    # -- inside

    def _greet(self, message: protocol.Message) -> bool:
        """Whether who asks is of this engine's version; each side checks the other's, for either may be the newer."""
        mismatch = protocol.mismatch(message)
        if mismatch:
            self.send(
                "failed", kind="usage", message=f"The extension does not fit its engine: {mismatch}.", hint=RESTART
            )
        return not mismatch

    def _start(self, message: protocol.Message) -> None:
        job_id = message.get("id")
        if self._is_busy:
            self._fail(
                job_id,
                EngineError("usage", "The engine is working on another job.", "Wait for its end, or cancel it first."),
            )
            return
        self._is_busy = True
        self._cancel.clear()
        self._job_id = job_id
        self._worker = threading.Thread(target=self._run, args=(message,), name="job", daemon=True)
        self._worker.start()

    def _run(self, message: protocol.Message) -> None:
        """Worker thread: one job from start to end."""
        job_id = message.get("id")

        def report(type_: str, **fields: Any) -> None:
            try:
                self.send(type_, id=job_id, **fields)
            except OSError:  # nobody listens any more: stop, as when asked to
                self._cancel.set()

        last_word, fields = self._outcome(message, report)
        self._active_at = time.monotonic()
        self._is_busy = False  # before the last word: whoever hears it may send the next job at once
        report(last_word, **fields)

    def _outcome(self, message: protocol.Message, report: Any) -> tuple[str, dict[str, Any]]:
        """Run the job; the type and fields of the message that ends it."""
        try:
            if message["type"] == "download":
                return "downloaded", self._download(message, report)
            folder = message.get("job")
            if not isinstance(folder, str) or not folder:
                raise EngineError("usage", "The request names no job folder.")
            if message["type"] == "surface":
                from .surface import run_surface

                return "done", {"summary": run_surface(folder, message.get("settings"), report, self._cancel.is_set)}
            if message["type"] == "export":
                from .export import run_export

                return "done", {"summary": run_export(message, report)}
            from .runner import run_job  # imports OpenCV: not before the handshake

            return "done", {"summary": run_job(message.get("request"), folder, report, self._cancel.is_set)}
        except Cancelled:
            return "cancelled", {}
        except EngineError as error:
            return "failed", {"kind": error.kind, "message": error.message, "hint": error.hint}
        except ImportError as error:
            hint = "The engine's installation is incomplete: install the engine again."
            return "failed", {"kind": "machine", "message": f"The engine cannot start a job ({error}).", "hint": hint}
        except Exception as error:  # without a last word the engine would count as busy for ever
            _log(traceback.format_exc())
            text = f"The engine failed unexpectedly ({type(error).__name__}: {error})."
            return "failed", {"kind": "internal", "message": text, "hint": "Its log tells more."}

    def _download(self, message: protocol.Message, report: Any) -> dict[str, Any]:
        from .models import download_model

        wishes = {name: message.get(name) is True for name in ("accept", "again")}
        return download_model(message.get("model"), report, self._cancel.is_set, **wishes)

    def _answer(self, job_id: Any, action: Any) -> None:
        try:
            action(job_id)
        except EngineError as error:
            self._fail(job_id, error)

    def _send_methods(self, job_id: Any) -> None:
        from ..methods import list_methods

        self.send("methods", id=job_id, methods=[dataclasses.asdict(info) for info in list_methods()])

    def _send_models(self, job_id: Any) -> None:
        from .models import list_models

        self.send("models", id=job_id, **list_models())

    def _answer_aside(self, message: protocol.Message) -> None:
        """Thread of a question that may take a while (PyTorch is loaded): meanwhile other messages are heard."""
        from .models import answer_aside

        job_id = message.get("id")
        try:
            kind, fields = answer_aside(message)
        except EngineError as error:
            kind, fields = "failed", {"kind": error.kind, "message": error.message, "hint": error.hint}
        except Exception as error:  # whoever asked waits for an answer
            _log(traceback.format_exc())
            text = f"The engine failed unexpectedly ({type(error).__name__}: {error})."
            kind, fields = "failed", {"kind": "internal", "message": text, "hint": "Its log tells more."}
        with contextlib.suppress(OSError):  # nobody listens any more
            self.send(kind, id=job_id, **fields)

    def _send_report(self, job_id: Any) -> None:
        from .check import self_check

        self.send("checked", id=job_id, report=self_check())

    def _fail(self, job_id: Any, error: EngineError) -> None:
        self.send("failed", id=job_id, kind=error.kind, message=error.message, hint=error.hint)


def step_aside() -> None:
    """Let this process run only while nobody else wants the processor, where the system knows how (Linux).

    A window that the processor draws is put together in dozens of turns between programs and threads. A low priority
    lets it run more, but each turn may first wait until the engine has used up its own, some milliseconds.
    """
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(OSError):  # forbidden in some containers
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def serve(parent: int | None = None, idle_s: float = IDLE_S) -> NoReturn:
    """Serve until standard input closes, "quit" arrives, the parent process is gone or nothing was asked for idle_s.

    parent: the process id to live no longer than, beside the one that started this process. Does not return: the
    process ends with exit status 0.
    """
    service = Service(claim_stdout())
    inbox: queue.SimpleQueue[protocol.Message | None] = queue.SimpleQueue()
    threading.Thread(target=_read_messages, args=(inbox,), name="reader", daemon=True).start()
    starter = os.getppid()
    try:
        service.hello()
        while True:
            try:
                message = inbox.get(timeout=min(PARENT_CHECK_S, idle_s))
            except queue.Empty:
                if os.getppid() != starter or not _is_alive(parent):
                    break
                if service.idle_s >= idle_s:
                    break
                continue
            if message is None or not service.handle(message):
                break
    except BrokenPipeError:
        _log("nobody reads the reports: leaving")
    service.stop()
    # Not sys.exit: a job deep inside a C++ library would keep the process alive.
    os._exit(0)


def _log(text: str) -> None:
    """A line on standard error, if anybody is left to read it."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _read_messages(inbox: queue.SimpleQueue[protocol.Message | None]) -> None:
    """Reader thread: standard input to messages; None at its end."""
    decoder = protocol.Decoder()
    try:
        while data := os.read(0, 65536):
            for message in decoder.feed(data):
                inbox.put(message)
            for line in decoder.rejected:
                _log(f"input that is no message ({line})")
            decoder.rejected.clear()
    finally:
        inbox.put(None)


def _is_alive(pid: int | None) -> bool:
    if pid is None:
        return True
    if sys.platform == "win32":  # a signal of 0 would end the process asked for there
        return _is_alive_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_alive_on_windows(pid: int) -> bool:
    import ctypes

    synchronize, access_denied, ended = 0x00100000, 5, 0
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(synchronize, False, pid)
    if not handle:
        return ctypes.get_last_error() == access_denied
    try:
        return kernel.WaitForSingleObject(ctypes.c_void_p(handle), 0) != ended
    finally:
        kernel.CloseHandle(ctypes.c_void_p(handle))

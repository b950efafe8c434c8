"""Bytes from a server into a partial file that is gone on with: after a broken line, a cancel, a crash.

The reading happens in a thread of its own, so that whoever waits can stop at once however slow the server is; from
that moment on nothing is written any more, and what was written stays for the next time.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Protocol

from ..errors import EngineError
from ..filelock import try_lock
from .places import zoo_home

POLL_S = 0.05  # how often the waiting side looks
READ_TIMEOUT_S = 20.0  # a server silent for so long counts as gone
RETRY_WAITS_S = (0.5, 1.0, 2.0, 4.0)
RESTARTS = 3
RESERVE_BYTES = 64 << 20  # what a download leaves free on the disk
_TRANSIENT = frozenset((408, 425, 429, 500, 502, 503, 504))

Watch = Callable[[int, int], None]  # bytes done, bytes in all (0 = not known); raises to stop


class Interrupted(Exception):
    """The line broke or the server cannot be reached: worth another try."""


class Refused(Exception):
    """The server says no. status: as in HTTP."""

    def __init__(self, status: int, reason: str = "") -> None:
        super().__init__(f"{status} {reason}".strip())
        self.status = status


class Reply(Protocol):
    """An answer being read. headers: names in small letters. read(): the next bytes, b"" at the end, or Interrupted."""

    status: int
    headers: Mapping[str, str]

    def read(self) -> bytes: ...
    def close(self) -> None: ...


Opener = Callable[[Mapping[str, str]], Reply]  # request headers to an answer; raises Interrupted


class Part:
    """A partial file: one thread appends, another may close it at any moment; after that nothing is written.

    `<name>.json` beside it remembers which version of the remote file the bytes belong to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._notes = path.with_name(path.name + ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO | None = path.open("ab")
        self.size = path.stat().st_size
        self.tag = self._read_tag()

    def append(self, data: bytes) -> bool:
        """False when the file is closed. Raises OSError."""
        with self._lock:
            if self._file is None:
                return False
            self._file.write(data)
            self.size += len(data)
            return True

    def restart(self, tag: str) -> bool:
        """Throw away what there is; tag: the version that comes now ("" = the server names none)."""
        with self._lock:
            if self._file is None:
                return False
            self._file.seek(0)
            self._file.truncate()
            self._notes.write_text(json.dumps({"tag": tag}), encoding="utf-8")
            self.size, self.tag = 0, tag
            return True

    def close(self) -> None:
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                file.close()

    def move_to(self, target: Path) -> None:
        """The finished file takes its place; it appears there whole."""
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self.path, target)
        self._notes.unlink(missing_ok=True)

    def remove(self) -> None:
        self.close()
        self.path.unlink(missing_ok=True)
        self._notes.unlink(missing_ok=True)

    def _read_tag(self) -> str:
        try:
            return str(json.loads(self._notes.read_text(encoding="utf-8"))["tag"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""


def fetch(open_reply: Opener, part: Part, total: int, watch: Watch, needs_tag: bool = False) -> int:
    """Fill part up to the remote file's end; the caller checks what came. Returns the size.

    total: the remote file's size, 0 = as the server says. needs_tag: go on with an earlier run's bytes only if the
    server confirms, by ETag or date, that the file is still the same. watch: called every POLL_S; what it raises ends
    the transfer at once, and the part stays. Raises Refused, Interrupted (after several tries), OSError of the disk.
    """
    worker = _Worker(open_reply, part, total, needs_tag)
    worker.start()
    try:
        while worker.is_alive():
            worker.join(POLL_S)
            watch(part.size, worker.total)
    finally:
        worker.stopping.set()
        part.close()
    if worker.error is not None:
        raise worker.error
    watch(part.size, worker.total)
    return part.size


class _Worker(threading.Thread):
    def __init__(self, open_reply: Opener, part: Part, total: int, needs_tag: bool) -> None:
        super().__init__(name="download", daemon=True)
        self.total, self._is_size_given = total, total > 0
        self.error: Exception | None = None
        self.stopping = threading.Event()
        self._open, self._part, self._needs_tag = open_reply, part, needs_tag
        self._restarts = 0

    def run(self) -> None:
        try:
            self._try_until_done()
        except Exception as error:
            self.error = error

    def _try_until_done(self) -> None:
        waits = list(RETRY_WAITS_S)
        while not self.stopping.is_set():
            before = self._part.size
            try:
                if self._one_request():
                    return
            except Interrupted as error:
                if self._part.size > before:
                    waits = list(RETRY_WAITS_S)  # something came: the line is not dead
                if not waits:
                    raise Interrupted(f"{error}; {self._part.size:,} of {self.total:,} bytes have come") from error
                self.stopping.wait(waits.pop(0))

    def _one_request(self) -> bool:
        """True when the file is whole, False when it has to be asked for from its beginning."""
        part = self._part
        if self.total and part.size > self.total:
            part.restart("")  # not what this was
        if self.total and part.size == self.total:
            return True
        if part.size and self._needs_tag and not part.tag:
            part.restart("")
        headers = {"accept-encoding": "identity"}
        if part.size:
            headers["range"] = f"bytes={part.size}-"
            if self._needs_tag:
                headers["if-range"] = part.tag
        reply = self._open(headers)
        try:
            step = self._accept(reply)
            return self._receive(reply) if step == "receive" else step == "whole"
        finally:
            with contextlib.suppress(Exception):
                reply.close()

    def _accept(self, reply: Reply) -> str:
        """Make the part ready for the answer's body. Returns "receive" that, "again" (ask from the beginning), or
        "whole" (there is nothing more to come).
        """
        part, status = self._part, reply.status
        if status in _TRANSIENT:
            raise Interrupted(f"the server answers {status}")
        if status in (206, 416):
            begin, whole = _content_range(reply.headers)
            if status == 416 and part.size and whole == part.size:
                return "whole"
            if status == 416 or begin != part.size or (self.total and whole and whole != self.total):
                return self._ask_again()
            self.total = self.total or whole
            return "receive"
        if status != 200:
            raise Refused(status)
        if reply.headers.get("content-type", "").startswith("text/html"):
            raise Refused(status, "with a web page")  # a log-in, a warning, a hotel's network
        if not self._is_size_given:
            length = reply.headers.get("content-length", "")
            self.total = int(length) if length.isdecimal() else 0
        part.restart(_tag(reply.headers))
        return "receive"

    def _ask_again(self) -> str:
        self._restarts += 1
        if self._restarts > RESTARTS:
            raise Refused(416, "the server's ranges do not fit together")
        self._part.restart("")
        return "again"

    def _receive(self, reply: Reply) -> bool:
        part = self._part
        check_space(part.path, self.total - part.size)
        while data := reply.read():
            if not part.append(data):
                return True  # given up by the waiting side
        if self.total and part.size < self.total:
            raise Interrupted("the server ended too early")
        return True


def check_space(path: Path, needed: int) -> None:
    """Raise OSError (ENOSPC) when the disk of path has not so many bytes left, and a little more."""
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    if needed > 0 and shutil.disk_usage(folder).free < needed + RESERVE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Keep other processes from downloading the same file. Raises EngineError("machine") when one does already."""
    name = hashlib.sha256(os.path.abspath(path).encode(errors="surrogateescape")).hexdigest()[:32]
    lock = zoo_home() / "locks" / name
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("ab") as stream:
        if not try_lock(stream):
            text = f"{path.name} is being downloaded already, perhaps by another Blender."
            raise EngineError("machine", text, "Wait for the end of that download.")
        yield  # closing the file gives the lock back


def _content_range(headers: Mapping[str, str]) -> tuple[int, int]:
    """First byte (-1 = none) and whole size (0 = not said) of a partial answer."""
    match = re.fullmatch(r"\s*bytes\s+(?:(\d+)-\d+|\*)/(\d+|\*)\s*", headers.get("content-range", ""))
    if match is None:
        return -1, 0
    return int(match[1]) if match[1] else -1, 0 if match[2] == "*" else int(match[2])


def _tag(headers: Mapping[str, str]) -> str:
    """What names this version of a file in If-Range: weak ETags are not allowed there."""
    etag = headers.get("etag", "")
    return etag if etag and not etag.startswith("W/") else headers.get("last-modified", "")

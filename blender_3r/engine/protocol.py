"""JSON lines between Blender and the engine: one message a line, on the child's standard input and output.

Read by both sides: standard library, nothing else. Every message has "type"; what belongs to a job carries its "id".
Unknown types are ignored with a log line; a malformed line never ends the process. Arrays never travel here: they lie
in the job folder, and a message only says that they are there.

To the engine:   hello {protocol, version}   reconstruct {id, job, request}   cancel {id}   methods {id}   check {id}
                 quit   models {id}   download {id, model, accept, again}   remove {id, model, parts}
                 surface {id, job, settings}   export {id, job, format, out, options}
                 add {id, path, title, license, commercial_use}   estimate {id, request, count, size, folder}
From the engine: hello {protocol, version, python, pid}   methods {id, methods}   checked {id, report}
                 started {id, job, total, resumed}   chosen {id, method, model, why}
                 progress {id, stage, done, total, fraction, eta_s}
                 cameras {id, solved, total, corrected}   view {id, index}   log {text}
                 done {id, summary}   failed {id, kind, message, hint}   cancelled {id}
                 models {id, models, problems, missing, hub, zoo, free_bytes}   downloaded {id, model, path, notes}
                 removed {id, model, freed_bytes}   added {id, model}   estimated {id, estimate}

The engine says hello first. Who answers hello tells its own version, and neither side works with another one; the
engine refuses by a failed without an id, and leaves.

A surface is a job like a reconstruction, in the folder of one: it ends with done, and the mesh lies in the folder.
settings: surfaces/settings.py.

An export is a job, too, and reads a folder that may be in use; format, out, options: export/__init__.py.

A download is a job like a reconstruction: one at a time, with progress (in bytes: unit is "bytes"), to be cancelled by
its id. accept says that the user has accepted the model's licence; without it nothing is downloaded. What has come
before a cancel is gone on with by the next download; remove with parts forgets that and nothing else. add writes a
record for a checkpoint at path, which stays where it is. estimate tells what a request needs (service/estimate.py)
of count images of size (width, height), to be written to folder; for the method "auto" its "choice" tells what would be
chosen (service/auto.py). chosen tells that of a job, once more where the engine had to choose anew. cameras comes with
every new or corrected camera; corrected: indices of views that were announced with other cameras before.
"""

from __future__ import annotations

import json
from typing import Any

from . import __version__

VERSION = 1
MAX_LINE = 1 << 20  # a longer line is not ours: skip it instead of filling memory

Message = dict[str, Any]


def mismatch(hello: Message) -> str:
    """How the sender of a hello differs from this side, in words; "" when both are of one version."""
    theirs, release = hello.get("protocol"), hello.get("version")
    if theirs != VERSION:
        return f"one speaks protocol {theirs}, the other protocol {VERSION}"
    if release != __version__:
        return f"one is version {release}, the other version {__version__}"
    return ""


def encode(type_: str, **fields: Any) -> bytes:
    """One message as a line of UTF-8 JSON. Raises TypeError or ValueError for what JSON cannot hold (nan too)."""
    return json.dumps({"type": type_, **fields}, ensure_ascii=False, allow_nan=False).encode() + b"\n"


class Decoder:
    """Bytes in any portions to messages; lines that are not messages are kept in `rejected`, shortened."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._skipping = False
        self.rejected: list[str] = []

    def feed(self, data: bytes) -> list[Message]:
        """The messages completed by data, in order."""
        messages = []
        *lines, rest = data.split(b"\n")
        for line in lines:
            message = self._finish(line)
            if message is not None:
                messages.append(message)
        self._append(rest)
        return messages

    def _append(self, part: bytes) -> None:
        if self._skipping:
            return
        self._pending += part
        if len(self._pending) > MAX_LINE:
            self._reject(bytes(self._pending), "line too long")
            self._pending.clear()
            self._skipping = True

    def _finish(self, part: bytes) -> Message | None:
        self._append(part)
        line, skipped = bytes(self._pending), self._skipping
        self._pending.clear()
        self._skipping = False
        if skipped or not line.strip():
            return None
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            self._reject(line, "not JSON")
            return None
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            self._reject(line, "no type")
            return None
        return message

    def _reject(self, line: bytes, why: str) -> None:
        self.rejected.append(f"{why}: {line[:200].decode(errors='replace')}")
        del self.rejected[:-20]

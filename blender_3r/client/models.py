"""The models as the engine tells of them, and their downloads: messages in, state out. Knows nothing of bpy.

A download: waiting -> running -> (done, and gone from here) | failed
                         |-> pausing -> paused -> waiting ...
                         |-> dropping (what has come is removed, and then it is gone)
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..engine import __version__, protocol
from .job import EXIT_GRACE_S, HANDSHAKE_S, LEAVE_GRACE_S, Failure
from .keeper import start_engine
from .model_facts import Download, Model
from .process import EngineProcess, describe_exit, read_tail

IDLE_S = 15.0  # so long the engine stays without a question: it may be asked again at once
CANCEL_GRACE_S = 6.0  # what the engine gets to stop a download
TRY_AGAIN = "Press Refresh to try again; if it happens again, look at the log and check the engine."

_numbers = itertools.count(1)


@dataclass
class _Question:
    """A message that waits for its answer."""

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)


class Catalogue:
    """Asks an engine of its own for models, downloads and estimates. Every method returns at once; call `pump` often.

    status: "unknown", "asking", "known", "failed". models: by id. problems: sentences on records of the user's that
    cannot be read. missing: packages that networks need and this engine has not. failure: of the last question.
    note: what the last action had to say. estimate: of the last wish_estimate, None while it is not known.
    """

    def __init__(self, log: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.log = log
        self.status = "unknown"
        self.models: dict[str, Model] = {}
        self.problems: list[str] = []
        self.missing: list[str] = []
        self.hub = ""
        self.free_bytes: int | None = None
        self.failure: Failure | None = None
        self.note = ""
        self.downloads: dict[str, Download] = {}
        self.accepted: set[str] = set()  # models whose licence was accepted in this session
        self.estimate: dict[str, Any] | None = None
        self.estimate_failure: Failure | None = None
        self._clock = clock
        self._command: list[str] | None = None
        self._process: EngineProcess | None = None
        self._asked: dict[str, _Question] = {}
        self._unsent: list[str] = []
        self._estimate_request = ""
        self._since = 0.0  # when the engine was started, or last had something to do
        self._changed = False

    # -- how the engine is started

    @property
    def is_usable(self) -> bool:
        """There is an engine to ask."""
        return self._command is not None

    @property
    def is_busy(self) -> bool:
        """`pump` has something to do."""
        return self._process is not None or self._next_download() is not None

    @property
    def engine_pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def configure(self, command: list[str] | None) -> None:
        """How an engine is started; None: not at all. What was known of another one is forgotten."""
        if command == self._command:
            return
        self.rest()
        self._command = command
        self.status, self.failure = "unknown", None
        self.models, self.problems, self.missing = {}, [], []
        self.estimate = self.estimate_failure = None

    def rest(self) -> None:
        """Let the engine leave; downloads are paused."""
        for download in self.downloads.values():
            if download.status in ("waiting", "running", "pausing"):
                download.status = "paused"
        self.downloads = {id_: one for id_, one in self.downloads.items() if one.status != "dropping"}
        self._asked.clear()
        self._unsent.clear()
        if self.status == "asking":
            self.status = "unknown"
        process, self._process = self._process, None
        if process is not None:
            process.send("quit")
            process.stop(LEAVE_GRACE_S)

    def close(self) -> None:
        """End the engine and wait for its end, about half a second at most: Blender leaves."""
        process, self._process = self._process, None
        if process is not None:
            process.send("quit")
            process.close(EXIT_GRACE_S)

    # -- questions

    def refresh(self) -> None:
        """Ask for the list of models."""
        self.failure = None
        self._list_again()

    def download(self, model: str) -> None:
        """Get a model whose licence the user has accepted, or go on with it; one after the other."""
        self.accepted.add(model)
        known = self.downloads.get(model)
        if known is None or not known.is_active:
            begun = self.models[model].begun_bytes if model in self.models else 0
            total = self.models[model].download_bytes if model in self.models else 0
            self.downloads.pop(model, None)  # to the end of the row
            self.downloads[model] = Download(model, done=begun, total=total)
        self.failure, self.note, self._changed = None, "", True
        self._start_next()

    def pause(self, model: str) -> None:
        """Stop a download; what has come is kept."""
        self._stop(model, "pausing", "paused")

    def drop(self, model: str) -> None:
        """Stop a download and remove what has come of it."""
        known = self.downloads.get(model)
        if known is not None and known.status == "running":
            self._stop(model, "dropping", "")
        elif known is not None and known.status == "pausing":
            known.status = "dropping"
        else:
            self.downloads.pop(model, None)
            self._ask("remove", model=model, parts=True)
        self._changed = True

    def remove(self, model: str) -> None:
        """Remove a model's files; of the user's own, only the record."""
        self.downloads.pop(model, None)
        self.failure, self.note = None, ""
        self._ask("remove", model=model, parts=False)

    def add(self, path: Path, title: str = "", license_: str = "", commercial_use: bool = False) -> None:
        """Put a checkpoint on this machine into the list."""
        self.failure, self.note = None, ""
        self._ask("add", path=str(path), title=title, license=license_, commercial_use=commercial_use)

    def wish_estimate(self, request: dict[str, Any], count: int, size: tuple[int, int], folder: Path) -> None:
        """Ask what a job will need; an earlier wish is forgotten."""
        self.estimate = self.estimate_failure = None
        self._estimate_request = self._ask(
            "estimate", request=request, count=count, size=list(size), folder=str(folder)
        )

    def forget_estimate(self) -> None:
        self.estimate = self.estimate_failure = None
        self._estimate_request = ""

    @property
    def is_estimating(self) -> bool:
        return self._estimate_request in self._asked

    @property
    def is_waiting(self) -> bool:
        """A question other than a download or an estimate is not answered yet."""
        return any(question.kind not in ("download", "estimate") for question in self._asked.values())

    @property
    def is_adding(self) -> bool:
        return self._is_asked("add")

    # -- messages

    def pump(self, budget_s: float = 0.005) -> bool:
        """Take in what the engine said, for at most budget_s. Returns whether anything changed."""
        changed, self._changed = self._changed, False
        if self._process is None:
            self._start_next()
            return changed
        until = self._clock() + budget_s
        ended = self._process.has_ended  # asked before the queue is emptied, so no last word is lost
        drained = False
        while self._process is not None:
            message = self._process.poll()
            if message is None:
                drained = True
                break
            changed |= self._take(message)
            if self._clock() >= until:
                break
        if self._process is not None:
            if ended and drained:
                self._on_death()
                return True
            changed |= self._check_patience()
        return changed | self._changed

    def _take(self, message: protocol.Message) -> bool:
        kind = message["type"]
        if kind == "hello":
            return self._on_hello(message)
        id_ = message.get("id")
        if kind == "failed" and id_ is None:  # it refuses us altogether
            self._fail_all(_failure(message))
            return True
        question = self._asked.get(id_) if isinstance(id_, str) else None
        if question is None:
            return False
        if kind == "progress":
            return self._on_progress(question, message)
        if kind in ("models", "downloaded", "removed", "added", "estimated", "failed", "cancelled"):
            del self._asked[id_]
            self._since = self._clock()
            getattr(self, f"_on_{question.kind}")(question, message, id_)
            return True
        return False

    def _on_hello(self, message: protocol.Message) -> bool:
        mismatch = protocol.mismatch(message)
        if mismatch:
            hint = "Restart Blender; if it happens again, install the extension anew."
            self._fail_all(Failure(f"The engine does not fit this extension: {mismatch}.", hint))
            return True
        self._process.is_greeted = True
        self._process.send("hello", protocol=protocol.VERSION, version=__version__)
        for id_ in self._unsent:
            self._process.send(self._asked[id_].kind, id=id_, **self._asked[id_].fields)
        self._unsent.clear()
        return False

    def _on_models(self, question: _Question, message: protocol.Message, id_: str) -> None:
        listed = message.get("models")
        if message["type"] != "models" or not isinstance(listed, list):
            self.status, self.failure = "failed", _failure(message)
            return
        found = [model for model in map(Model.from_message, listed) if model is not None]
        self.models = {model.id: model for model in found}
        self.problems, self.missing = (_texts(message.get(name)) for name in ("problems", "missing"))
        self.hub = str(message.get("hub") or "")
        free = message.get("free_bytes")
        self.free_bytes = free if isinstance(free, int) else None
        self.status = "known"

    def _on_download(self, question: _Question, message: protocol.Message, id_: str) -> None:
        model = question.fields["model"]
        download = self.downloads.get(model)
        if download is None or download.request != id_:
            return
        if download.status == "dropping" and message["type"] != "downloaded":
            del self.downloads[model]
            self._ask("remove", model=model, parts=True)
        elif message["type"] == "downloaded":
            del self.downloads[model]
            title = self.models[model].title if model in self.models else model
            self.note = " ".join([f"{title} is here.", *_texts(message.get("notes"))])
        elif message["type"] == "cancelled":
            download.status = "paused"
        else:
            download.status, download.failure = "failed", _failure(message)
        self._list_again()
        self._start_next()

    def _on_remove(self, question: _Question, message: protocol.Message, id_: str) -> None:
        if message["type"] == "failed":
            self.failure = _failure(message)
        elif not question.fields["parts"]:
            freed = message.get("freed_bytes")
            title = self.models[question.fields["model"]].title if question.fields["model"] in self.models else ""
            self.note = f"{title} was removed." + (f" {freed / 1e9:.1f} GB are free again." if freed else "")
        self._list_again()

    def _on_add(self, question: _Question, message: protocol.Message, id_: str) -> None:
        if message["type"] == "failed":
            self.failure = _failure(message)
            return
        self.note = f"{Path(question.fields['path']).name} is in the list. The file stays where it is."
        self._list_again()

    def _on_estimate(self, question: _Question, message: protocol.Message, id_: str) -> None:
        if id_ != self._estimate_request:
            return
        if message["type"] == "estimated" and isinstance(message.get("estimate"), dict):
            self.estimate = message["estimate"]
        else:
            self.estimate_failure = _failure(message)

    def _on_progress(self, question: _Question, message: protocol.Message) -> bool:
        download = self.downloads.get(question.fields.get("model", ""))
        if question.kind != "download" or download is None:
            return False
        try:
            done, total = int(message["done"]), int(message["total"])
            eta = message.get("eta_s")
            eta = None if eta is None else max(0.0, float(eta))
        except (TypeError, ValueError, KeyError):
            return False  # a message of the wrong form says nothing; the next one will
        download.done, download.total, download.eta_s = max(0, done), max(0, total), eta
        download.stage = str(message.get("stage") or download.stage)
        return True

    # -- what no message says

    def _on_death(self) -> None:
        code = self._process.exit_code
        self._process = None
        if not self._asked:
            return  # it was idle
        happened = f"The engine {describe_exit(code)} before it had answered."
        self._fail_all(Failure(happened, TRY_AGAIN, "machine", tuple(read_tail(self.log))))

    def _check_patience(self) -> bool:
        now = self._clock()
        if not self._process.is_greeted and now - self._since > HANDSHAKE_S:
            text = f"The engine did not answer within {HANDSHAKE_S:.0f} seconds."
            self._fail_all(Failure(text, TRY_AGAIN, "machine", tuple(read_tail(self.log))))
            return True
        for download in self.downloads.values():
            late = download.status in ("pausing", "dropping") and now - download.asked_to_stop > CANCEL_GRACE_S
            if late:  # what has come is on disk, so nothing is lost
                self._kill()
                return True
        if not self._asked and now - self._since > IDLE_S:
            self.rest()
        return False

    def _kill(self) -> None:
        """End an engine that does not listen, as if it had stopped what it was told to stop."""
        process, self._process = self._process, None
        process.stop(0.0)
        dropped = [id_ for id_, one in self.downloads.items() if one.status == "dropping"]
        self.rest()
        for id_ in dropped:
            self._ask("remove", model=id_, parts=True)
        self._list_again()

    def _fail_all(self, failure: Failure) -> None:
        """Nothing that was asked will be answered."""
        questions = list(self._asked.values())
        self._asked.clear()
        self._unsent.clear()
        process, self._process = self._process, None
        if process is not None:
            process.stop(LEAVE_GRACE_S)
        for id_, download in list(self.downloads.items()):
            if download.status == "dropping":
                del self.downloads[id_]
            elif download.is_active:
                download.status, download.failure = (
                    ("paused", None)
                    if download.status == "pausing"
                    else (
                        "failed",
                        failure,
                    )
                )
        if any(question.kind == "models" for question in questions):
            self.status = "failed"
        if any(question.kind == "estimate" for question in questions):
            self.estimate_failure = failure
        self.failure = failure

    # -- inside

    def _ask(self, kind: str, **values: Any) -> str:
        """Send a question, starting the engine if there is none; its id."""
        id_ = f"{kind} {next(_numbers)}"
        if not self.is_usable:
            return id_
        self._asked[id_] = _Question(kind, values)
        self._changed = True
        if self._process is None and not self._launch():
            return id_
        if self._process.is_greeted:
            self._process.send(kind, id=id_, **values)
        else:
            self._unsent.append(id_)
        return id_

    def _launch(self) -> bool:
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            self._process = start_engine(self._command, self.log)
        except OSError as error:
            text = f"The engine cannot be started ({error.strerror or error})."
            self._fail_all(Failure(text, "Install the engine again, or check the preferences.", "machine"))
            return False
        self._since = self._clock()
        return True

    def _list_again(self) -> None:
        if self.is_usable and not self._is_asked("models"):
            self.status = "known" if self.status == "known" else "asking"
            self._ask("models")

    def _is_asked(self, kind: str) -> bool:
        return any(question.kind == kind for question in self._asked.values())

    def _next_download(self) -> Download | None:
        if any(download.is_active for download in self.downloads.values()):
            return None
        return next((one for one in self.downloads.values() if one.status == "waiting"), None)

    def _start_next(self) -> None:
        download = self._next_download()
        if download is not None and self.is_usable:
            download.status, download.failure = "running", None
            download.request = self._ask("download", model=download.model, accept=True)

    def _stop(self, model: str, active: str, idle: str) -> None:
        """Stop a download: `active` while the engine is asked to, `idle` at once if it has not begun."""
        download = self.downloads.get(model)
        if download is None:
            return
        self._changed = True
        if download.status == "waiting":
            download.status = idle
        elif download.status == "running":
            download.status, download.asked_to_stop, download.eta_s = active, self._clock(), None
            if self._process is not None:
                self._process.send("cancel", id=download.request)


def _failure(message: protocol.Message) -> Failure:
    text = str(message.get("message") or "The engine's answer was not understood.")
    return Failure(text, str(message.get("hint") or ""), str(message.get("kind") or "internal"))


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []

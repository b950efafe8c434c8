"""The models as the engine tells of them, and their downloads: messages in, state out. Knows nothing of bpy.

A download: waiting -> running -> (done, and gone from here) | failed
                         |-> pausing -> paused -> waiting ...
                         |-> dropping (what has come is removed, and then it is gone)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..engine import protocol
from .job import Failure
from .model_facts import Download, Model
from .questions import Answer, Heard, NoAnswer, Progress, Question, Questions, failure_of

CANCEL_GRACE_S = 6.0  # what the engine gets to stop a download


class Catalogue:
    """Asks an engine for models, downloads and estimates. Every method returns at once; call `pump` often.

    status: "unknown", "asking", "known", "failed". models: by id. problems: sentences on records of the user's that
    cannot be read. missing: packages that networks need and this engine has not. failure: of the last question.
    note: what the last action had to say. estimate: of the last wish_estimate, None while it is not known.
    accepted: models whose licence was accepted in this session.
    """

    def __init__(self, log: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._questions = Questions(log, clock)
        self._clock = clock
        self._changed = False
        self.status = "unknown"
        self.models: dict[str, Model] = {}
        self.problems: list[str] = []
        self.missing: list[str] = []
        self.hub = ""
        self.free_bytes: int | None = None
        self.failure: Failure | None = None
        self.note = ""
        self.downloads: dict[str, Download] = {}
        self.accepted: set[str] = set()
        self.estimate: dict[str, Any] | None = None
        self.estimate_failure: Failure | None = None
        self._estimate_request = ""

    # -- the engine

    @property
    def log(self) -> Path:
        return self._questions.log

    @property
    def engine_pid(self) -> int | None:
        return self._questions.engine_pid

    @property
    def is_usable(self) -> bool:
        """There is an engine to ask."""
        return self._questions.is_usable

    @property
    def is_busy(self) -> bool:
        """`pump` has something to do."""
        return self._questions.has_work or self._next_download() is not None

    @property
    def is_waiting(self) -> bool:
        """A question other than a download or an estimate is not answered yet."""
        return self._questions.waits_for_any("models", "remove", "add")

    def configure(self, command: list[str] | None) -> None:
        """How an engine is started; None: not at all. What was known of another one is forgotten."""
        if not self._questions.use(command):
            return
        self.rest()
        self.status, self.failure = "unknown", None
        self.models, self.problems, self.missing = {}, [], []
        self.estimate = self.estimate_failure = None

    def rest(self, at_once: bool = False) -> None:
        """Let the engine leave; downloads are paused. at_once: it does not listen, so it is ended."""
        for download in self.downloads.values():
            if download.status in ("waiting", "running", "pausing"):
                download.status = "paused"
        self.downloads = {id_: one for id_, one in self.downloads.items() if one.status != "dropping"}
        if self.status == "asking":
            self.status = "unknown"
        self._questions.let_go(at_once)

    def make_room(self) -> None:
        """Let the engine leave if it has nothing to download: a job needs the memory that an estimate took."""
        if not any(one.is_active for one in self.downloads.values()):
            self.rest()

    def close(self) -> None:
        """End the engine and wait for its end, about half a second at most: Blender leaves."""
        self._questions.close()

    def pump(self, budget_s: float = 0.005) -> bool:
        """Take in what the engine said, for at most budget_s. Returns whether anything changed."""
        if self.engine_pid is None:
            self._start_next()
        for heard in self._questions.hear(budget_s):
            self._changed |= self._take(heard)
        if self.engine_pid is not None:
            self._changed |= self._end_the_deaf()
        changed, self._changed = self._changed, False
        return changed

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
        download = self.downloads.get(model)
        if download is not None and download.status == "waiting":
            download.status = "paused"
        elif download is not None and download.status == "running":
            self._stop(download, "pausing")
        self._changed = True

    def drop(self, model: str) -> None:
        """Stop a download and remove what has come of it."""
        known = self.downloads.get(model)
        if known is not None and known.status == "running":
            self._stop(known, "dropping")
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
        values = {"request": request, "count": count, "size": list(size), "folder": str(folder)}
        self._estimate_request = self._ask("estimate", **values)

    def forget_estimate(self) -> None:
        self.estimate = self.estimate_failure = None
        self._estimate_request = ""

    @property
    def is_estimating(self) -> bool:
        return self._questions.waits_for(self._estimate_request)

    @property
    def is_adding(self) -> bool:
        return self._questions.waits_for_any("add")

    # -- answers

    def _take(self, heard: Heard) -> bool:
        """Whether it said anything new."""
        if isinstance(heard, Progress):
            return self._on_progress(heard.question, heard.message)
        if isinstance(heard, NoAnswer):
            self._on_no_answer(heard)
        else:
            self._on_answer(heard)
        return True

    def _on_answer(self, heard: Answer) -> None:
        question, message = heard.question, heard.message
        if question.kind == "models":
            self._on_models(message)
        elif question.kind == "download":
            self._on_download(question, message)
        elif question.kind == "estimate":
            self._on_estimate(question, message)
        elif message["type"] == "failed":
            self.failure = failure_of(message)
            self._list_again()
        elif question.kind == "add":
            self.note = f"{Path(question.fields['path']).name} is in the list. The file stays where it is."
            self._list_again()
        else:
            self._on_removed(question, message)

    def _on_models(self, message: protocol.Message) -> None:
        listed = message.get("models")
        if message["type"] != "models" or not isinstance(listed, list):
            self.status, self.failure = "failed", failure_of(message)
            return
        found = [model for model in map(Model.from_message, listed) if model is not None]
        self.models = {model.id: model for model in found}
        self.problems, self.missing = (_texts(message.get(name)) for name in ("problems", "missing"))
        self.hub = str(message.get("hub") or "")
        free = message.get("free_bytes")
        self.free_bytes = free if isinstance(free, int) else None
        self.status = "known"

    def _on_download(self, question: Question, message: protocol.Message) -> None:
        model = question.fields["model"]
        download = self.downloads.get(model)
        if download is None or download.request != question.id:
            return
        if message["type"] == "downloaded":
            del self.downloads[model]
            self.note = " ".join([f"{self._title(model)} is here.", *_texts(message.get("notes"))])
        elif download.status == "dropping":
            del self.downloads[model]
            self._ask("remove", model=model, parts=True)
        elif message["type"] == "cancelled":
            download.status = "paused"
        else:
            download.status, download.failure = "failed", failure_of(message)
        self._list_again()
        self._start_next()

    def _on_removed(self, question: Question, message: protocol.Message) -> None:
        if not question.fields["parts"]:
            freed = message.get("freed_bytes")
            self.note = f"{self._title(question.fields['model'])} was removed."
            self.note += f" {freed / 1e9:.1f} GB are free again." if isinstance(freed, int) and freed else ""
        self._list_again()

    def _on_estimate(self, question: Question, message: protocol.Message) -> None:
        if question.id != self._estimate_request:
            return
        if message["type"] == "estimated" and isinstance(message.get("estimate"), dict):
            self.estimate = message["estimate"]
        else:
            self.estimate_failure = failure_of(message)

    def _on_progress(self, question: Question, message: protocol.Message) -> bool:
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

    def _on_no_answer(self, heard: NoAnswer) -> None:
        for id_, download in list(self.downloads.items()):
            if download.status == "dropping":
                del self.downloads[id_]
            elif download.status == "pausing":
                download.status = "paused"
            elif download.status == "running":
                download.status, download.failure = "failed", heard.failure
        kinds = {question.kind for question in heard.questions}
        if "models" in kinds:
            self.status = "failed"
        if "estimate" in kinds:
            self.estimate_failure = heard.failure
        self.failure = heard.failure

    def _end_the_deaf(self) -> bool:
        """End an engine that does not stop a download; what has come is on disk, so nothing is lost."""
        now = self._clock()
        stopping = [one for one in self.downloads.values() if one.status in ("pausing", "dropping")]
        if not any(now - one.asked_to_stop > CANCEL_GRACE_S for one in stopping):
            return False
        self.rest(at_once=True)
        for download in stopping:
            if download.status == "dropping":
                self._ask("remove", model=download.model, parts=True)
        self._list_again()
        return True

    # -- inside

    def _ask(self, kind: str, **values: Any) -> str:
        self._changed = True
        return self._questions.ask(kind, **values)

    def _title(self, model: str) -> str:
        return self.models[model].title if model in self.models else model

    def _list_again(self) -> None:
        if self.is_usable and not self._questions.waits_for_any("models"):
            self.status = "known" if self.status == "known" else "asking"
            self._ask("models")

    def _next_download(self) -> Download | None:
        if any(download.is_active for download in self.downloads.values()):
            return None
        return next((one for one in self.downloads.values() if one.status == "waiting"), None)

    def _start_next(self) -> None:
        download = self._next_download()
        if download is not None and self.is_usable:
            download.status, download.failure = "running", None
            download.request = self._ask("download", model=download.model, accept=True)

    def _stop(self, download: Download, status: str) -> None:
        download.status, download.asked_to_stop, download.eta_s = status, self._clock(), None
        self._questions.tell("cancel", id=download.request)


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []

"""Questions to an engine of their own, and their answers: starts it when there is something to ask, lets it leave.

Every method returns at once; call `pump` often. Knows nothing of bpy.
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
from .process import EngineProcess, describe_exit, read_tail

IDLE_S = 15.0  # so long the engine stays without a question: it may be asked again at once
TRY_AGAIN = "Press Refresh to try again; if it happens again, look at the log and check the engine."
ANSWERS = ("models", "downloaded", "removed", "added", "estimated", "failed", "cancelled")

_numbers = itertools.count(1)


@dataclass
class Question:
    """A message that waits for its answer."""

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)


class Questions:
    """What a subclass makes of answers: on_answer, on_progress, on_failure, check."""

    def __init__(self, log: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.log = log
        self._clock = clock
        self._command: list[str] | None = None
        self._process: EngineProcess | None = None
        self._asked: dict[str, Question] = {}
        self._unsent: list[str] = []
        self._since = 0.0  # when the engine was started, or last gave an answer
        self._changed = False

    @property
    def is_usable(self) -> bool:
        """There is an engine to ask."""
        return self._command is not None

    @property
    def engine_pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def is_waiting(self) -> bool:
        """A question other than a download or an estimate is not answered yet."""
        return any(question.kind not in ("download", "estimate") for question in self._asked.values())

    def close(self) -> None:
        """End the engine and wait for its end, about half a second at most: Blender leaves."""
        process, self._process = self._process, None
        if process is not None:
            process.send("quit")
            process.close(EXIT_GRACE_S)

    def pump(self, budget_s: float = 0.005) -> bool:
        """Take in what the engine said, for at most budget_s. Returns whether anything changed."""
        changed, self._changed = self._changed, False
        if self._process is None:
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

    # -- what a subclass does

    def on_answer(self, question: Question, message: protocol.Message, id_: str) -> None:
        raise NotImplementedError

    def on_progress(self, question: Question, message: protocol.Message) -> bool:
        """Whether it said anything new."""
        raise NotImplementedError

    def on_failure(self, failure: Failure, questions: list[Question]) -> None:
        """None of these questions will be answered, and the engine is gone."""
        raise NotImplementedError

    def check(self, now: float) -> bool:
        """Called at every turn while there is an engine; whether anything changed."""
        raise NotImplementedError

    # -- asking

    def ask(self, kind: str, **values: Any) -> str:
        """Send a question, starting the engine if there is none; its id."""
        id_ = f"{kind} {next(_numbers)}"
        if not self.is_usable:
            return id_
        self._asked[id_] = Question(kind, values)
        self._changed = True
        if self._process is None and not self._launch():
            return id_
        if self._process.is_greeted:
            self._process.send(kind, id=id_, **values)
        else:
            self._unsent.append(id_)
        return id_

    def is_asked(self, kind: str) -> bool:
        return any(question.kind == kind for question in self._asked.values())

    def tell(self, kind: str, **values: Any) -> None:
        """Send what has no answer of its own, if there is an engine to hear it."""
        if self._process is not None:
            self._process.send(kind, **values)

    def let_go(self, at_once: bool = False) -> None:
        """Let the engine leave, and forget what it was asked; at_once: it does not listen, so it is ended."""
        self._asked.clear()
        self._unsent.clear()
        process, self._process = self._process, None
        if process is not None:
            process.send("quit")
            process.stop(0.0 if at_once else LEAVE_GRACE_S)

    # -- inside

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

    def _take(self, message: protocol.Message) -> bool:
        kind, id_ = message["type"], message.get("id")
        if kind == "hello":
            return self._on_hello(message)
        if kind == "failed" and id_ is None:  # it refuses us altogether
            self._fail_all(failure_of(message))
            return True
        question = self._asked.get(id_) if isinstance(id_, str) else None
        if question is None:
            return False
        if kind == "progress":
            return self.on_progress(question, message)
        if kind in ANSWERS:
            del self._asked[id_]
            self._since = self._clock()
            self.on_answer(question, message, id_)
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

    def _on_death(self) -> None:
        code = self._process.exit_code
        if not self._asked:  # it was idle
            self._process = None
            return
        happened = f"The engine {describe_exit(code)} before it had answered."
        self._fail_all(Failure(happened, TRY_AGAIN, "machine", tuple(read_tail(self.log))))

    def _check_patience(self) -> bool:
        now = self._clock()
        if not self._process.is_greeted and now - self._since > HANDSHAKE_S:
            text = f"The engine did not answer within {HANDSHAKE_S:.0f} seconds."
            self._fail_all(Failure(text, TRY_AGAIN, "machine", tuple(read_tail(self.log))))
            return True
        if self.check(now):
            return True
        if not self._asked and now - self._since > IDLE_S:
            self.let_go()
        return False

    def _fail_all(self, failure: Failure) -> None:
        questions = list(self._asked.values())
        self.let_go()
        self.on_failure(failure, questions)


def failure_of(message: protocol.Message) -> Failure:
    """What a message that is no answer says of why."""
    text = str(message.get("message") or "The engine's answer was not understood.")
    return Failure(text, str(message.get("hint") or ""), str(message.get("kind") or "internal"))

"""Questions to an engine of their own, and what is heard of them: starts it when there is something to ask, lets it
leave when there is nothing more.

Every method returns at once; what is heard comes out of `hear`, which is to be called often. Knows nothing of bpy.
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


@dataclass(frozen=True)
class Question:
    """A message that waits for its answer."""

    id: str
    kind: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """The last that is heard of a question: one of ANSWERS."""

    question: Question
    message: protocol.Message


@dataclass(frozen=True)
class Progress:
    """A message on the way to an answer."""

    question: Question
    message: protocol.Message


@dataclass(frozen=True)
class NoAnswer:
    """None of these questions will be answered, and the engine is gone."""

    failure: Failure
    questions: tuple[Question, ...]


Heard = Answer | Progress | NoAnswer


class Questions:
    """The line to an engine. log: what it prints goes there."""

    def __init__(self, log: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.log = log
        self._clock = clock
        self._command: list[str] | None = None
        self._process: EngineProcess | None = None
        self._asked: dict[str, Question] = {}
        self._unsent: list[str] = []
        self._heard: list[Heard] = []
        self._since = 0.0  # when the engine was started, or last gave an answer

    @property
    def is_usable(self) -> bool:
        """There is an engine to ask."""
        return self._command is not None

    @property
    def engine_pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def has_work(self) -> bool:
        """`hear` is to be called again."""
        return self._process is not None or bool(self._heard)

    def use(self, command: list[str] | None) -> bool:
        """How an engine is started from now on; None: not at all. Returns whether that is new."""
        if command == self._command:
            return False
        self.let_go()
        self._heard.clear()
        self._command = command
        return True

    def ask(self, kind: str, **values: Any) -> str:
        """Send a question, starting the engine if there is none; its id."""
        id_ = f"{kind} {next(_numbers)}"
        if not self.is_usable:
            return id_
        self._asked[id_] = Question(id_, kind, values)
        if self._process is None and not self._launch():
            return id_
        if self._process.is_greeted:
            self._process.send(kind, id=id_, **values)
        else:
            self._unsent.append(id_)
        return id_

    def tell(self, kind: str, **values: Any) -> None:
        """Send what has no answer of its own, if there is an engine to hear it."""
        if self._process is not None:
            self._process.send(kind, **values)

    def waits_for(self, id_: str) -> bool:
        return id_ in self._asked

    def waits_for_any(self, *kinds: str) -> bool:
        return any(question.kind in kinds for question in self._asked.values())

    def hear(self, budget_s: float) -> list[Heard]:
        """What came since the last time, taking at most budget_s."""
        if self._process is not None:
            until = self._clock() + budget_s
            ended = self._process.has_ended  # asked before the queue is emptied, so no last word is lost
            drained = self._drain(until)
            if self._process is not None and ended and drained:
                self._on_death()
            elif self._process is not None:
                self._lose_patience()
        heard, self._heard = self._heard, []
        return heard

    def let_go(self, at_once: bool = False) -> None:
        """Let the engine leave, and forget what it was asked; at_once: it does not listen, so it is ended."""
        self._asked.clear()
        self._unsent.clear()
        process, self._process = self._process, None
        if process is not None:
            process.send("quit")
            process.stop(0.0 if at_once else LEAVE_GRACE_S)

    def close(self) -> None:
        """End the engine and wait for its end, about half a second at most: Blender leaves."""
        process, self._process = self._process, None
        if process is not None:
            process.send("quit")
            process.close(EXIT_GRACE_S)

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

    def _drain(self, until: float) -> bool:
        """Take in messages; whether there are no more."""
        while self._process is not None:
            message = self._process.poll()
            if message is None:
                return True
            self._take(message)
            if self._clock() >= until:
                break
        return False

    def _take(self, message: protocol.Message) -> None:
        kind, id_ = message["type"], message.get("id")
        if kind == "hello":
            self._on_hello(message)
            return
        if kind == "failed" and id_ is None:  # it refuses us altogether
            self._fail_all(failure_of(message))
            return
        question = self._asked.get(id_) if isinstance(id_, str) else None
        if question is None:
            return
        if kind == "progress":
            self._heard.append(Progress(question, message))
        elif kind in ANSWERS:
            del self._asked[id_]
            self._since = self._clock()
            self._heard.append(Answer(question, message))

    def _on_hello(self, message: protocol.Message) -> None:
        mismatch = protocol.mismatch(message)
        if mismatch:
            hint = "Restart Blender; if it happens again, install the extension anew."
            self._fail_all(Failure(f"The engine does not fit this extension: {mismatch}.", hint))
            return
        self._process.is_greeted = True
        self._process.send("hello", protocol=protocol.VERSION, version=__version__)
        for id_ in self._unsent:
            self._process.send(self._asked[id_].kind, id=id_, **self._asked[id_].fields)
        self._unsent.clear()

    def _on_death(self) -> None:
        if not self._asked:  # it was idle
            self._process = None
            return
        happened = f"The engine {describe_exit(self._process.exit_code)} before it had answered."
        self._fail_all(Failure(happened, TRY_AGAIN, "machine", tuple(read_tail(self.log))))

    def _lose_patience(self) -> None:
        waited = self._clock() - self._since
        if not self._process.is_greeted and waited > HANDSHAKE_S:
            text = f"The engine did not answer within {HANDSHAKE_S:.0f} seconds."
            self._fail_all(Failure(text, TRY_AGAIN, "machine", tuple(read_tail(self.log))))
        elif not self._asked and waited > IDLE_S:
            self.let_go()

    def _fail_all(self, failure: Failure) -> None:
        questions = tuple(self._asked.values())
        self.let_go()
        self._heard.append(NoAnswer(failure, questions))


def failure_of(message: protocol.Message) -> Failure:
    """What a message that is no answer says of why."""
    text = str(message.get("message") or "The engine's answer was not understood.")
    return Failure(text, str(message.get("hint") or ""), str(message.get("kind") or "internal"))

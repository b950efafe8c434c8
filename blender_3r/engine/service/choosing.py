"""A running job's side of the method "auto": what was chosen, what is chosen now, what else when that cannot begin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import EngineError
from ..jobfolder import JobFolder
from ..source import Source
from .auto import AUTO, Choice, resolved
from .settings import fingerprint
from .stock import advice_after_classic, choose_here, list_weights

BEGUN = 0.15  # of a job: from here on a network has done what is not to be thrown away


class Choosing:
    """request: what is to run, as asked for until a method is chosen. choice: None as long as there is none, and for
    requests that name their method. notes: what the user must know of the way to the choice.
    """

    def __init__(self, request: dict[str, Any], job: JobFolder, log: Callable[[str], None]) -> None:
        self.request = self._asked = request
        self.choice: Choice | None = None
        self.notes: list[str] = []
        self._job = job
        self._log = log

    @property
    def is_open(self) -> bool:
        """The method is still to be chosen."""
        return self.request.get("method") == AUTO

    def take_earlier(self) -> None:
        """Keep what was chosen for this request before, unless it led to nothing: then there may be weights now."""
        try:
            asked, state = self._job.read_json("request") or {}, self._job.read_json("state") or {}
            has_failed = state.get("status") == "failed" and self._job.read_cameras() is None
        except EngineError:  # damaged: the job begins anew
            return
        choice = Choice.from_json(asked.get(AUTO))
        if choice is None or not choice.method or has_failed:
            return
        again = resolved(self.request, choice)
        if fingerprint(again) == asked.get("fingerprint"):
            self.choice, self.request = choice, again

    def choose(self, source: Source, count: int) -> None:
        """Choose for count pictures. Raises EngineError("machine") when nothing on this machine can do it."""
        self._take(choose_here(source, count, self._asked.get("settings") or {}))

    def advise(self, failure: EngineError) -> EngineError:
        """The failure, with what else could be tried where classic was chosen and found nothing."""
        if failure.kind != "unsolved" or self.choice is None or self.choice.method != "classic":
            return failure
        return EngineError(failure.kind, failure.message, f"{failure.hint} {advice_after_classic()}".strip())

    def fall_back(self, failure: EngineError, count: int, fraction: float) -> bool:
        """Choose classic where the network that was chosen could not begin, as far as classic can take its place.

        fraction: of the job, how far the network came. Returns whether there is a new choice.
        """
        settings = self._asked.get("settings") or {}
        is_wish = settings.get("model") or settings.get("weights")
        if self.choice is None or self.choice.method == "classic" or is_wish:
            return False
        if failure.kind != "machine" or fraction > BEGUN or count < 2:
            return False
        title = next((one.title for one in list_weights() if one.id == self.choice.model), self.choice.model)
        self._log(f"{title}: {failure}")
        self.notes.append(f"{title} could not be used, so Classic did it. {failure}")
        self.request = self._asked
        self._take(Choice("classic", why=f"Classic: {title} could not be used. {failure.message}"))
        return True

    def _take(self, choice: Choice) -> None:
        self._log(f"{AUTO}: {choice.why}")
        self.request = resolved(self.request, choice)
        self.choice = choice

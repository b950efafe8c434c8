"""How a method tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

from .base import Context, Event, Progress


class Stages:
    """Reports progress; every report also asks whether to go on."""

    def __init__(self, report: Callable[[Event], None], context: Context) -> None:
        self._report = report
        self._context = context

    def tell(self, stage: str, start: float, end: float, done: int, total: int) -> None:
        """done of total of a stage that goes from start to end of the whole job. Raises Cancelled."""
        self._context.check_cancelled()
        self._report(Progress(stage, done, total, start + (end - start) * min(1.0, done / max(1, total))))

    def counted(self, stage: str, start: float, end: float) -> Callable[[int, int], None]:
        """A callback (done, total) for a stage."""
        return lambda done, total: self.tell(stage, start, end, done, total)

    def named(self, start: float, end: float) -> Callable[[str, int, int], None]:
        """A callback (stage, done, total) for work that names its own stages, all within start and end.

        The bar never falls when such a stage begins anew.
        """
        highest = start

        def tell(stage: str, done: int, total: int) -> None:
            nonlocal highest
            highest = max(highest, start + (end - start) * min(1.0, done / max(1, total)))
            self.tell(stage, highest, highest, done, total)

        return tell

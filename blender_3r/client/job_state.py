"""What the panel knows of a job."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .pick import Pick


@dataclass(frozen=True)
class Failure:
    """What went wrong, as a sentence, and what to do next; log: its last lines."""

    message: str
    hint: str = ""
    kind: str = "internal"
    log: tuple[str, ...] = ()


@dataclass
class JobState:
    """What is known of the job.

    fraction: 0..1. eta_s: seconds left at the time eta_at, None = unknown. results_revision: how often cameras or a
    view were announced. was_restarted: the engine died in mid-job, and another one goes on. pick: what the engine
    chose for the method Auto. revision: grows with every change.
    """

    status: str = "starting"
    stage: str = "Starting the engine"
    fraction: float = 0.0
    eta_s: float | None = None
    eta_at: float = 0.0
    solved: int | None = None
    total: int | None = None
    results_revision: int = 0
    views_ready: int = 0
    was_restarted: bool = False
    pick: Pick | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    failure: Failure | None = None
    revision: int = 0

    @property
    def is_over(self) -> bool:
        return self.status in ("done", "failed", "cancelled")

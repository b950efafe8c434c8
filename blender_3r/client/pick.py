"""What the engine chose for the method Auto. Knows nothing of bpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pick:
    """method: "" when nothing can do it. model: "" for methods without one. why: one line. hint: what to do where there
    is no method. suggested: the id of a model whose download would help. needs_engine: networks need the Full engine.
    """

    method: str
    model: str = ""
    why: str = ""
    hint: str = ""
    suggested: str = ""
    needs_engine: bool = False

    @classmethod
    def from_message(cls, facts: Any) -> Pick | None:
        """Of an estimate's "choice" or of the message "chosen"; None for what is no choice."""
        if not isinstance(facts, dict) or not isinstance(facts.get("method"), str):
            return None
        texts = {name: str(facts.get(name) or "") for name in ("model", "why", "hint", "suggested")}
        return cls(facts["method"], **texts, needs_engine=facts.get("needs_engine") is True)

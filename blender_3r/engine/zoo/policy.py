"""Which weights may be used here: a studio can rule out those that allow no commercial use."""

from __future__ import annotations

import os

from ..errors import EngineError
from .records import Record

VARIABLE = "BLENDER_3R_COMMERCIAL_ONLY"


def is_commercial_only() -> bool:
    """Whether only models that allow commercial use may be downloaded and run (BLENDER_3R_COMMERCIAL_ONLY=1)."""
    return os.environ.get(VARIABLE, "").upper() in ("1", "ON", "YES", "TRUE")


def refuse_forbidden(record: Record) -> None:
    """Raise EngineError("usage") for a record that the rule leaves out."""
    if record.commercial_use or not is_commercial_only():
        return
    raise EngineError(
        "usage",
        f"{record.title} allows no commercial use (licence {record.license}). Here only models that do may be used.",
        "Choose another model or the method classic, or lift the rule in the preferences of the extension.",
    )

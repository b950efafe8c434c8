"""What Blender's side knows of one model, and of one download. Knows nothing of bpy."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from .job import Failure


@dataclass(frozen=True)
class Model:
    """A weight set as the engine lists it; see engine/zoo/records.py and engine/service/models.py."""

    id: str
    title: str
    method: str = ""
    architecture: str = ""
    license: str = ""
    license_url: str = ""
    commercial_use: bool = False
    parameters: int = 0
    download_bytes: int = 0
    download_is_estimate: bool = False
    memory_bytes: int = 0
    memory_is_estimate: bool = False
    image_size: int = 0
    paper: str = ""
    good_for: str = ""
    notes: str = ""
    source: str = ""
    runs: bool = False
    downloaded: bool = False
    begun_bytes: int = 0
    own: bool = False
    allowed: bool = True

    @classmethod
    def from_message(cls, facts: Any) -> Model | None:
        """None for what is no model. Facts of a wrong type are left out."""
        if not isinstance(facts, dict) or not all(isinstance(facts.get(name), str) for name in ("id", "title")):
            return None
        kinds = {"str": str, "int": int, "bool": bool}
        values = {one.name: facts.get(one.name) for one in fields(cls)}
        good = {one.name: values[one.name] for one in fields(cls) if isinstance(values[one.name], kinds[str(one.type)])}
        return cls(**good)


@dataclass
class Download:
    """One model on its way. done, total: bytes of the file that is coming. eta_s: seconds left, None = unknown."""

    model: str
    status: str = "waiting"
    stage: str = ""
    done: int = 0
    total: int = 0
    eta_s: float | None = None
    failure: Failure | None = None
    request: str = ""
    asked_to_stop: float = 0.0

    @property
    def is_active(self) -> bool:
        """The engine is busy with it."""
        return self.status in ("running", "pausing", "dropping")

    @property
    def fraction(self) -> float:
        return min(1.0, self.done / self.total) if self.total else 0.0

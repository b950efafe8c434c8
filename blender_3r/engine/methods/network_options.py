"""What every method with a network can be told; the command line's help says what each means."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(frozen=True)
class NetworkOptions:
    """model: id of a weight set, weights: a checkpoint of one's own for that model's architecture. device, precision:
    where and in which numbers the network computes. memory_gb: how much may be used. allow_smaller: take smaller
    images when memory runs out. lens: "auto", "shared", "zoom". focal_px, intrinsics: what is known of the lens.
    dense: whether depth maps are wanted. points, the import's budget, is not used here.
    """

    model: str | None = None
    weights: str | None = None
    device: str = "auto"
    precision: str = "auto"
    memory_gb: float | None = None
    allow_smaller: bool = False
    quality: str = "normal"
    lens: str = "auto"
    focal_px: float | None = None
    intrinsics: str | None = None
    dense: bool = True
    points: int | None = None
    threads: int | None = None

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known and value is not None})

    @property
    def memory_limit(self) -> int | None:
        """Bytes that may be used, None for what is free."""
        return None if self.memory_gb is None else int(self.memory_gb * 1e9)

    def shares_focal(self, kind: str) -> bool:
        """Whether all views have one focal length; footage has, unless it is said to zoom."""
        return self.lens == "shared" or (self.lens == "auto" and kind == "video")

"""What the pairwise method can be told; the command line's help says what each means."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ...errors import EngineError

ALIGNMENTS = ("auto", "global", "optimal", "sparse", "reference")
ITERATIONS = {"draft": 100, "normal": 300, "fine": 500}
# The demos show points above 3 and 1.5 of their own scales: log(3) of DUSt3R's, 2.5 of MASt3R's canonical views.
MIN_CONFIDENCE = {"global": 1.1, "optimal": 1.1, "reference": 1.1, "sparse": 2.5}


@dataclass(frozen=True)
class Options:
    """model: id of a weight set, weights: a checkpoint of one's own for that model's architecture. image_size: long
    side in pixels (224: square). scene_graph: which pairs. alignment: one of ALIGNMENTS. iterations, schedule: of the
    optimisation. min_confidence: the network's, from 1. lens: "auto", "shared", "zoom". focal_px, intrinsics, poses:
    what is known of the cameras. clean: drop points in front of what other views see. memory_gb: how much may be used.
    allow_smaller: take smaller images when memory runs out. points, the import's budget, is not used here.
    """

    model: str | None = None
    weights: str | None = None
    image_size: int | None = None
    scene_graph: str = "auto"
    alignment: str = "auto"
    iterations: int | None = None
    schedule: str | None = None
    min_confidence: float | None = None
    quality: str = "normal"
    lens: str = "auto"
    focal_px: float | None = None
    intrinsics: str | None = None
    poses: str | None = None
    dense: bool = True
    clean: bool = True
    device: str = "auto"
    precision: str = "auto"
    memory_gb: float | None = None
    allow_smaller: bool = False
    points: int | None = None
    threads: int | None = None

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Options:
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known and value is not None})

    @property
    def steps(self) -> int:
        """Iterations asked for, or those of the quality."""
        return int(self.iterations or ITERATIONS[self.quality])

    @property
    def memory_limit(self) -> int | None:
        """Bytes that may be used, None for what is free."""
        return None if self.memory_gb is None else int(self.memory_gb * 1e9)

    def shares_focal(self, kind: str) -> bool:
        """Whether all views have one focal length; footage has, unless it is said to zoom."""
        return self.lens == "shared" or (self.lens == "auto" and kind == "video")

    def alignment_for(self, has_descriptors: bool) -> str:
        """The alignment to use with a model. Raises EngineError("usage") for one that the model cannot feed."""
        if self.alignment == "auto":
            return "sparse" if has_descriptors else "global"
        if self.alignment == "sparse" and not has_descriptors:
            raise EngineError(
                "usage",
                "Sparse alignment needs a model with descriptors, and this one has none.",
                "Choose a MASt3R model, or the global alignment.",
            )
        return self.alignment

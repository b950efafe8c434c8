"""What the pairwise method can be told; the command line's help says what each means."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import EngineError
from ..network_options import NetworkOptions

ALIGNMENTS = ("auto", "global", "optimal", "sparse", "reference")
ITERATIONS = {"draft": 100, "normal": 300, "fine": 500}
# The demos show points above 3 and 1.5 of their own scales: log(3) of DUSt3R's, 2.5 of MASt3R's canonical views.
MIN_CONFIDENCE = {"global": 1.1, "optimal": 1.1, "reference": 1.1, "sparse": 2.5}


@dataclass(frozen=True)
class Options(NetworkOptions):
    """image_size: long side in pixels (224: square). scene_graph: which pairs. alignment: one of ALIGNMENTS.
    iterations, schedule: of the optimisation. min_confidence: the network's, from 1. poses: known cameras. clean: drop
    points in front of what other views see.
    """

    image_size: int | None = None
    scene_graph: str = "auto"
    alignment: str = "auto"
    iterations: int | None = None
    schedule: str | None = None
    min_confidence: float | None = None
    poses: str | None = None
    clean: bool = True

    @property
    def steps(self) -> int:
        """Iterations asked for, or those of the quality."""
        return int(self.iterations or ITERATIONS[self.quality])

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

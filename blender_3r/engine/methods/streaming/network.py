"""Which networks the streaming method drives, and what is known of them before they are loaded."""

from __future__ import annotations

from ..networks import Weights, choose_weights
from .options import DEFAULT_MODEL, OF_MODELS, Options

METRIC = ("cut3r", "point3r")
# From which confidence on, the network's own, a point is kept: those of the demos. Point3R, which has none, has the
# heads of CUT3R.
MIN_CONFIDENCE = {"cut3r": 1.5, "point3r": 1.5, "spann3r": 1.001, "wint3r": 1.0}


class Model(Weights):
    """A network that walks through a sequence."""

    @property
    def architecture(self) -> str:
        return self.record.architecture

    @property
    def is_metric(self) -> bool:
        """Whether its points are in metres."""
        return self.architecture in METRIC

    def min_confidence(self, options: Options) -> float:
        """The one asked for, or the network's own."""
        given = options.min_confidence
        return MIN_CONFIDENCE[self.architecture] if given is None else float(given)


def choose_model(options: Options) -> Model:
    """The weights asked for. Raises EngineError as choose_weights() does; "usage" for one that reads no sequences."""
    found = choose_weights(
        options.model or DEFAULT_MODEL,
        options.weights,
        tuple(OF_MODELS),
        "does not walk through a sequence",
        options.image_size,
    )
    return Model(found.record, found.image_size, found.file)

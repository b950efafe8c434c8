"""Which networks the pairwise method drives, and what is known of them before they are loaded."""

from __future__ import annotations

from ..networks import Weights, choose_weights
from .options import Options

DEFAULT_MODEL = "mast3r-512"
ARCHITECTURES = ("dust3r", "mast3r")


class Model(Weights):
    """A network that predicts pairs."""

    @property
    def has_descriptors(self) -> bool:
        return self.record.architecture == "mast3r"

    @property
    def is_metric(self) -> bool:
        """Whether its pointmaps are in metres."""
        return self.record.architecture == "mast3r"


def choose_model(options: Options) -> Model:
    """The weights asked for. Raises EngineError as choose_weights() does; "usage" for one that predicts no pairs."""
    found = choose_weights(
        options.model or DEFAULT_MODEL,
        options.weights,
        ARCHITECTURES,
        "does not predict pairs of images",
        options.image_size,
    )
    return Model(found.record, found.image_size, found.file)

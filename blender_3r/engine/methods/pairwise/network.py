"""The network behind a job: which weights, what is known of them before they are loaded, loading them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from ... import zoo
from ...errors import EngineError
from ...models import prepare_for_inference
from .estimate import in_gigabytes
from .inference import Predictor
from .options import Options

DEFAULT_MODEL = "mast3r-512"
ARCHITECTURES = ("dust3r", "mast3r")
DEFAULT_SIZE = 512


@dataclass(frozen=True)
class Model:
    """What is known of a network before it is loaded. image_size: the long side in pixels that it is given. file: a
    checkpoint of the user's own instead of the record's.
    """

    record: zoo.Record
    image_size: int
    file: Path | None = None

    @property
    def has_descriptors(self) -> bool:
        return self.record.architecture == "mast3r"

    @property
    def is_metric(self) -> bool:
        """Whether its pointmaps are in metres."""
        return self.record.architecture == "mast3r"


def choose_model(options: Options) -> Model:
    """The weights asked for. Raises EngineError: "usage" for an unknown id or one that predicts no pairs or is not
    allowed here, "machine" when the weights are not on this machine, "input" when the user's own file is not there.
    """
    record = zoo.find_record(options.model or DEFAULT_MODEL)
    if record.architecture not in ARCHITECTURES:
        usable = sorted(one.id for one in zoo.load_records().values() if one.architecture in ARCHITECTURES)
        raise EngineError(
            "usage", f"{record.title} does not predict pairs of images.", f"Choose one of: {', '.join(usable)}."
        )
    size = int(options.image_size or record.image_size or DEFAULT_SIZE)
    if options.weights is None:
        zoo.refuse_forbidden(record)
        refuse_missing(record)
        return Model(record, size)
    path = Path(options.weights)
    if not path.is_file():
        raise EngineError("input", f"There are no weights at {path}.", "Check the path of the checkpoint.")
    return Model(record, size, path)


def refuse_missing(record: zoo.Record) -> None:
    """Raise EngineError("machine") when a file of the record is not on this machine: how to get it, size, licence."""
    if zoo.is_downloaded(record):
        return
    use = "commercial use allowed" if record.commercial_use else "no commercial use"
    size = f"{in_gigabytes(record.download_bytes)}, " if record.download_bytes else ""
    raise EngineError(
        "machine",
        f"The weights of {record.title} are not on this machine ({size}licence {record.license}, {use}).",
        f"Download them with the engine's command `models download {record.id} --accept-licence`, or name a "
        "checkpoint with --weights.",
    )


@contextmanager
def loaded(model: Model, device: torch.device, check_cancelled: Callable[[], None]) -> Iterator[Predictor]:
    """The network on the device, in evaluation mode. One from the zoo stays loaded for the next job.

    Raises what the zoo raises: EngineError for weights that are damaged or do not fit.
    """
    if model.file is not None:
        config = zoo.config_beside(model.file)
        yield prepare_for_inference(zoo.load_model_file(model.file, model.record.architecture, config, device))
        return
    with zoo.shared_cache().use(model.record, device, watch=lambda done, total: check_cancelled()) as network:
        yield prepare_for_inference(network)


def make_room(needed: int, device: torch.device) -> None:
    """Release networks that nobody uses, should the device have less memory left than needed."""
    zoo.shared_cache().make_room(needed, str(device))

"""The network behind a job, whatever the method: which weights, on which device, in which numbers, in what memory."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from .. import zoo
from ..errors import EngineError
from ..models import prepare_for_inference
from .memory import DoesNotFit, free_memory, in_gigabytes

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_NO_MEMORY = ("not enough memory", "can't allocate memory", "out of memory")


# -- weights


@dataclass(frozen=True)
class Weights:
    """What is known of a network before it is loaded. image_size: the long side in pixels that it is given. file: a
    checkpoint of the user's own instead of the record's.
    """

    record: zoo.Record
    image_size: int
    file: Path | None = None


def choose_weights(
    model: str,
    file: str | None,
    architectures: Sequence[str],
    refusal: str,
    image_size: int | None = None,
    default_size: int = 512,
) -> Weights:
    """The weights asked for by the id of a record, or by the user's own checkpoint for that record's architecture.

    architectures: those that the method drives. refusal: what is said of another, after its title ("does not predict
    pairs of images"). image_size: asked for, else the record's, else default_size.
    Raises EngineError: "usage" for an unknown id, another architecture or one not allowed here, "machine" when the
    weights are not on this machine, "input" when the user's own file is not there.
    """
    record = zoo.find_record(model)
    if record.architecture not in architectures:
        usable = sorted(one.id for one in zoo.load_records().values() if one.architecture in architectures)
        raise EngineError("usage", f"{record.title} {refusal}.", f"Choose one of: {', '.join(usable)}.")
    size = int(image_size or record.image_size or default_size)
    if file is None:
        zoo.refuse_forbidden(record)
        refuse_missing(record)
        return Weights(record, size)
    path = Path(file)
    if not path.is_file():
        raise EngineError("input", f"There are no weights at {path}.", "Check the path of the checkpoint.")
    return Weights(record, size, path)


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
def loaded(weights: Weights, device: torch.device, check_cancelled: Callable[[], None]) -> Iterator[nn.Module]:
    """The network on the device, in evaluation mode. One from the zoo stays loaded for the next job.

    Raises what the zoo raises: EngineError for weights that are damaged or do not fit.
    """
    if weights.file is not None:
        config = zoo.config_beside(weights.file)
        yield prepare_for_inference(zoo.load_model_file(weights.file, weights.record.architecture, config, device))
        return
    with zoo.shared_cache().use(weights.record, device, watch=lambda done, total: check_cancelled()) as network:
        yield prepare_for_inference(network)


# -- device and numbers


def choose_device(name: str | None) -> torch.device:
    """The device asked for ("cpu", "cuda", "cuda:1", "mps"), or the best there is for None and "auto".

    Raises EngineError: "usage" for an unknown name, "machine" when it is not there.
    """
    if name in (None, "auto"):
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise EngineError(
            "usage", f"There is no device called {name!r}.", "Use auto, cpu, cuda, cuda:1 or mps."
        ) from error
    there = {
        "cpu": lambda: True,
        "cuda": lambda: (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available,
    }
    if device.type not in there or not there[device.type]():
        raise EngineError(
            "machine", f"The device {name} is not there, or PyTorch cannot use it.", "Use --device auto or cpu."
        )
    return device


def choose_precision(name: str | None, device: torch.device) -> str:
    """A name in PRECISIONS; for None and "auto": bfloat16 on graphics cards that have it, else float16, CPU float32."""
    if name not in (None, "auto"):
        return name
    if device.type != "cuda":
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


@contextmanager
def computing(device: torch.device, precision: str) -> Iterator[None]:
    """Without gradients, in the numbers asked for (a name in PRECISIONS)."""
    dtype = PRECISIONS[precision]
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        if dtype != torch.float32:
            stack.enter_context(torch.autocast(device.type, dtype))
        yield


@contextmanager
def cancellable(network: object, device: torch.device, check_cancelled: Callable[[], None]) -> Iterator[None]:
    """On a processor, where one image takes seconds, ask before every layer whether to go on."""
    is_slow = device.type == "cpu" and isinstance(network, nn.Module)
    modules = network.modules() if is_slow else ()
    handles = [module.register_forward_pre_hook(lambda module, inputs: check_cancelled()) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


# -- memory


def is_memory_error(error: BaseException) -> bool:
    """Whether memory ran out, on whatever device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return any(words in text for words in _NO_MEMORY)


def release(device: torch.device) -> None:
    """Hand back what a failed attempt held."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def make_room(needed: int, device: torch.device) -> None:
    """Release networks that nobody uses, should the device have less memory left than needed."""
    zoo.shared_cache().make_room(needed, str(device))


def out_of_memory(weights: Weights, device: torch.device, what: str, hint: str) -> DoesNotFit:
    """What to say when memory ran out in mid-work. what: was computed ("40 images of 512 pixels"). hint: what to do."""
    free = free_memory(device.type, device.index)
    there = f" {in_gigabytes(free)} are free now." if free is not None else ""
    network = in_gigabytes(weights.record.memory_bytes) if weights.record.memory_bytes else "an unknown part"
    return DoesNotFit(f"Memory ran out with {what}; the network alone takes {network}.{there}", hint)

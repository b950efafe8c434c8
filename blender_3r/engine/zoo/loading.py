"""Checkpoints to networks that can be run: names checked one by one, weights moved without a second copy in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import EngineError
from .checkpoints import Checkpoint, read_checkpoint, read_codebook, require_torch
from .records import Record
from .verify import verify_file

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

LISTED = 10  # so many names of a kind are told
# What shapes do not tell of a network and published files say of themselves.
TOLD_BY_FILES = ("enc_num_heads", "dec_num_heads", "pos_embed", "img_size", "residual", "nfeat")
Watch = Callable[[int, int], None]


def load_model(
    record: Record,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    watch: Watch = lambda done, total: None,
) -> nn.Module:
    """The network of a record with its weights, in evaluation mode, without gradients.

    The file is checked first (see verify.py). dtype: for the weights that are float32 by themselves; None leaves them.
    On the CPU the weights stay memory-mapped: they are read from disk when they are used first.
    watch: hears of the checking, in bytes, and may raise to stop.
    Raises EngineError: "machine" when the weights are not here or damaged, "input" when the file does not fit,
    "usage" for a record that this engine cannot run.
    """
    if not record.is_usable:
        raise EngineError("usage", f"{record.title} is listed only: this engine cannot run it yet.", record.source)
    verdict = verify_file(record, record.file(), watch)
    return _build(read_checkpoint(verdict.path), record.architecture, record.config, device, dtype)


def load_model_file(
    path: str | Path,
    architecture: str,
    config: Mapping[str, Any] | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> nn.Module:
    """The network of a checkpoint on disk that no record tells of. architecture: a name of engine.models.

    config: for the architecture's config class; None = from the shapes of the weights and what the file says of
    itself. Otherwise as load_model().
    """
    return _build(read_checkpoint(Path(path)), architecture, config, device, dtype)


def load_codebook(record: Record, watch: Watch = lambda done, total: None) -> np.ndarray:
    """The centroids (words, dimensions) float32 of a record that has a codebook, checked first. Raises EngineError."""
    return read_codebook(verify_file(record, record.file("codebook"), watch).path)


def fitting_config(checkpoint: Checkpoint, architecture: str, config: Mapping[str, Any] | None = None) -> Any:
    """The configuration with which a network of the architecture has just the tensors of the checkpoint.

    config: what is known of it; None = read from the file. Raises EngineError("input") that tells what does not fit.
    """
    return _empty(checkpoint, architecture, config)[2]


def config_beside(path: Path) -> dict[str, Any] | None:
    """config.json in a checkpoint's folder, as the Hugging Face hub has it; None = read from the weights' shapes."""
    try:
        data = json.loads((path.parent / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) and "enc_embed_dim" in data else None


# -- inside


def _build(
    checkpoint: Checkpoint,
    architecture: str,
    config: Mapping[str, Any] | None,
    device: str | torch.device,
    dtype: torch.dtype | None,
) -> nn.Module:
    torch = require_torch()
    model, state, _ = _empty(checkpoint, architecture, config)
    _move(model.state_dict(), state, checkpoint.tensors, torch.device(device), dtype)
    model.load_state_dict(state, strict=True, assign=True)
    _check_whole(model)
    return model.eval().requires_grad_(False)


def _empty(
    checkpoint: Checkpoint, architecture: str, config: Mapping[str, Any] | None
) -> tuple[nn.Module, dict[str, Any], Any]:
    """The network without content, the weights under its names, its configuration."""
    torch = require_torch()
    config_class, module_class = _architecture(architecture)
    state = dict(module_class.adapt_state_dict(checkpoint.tensors))
    made = _config(config_class, config, checkpoint, state)
    try:
        with torch.device("meta"):
            model = module_class(made)
    except (ValueError, TypeError, KeyError, AssertionError) as error:
        text = f"No network of the architecture {architecture} can be made for {checkpoint.path} ({error})."
        raise EngineError("input", text, "Correct the configuration.") from error
    _compare(model.state_dict(), state, checkpoint.path, architecture)
    return model, state, made


def _architecture(name: str) -> tuple[type, type]:
    from ..models import ARCHITECTURES

    if name not in ARCHITECTURES:
        raise EngineError(
            "usage", f"There is no architecture {name!r}.", f"Known are: {', '.join(sorted(ARCHITECTURES))}."
        )
    return ARCHITECTURES[name].config_class, ARCHITECTURES[name].network_class


def _config(config_class: type, given: Mapping[str, Any] | None, checkpoint: Checkpoint, state: dict[str, Any]) -> Any:
    """The network's configuration: given, or from the shapes and then what the file says of itself."""
    from ..models.config import config_from_dict

    shapes = {name: tuple(tensor.shape) for name, tensor in {**checkpoint.tensors, **state}.items()}
    try:
        if given is not None:
            return config_from_dict(config_class, given)
        guessed = asdict(config_class.from_shapes(shapes))
        told = {name: checkpoint.facts[name] for name in TOLD_BY_FILES if name in checkpoint.facts}
        guessed |= {name: value for name, value in told.items() if _alike(value, guessed.get(name))}
        return config_from_dict(config_class, guessed)
    except (KeyError, IndexError, ValueError, TypeError, ZeroDivisionError) as error:
        name = config_class.__name__.removesuffix("Config")
        text = f"{checkpoint.path} does not look like weights of {name}: its layout cannot be read ({error})."
        raise EngineError("input", text, "Choose another architecture, or give its configuration.") from error


def _alike(value: Any, other: Any) -> bool:
    """Whether both are numbers, or of one other kind."""
    kinds = [bool, (int, float), str, (list, tuple)]
    return any(isinstance(value, kind) and isinstance(other, kind) for kind in kinds)


def _compare(own: Mapping[str, Any], state: Mapping[str, Any], path: Path, architecture: str) -> None:
    """Raise EngineError("input") that lists missing, unexpected and wrongly shaped names."""
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    shaped = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in state and state[name].shape != tensor.shape
    ]
    found = [("missing", missing), ("unexpected", unexpected), ("of another shape", shaped)]
    parts = [f"{len(names)} {what}: {_some(names)}" for what, names in found if names]
    if parts:
        text = f"The weights in {path} do not fit the architecture {architecture}. {'; '.join(parts)}."
        raise EngineError("input", text, "Choose the architecture and configuration that these weights are for.")


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:LISTED])
    return f"{shown} and {len(names) - LISTED} more" if len(names) > LISTED else shown


def _move(
    own: Mapping[str, Any],
    state: dict[str, Any],
    read: dict[str, Any],
    device: torch.device,
    dtype: torch.dtype | None,
) -> None:
    """Move the tensors of state to where and what the network wants, one at a time, letting go of each original.

    Tensors that state holds under several names stay one. A checkpoint in half precision becomes what the network is
    made of, unless dtype says otherwise; float64 parameters stay (they are so on purpose).
    """
    import torch

    read.clear()
    moved: dict[int, Any] = {}  # every original is alive at the start, so no two have one id
    for name, tensor in own.items():
        value = state[name]
        wanted = tensor.dtype if dtype is None or tensor.dtype != torch.float32 else dtype
        if id(value) not in moved:
            moved[id(value)] = value.to(device=device, dtype=wanted)
        state[name] = moved[id(value)]
        del value  # the last hold on the original


def _check_whole(model: nn.Module) -> None:
    """A buffer that no checkpoint holds would be left without content by the meta device."""
    left = [name for name, tensor in [*model.named_parameters(), *model.named_buffers()] if tensor.is_meta]
    if left:
        raise EngineError("internal", f"Parts of the network have no content: {_some(left)}.")

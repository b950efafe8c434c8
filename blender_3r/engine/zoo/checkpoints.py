"""Checkpoint files to tensors, without running anything that a file brings along.

Safetensors files hold numbers only. The others are pickles, which can make a reader call any function: they are read
by readers that know a short list of harmless names and refuse everything else.
"""

from __future__ import annotations

import argparse
import contextlib
import pickle
import pickletools
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import EngineError

_WEIGHTS = ("model", "state_dict", "model_state_dict")  # where published checkpoints keep their weights
_UNSUPPORTED = re.compile(r"[Uu]nsupported (?:global|class|type)\W+(?:GLOBAL )?([\w.]+)|GLOBAL ([\w.]+)")


@dataclass
class Checkpoint:
    """Weights by name, still on disk where possible, and what the file says of their making.

    tensors: torch tensors; from a memory map, so they take no memory of their own before they are used.
    facts: constructor arguments and training options found beside the weights ({} in safetensors).
    """

    path: Path
    tensors: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read .safetensors, or a torch pickle (.pth, .pt, .bin, .ckpt): by content, not by name.

    Raises EngineError: "input" for a file that is damaged, no checkpoint, or wants to run something; "machine" when
    torch or safetensors is missing.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(9)
    except OSError as error:
        raise EngineError("input", f"{path} cannot be read ({error.strerror}).", "Check the path.") from error
    if start[8:] == b"{":  # a length of eight bytes, then JSON
        return Checkpoint(path, _read_safetensors(path))
    return _read_pickle(path)


def read_codebook(path: Path) -> np.ndarray:
    """The centroids of a retrieval codebook, (words, dimensions) float32: a pickle of which only NumPy arrays are
    accepted. Form: specs of MASt3R-SfM, {"type": "Codebook", "params", "state": {"centroids"}}. Raises
    EngineError("input").
    """
    try:
        with path.open("rb") as stream:
            data = _ArrayUnpickler(stream).load()
    except _Unwanted as error:
        raise _refusal(path, error.name) from error
    except OSError as error:
        raise EngineError("input", f"{path} cannot be read ({error.strerror}).", "Check the path.") from error
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise _unreadable(path, error) from error
    state = data.get("state") if isinstance(data, dict) else None
    centroids = state.get("centroids") if isinstance(state, dict) else None
    if not isinstance(centroids, np.ndarray) or centroids.ndim != 2 or centroids.dtype.kind != "f":
        raise EngineError("input", f"{path} is no retrieval codebook: it holds no table of centroids.")
    return np.ascontiguousarray(centroids, dtype=np.float32)


def require_torch() -> Any:
    """The package torch. Raises EngineError("machine") where it is missing."""
    try:
        import torch
    except ImportError as error:
        text = f"The package torch cannot be loaded ({error})."
        raise EngineError("machine", text, "Install the engine with the models' packages.") from error
    return torch


# -- inside


def _read_safetensors(path: Path) -> dict[str, Any]:
    require_torch()
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        text = f"The package safetensors cannot be loaded ({error})."
        raise EngineError("machine", text, "Install the engine with the models' packages.") from error
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise _unreadable(path, error) from error


def _read_pickle(path: Path) -> Checkpoint:
    torch = require_torch()
    # Files from before torch 1.6 are no zip archives and cannot be mapped.
    mapped = zipfile.is_zipfile(path)
    try:
        with torch.serialization.safe_globals(_harmless()):
            data = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        name = _unwanted_name(path, str(error))
        raise (_refusal(path, name) if name else _unreadable(path, None)) from error
    except MemoryError:
        raise
    except Exception as error:  # a damaged archive can raise nearly anything
        raise _unreadable(path, error) from error
    if not isinstance(data, Mapping):
        raise EngineError("input", f"{path} is no checkpoint: it holds a {type(data).__name__}, not weights by name.")
    weights = next((data[key] for key in _WEIGHTS if isinstance(data.get(key), Mapping)), data)
    tensors = {str(name): value for name, value in weights.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise EngineError("input", f"{path} is no checkpoint: it holds no tensors.")
    return Checkpoint(path, tensors, _facts(data))


def _facts(data: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values from `args` (a namespace) and `*_kwargs` (dictionaries)."""
    facts: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, argparse.Namespace):
            facts.update(vars(value))
        elif isinstance(value, Mapping) and str(key).endswith(("args", "kwargs", "config")):
            facts.update({str(name): one for name, one in value.items()})
    plain = (str, int, float, bool, list, tuple, type(None))
    return {name: value for name, value in facts.items() if isinstance(value, plain)}


def _harmless() -> list[Any]:
    """What published checkpoints hold beside tensors: a namespace of options, NumPy numbers and arrays. Making one of
    these runs nothing of the file's choice.
    """
    reconstruct, scalar = _numpy_makers()
    allowed: list[Any] = [argparse.Namespace, np.ndarray, np.dtype]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):  # NumPy 1 and 2
        allowed += [(reconstruct, f"{module}._reconstruct"), (scalar, f"{module}.scalar")]
    allowed += [one for one in vars(np.dtypes).values() if isinstance(one, type) and issubclass(one, np.dtype)]
    return allowed


def _numpy_makers() -> tuple[Callable[..., Any], Callable[..., Any]]:
    from numpy._core import multiarray

    return multiarray._reconstruct, multiarray.scalar


class _Unwanted(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class _ArrayUnpickler(pickle.Unpickler):
    """Knows NumPy's arrays, numbers and types; raises _Unwanted for any other name."""

    def find_class(self, module: str, name: str) -> Any:
        reconstruct, scalar = _numpy_makers()
        known: dict[tuple[str, str], Any] = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): _latin1,
            ("collections", "OrderedDict"): dict,
        }
        for place in ("numpy.core.multiarray", "numpy._core.multiarray"):
            known[place, "_reconstruct"] = reconstruct
            known[place, "scalar"] = scalar
        for place in ("numpy.core.numeric", "numpy._core.numeric"):
            known[place, "_frombuffer"] = _from_buffer
        if (module, name) not in known:
            raise _Unwanted(f"{module}.{name}")
        return known[module, name]


def _latin1(text: str, encoding: str) -> bytes:
    """What Python 2's byte strings become in a pickle."""
    if encoding != "latin1":
        raise _Unwanted(f"_codecs.encode({encoding})")
    return text.encode("latin1")


def _from_buffer(data: bytes, dtype: np.dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    """What newer pickles make arrays with."""
    if dtype.hasobject:
        raise _Unwanted("numpy.ndarray of objects")
    return np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if order == "F" else "C")


def _unwanted_name(path: Path, text: str) -> str:
    """The name that a refused pickle asked for; "" when it was refused for another reason."""
    match = _UNSUPPORTED.search(text)
    if match:
        return match[1] or match[2]
    return next((name for name in _names_in(path) if not name.startswith(("torch.", "collections."))), "")


def _names_in(path: Path) -> list[str]:
    """The names that a pickle asks for, found without running it. Stops where the file is damaged."""
    names: list[str] = []
    strings: list[str] = []
    with contextlib.suppress(Exception):
        data = path.read_bytes()
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                data = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
        for operation, argument, _ in pickletools.genops(data):
            if operation.name == "GLOBAL":
                names.append(str(argument).replace(" ", "."))
            elif operation.name == "STACK_GLOBAL":
                names.append(".".join(strings[-2:]))
            elif isinstance(argument, str):
                strings.append(argument)
    return names


def _refusal(path: Path, name: str) -> EngineError:
    return EngineError(
        "input",
        f"{path} is refused: it wants to use {name}, which weights have no need of. Nothing of it was run.",
        "Get the weights as .safetensors, or from their publisher. A file like this can harm the computer.",
    )


def _unreadable(path: Path, error: Exception | None) -> EngineError:
    """error: None where its words would mislead: torch advises to run what the file brings along."""
    first = "its content is not that of one"
    if error is not None:
        first = (str(error) or type(error).__name__).split("\n")[0].strip().rstrip(".")
    text = f"{path} is damaged or no checkpoint ({first[:200]})."
    return EngineError("input", text, "Get the file again.")

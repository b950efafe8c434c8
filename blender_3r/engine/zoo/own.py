"""Checkpoints of the user's own: a record is written for each; the file itself stays where it is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import EngineError
from .checkpoints import Checkpoint, read_checkpoint
from .loading import config_beside, fitting_config
from .places import zoo_home
from .records import PUBLISHED, Record, load_records, read_records

_HEADER = "# Written by the extension for a checkpoint of yours. The form is told in zoo/records.py.\n"
_DEFAULT_SIZE = 512
_BESIDE_WEIGHTS = 1_000_000_000  # bytes that a pair of images takes beside the weights, roughly


@dataclass(frozen=True)
class _Network:
    """An architecture that a method runs, as our own records know it."""

    architecture: str
    method: str


def add_checkpoint(
    path: str | Path,
    title: str = "",
    license_: str = "",
    commercial_use: bool = False,
    check_cancelled: Callable[[], None] = lambda: None,
) -> Record:
    """Write a record for a checkpoint on this machine, after finding out which network it is for.

    The file is read by name and shape only, and never copied. title: shown in lists, the file's name if empty.
    Raises EngineError: "input" for a file that is no checkpoint or fits no network, "usage" when it is known already,
    "machine" when torch is missing or the record cannot be written.
    """
    path = Path(path).absolute()
    if not path.is_file():
        raise EngineError("input", f"There is no file {path}.", "Pick a checkpoint: .safetensors, .pth, .pt or .bin.")
    records = load_records([])
    for record in records.values():
        if any(file.path and Path(file.path) == path for file in record.files):
            raise EngineError("usage", f"{path.name} is in the list already, as {record.title}.")
    checkpoint = read_checkpoint(path)
    network, config = _find_network(checkpoint, config_beside(path), check_cancelled)
    id_ = _free_id(path, records)
    values = {
        "id": id_,
        "title": title.strip() or path.stem,
        "method": network.method,
        "architecture": network.architecture,
        "license": license_.strip() or "not stated",
        "commercial_use": commercial_use,
        "image_size": _image_size(config),
        "parameters": sum(tensor.numel() for tensor in checkpoint.tensors.values()),
        "download_bytes": path.stat().st_size,
        "memory_bytes": _memory_bytes(checkpoint),
        "memory_is_estimate": True,
        "notes": f"Your own file, {path}.",
        "config": config,
        "files": [{"path": str(path)}],
    }
    target = zoo_home() / "records" / f"{id_}.toml"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_suffix(".new")
        temporary.write_text(_HEADER + _toml(values), encoding="utf-8")
        temporary.replace(target)
    except OSError as error:
        text = f"The record of {path.name} cannot be written to {target.parent} ({error.strerror})."
        raise EngineError("machine", text, "Make the folder writable, or choose another models folder.") from error
    return read_records(target)[id_]


def forget_checkpoint(record: Record) -> None:
    """Remove the record that add_checkpoint() wrote; the user's file stays.

    Raises EngineError("usage") for a record that was written by hand.
    """
    origin = Path(record.origin)
    if not is_own(record) or not origin.read_text(encoding="utf-8").startswith(_HEADER):
        text = f"{record.title} is described in {origin}, which was not written by this program."
        raise EngineError("usage", text, "Edit or remove that file yourself.")
    origin.unlink(missing_ok=True)


def is_own(record: Record) -> bool:
    """Whether the record is the user's, not one of those that come with the engine."""
    return Path(record.origin).parent != PUBLISHED


# -- inside


def _find_network(
    checkpoint: Checkpoint, config: dict[str, Any] | None, check_cancelled: Callable[[], None]
) -> tuple[_Network, dict[str, Any]]:
    """The first network whose tensors are those of the checkpoint, by name and shape, and its configuration."""
    networks = dict.fromkeys(
        _Network(one.architecture, one.method)
        for path in sorted(PUBLISHED.glob("*.toml"))
        for one in read_records(path).values()
        if one.is_usable and one.method
    )
    refusals = []
    for network in networks:
        check_cancelled()
        try:
            return network, asdict(fitting_config(checkpoint, network.architecture, config))
        except EngineError as error:
            refusals.append(f"{network.architecture}: {error.message}")
    known = ", ".join(sorted({network.architecture for network in networks}))
    raise EngineError(
        "input",
        f"{checkpoint.path.name} fits none of the networks that this engine knows ({known}).",
        "Put the config.json of the model beside the file if there is one; the log says what did not fit.",
    ) from ValueError("\n".join(refusals))


def _free_id(path: Path, records: Mapping[str, Record]) -> str:
    stem = re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).strip("-._") or "checkpoint"
    number, id_ = 1, stem
    while id_ in records:
        number += 1
        id_ = f"{stem}-{number}"
    return id_


def _image_size(config: Mapping[str, Any]) -> int:
    """The long side in pixels that the configuration names, if it does."""
    named = config.get("img_size")
    sides = named if isinstance(named, list | tuple) else [named]
    largest = max((side for side in sides if isinstance(side, int) and not isinstance(side, bool)), default=0)
    return largest if largest >= 64 else _DEFAULT_SIZE


def _memory_bytes(checkpoint: Checkpoint) -> int:
    return 4 * sum(tensor.numel() for tensor in checkpoint.tensors.values()) + _BESIDE_WEIGHTS


def _toml(values: Mapping[str, Any]) -> str:
    return "\n[[models]]\n" + "".join(f"{name} = {_value(value)}\n" for name, value in values.items())


def _value(value: Any) -> str:
    """TOML's notation of plain values; what is None is left out of tables."""
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        inside = ", ".join(f"{json.dumps(str(key))} = {_value(one)}" for key, one in value.items() if one is not None)
        return f"{{ {inside} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(one) for one in value)}]"
    return repr(value)

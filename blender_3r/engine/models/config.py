"""Configurations of networks from plain data: zoo records, fixtures, files beside checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

Config = TypeVar("Config")


def config_from_dict(cls: type[Config], data: Mapping[str, Any]) -> Config:
    """The dataclass from its known names in data; the others are ignored. "inf" and "-inf" become numbers, lists
    tuples.
    """
    known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    return cls(**{name: _plain(value) for name, value in data.items() if name in known})


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_plain(item) for item in value)
    if isinstance(value, str) and value in ("inf", "-inf"):
        return float(value)
    return value


def count_blocks(shapes: Mapping[str, Any], prefix: str) -> int:
    """How many blocks `prefix.0`, `prefix.1` ... a state dict has."""
    numbers = {name[len(prefix) + 1 :].split(".")[0] for name in shapes if name.startswith(prefix + ".")}
    return len({number for number in numbers if number.isdigit()})

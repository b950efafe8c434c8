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


def drop_unused(state: Mapping[str, Any], names: tuple[str, ...] = ("mask_token",)) -> dict[str, Any]:
    """A published state dict of the family without what no output depends on: the named tensors and the first unit of
    each DPT's coarsest fusion. Of a DPT's tensors stored under two names one is kept, and a prefix "module." that all
    names have is taken away.
    """
    if state and all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return {
        _first_name(name): value
        for name, value in state.items()
        if name not in names and ".refinenet4.resConfUnit1." not in name
    }


def fill_blocks(state: dict[str, Any], source: str, target: str) -> None:
    """Give `target.*` the values of `source.*` where a state dict has no `target.*` at all."""
    if not any(name.startswith(target + ".") for name in state):
        copies = {
            target + name.removeprefix(source): value for name, value in state.items() if name.startswith(source + ".")
        }
        state.update(copies)


def _first_name(name: str) -> str:
    """`scratch.layer_rn.K` and `scratch.layer{K+1}_rn` are two names of one tensor."""
    head, found, rest = name.partition(".scratch.layer_rn.")
    if not found:
        return name
    number, _, leaf = rest.partition(".")
    return f"{head}.scratch.layer{int(number) + 1}_rn.{leaf}"


def count_blocks(shapes: Mapping[str, Any], prefix: str) -> int:
    """How many blocks `prefix.0`, `prefix.1` ... a state dict has."""
    numbers = {name[len(prefix) + 1 :].split(".")[0] for name in shapes if name.startswith(prefix + ".")}
    return len({number for number in numbers if number.isdigit()})

"""What this machine has for the method "auto": weights, PyTorch, a device and its memory. No torch at the top."""

from __future__ import annotations

from dataclasses import fields
from importlib.util import find_spec
from typing import Any

from .. import zoo
from ..methods import METHODS
from ..methods.memory import USABLE, free_memory
from ..source import Source
from .auto import AUTO, Choice, Footage, Known, Machine, Weights, after_classic, choose
from .devices import network_device


def choose_here(source: Source, count: int, settings: dict[str, Any]) -> Choice:
    """choose() for count pictures of a source on this machine, with the settings of a request."""
    return choose(
        Footage(source.kind, count),
        list_weights(),
        lambda: _this_machine(settings),
        Known.from_settings(settings),
        zoo.is_commercial_only(),
        _has_torch(),
    )


def advice_after_classic() -> str:
    """after_classic() on this machine."""
    return after_classic(list_weights(), zoo.is_commercial_only(), _has_torch())


def list_weights() -> list[Weights]:
    """The weight sets of the zoo that this engine's methods run by themselves, in the order of the list."""
    names = {one.name for one in fields(Weights)} - {"downloaded"}
    return [
        Weights(**{name: getattr(record, name) for name in names}, downloaded=zoo.is_downloaded(record))
        for record in zoo.load_records().values()
        if record.is_usable and record.method in METHODS
    ]


# -- inside


def _has_torch() -> bool:
    return find_spec("torch") is not None


def _this_machine(settings: dict[str, Any]) -> Machine:
    """The device that a job with these settings would take, without failing for one that is not there."""
    device = network_device(str(settings.get("device") or AUTO))
    limit = settings.get("memory_gb")
    if limit is not None:
        return Machine(device, int(limit * 1e9))
    free = free_memory(device)
    return Machine(device, None if free is None else int(USABLE * free))

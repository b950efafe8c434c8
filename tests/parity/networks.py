"""What checks of networks share: strict loading, recording what modules give, matching published key lists."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from blender_3r.engine.models import ARCHITECTURES

from .checking import Fixture, Result, same


def load_strictly(network: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    """Assign a published state dict, every key used. Raises RuntimeError that lists keys which do not fit."""
    network.load_state_dict(type(network).adapt_state_dict(state), strict=True, assign=True)
    return network.eval()


@contextmanager
def recorded(network: nn.Module, names: list[str], inputs: bool = False) -> Iterator[dict[str, list[Any]]]:
    """While open, keeps what the named modules give (or, with inputs, are first given), call by call."""
    outputs: dict[str, list[Any]] = defaultdict(list)
    modules = dict(network.named_modules())
    hooks = [
        modules[name].register_forward_hook(
            lambda _m, given, output, name=name: outputs[name].append(given[0] if inputs else output)
        )
        for name in names
        if name in modules
    ]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def indices(names: Iterable[str], pattern: str) -> list[int]:
    """The numbers, sorted, that names matching the whole pattern have in its one group."""
    return sorted({int(found[1]) for name in names if (found := re.fullmatch(pattern, name))})


def published_keys(fixture: Fixture, architecture: str, is_ours: Any) -> Iterator[Result]:
    """Whether the full-size network, built without memory, has the keys and shapes of the published checkpoints.

    is_ours: takes the published {key: shape} and tells whether it is of this architecture.
    """
    for entry in fixture.checkpoint_keys() or []:
        shapes = entry.get("keys") if isinstance(entry, dict) else None
        if not shapes or not is_ours(shapes):
            continue
        chosen = ARCHITECTURES[architecture]
        with torch.device("meta"):
            network = chosen.network_class(chosen.config_class.from_shapes(shapes))
        ours = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
        theirs = {name: list(shape) for name, shape in chosen.network_class.adapt_state_dict(shapes).items()}
        missing, extra = set(theirs) - set(ours), set(ours) - set(theirs)
        wrong = [name for name in set(ours) & set(theirs) if ours[name] != theirs[name]]
        note = f"{len(theirs)} keys of {len(shapes)}, {sum(map(prod, ours.values())):,} parameters"
        if missing or extra or wrong:
            note = f"missing {sorted(missing)[:3]}, extra {sorted(extra)[:3]}, of other shape {sorted(wrong)[:3]}"
        yield same(f"keys {entry.get('name', '')}"[:80], len(missing) + len(extra) + len(wrong), 0, note)

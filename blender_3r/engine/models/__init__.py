"""Networks only: modules from tensors to tensors, one architecture a file; layers/ holds what several share.

Nothing here is imported before it is asked for, since torch takes its time and may not be installed.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Architecture:
    """Where a network's classes are. config: a frozen dataclass with from_shapes(). network: an nn.Module that takes
    the config and has adapt_state_dict().
    """

    module: str
    config: str
    network: str

    @property
    def config_class(self) -> type:
        return getattr(importlib.import_module(f"{__name__}.{self.module}"), self.config)

    @property
    def network_class(self) -> type[nn.Module]:
        return getattr(importlib.import_module(f"{__name__}.{self.module}"), self.network)


ARCHITECTURES: dict[str, Architecture] = {
    "croco": Architecture("croco", "CrocoConfig", "Croco"),
    "cut3r": Architecture("cut3r", "Cut3rConfig", "Cut3r"),
    "dust3r": Architecture("dust3r", "Dust3rConfig", "Dust3r"),
    "spann3r": Architecture("spann3r", "Spann3rConfig", "Spann3r"),
    "point3r": Architecture("point3r", "Point3rConfig", "Point3r"),
    "wint3r": Architecture("wint3r", "WinT3rConfig", "WinT3r"),
    "mast3r": Architecture("mast3r", "Mast3rConfig", "Mast3r"),
    "fast3r": Architecture("fast3r", "Fast3rConfig", "Fast3r"),
    "mv_dust3r": Architecture("mv_dust3r", "MvDust3rConfig", "MvDust3r"),
    "pi3": Architecture("pi3", "Pi3Config", "Pi3"),
    "pi3x": Architecture("pi3x", "Pi3XConfig", "Pi3X"),
    "vggt": Architecture("vggt", "VggtConfig", "Vggt"),
    "retrieval": Architecture("retrieval", "RetrievalConfig", "RetrievalHead"),
}


def build(architecture: str, config: Mapping[str, Any] | None = None, device: str = "cpu") -> nn.Module:
    """The network in evaluation mode, with random weights; on "meta" it takes no memory until weights are assigned.

    config: plain data for the architecture's config; names it does not know are ignored. Raises KeyError for an
    unknown architecture.
    """
    import torch

    from .config import config_from_dict

    chosen = ARCHITECTURES[architecture]
    with torch.device(device):
        return chosen.network_class(config_from_dict(chosen.config_class, config or {})).eval()


def prepare_for_inference(network: nn.Module) -> nn.Module:
    """The same network, laid out for speed: convolutions read channels last, which on a CPU makes a DPT head a sixth
    faster. Copies the weights of convolutions, nothing else.
    """
    import torch

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            module.to(memory_format=torch.channels_last)
    return network

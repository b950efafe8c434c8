"""The retrieval head of MASt3R-SfM (arXiv 2409.19152, section 3.1): local features of an image from encoder tokens.

Source: spec mast3r_sfm, section 2.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

# Smallest eigenvalue that a whitening divides by.
SMALLEST_EIGENVALUE = 1e-14


@dataclass(frozen=True)
class RetrievalConfig:
    """dim: width of the tokens. prewhiten, postwhiten: whether there is a whitening before and after the projector.
    hdims: widths of the projector's layers, () for none. residual: whether the projector's result is added to its
    input. nfeat: features kept per image; between -1 and 0 a share of the tokens.
    """

    dim: int = 1024
    prewhiten: bool = True
    hdims: tuple[int, ...] = ()
    residual: bool = False
    postwhiten: bool = False
    nfeat: float = 300

    def __post_init__(self) -> None:
        object.__setattr__(self, "hdims", tuple(self.hdims))
        if self.residual and self.hdims and self.hdims[-1] != self.dim:
            raise ValueError(f"a residual projector must give {self.dim} channels, not {self.hdims[-1]}")

    @property
    def width(self) -> int:
        """Channels of the features."""
        return self.hdims[-1] if self.hdims else self.dim

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, Any], **known: object) -> RetrievalConfig:
        """What the keys and shapes of a state dict tell; known: what they do not (residual, nfeat).

        Raises ValueError when there is neither a whitening nor a projector.
        """
        names = [name for name, shape in shapes.items() if name.startswith("projector.") and len(shape) == 2]
        linear = [shapes[name] for name in sorted(names, key=lambda name: int(name.split(".")[1]))]
        if "prewhiten.m" in shapes:
            dim = shapes["prewhiten.m"][-1]
        elif linear:
            dim = linear[0][1]
        elif "postwhiten.m" in shapes:
            dim = shapes["postwhiten.m"][-1]
        else:
            raise ValueError("the weights are not those of a retrieval head")
        widths = tuple(shape[0] for shape in linear)
        return replace(cls(dim, "prewhiten.m" in shapes, widths, False, "postwhiten.m" in shapes), **known)


class LocalFeatures(NamedTuple):
    """features: (B, N, width) and attention: (B, N), how much each says of its image."""

    features: Tensor
    attention: Tensor


class Whitener(nn.Module):
    """(x - m) @ p in float64, whatever the type of x; on devices without float64 it is computed on the CPU."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.m = nn.Parameter(torch.zeros(1, dim, dtype=torch.float64), requires_grad=False)
        self.p = nn.Parameter(torch.eye(dim, dtype=torch.float64), requires_grad=False)

    def forward(self, tokens: Tensor) -> Tensor:
        place = tokens if self.m.device.type != "mps" else tokens.cpu()
        mean, matrix = self.m.to(place.device).double(), self.p.to(place.device).double()
        return ((place.double() - mean) @ matrix).to(tokens.dtype).to(tokens.device)


class RetrievalHead(nn.Module):
    """From tokens of MASt3R's encoder, after its last norm, to features that say which images show the same."""

    def __init__(self, config: RetrievalConfig) -> None:
        super().__init__()
        self.config = config
        self.prewhiten = Whitener(config.dim) if config.prewhiten else nn.Identity()
        self.projector = _projector(config.dim, config.hdims)
        self.postwhiten = Whitener(config.width) if config.postwhiten else nn.Identity()

    @staticmethod
    def adapt_state_dict(state: Mapping[str, Any]) -> dict[str, Any]:
        """The keys that are this module's own; a checkpoint may hold the encoder's too."""
        return {key: value for key, value in state.items() if not key.startswith("backbone.")}

    def forward(self, tokens: Tensor) -> LocalFeatures:
        """tokens: (B, N, dim). Attention is the length of the features before the last whitening."""
        white = self.prewhiten(tokens)
        features = self.projector(white)
        if self.config.residual:
            features = features + white
        return LocalFeatures(self.postwhiten(features), features.norm(dim=-1))

    def strongest(self, local: LocalFeatures) -> tuple[LocalFeatures, Tensor]:
        """The config's nfeat features with most attention, in descending order, and which tokens they are (B, n)."""
        count = local.attention.shape[1]
        wanted = self.config.nfeat if self.config.nfeat >= 0 else -self.config.nfeat * count
        attention, index = local.attention.topk(min(int(wanted), count), dim=1)
        features = local.features.gather(1, index[..., None].expand(-1, -1, local.features.shape[-1]))
        return LocalFeatures(features, attention), index

    @staticmethod
    def global_descriptor(local: LocalFeatures) -> Tensor:
        """(B, width) unit vectors: the sum of the features times their attention."""
        return nn.functional.normalize((local.features * local.attention[..., None]).sum(dim=1), dim=-1)


def _projector(dim: int, widths: tuple[int, ...]) -> nn.Module:
    """Linear, norm, GELU for each width but the last; then a linear layer. Identity without widths."""
    layers: list[nn.Module] = []
    for number, width in enumerate(widths):
        layers.append(nn.Linear(dim, width))
        if number < len(widths) - 1:
            layers += [nn.LayerNorm(width, eps=1e-5), nn.GELU()]
        dim = width
    return nn.Sequential(*layers) if layers else nn.Identity()


def learn_whitening(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (1, D) and matrix (D, D), float64, that make features (n, D) uncorrelated with unit variance.

    Columns are eigenvectors over the square root of their eigenvalue, largest eigenvalue first; their signs are free.
    """
    values = features.double()
    mean = values.mean(dim=0, keepdim=True)
    centred = values - mean
    variances, vectors = torch.linalg.eigh(centred.T @ centred / len(values))
    order = torch.argsort(variances, descending=True)
    return mean, vectors[:, order] / variances[order].clamp(min=SMALLEST_EIGENVALUE).sqrt()

"""The networks of DUSt3R and MASt3R: every stored intermediate and output, and the published key lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from blender_3r.engine.models.config import config_from_dict
from blender_3r.engine.models.dust3r import Dust3r, Dust3rConfig
from blender_3r.engine.models.mast3r import Mast3r, Mast3rConfig
from blender_3r.engine.models.outputs import ViewPrediction

from .checking import Fixture, Result, close, same
from .networks import load_strictly, published_keys, recorded

_OUTPUTS = {
    "pts3d": "points",
    "pts3d_in_other_view": "points",
    "conf": "confidence",
    "desc": "descriptors",
    "desc_conf": "descriptor_confidence",
}
# Name of a stored intermediate to the module that gives it.
_MODULES = (
    (r"dec1_block(\d+)", r"dec_blocks.\1"),
    (r"dec2_block(\d+)", r"dec_blocks2.\1"),
    (r"head([12])_level(\d)", r"downstream_head\1.dpt.act_postprocess.\2"),
    (r"head([12])_fusion(\d)", r"downstream_head\1.dpt.scratch.refinenet\2"),
    (r"head([12])_local_features_mlp_out", r"downstream_head\1.head_local_features"),
    (r"head([12])_dpt_raw", r"downstream_head\1.dpt"),
)

_HEADS = {"dpt", "proj", "head_local_features"}
_STEMS = {
    "mask_token",
    "patch_embed",
    "enc_blocks",
    "enc_norm",
    "decoder_embed",
    "dec_blocks",
    "dec_blocks2",
    "dec_norm",
}
_STEMS |= {"downstream_head1", "downstream_head2"}


def checks(fixture: Fixture) -> Iterator[Result]:
    if fixture.has("config.json", "weights.safetensors") and _is_pair_network(fixture):
        network = _network(fixture)
        for name in fixture.files:
            if re.fullmatch(r"io.*\.safetensors", name):
                yield from _cases(network, fixture.tensors(name))
    yield from published_keys(fixture, "mast3r", lambda keys: "downstream_head1.head_local_features.fc1.weight" in keys)
    yield from published_keys(fixture, "dust3r", _is_dust3r)


def _is_pair_network(fixture: Fixture) -> bool:
    """By the configuration and the heads' names, so that keys too many or too few are found by loading, not here."""
    config = fixture.config
    heads = _heads(fixture.tensor_names("weights.safetensors"))
    has_pairs = any(
        "img1" in name for file in fixture.files if file.startswith("io") for name in fixture.tensor_names(file)
    )
    return ("head_type" in config or "desc_dim" in config) and heads <= _HEADS and bool(heads) and has_pairs


def _is_dust3r(shapes: dict[str, Any]) -> bool:
    """Key lists of the family that hold nothing but what DUSt3R has."""
    stems = {name.split(".")[0] for name in shapes}
    return stems <= _STEMS and bool(_heads(shapes)) and _heads(shapes) <= {"dpt", "proj"}


def _heads(names: Iterable[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("downstream_head1.")}


def _network(fixture: Fixture) -> Dust3r:
    if "desc_dim" in fixture.config:
        network: Dust3r = Mast3r(config_from_dict(Mast3rConfig, fixture.config))
    else:
        network = Dust3r(config_from_dict(Dust3rConfig, fixture.config))
    load_strictly(network, fixture.tensors("weights.safetensors"))
    return network


def _cases(network: Dust3r, io: dict[str, Tensor]) -> Iterator[Result]:
    prefixes = sorted(name[: -len("img1")] for name in io if name.endswith("img1"))
    for prefix in prefixes:
        case = {name[len(prefix) :]: tensor for name, tensor in io.items() if name.startswith(prefix)}
        if _is_transposed(case):
            yield from _training_layout(network, case, prefix)
        else:
            yield from _case(network, case, prefix)


def _is_transposed(case: dict[str, Tensor]) -> bool:
    """Whether a sample is a portrait image stored as landscape."""
    return any(
        tuple(shape.tolist()) != tuple(case[f"img{view}"].shape[-2:])
        for view in (1, 2)
        for shape in case.get(f"true_shape{view}", torch.empty(0, 2))
    )


@torch.no_grad()
def _case(network: Dust3r, case: dict[str, Tensor], prefix: str) -> Iterator[Result]:
    wanted = {name: module for name in case if (module := _module_of(name)) is not None}
    linear = {name: f"downstream_head{name[4]}.proj" for name in case if re.fullmatch(r"head[12]_raw", name)}
    if network.config.head_type == "dpt":
        linear = {name: f"downstream_head{name[4]}.dpt" for name in linear}
    blocks = {
        match[0]: f"enc_blocks.{match[1]}" for match in map(re.compile(r"enc_block(\d+)_\d").fullmatch, case) if match
    }
    modules = [*wanted.values(), *linear.values(), *blocks.values(), "patch_embed"]
    with recorded(network, sorted(set(modules))) as seen:
        views = [network.encode(case["img1"]), network.encode(case["img2"])]
        predictions = network.predict(*views)
    layers = network.decode(*views)
    for view, encoded in enumerate(views, start=1):
        yield from _compare(case, prefix, f"patch_embed{view}", seen["patch_embed"][view - 1])
        if f"pos{view}" in case:
            yield same(f"{prefix}pos{view}", encoded.positions, case[f"pos{view}"])
        yield from _compare(case, prefix, f"enc_out{view}", encoded.tokens)
        yield from _compare(case, prefix, f"dec_out{view}", layers[view - 1][-1])
    for name, module in blocks.items():
        yield from _compare(case, prefix, name, seen[module][int(name[-1]) - 1])
    for name, module in {**wanted, **linear}.items():
        yield from _compare(case, prefix, name, seen[module][0])
    yield from _outputs(predictions, case, prefix)


def _module_of(name: str) -> str | None:
    for pattern, module in _MODULES:
        if match := re.fullmatch(pattern, name):
            return match.expand(module)
    return None


def _compare(case: dict[str, Tensor], prefix: str, name: str, ours: Tensor) -> Iterator[Result]:
    if name in case:
        yield close(prefix + name, ours, case[name])


def _outputs(
    predictions: tuple[ViewPrediction, ViewPrediction], case: dict[str, Tensor], prefix: str
) -> Iterator[Result]:
    for view, prediction in enumerate(predictions, start=1):
        for theirs, ours in _OUTPUTS.items():
            name = f"out{view}_{theirs}"
            if name in case:
                yield close(prefix + name, getattr(prediction, ours), case[name])


@torch.no_grad()
def _training_layout(network: Dust3r, case: dict[str, Tensor], prefix: str) -> Iterator[Result]:
    """Portrait images stored lying: stood up one by one, and their maps laid down again."""
    samples = []
    for sample in range(len(case["img1"])):
        turned, images = [], []
        for view in (1, 2):
            image = case[f"img{view}"][sample : sample + 1]
            lying = tuple(case[f"true_shape{view}"][sample].tolist()) != tuple(image.shape[-2:])
            turned.append(lying)
            images.append(image.transpose(-1, -2) if lying else image)
        predictions = network(*images)
        samples.append(
            [
                ViewPrediction(*(m if m is None or not lying else m.transpose(1, 2) for m in prediction))
                for prediction, lying in zip(predictions, turned, strict=True)
            ]
        )
    joined = tuple(
        ViewPrediction(*(None if maps[0] is None else torch.cat(maps) for maps in zip(*views, strict=True)))
        for views in zip(*samples, strict=True)
    )
    yield from _outputs(joined, case, prefix)  # type: ignore[arg-type]

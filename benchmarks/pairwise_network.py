"""One run of a pair network with random full-size weights, as a process of its own so that its peak memory is its own.

    python -m benchmarks.pairwise_network WAY [--model M] [--images N] [--size WxH] [--graph G] [--pairs N] ...

WAY: `ours` encodes every image once and decodes the pairs from that. `usual` runs each ordered pair by itself: both
images through the encoder again, attention as an explicit softmax. `both` takes turns, a pair each, so that a busy
machine slows both alike. `bf16` compares outputs in bfloat16 with float32. Prints one line of JSON. Random weights
predict nothing; time and memory are those of any weights.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blender_3r.engine.methods.pairwise.graph import make_pairs
from blender_3r.engine.methods.pairwise.inference import PairRunner
from blender_3r.engine.models import build, prepare_for_inference
from blender_3r.engine.models.dust3r import Dust3r
from blender_3r.engine.models.layers import attention

GRAPHS = {"complete": "complete", "ring": "swin-1"}


def explicit_attention(query: Tensor, key: Tensor, value: Tensor, *_: None) -> Tensor:
    """What the published code does: all weights at once, (B, heads, N, N). These networks have no masks."""
    weights = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(dim=-1)
    return (weights @ value).transpose(1, 2).flatten(2)


def make_network(model: str, device: torch.device) -> Dust3r:
    """Full size, weights drawn from one seed, small enough that activations stay finite."""
    network = build(model, {}, "meta").to_empty(device=device)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, (2 / (parameter.shape[0] + parameter[0].numel())) ** 0.5)
            else:
                parameter.zero_()
        for module in network.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.weight.fill_(1.0)
    return network.eval()


def make_images(count: int, size: tuple[int, int], device: torch.device) -> list[Tensor]:
    """(3, H, W) each, smooth noise in -1..1."""
    torch.manual_seed(1)
    coarse = torch.rand(count, 3, size[0] // 16, size[1] // 16) * 2 - 1
    fine = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")
    return list(fine.to(device))


class Counter:
    """How many images went through the encoder."""

    def __init__(self, network: Dust3r) -> None:
        self.images = 0
        network.patch_embed.register_forward_hook(self._count)

    def _count(self, _module: Any, inputs: tuple[Tensor], _output: Tensor) -> None:
        self.images += len(inputs[0])


def run_ours(network: Dust3r, images: list[Tensor], edges: list[tuple[int, int]], options: Any) -> dict[str, float]:
    """Through the product's own runner; outputs are dropped as they come."""
    runner = PairRunner(prepare_for_inference(network), torch.device(options.device), options.precision)
    watch = Watch(options.device)
    encoded = runner.encode(images, len(images))
    encode_s = watch.lap()[0]
    for _ in runner.decode(encoded, edges):
        pass
    return {"encode_s": encode_s, "decode_s": watch.lap()[0]}


@torch.no_grad()
def run_usual(network: Dust3r, images: list[Tensor], edges: list[tuple[int, int]], options: Any) -> dict[str, float]:
    """Pair by pair, both images encoded together each time."""
    watch = Watch(options.device)
    for i, j in edges:
        usual_pair(network, images[i], images[j])
    return {"usual_s": watch.lap()[0]}


def usual_pair(network: Dust3r, first: Tensor, second: Tensor) -> None:
    """One ordered pair as the published code runs it."""
    ours, attention.attend = attention.attend, explicit_attention
    try:
        network.predict(*network.encode(torch.stack([first, second])).split())
    finally:
        attention.attend = ours


@torch.no_grad()
def run_both(network: Dust3r, images: list[Tensor], edges: list[tuple[int, int]], options: Any) -> dict[str, float]:
    """Wall and CPU seconds: of encoding, of the first pair (what is made once for all pairs included), then sums over
    the other pairs.
    """
    runner = PairRunner(prepare_for_inference(network), torch.device(options.device), options.precision, batch=1)
    usual_pair(network, images[0], images[1])  # the first run of any shape takes longer
    watch = Watch(options.device)
    encoded = runner.encode(images, len(images))
    laps = {"encode": watch.lap()}
    decoded = runner.decode(encoded, edges)
    next(decoded)
    laps["first"] = watch.lap()
    sums = {"ours": np.zeros(2), "usual": np.zeros(2)}
    for i, j in edges[1 : 1 + options.turns]:
        next(decoded)
        sums["ours"] += watch.lap()
        usual_pair(network, images[i], images[j])
        sums["usual"] += watch.lap()
    decoded.close()
    named = {**laps, **{f"{name}_pairs": value for name, value in sums.items()}}
    return {f"{name}_{kind}": float(value[k]) for name, value in named.items() for k, kind in enumerate(("s", "cpu_s"))}


class Watch:
    """Wall and CPU seconds since the lap before."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._last = self._now()

    def lap(self) -> np.ndarray:
        now, before = self._now(), self._last
        self._last = now
        return now - before

    def _now(self) -> np.ndarray:
        if self._device.startswith("cuda"):
            torch.cuda.synchronize()
        return np.array([time.perf_counter(), time.process_time()])


@torch.no_grad()
def compare_bf16(network: Dust3r, images: list[Tensor], options: Any) -> dict[str, float]:
    """Largest and typical difference of each output, relative to the largest and the median value in float32."""
    pair = torch.stack(images[:1]), torch.stack(images[1:2])
    exact = network(*pair)
    with torch.autocast(options.device.split(":")[0], torch.bfloat16):
        rough = network(*pair)
    found = {}
    for view, (one, other) in enumerate(zip(exact, rough, strict=True), start=1):
        for name in one._fields:
            reference = getattr(one, name)
            if reference is None:
                continue
            apart = (getattr(other, name) - reference).abs()
            found[f"view {view} {name}, largest"] = float(apart.max() / reference.abs().max())
            found[f"view {view} {name}, median"] = float(apart.median() / reference.abs().median())
    return found


def _edges(options: argparse.Namespace) -> list[tuple[int, int]]:
    edges = make_pairs(options.images, GRAPHS[options.graph])
    return edges if options.pairs is None else edges[: options.pairs]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=("ours", "usual", "both", "bf16"))
    parser.add_argument("--model", choices=("dust3r", "mast3r"), default="dust3r")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--size", default="512x384")
    parser.add_argument("--graph", choices=sorted(GRAPHS), default="complete")
    parser.add_argument("--pairs", type=int, help="only the first so many")
    parser.add_argument("--turns", type=int, default=12, help="pairs that each way takes in turn, for `both`")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32")
    options = parser.parse_args()
    width, height = (int(side) for side in options.size.split("x"))
    device = torch.device(options.device)
    network = make_network(options.model, device)
    images = make_images(options.images, (height, width), device)
    if options.way == "bf16":
        print(json.dumps(compare_bf16(network, images, options)))
        return 0
    counter = Counter(network)
    edges = list(_edges(options))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = {"ours": run_ours, "usual": run_usual, "both": run_both}[options.way](network, images, edges, options)
    facts = {
        **seconds,
        "pairs": len(edges),
        "images_encoded": counter.images,
        "weights_mb": before,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if device.type == "cuda":
        facts["peak_mb"] = torch.cuda.max_memory_allocated(device) / 2**20
    print(json.dumps(facts))
    return 0


if __name__ == "__main__":
    sys.exit(main())

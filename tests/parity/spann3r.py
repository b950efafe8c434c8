"""Spann3R: the network, sequences with the memory after every frame, unordered frames, and the memory by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import copy

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from blender_3r.engine.methods.streaming.pictures import plan_cut, prepare_covering
from blender_3r.engine.models.config import config_from_dict
from blender_3r.engine.models.dust3r import Encoded
from blender_3r.engine.models.outputs import ViewPrediction
from blender_3r.engine.models.spann3r import PairStep, Spann3r, Spann3rConfig, Spann3rStream, run_unordered
from blender_3r.engine.models.spann3r_memory import MemoryLimits, SpatialMemory

from .checking import Fixture, Result, close, same
from .networks import indices, load_strictly, published_keys, recorded

_PICTURES = "procedure_preprocess.safetensors"
_MEMORY = ("procedure_memory.json", "procedure_memory.safetensors")


def checks(fixture: Fixture) -> Iterator[Result]:
    files = ("config.json", "weights.safetensors", "io.safetensors")
    if fixture.has(*files) and "norm_q.weight" in fixture.tensor_names("weights.safetensors"):
        config = {"layer_norm_eps": fixture.config.get("layernorm_eps", 1e-6), **fixture.config}
        network = load_strictly(
            Spann3r(config_from_dict(Spann3rConfig, config)), fixture.tensors("weights.safetensors")
        )
        io = fixture.tensors("io.safetensors")
        yield from _online(network, io)
        yield from _unordered(network, io)
    if fixture.has(*_MEMORY) and "norm_q.weight" in fixture.tensor_names(_MEMORY[1]):
        data = fixture.tensors(_MEMORY[1])
        for name, limits in fixture.json(_MEMORY[0]).items():
            yield from _memory_alone(name, config_from_dict(MemoryLimits, limits), data)
    if fixture.has(_PICTURES) and any(re.fullmatch(r"\d+\.resolution", n) for n in fixture.tensor_names(_PICTURES)):
        yield from _pictures(fixture.tensors(_PICTURES))
    yield from published_keys(fixture, "spann3r", lambda keys: "pos_patch_embed.proj.weight" in keys)


@torch.no_grad()
def _online(network: Spann3r, io: dict[str, Tensor]) -> Iterator[Result]:
    count = len(indices(io, r"in\.img\.(\d+)"))
    stream, steps, pruned = Spann3rStream(network), [], False
    reads: list[tuple[Tensor, Tensor]] = []
    look_up = network.look_up

    def noted(view: Encoded, query: Tensor, memory: SpatialMemory) -> Encoded:
        fused = look_up(view, query, memory)
        reads.append((query, fused.tokens))
        return fused

    network.look_up = noted  # type: ignore[method-assign]
    with recorded(network, sorted({module for module, _ in _modules(network, io).values()})) as seen:
        encoded = network.encode(torch.cat([io["in.img.0"], io["in.img.1"]])).split()
        encoded += [network.encode(io[f"in.img.{i}"]) for i in range(2, count)]
        for i, view in enumerate(encoded):
            step = stream.push(view)
            if step is not None:
                steps.append(step)
                pruned = pruned or _was_pruned(io, i - 1)
                yield from _offered(step, io, f"online.{{}}.{i - 1}")
                yield from _similarity(stream.memory, io["online.similarity"][i - 1], i - 1, pruned)
                yield from _memory(stream.memory, io, f"online.{{}}.{i - 1}")
    del network.look_up
    for name, (module, call) in _modules(network, io).items():
        yield close(name, seen[module][call], io[name])
    for number, (query, fused) in enumerate(reads, start=1):
        for name, ours in ((f"online.read_query.{number}", query), (f"online.read_out.{number}", fused)):
            if name in io:
                yield close(name, ours, io[name])
    results = [*(step.first for step in steps), steps[-1].second]
    for i, prediction in enumerate(results):
        yield from _prediction(prediction, io, f"online.pred.{i}.{{}}")
    for i, step in enumerate(steps):
        yield from _prediction(step.second, io, f"online.pair.{i}.{{}}2")


def _modules(network: Spann3r, io: dict[str, Tensor]) -> dict[str, tuple[str, int]]:
    """Stored intermediates with the module that gives each, and at which of its calls."""
    patterns = {
        r"mid\.dec1\.(\d+)\.(\d+)": "dust3r.dec_blocks.{}",
        r"mid\.dec2\.(\d+)\.(\d+)": "dust3r.dec_blocks2.{}",
        r"mid\.value_block\.(\d+)\.(\d+)": "value_encoder.{}",
        r"mid\.dec_norm()\.(\d+)": "dust3r.dec_norm",
        r"mid\.enc_norm()\.(\d+)": "dust3r.enc_norm",
        r"mid\.key1()\.(\d+)": "attn_head_1",
        r"mid\.key2()\.(\d+)": "attn_head_2",
        r"mid\.value_patch_conv()\.(\d+)": "pos_patch_embed.proj",
        r"mid\.value_out()\.(\d+)": "value_out",
        r"mid\.patch_embed_conv()()": "dust3r.patch_embed.proj",
    }
    found = {}
    for name in io:
        for pattern, module in patterns.items():
            if match := re.fullmatch(pattern, name):
                found[name] = (module.format(match[1]), int(match[2] or 0))
    return found


def _was_pruned(io: dict[str, Tensor], step: int) -> bool:
    """Whether the memory lost tokens in this step."""
    counts = [int(io[f"online.n_tokens_wm_lm.{i}"][0]) for i in (max(step - 1, 0), step)]
    return counts[1] < counts[0]


def _similarity(memory: SpatialMemory, expected: Tensor, step: int, pruned: bool) -> Iterator[Result]:
    """Not after a pruning: which frames it is compared with then depends on how ties are ordered."""
    if not pruned:
        ours = -2.0 if memory.similarity is None else memory.similarity
        yield close(f"online.similarity.{step}", ours, expected)


def _offered(step: PairStep, io: dict[str, Tensor], name: str) -> Iterator[Result]:
    for stored, ours in (("feat_k1", step.keys), ("value", step.values)):
        if name.format(stored) in io:
            yield close(name.format(stored), ours, io[name.format(stored)])


def _memory(memory: SpatialMemory, io: dict[str, Tensor], name: str) -> Iterator[Result]:
    """Counters, and what is stored as a set of tokens."""
    counters = name.format("n_tokens_wm_lm")
    if counters not in io:
        return
    yield same(counters, [len(memory), memory.frames, memory.long_tokens], io[counters].tolist())
    stored = {"mem_k": memory.keys, "mem_v": memory.values, "mem_count": memory.counts, "mem_attn": memory.attention}
    theirs = {part: io[name.format(part)][0].flatten(1) for part in stored if name.format(part) in io}
    ours = {part: tensor.reshape(len(memory), -1) for part, tensor in stored.items() if part in theirs}
    if theirs:
        yield from _sets(ours, theirs, name)


def _sets(ours: dict[str, Tensor], theirs: dict[str, Tensor], name: str) -> Iterator[Result]:
    """Rows of all parts in one order: by their keys where those are stored, otherwise each part by itself."""
    if "mem_k" in ours:
        nearest = torch.cdist(theirs["mem_k"].double(), ours["mem_k"].double()).argmin(dim=1)
        yield same(f"{name.format('tokens')}", sorted(nearest.tolist()), list(range(len(ours["mem_k"]))))
        ours = {part: rows[nearest] for part, rows in ours.items()}
    else:
        ours = {part: rows.sort(dim=0).values for part, rows in ours.items()}
        theirs = {part: rows.sort(dim=0).values for part, rows in theirs.items()}
    for part, rows in theirs.items():
        yield close(name.format(part), ours[part], rows)


def _prediction(prediction: ViewPrediction, io: dict[str, Tensor], name: str) -> Iterator[Result]:
    for stored, ours in (("pts", prediction.points), ("conf", prediction.confidence)):
        if name.format(stored) in io:
            yield close(name.format(stored), ours, io[name.format(stored)])


@torch.no_grad()
def _unordered(network: Spann3r, io: dict[str, Tensor]) -> Iterator[Result]:
    if "offline.order" not in io:
        return
    views = [network.encode(io[f"in.img.{i}"]) for i in io["offline.views"].tolist()]
    offered: list[tuple[PairStep, SpatialMemory]] = []
    ours = run_unordered(network, views, watch=lambda step, memory: offered.append((step, copy(memory))))
    yield close("offline.pair_conf", ours.scores, io["offline.pair_conf"])
    yield same("offline.order", ours.order, io["offline.order"].tolist())
    for i, (step, memory) in enumerate(offered):
        yield from _offered(step, io, f"offline.{{}}.{i}")
        yield from _memory(memory, io, f"offline.{{}}.{i}")
    for i, prediction in enumerate(ours.predictions):
        yield from _prediction(prediction, io, f"offline.pred.{i}.{{}}")


@torch.no_grad()
def _memory_alone(setting: str, limits: MemoryLimits, data: dict[str, Tensor]) -> Iterator[Result]:
    memory = SpatialMemory(limits)
    norms = [_norm(data, name) for name in ("norm_q", "norm_k", "norm_v")]
    for i in indices(data, r"k\.(\d+)"):
        memory.add(data[f"k.{i}"][0], data[f"v.{i}"][0])
        read = memory.read(data[f"q.{i}"][0], *norms)
        yield close(f"{setting}.read.{i}", read[None], data[f"{setting}.read.{i}"])
        counters = [len(memory), memory.frames, memory.long_tokens]
        yield same(f"{setting}.state.{i}", counters, data[f"{setting}.state.{i}"].tolist())
        for name, ours in (("count", memory.counts), ("attn", memory.attention)):
            yield close(f"{setting}.{name}.{i}", ours.sort().values, data[f"{setting}.{name}.{i}"].sort().values)
    last = {"mem_k": memory.keys, "mem_v": memory.values}
    yield from _sets(last, {part: data[f"{setting}.{part}_last"][0] for part in last}, f"{setting}.{{}}_last")


def _norm(data: dict[str, Tensor], name: str):
    weight, bias = data[f"{name}.weight"], data[f"{name}.bias"]
    return lambda tokens: layer_norm(tokens, weight.shape, weight, bias, 1e-5)


def _pictures(data: dict[str, Tensor]) -> Iterator[Result]:
    for i in indices(data, r"(\d+)\.resolution"):
        image = data[f"{i}.in_u8"].numpy()
        height, width = image.shape[:2]
        resolution = tuple(data[f"{i}.resolution"].tolist())
        picture = prepare_covering(image, resolution)
        yield close(f"preprocess {i}.out", picture.tensor, data[f"{i}.out"])
        camera = np.array([[1.0, 0, width // 2], [0, 1, height // 2], [0, 0, 1]])
        yield close(f"preprocess {i}.K", plan_cut(width, height, resolution).intrinsics(camera), data[f"{i}.K"])

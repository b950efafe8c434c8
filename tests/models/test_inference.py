"""Encode once, decode in batches, give way when memory runs out, stop when asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from blender_3r.engine.errors import Cancelled, EngineError
from blender_3r.engine.methods.networks import choose_device, choose_precision
from blender_3r.engine.methods.pairwise import inference
from blender_3r.engine.methods.pairwise.inference import PairRunner
from blender_3r.engine.models import build
from blender_3r.engine.models.dust3r import Encoded
from blender_3r.engine.models.outputs import ViewPrediction

CPU = torch.device("cpu")
TINY = {
    "enc_embed_dim": 16,
    "enc_depth": 2,
    "enc_num_heads": 2,
    "dec_embed_dim": 16,
    "dec_depth": 4,
    "dec_num_heads": 2,
    "dpt_feature_dim": 8,
    "dpt_last_dim": 6,
    "dpt_layer_dims": [4, 6, 8, 10],
    "dpt_hooks": [0, 2, 3, 4],
}


class Plain:
    """Says which images a pair is made of. largest: a larger batch runs out of memory with this error."""

    def __init__(self, largest: int = 1000, error: Exception | None = None) -> None:
        self.largest, self.error = largest, error or torch.OutOfMemoryError("out of memory")
        self.encoder_calls: list[int] = []
        self.batches: list[int] = []

    def encode(self, images):
        self.encoder_calls.append(len(images))
        if len(images) > self.largest:
            raise self.error
        grid = (images.shape[-2] // 16, images.shape[-1] // 16)
        tokens = images[:, :1, :1, :1].reshape(-1, 1, 1).expand(-1, grid[0] * grid[1], 2)
        return Encoded(tokens, torch.zeros(len(images), grid[0] * grid[1], 2, dtype=torch.int64), grid)

    def predict(self, first, second):
        self.batches.append(len(first.tokens))
        if len(first.tokens) > self.largest:
            raise self.error
        return self._view(first), self._view(second)

    def _view(self, encoded):
        name = encoded.tokens[:, 0, 0].reshape(-1, 1, 1, 1)
        size = (16 * encoded.grid[0], 16 * encoded.grid[1])
        return ViewPrediction(name.expand(-1, *size, 3).clone(), name[..., 0].expand(-1, *size).clone())


def images(count, sizes=((32, 48),)):
    return [np.full((3, *sizes[k % len(sizes)]), k, np.float32) for k in range(count)]


def complete(count):
    return [(i, j) for i in range(count) for j in range(count) if i != j]


def names(batch):
    """(first, second) image of every entry of a batch."""
    return [(int(a[0, 0, 0]), int(b[0, 0, 0])) for a, b in zip(batch.first.points, batch.second.points)]


def test_every_image_is_encoded_once_whatever_the_graph():
    for edges in (complete(6), [(0, 1)], [(0, k) for k in range(1, 6)]):
        network = Plain()
        runner = PairRunner(network, CPU)
        encoded = runner.encode(images(6), 6)
        assert sum(len(batch.indices) for batch in runner.decode(encoded, edges)) == len(edges)
        assert network.encoder_calls == [1] * 6
        assert runner.encoded_images == 6


def test_images_are_read_one_batch_at_a_time():
    alive = []

    def lazy():
        for image in images(5):
            alive.append(len(network.encoder_calls))
            yield image

    network = Plain()
    PairRunner(network, CPU).encode(lazy(), 5)
    assert alive == [0, 0, 1, 2, 3]  # one image ahead of the encoder


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_pairs_of_all_shapes_come_once_and_right(batch):
    sizes = ((32, 48), (48, 32), (32, 32))
    runner = PairRunner(Plain(), CPU, batch=batch)
    edges = complete(5)
    found = {}
    told = []
    encoded = runner.encode(images(5, sizes), 5)
    for part in runner.decode(encoded, edges, lambda done, total: told.append((done, total))):
        assert len(part.indices) <= batch
        assert part.first.points.shape[1:3] == sizes[edges[part.indices[0]][0] % 3]
        found.update(zip(part.indices, names(part)))
    assert [found[index] for index in range(len(edges))] == edges
    assert told[-1] == (20, 20)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_mirror_images_stay_near_each_other():
    edges = [edge for i in range(8) for j in range(i) for edge in ((i, j), (j, i))]
    runner = PairRunner(Plain(), CPU, batch=4)
    open_pairs, most = set(), 0
    for part in runner.decode(runner.encode(images(8, ((32, 48), (48, 32))), 8), edges):
        for index in part.indices:
            i, j = edges[index]
            open_pairs ^= {(min(i, j), max(i, j))}
        most = max(most, len(open_pairs))
    assert open_pairs == set()
    assert most <= 8


def test_batches_do_not_change_the_result():
    torch.manual_seed(1)
    network = build("dust3r", TINY)
    rng = np.random.default_rng(0)
    pictures = [rng.uniform(-1, 1, (3, 32, 48)).astype(np.float32) for _ in range(3)]
    results = []
    for batch in (1, 6):
        runner = PairRunner(network, CPU, batch=batch)
        maps = {}
        for part in runner.decode(runner.encode(pictures, 3), complete(3)):
            maps.update({index: part.second.points[k] for k, index in enumerate(part.indices)})
        results.append(torch.stack([maps[index] for index in range(6)]))
    usual = network(torch.from_numpy(pictures[0])[None], torch.from_numpy(pictures[1])[None])[1].points[0]
    assert not results[0].requires_grad
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(results[0][0], usual, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"
        ),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_a_batch_that_does_not_fit_is_halved(error):
    network = Plain(largest=3, error=error)
    log = []
    runner = PairRunner(network, CPU, batch=16, log=log.append)
    edges = complete(6)
    found = [index for part in runner.decode(runner.encode(images(6), 6), edges) for index in part.indices]
    assert sorted(found) == list(range(30))
    assert network.batches[:4] == [16, 8, 4, 2]
    assert set(network.batches[4:]) == {2}
    assert "2 pairs at once" in log[-1]


def test_the_encoder_gives_way_too():
    network = Plain(largest=2)
    runner = PairRunner(network, CPU)
    encoded = runner._encode_group([torch.from_numpy(image) for image in images(7)])  # as on an accelerator
    assert [int(one.tokens[0, 0, 0]) for one in encoded] == list(range(7))
    assert network.encoder_calls == [7, 3, 1, 2, 4, 2, 2]
    assert runner.encoded_images == 7


def test_one_pair_that_does_not_fit_is_told_with_numbers(monkeypatch):
    monkeypatch.setattr(inference, "free_memory", lambda *device: 1_500_000_000)
    network = Plain(largest=1)
    runner = PairRunner(network, CPU, batch=2)
    encoded = runner.encode(images(2), 2)
    network.largest = 0
    with pytest.raises(EngineError, match=r"One pair of images .* 1\.5 GB are free") as caught:
        list(runner.decode(encoded, [(0, 1), (1, 0)]))
    assert caught.value.kind == "machine"
    assert "224" in caught.value.hint


def test_other_errors_are_not_taken_for_lack_of_memory():
    runner = PairRunner(Plain(largest=0, error=RuntimeError("shapes do not match")), CPU)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        runner.encode(images(1), 1)


def test_cancelling_stops_between_layers():
    network = build("dust3r", TINY)
    asked = []

    def check():
        asked.append(True)
        if len(asked) > 40:
            raise Cancelled

    runner = PairRunner(network, CPU, check_cancelled=check)
    with pytest.raises(Cancelled):
        list(runner.decode(runner.encode(images(2), 2), complete(2)))
    assert len(asked) == 41
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_reduced_precision_leaves_the_heads_exact():
    torch.manual_seed(0)
    network = build("mast3r", {**TINY, "desc_dim": 4, "hidden_dim_factor": 2.0})
    pictures = [np.random.default_rng(k).uniform(-1, 1, (3, 32, 48)).astype(np.float32) for k in range(2)]
    points = []
    for precision in ("float32", "bfloat16"):
        runner = PairRunner(network, CPU, precision)
        part = next(runner.decode(runner.encode(pictures, 2), [(0, 1)]))
        assert part.first.points.dtype == part.first.descriptors.dtype == torch.float32
        points.append(part.first.points)
    difference = (points[0] - points[1]).abs().max() / points[0].abs().max()
    assert 0 < difference < 0.05


def test_device_and_precision_by_name():
    assert choose_device("cpu") == CPU
    assert choose_device(None).type in ("cpu", "cuda", "mps")
    assert choose_precision("auto", CPU) == "float32"
    assert choose_precision("float16", CPU) == "float16"
    with pytest.raises(EngineError, match="no device called"):
        choose_device("gpu9")
    with pytest.raises(EngineError, match="is not there") as caught:
        choose_device("cuda:7")
    assert caught.value.kind == "machine"


def test_what_heads_make_of_one_image_is_kept_for_many_pairs_unless_memory_is_short():
    torch.manual_seed(0)
    network = build("dust3r", TINY)
    pictures = [torch.rand(3, 32, 48) * 2 - 1 for _ in range(4)]
    results, calls = [], []
    network.downstream_head1.dpt.act_postprocess[0].register_forward_hook(lambda *_: calls.append(1))
    for limit, kept in ((None, True), (1, False)):
        lines: list[str] = []
        calls.clear()
        runner = PairRunner(network, CPU, batch=1, memory_limit=limit, log=lines.append)
        encoded = runner.encode(pictures, 4)
        results.append([batch.first.points for batch in runner.decode(encoded, complete(4))])
        assert (encoded.images[0].finest1 is not None) == kept
        assert any("memory is short" in line for line in lines) != kept
        assert len(calls) == (4 if kept else 1 + 12)  # the one that showed how much memory it takes, then every pair
    for one, other in zip(*results):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)

"""From a file to a network: names and shapes compared, renames done, no second copy, kept between jobs."""

from __future__ import annotations

import os
import threading
import weakref
from argparse import Namespace
from dataclasses import asdict, dataclass

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from blender_3r.engine import models, zoo
from blender_3r.engine.errors import EngineError
from blender_3r.engine.zoo import cache as cache_module

TINY = {"enc_embed_dim": 64, "enc_depth": 2, "enc_num_heads": 1, "dec_embed_dim": 64, "dec_depth": 4}
TINY |= {"dec_num_heads": 1, "dpt_layer_dims": (6, 8, 10, 12), "dpt_feature_dim": 12, "dpt_last_dim": 6}
FULL_CROCO = {"enc_embed_dim": 48, "enc_depth": 1, "enc_num_heads": 3, "dec_embed_dim": 32, "dec_depth": 2}
FULL_CROCO |= {"dec_num_heads": 2, "pos_embed": "RoPE100"}


@dataclass(frozen=True)
class LineConfig:
    width: int = 4

    @classmethod
    def from_shapes(cls, shapes):
        return cls(shapes["line.weight"][0])


class Line(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.line = nn.Linear(config.width, config.width)
        self.exact = nn.Parameter(torch.zeros(config.width, dtype=torch.float64))

    @staticmethod
    def adapt_state_dict(state):
        return {name.removeprefix("old."): value for name, value in state.items()}


class Line2(Line):
    """With a buffer that no file holds."""

    def __init__(self, config):
        super().__init__(config)
        self.register_buffer("table", torch.zeros(3), persistent=False)


@dataclass(frozen=True)
class Made:
    config_class: type
    network_class: type


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("BLENDER_3R_ZOO", str(tmp_path / "zoo"))
    monkeypatch.setitem(models.ARCHITECTURES, "line", Made(LineConfig, Line))
    monkeypatch.setitem(models.ARCHITECTURES, "line2", Made(LineConfig, Line2))


def line_state(width=4, prefix="old."):
    generator = torch.Generator().manual_seed(3)
    state = {"line.weight": torch.rand(width, width, generator=generator), "line.bias": torch.ones(width)}
    state["exact"] = torch.arange(float(width), dtype=torch.float64)
    return {prefix + name: value for name, value in state.items()}


def saved(state, path):
    save_file(state, path) if path.suffix == ".safetensors" else torch.save({"model": state}, path)
    return path


def own_record(path, architecture="line", config=None, **known):
    return zoo.Record("own", "Own", (zoo.WeightFile(path=str(path)),), architecture, config=config, **known)


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
def test_a_record_becomes_a_network(tmp_path, name):
    state = line_state()
    model = zoo.load_model(own_record(saved(state, tmp_path / name), config={"width": 4, "unknown": 1}))
    assert torch.equal(model.line.weight, state["old.line.weight"])
    assert model.exact.dtype == torch.float64
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_types_of_numbers(tmp_path):
    half = {name: value.half() for name, value in line_state().items()}
    path = saved(half, tmp_path / "half.safetensors")
    assert zoo.load_model_file(path, "line").line.weight.dtype == torch.float32
    model = zoo.load_model_file(path, "line", dtype=torch.bfloat16)
    assert model.line.weight.dtype == torch.bfloat16
    assert model.exact.dtype == torch.float64  # on purpose, so it stays


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="needs Linux")
@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
def test_loading_makes_no_copy(tmp_path, name):
    width = 4096
    path = saved(line_state(width), tmp_path / name)  # 64 MB
    before = anonymous_memory()
    model = zoo.load_model_file(path, "line")
    grown = anonymous_memory() - before
    assert torch.isfinite(model.line.weight.sum())
    with open("/proc/self/maps") as maps:
        assert str(path) in maps.read()
    assert grown < 16 << 20


def anonymous_memory():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon:"))


def test_what_does_not_fit_is_listed(tmp_path):
    state = line_state()
    del state["old.line.bias"]
    state["old.line.weight"] = torch.ones(5, 4)
    state |= {f"other.{number}": torch.ones(1) for number in range(25)}
    path = saved(state, tmp_path / "a.safetensors")
    with pytest.raises(EngineError) as caught:
        zoo.load_model_file(path, "line", {"width": 4})
    text = caught.value.message
    assert caught.value.kind == "input"
    assert str(path) in text
    assert "1 missing: line.bias" in text
    assert "1 of another shape: line.weight (5, 4) instead of (4, 4)" in text
    assert "25 unexpected: other.0, other.1, " in text
    assert "and 15 more" in text
    assert text.count("other.") == 10


def test_wrong_choices(tmp_path):
    path = saved(line_state(), tmp_path / "a.safetensors")
    with pytest.raises(EngineError, match="no architecture 'circle'"):
        zoo.load_model_file(path, "circle")
    with pytest.raises(EngineError, match="does not look like weights of Dust3r"):
        zoo.load_model_file(path, "dust3r")
    with pytest.raises(EngineError, match="No network of the architecture dust3r"):
        zoo.load_model_file(path, "dust3r", {"head_type": "round"})
    with pytest.raises(EngineError, match="listed only"):
        zoo.load_model(own_record(path, ""))
    with pytest.raises(EngineError, match="does not exist"):
        zoo.load_model(own_record(tmp_path / "nowhere.pth"))


def test_a_network_without_content_is_not_handed_out(tmp_path):
    path = saved(line_state(), tmp_path / "a.safetensors")
    with pytest.raises(EngineError, match="table"):
        zoo.load_model_file(path, "line2")


# -- the real networks, small


def random_network(architecture, config):
    torch.manual_seed(5)
    network = models.build(architecture, config)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    return network


@pytest.mark.parametrize("published_as", ["safetensors", "pth"])
@pytest.mark.parametrize("architecture", ["dust3r", "mast3r"])
def test_published_files_become_networks(tmp_path, architecture, published_as):
    """Without a configuration: sizes come from the shapes. A .pth holds DPT tensors under two names, unused ones, and
    a namespace; the hub's file one name of each.
    """
    network = random_network(architecture, {**TINY, "hidden_dim_factor": 2.0, "desc_dim": 4})
    state = {name: value.detach().clone() for name, value in network.state_dict().items()}
    state["mask_token"] = torch.zeros(1, 1, 64)
    for head in ("downstream_head1", "downstream_head2"):
        dpt = f"{head}.dpt.scratch"
        state[f"{dpt}.refinenet4.resConfUnit1.conv1.weight"] = torch.zeros(12, 12, 3, 3)
    path = tmp_path / f"model.{published_as}"
    if published_as == "pth":
        for name in [name for name in state if ".scratch.layer" in name]:
            number = int(name.split(".scratch.layer")[1][0])
            state[name.replace(f"layer{number}_rn", f"layer_rn.{number - 1}")] = state[name]
        torch.save({"model": state, "args": Namespace(model="Network()", lr=0.1), "epoch": 9}, path)
    else:
        save_file(state, path)
    loaded = zoo.load_model_file(path, architecture)
    image = torch.rand(1, 3, 32, 48) * 2 - 1
    with torch.no_grad():
        expected, found = network(image, image.flip(-1)), loaded(image, image.flip(-1))
    assert torch.equal(expected[0].points, found[0].points)
    assert torch.equal(expected[1].confidence, found[1].confidence)
    assert asdict(loaded.config) == asdict(network.config)


def test_a_decoder_stored_once_fills_both_branches(tmp_path):
    state = dict(random_network("dust3r", TINY).state_dict())
    state = {name: value for name, value in state.items() if not name.startswith("dec_blocks2.")}
    loaded = zoo.load_model_file(saved(state, tmp_path / "a.safetensors"), "dust3r", TINY)
    assert torch.equal(loaded.dec_blocks2[1].mlp.fc1.weight, state["dec_blocks.1.mlp.fc1.weight"])


def test_constructor_arguments_in_the_file_are_used(tmp_path):
    """CroCo's files tell the number of heads, which no shape does."""
    network = random_network("croco", FULL_CROCO)
    path = tmp_path / "croco.pth"
    torch.save({"model": network.state_dict(), "croco_kwargs": FULL_CROCO}, path)
    loaded = zoo.load_model_file(path, "croco")
    assert (loaded.config.enc_num_heads, loaded.config.dec_num_heads) == (3, 2)


def test_the_retrieval_head_is_read_from_its_file(tmp_path):
    shapes = {"prewhiten.m": (1, 8), "prewhiten.p": (8, 8)}
    state = {name: torch.rand(shape, dtype=torch.float64) for name, shape in shapes.items()}
    args = Namespace(pretrained="x", freeze_backbone=True, prewhiten=1, hdims=[], residual=False, nfeat=7)
    args.__dict__ |= {"postwhiten": None, "featweights": "l2norm", "imsize": 512, "nclusters": "64k"}
    path = tmp_path / "retrieval.pth"
    torch.save({"model": state, "args": args}, path)
    record = own_record(path, "retrieval")
    loaded = zoo.load_model(record)
    assert loaded.config.nfeat == 7
    assert loaded.config.dim == 8
    assert loaded.prewhiten.p.dtype == torch.float64
    assert torch.equal(loaded.prewhiten.p, state["prewhiten.p"])


# -- kept between jobs


class Loader:
    def __init__(self):
        self.loaded = []

    def __call__(self, record, device="cpu", dtype=None):
        self.loaded.append(record.id)
        return nn.Linear(1, 1)


def record_of(id_, memory=100):
    return zoo.Record(id_, id_, (zoo.WeightFile(url=f"https://x/{id_}"),), "line", memory_bytes=memory)


def test_a_network_is_loaded_once():
    load = Loader()
    cache = zoo.ModelCache(load=load, free_bytes=lambda device: 10**12)
    with cache.use(record_of("a")) as first, cache.use(record_of("a")) as second:
        assert first is second
    with cache.use(record_of("a")) as third:
        assert third is first
    with cache.use(record_of("a"), "cpu", torch.bfloat16) as other:
        assert other is not first
    assert load.loaded == ["a", "a"]
    cache.release_all()
    assert cache.loaded() == []


def test_own_files_that_change_are_loaded_again(tmp_path):
    path = saved(line_state(), tmp_path / "a.safetensors")
    cache = zoo.ModelCache(free_bytes=lambda device: 10**12)
    with cache.use(own_record(path)) as first:
        pass
    saved({name: value + 1 for name, value in line_state(5).items()}, path)
    with cache.use(own_record(path)) as second:
        assert second.line.weight.shape == (5, 5)
        assert second is not first
    cache.release_all()


def test_others_make_room_the_longest_unused_first():
    load, left = Loader(), [1000]
    cache = zoo.ModelCache(load=load, free_bytes=lambda device: left[0] - 400 * len(cache.loaded()))
    for id_ in ("a", "b"):
        with cache.use(record_of(id_, 400)):
            pass
    assert cache.loaded() == ["a", "b"]
    with cache.use(record_of("a", 400)):  # now b is the longest unused
        pass
    with cache.use(record_of("c", 400)):
        assert cache.loaded() == ["a", "c"]
        cache.make_room(10**9)  # c is in use
        assert cache.loaded() == ["c"]
    cache.release_all()


def test_idle_networks_are_released():
    now = [0.0]
    cache = zoo.ModelCache(idle_s=100, load=Loader(), free_bytes=lambda device: None, clock=lambda: now[0])
    with cache.use(record_of("a")):
        now[0] = 500.0
        cache.release_idle()
        assert cache.loaded() == ["a"]  # in use, however long
    now[0] = 599.0
    cache.release_idle()
    assert cache.loaded() == ["a"]
    with cache.use(record_of("a")) as model:
        kept = weakref.ref(model)
    del model
    now[0] = 700.0
    cache.release_idle()
    assert cache.loaded() == []
    assert kept() is None


def test_the_clock_releases_by_itself():
    cache = zoo.ModelCache(idle_s=0.05, load=Loader(), free_bytes=lambda device: None)
    released = threading.Event()
    release_idle = cache.release_idle

    def watched():
        release_idle()
        if not cache.loaded():
            released.set()

    cache.release_idle = watched
    with cache.use(record_of("a")):
        pass
    assert released.wait(20)


def test_a_network_that_cannot_be_loaded_leaves_nothing(tmp_path):
    cache = zoo.ModelCache(free_bytes=lambda device: None)
    with pytest.raises(EngineError, match="does not exist"), cache.use(own_record(tmp_path / "nowhere.pth")):
        pass
    assert cache.loaded() == []


def test_free_memory_is_known_where_it_can_be():
    free = cache_module.free_memory("cpu")
    assert free is None or free > 1 << 20
    assert cache_module.free_memory("mps") is None
    assert zoo.shared_cache() is zoo.shared_cache()

"""Checkpoint files are read without running what they bring along, and damaged ones are named."""

from __future__ import annotations

import argparse
import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from blender_3r.engine import zoo
from blender_3r.engine.errors import EngineError

STATE = {"layer.weight": torch.arange(12.0).reshape(3, 4), "layer.bias": torch.ones(3)}


class Payload:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def same(checkpoint):
    return set(checkpoint.tensors) == set(STATE) and all(
        torch.equal(checkpoint.tensors[name], STATE[name]) for name in STATE
    )


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth", "old.pth", "flat.bin", "state.pt"])
def test_every_form_of_weights(tmp_path, name):
    """The kind is seen in the file: its name may lie."""
    path = tmp_path / name
    if name == "a.safetensors":
        save_file(STATE, path)
    elif name == "a.pth":
        torch.save({"model": OrderedDict(STATE), "epoch": 3}, path)
    elif name == "old.pth":
        torch.save({"model": STATE}, path, _use_new_zipfile_serialization=False)
    else:
        torch.save(STATE if name == "flat.bin" else {"state_dict": STATE}, path)
    assert same(zoo.read_checkpoint(path))
    other = path.rename(tmp_path / "name.that.tells.nothing")
    assert same(zoo.read_checkpoint(other))


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="needs Linux")
@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
def test_weights_stay_on_disk_until_they_are_used(tmp_path, name):
    path = tmp_path / name
    big = {"weight": torch.zeros(16 << 20)}  # 64 MB
    save_file(big, path) if name.endswith("safetensors") else torch.save({"model": big}, path)
    del big
    before = anonymous_memory()
    checkpoint = zoo.read_checkpoint(path)
    with open("/proc/self/maps") as maps:
        assert str(path) in maps.read()
    assert float(checkpoint.tensors["weight"].sum()) == 0.0
    assert anonymous_memory() - before < 16 << 20


def anonymous_memory():
    """Bytes of this process that are no copy of a file."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon:"))


def test_harmless_company_is_read(tmp_path):
    """What published checkpoints hold beside the weights: a namespace, numbers of NumPy, constructor arguments."""
    path = tmp_path / "a.pth"
    args = argparse.Namespace(model="Network(a=1)", nfeat=300, hdims=[4, 5], lr=np.float64(0.1))
    best = {"best": np.float64(0.25), "count": np.int64(7), "curve": np.arange(5.0), "single": np.float32(1.5)}
    torch.save({"model": STATE, "args": args, "croco_kwargs": {"enc_depth": 2}, "best": best}, path)
    checkpoint = zoo.read_checkpoint(path)
    assert same(checkpoint)
    assert checkpoint.facts["nfeat"] == 300
    assert checkpoint.facts["hdims"] == [4, 5]
    assert checkpoint.facts["enc_depth"] == 2


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("form", ["zip", "old", "bare", "in the namespace"])
def test_a_malicious_pickle_is_refused_and_does_nothing(tmp_path, form):
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    payload = Payload(trace)
    if form == "bare":
        path.write_bytes(pickle.dumps({"model": payload}))
    elif form == "in the namespace":
        torch.save({"model": STATE, "args": argparse.Namespace(model=payload)}, path)
    else:
        torch.save({"model": STATE, "x": payload}, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(EngineError) as caught:
        zoo.read_checkpoint(path)
    assert caught.value.kind == "input"
    assert str(path) in caught.value.message
    assert "mkdir" in caught.value.message
    assert "refused" in caught.value.message
    assert not trace.exists()


def test_harmless_names_cannot_be_put_to_another_use(tmp_path):
    """A namespace is made, but a function in its place, or a class that was not allowed, is not."""
    path = tmp_path / "odd.pth"
    for thing, name in ((torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"), (pickle.loads, "loads")):
        torch.save({"model": STATE, "args": thing}, path)
        with pytest.raises(EngineError) as caught:
            zoo.read_checkpoint(path)
        assert name in caught.value.message


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth", "old.pth"])
@pytest.mark.parametrize("keep", [0, 5, 40, 0.5, 0.98])
def test_truncated_files_are_named(tmp_path, name, keep):
    path = tmp_path / name
    state = {"weight": torch.rand(100, 100)}
    if name == "a.safetensors":
        save_file(state, path)
    else:
        torch.save({"model": state}, path, _use_new_zipfile_serialization=name == "a.pth")
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    with pytest.raises(EngineError) as caught:
        zoo.read_checkpoint(path)
    assert caught.value.kind == "input"
    assert str(path) in caught.value.message


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {"model": {"a": 1}}], ids=str)
def test_what_holds_no_weights(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(EngineError, match="no checkpoint"):
        zoo.read_checkpoint(tmp_path / "a.pth")
    with pytest.raises(EngineError, match="cannot be read"):
        zoo.read_checkpoint(tmp_path / "nowhere.pth")


# -- the codebook of the retrieval


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_codebook(tmp_path, protocol):
    path = tmp_path / "codebook.pkl"
    centroids = np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32)
    data = {"type": "Codebook", "params": {"size": "64k"}, "state": {"centroids": centroids}}
    path.write_bytes(pickle.dumps(data, protocol=protocol))
    found = zoo.read_codebook(path)
    assert found.dtype == np.float32
    assert np.array_equal(found, centroids)
    # As NumPy 1 names its parts.
    path.write_bytes(pickle.dumps(data, protocol=2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert np.array_equal(zoo.read_codebook(path), centroids)


def test_a_malicious_codebook_is_refused_and_does_nothing(tmp_path):
    path, trace = tmp_path / "codebook.pkl", tmp_path / "trace"
    for payload in (Payload(trace), np.array([Payload(trace)], dtype=object), {"centroids": Payload(trace)}):
        path.write_bytes(pickle.dumps({"state": payload}))
        with pytest.raises(EngineError) as caught:
            zoo.read_codebook(path)
        assert "mkdir" in caught.value.message
        assert not trace.exists()


def test_no_codebook(tmp_path):
    path = tmp_path / "codebook.pkl"
    wrong = [[1], {"state": {}}, {"state": {"centroids": np.arange(3.0)}}, {"state": {"centroids": np.array([["a"]])}}]
    for data in (pickle.dumps(one) for one in wrong):
        path.write_bytes(data)
        with pytest.raises(EngineError, match="no retrieval codebook"):
            zoo.read_codebook(path)
    path.write_bytes(pickle.dumps({"state": {"centroids": np.ones((9, 9), np.float32)}})[:-30])
    with pytest.raises(EngineError, match="damaged"):
        zoo.read_codebook(path)

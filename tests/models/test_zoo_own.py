"""Checkpoints of the user's own in the list, the rule on commercial use, one folder for all weights."""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from blender_3r.engine import zoo
from blender_3r.engine.errors import EngineError
from blender_3r.engine.methods import networks
from blender_3r.engine.methods.pairwise import network
from blender_3r.engine.service import estimate, models
from tests.models.support.tiny_weights import CONFIGS, write_checkpoint

QUIET = lambda *arguments, **fields: None  # noqa: E731


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("BLENDER_3R_ZOO", str(tmp_path / "zoo"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("BLENDER_3R_RECORDS", raising=False)
    monkeypatch.delenv("BLENDER_3R_COMMERCIAL_ONLY", raising=False)
    return tmp_path / "zoo"


def mine(folder, architecture="dust3r", with_config=True):
    path = write_checkpoint(folder / 'my "best" (net).safetensors', architecture)
    if with_config:
        (path.parent / "config.json").write_text(json.dumps(CONFIGS[architecture]))
    return path


@pytest.mark.parametrize("architecture", ["dust3r", "mast3r"])
def test_the_network_is_found_out_and_the_file_stays(tmp_path, architecture):
    path = mine(tmp_path / "some folder", architecture)
    before = path.stat()
    answer = models.add_model({"path": str(path), "title": 'My "net"', "license": "MIT", "commercial_use": True})
    assert answer == {"model": "my-best-net"}
    record = zoo.find_record("my-best-net")
    assert (record.title, record.architecture, record.method) == ('My "net"', architecture, "pairwise")
    assert (record.license, record.commercial_use, record.download_bytes) == ("MIT", True, before.st_size)
    assert zoo.weights_path(record) == path
    network = zoo.load_model(record)
    assert sum(one.numel() for one in network.parameters()) > 0
    listed = next(one for one in models.list_models()["models"] if one["id"] == record.id)
    assert (listed["own"], listed["downloaded"], listed["usable"]) == (True, True, True)

    assert models.remove_model(record.id) == {"model": record.id, "freed_bytes": 0}
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert record.id not in zoo.load_records()


def test_a_second_file_of_the_name_and_the_same_file_again(tmp_path):
    first = models.add_model({"path": str(mine(tmp_path / "a"))})
    assert models.add_model({"path": str(mine(tmp_path / "b"))})["model"] == f"{first['model']}-2"
    with pytest.raises(EngineError, match="in the list already"):
        models.add_model({"path": str(tmp_path / "a" / 'my "best" (net).safetensors')})


def test_what_is_no_checkpoint_is_refused(tmp_path, home):
    stranger = tmp_path / "stranger.safetensors"
    save_file({"layer.weight": torch.zeros(3, 3)}, stranger)
    with pytest.raises(EngineError, match="fits none of the networks") as caught:
        models.add_model({"path": str(stranger)})
    assert "dust3r" in caught.value.message
    text = tmp_path / "notes.pth"
    text.write_text("nothing")
    for path in (str(text), str(tmp_path / "gone.pth"), "", None, 5):
        with pytest.raises(EngineError):
            models.add_model({"path": path})
    assert not (home / "records").exists()


def test_nothing_in_a_checkpoint_is_run(tmp_path, home):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    path = tmp_path / "evil.pth"
    torch.save({"model": Evil()}, path)
    with pytest.raises(EngineError, match=r"mkdir"):
        models.add_model({"path": str(path)})
    assert not (tmp_path / "harm").exists()


def test_a_record_written_by_hand_is_not_removed(tmp_path, home):
    (home / "records").mkdir(parents=True)
    origin = home / "records" / "hand.toml"
    origin.write_text('[[models]]\nid = "hand"\ntitle = "Hand"\nfiles = [{ path = "x.pth" }]\n')
    with pytest.raises(EngineError, match="not written by this program"):
        models.remove_model("hand")
    assert origin.exists()


def test_only_models_for_commercial_use(monkeypatch):
    monkeypatch.setenv("BLENDER_3R_COMMERCIAL_ONLY", "1")
    allowed = {one["id"]: one["allowed"] for one in models.list_models()["models"]}
    assert not allowed["mast3r-512"]
    assert allowed["vggt-1b-commercial"]
    with pytest.raises(EngineError, match="allows no commercial use") as caught:
        models.download_model("mast3r-512", QUIET, accept=True)
    assert "preferences" in caught.value.hint


@pytest.mark.parametrize("kind", ["new", "home", "cache"])
def test_one_folder_for_all_weights(tmp_path, monkeypatch, kind):
    folder = tmp_path / ("hub" if kind == "cache" else "weights")
    if kind == "home":
        (folder / "hub" / "models--somebody--model").mkdir(parents=True)
    cache = folder if kind == "cache" else folder / "hub"
    models.use_folder(folder)
    try:
        listed = models.list_models()
    finally:
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    assert Path(listed["hub"]) == cache
    assert Path(listed["zoo"]) == cache.parent / "blender_3r"
    assert listed["free_bytes"] > 0
    assert listed["missing"] == []


def test_what_was_begun_is_told_and_can_be_forgotten(tmp_path):
    record = zoo.find_record("mast3r-512")
    blobs = tmp_path / "hub" / "models--naver--MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "abc.blender_3r.incomplete").write_bytes(b"x" * 1000)
    (blobs / "abc.blender_3r.incomplete.json").write_bytes(b"{}")
    (blobs / "def.incomplete").write_bytes(b"another program's")
    listed = next(one for one in models.list_models()["models"] if one["id"] == record.id)
    assert (listed["begun_bytes"], listed["downloaded"]) == (1000, False)
    assert models.remove_model(record.id, parts=True)["freed_bytes"] == 1002
    assert [path.name for path in blobs.iterdir()] == ["def.incomplete"]
    assert zoo.begun_bytes(record) == 0


def test_an_estimate_speaks_of_the_model_that_the_method_takes():
    assumed = inspect.signature(networks.choose_weights).parameters["default_size"].default
    assert (network.DEFAULT_MODEL, assumed) == (estimate.DEFAULT_MODEL, estimate.DEFAULT_SIZE)

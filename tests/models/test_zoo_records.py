"""Records of weights: ours are complete, the user's own are read, mistakes are named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from blender_3r.engine import models, zoo
from blender_3r.engine.errors import EngineError
from blender_3r.engine.zoo import records as records_module
from blender_3r.engine.zoo.places import hub_cache

ROOT = Path(__file__).parents[2]
OWN = """
[common]
license = "MIT"
commercial_use = true

[[models]]
id = "mine"
title = "Mine"
architecture = "dust3r"
files = [{ path = "mine.pth" }]
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("BLENDER_3R_ZOO", str(tmp_path / "zoo"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.delenv("BLENDER_3R_RECORDS", raising=False)
    return tmp_path / "zoo"


def test_all_published_weights_are_listed():
    records = zoo.load_records()
    assert {
        "dust3r-512-dpt",
        "dust3r-512-linear",
        "dust3r-224-linear",
        "mast3r-512",
        "mast3r-retrieval",
        "monst3r-512-dpt",
        "croco-v2-large",
        "croco-v2-base",
        "croco-v2-base-small",
        "croco-v1",
    } <= set(records)
    for record in records.values():
        assert record.license
        assert record.license_url.startswith("https://")
        if record.license.startswith("CC BY-NC"):
            assert not record.commercial_use
        if record.is_usable:
            assert record.architecture in models.ARCHITECTURES
            assert min(record.parameters, record.download_bytes, record.memory_bytes, record.image_size) > 0
            assert record.memory_bytes > record.download_bytes
            assert record.paper.startswith("https://arxiv.org/")


@pytest.mark.parametrize("record", [r for r in zoo.load_records().values() if r.config is not None], ids=lambda r: r.id)
def test_config_gives_the_published_number_of_parameters(record):
    """Of the networks at full size, built without memory; the unused tensors of the files are counted by hand."""
    model = models.build(record.architecture, record.config, "meta")
    found = sum(parameter.numel() for parameter in model.parameters())
    if record.architecture not in ("croco", "dust3r", "mast3r"):  # others have their own unused tensors
        assert 0.95 * record.parameters < found <= record.parameters
        return
    if record.architecture != "croco":
        found += 768  # mask_token
        if record.config["head_type"] == "dpt":
            found += 2 * 2 * (256 * 256 * 9 + 256)  # both heads' refinenet4.resConfUnit1, of two convolutions
    assert found == record.parameters
    if record.download_is_estimate:
        assert record.download_bytes == 4 * record.parameters


def test_own_records_are_read_and_replace_ours(home, tmp_path, monkeypatch):
    other = tmp_path / "more"
    other.mkdir()
    (home / "records").mkdir(parents=True)
    (home / "records" / "mine.toml").write_text(OWN)
    (home / "records" / "mine.pth").write_bytes(b"weights")
    (other / "again.toml").write_text(OWN.replace('"mine"', '"dust3r-512-dpt"'))
    monkeypatch.setenv("BLENDER_3R_RECORDS", str(other))
    records = zoo.load_records()
    assert records["mine"].commercial_use
    assert zoo.weights_path(records["mine"]) == home / "records" / "mine.pth"
    assert records["dust3r-512-dpt"].title == "Mine"
    assert zoo.weights_path(records["dust3r-512-dpt"]) is None  # beside another TOML


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("[[models]]", "[[models"), "cannot be read"),
        (('id = "mine"', 'id = "Mine!"'), "other letters"),
        (('title = "Mine"', 'titel = "Mine"'), "'titel'"),
        (('title = "Mine"', 'title = ""'), "title is missing"),
        (('path = "mine.pth"', 'path = "a", url = "https://b/c"'), "one of"),
        (('path = "mine.pth"', 'url = "file:///etc/passwd"'), "https://"),
        (('path = "mine.pth"', 'url = "http://weights.example/c.pth"'), "must begin with https://"),
        (('path = "mine.pth"', 'url = "https://b/"'), "names no file"),
        (('path = "mine.pth"', 'repo = "a/b", file = "../../x"'), "no file of the hub"),
        (('path = "mine.pth"', 'url = "https://b/c", sha256 = "1234"'), "64 hexadecimal"),
        (('path = "mine.pth"', 'path = "x", role = "codebook"'), "role 'weights'"),
        (("commercial_use = true", 'commercial_use = "yes"'), "right type"),
        (('title = "Mine"', 'title = "Mine"\nparameters = -1'), "right type"),
    ],
)
def test_a_wrong_file_is_named_and_left_out(home, change, told):
    (home / "records").mkdir(parents=True)
    path = home / "records" / "wrong.toml"
    path.write_text(OWN.replace(*change))
    problems = []
    records = zoo.load_records(problems)
    assert "mast3r-512" in records
    assert "mine" not in records
    assert len(problems) == 1
    assert str(path) in problems[0]
    assert told in problems[0]
    with pytest.raises(EngineError) as caught:
        zoo.find_record("mine")
    assert caught.value.kind == "usage"
    assert str(path) in caught.value.hint


def test_ids_occur_once():
    seen = [id_ for path in records_module.PUBLISHED.glob("*.toml") for id_ in zoo.read_records(path)]
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize(
    "names", [("HF_HUB_CACHE", "HF_HOME"), ("HUGGINGFACE_HUB_CACHE",), ("HF_HOME",), ("XDG_CACHE_HOME",), ()]
)
def test_the_hub_cache_is_found_by_the_hubs_own_rules(tmp_path, monkeypatch, names):
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in names:
        monkeypatch.setenv(name, str(tmp_path / name))
    code = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert str(hub_cache()) == done.stdout.strip()


def test_listing_needs_neither_torch_nor_the_hub(tmp_path):
    """Nor does a missing package fail otherwise than in a sentence."""
    code = """
import sys
for name in ("torch", "huggingface_hub", "safetensors"):
    sys.modules[name] = None
from blender_3r.engine import zoo
from blender_3r.engine.errors import EngineError
from blender_3r.engine.service.models import list_models
listed = list_models()
print(len(listed["models"]))
for action in (
    lambda: zoo.download(zoo.find_record("mast3r-512"), accept=True),
    lambda: zoo.load_model_file(sys.argv[1], "dust3r"),
):
    try:
        action()
    except EngineError as error:
        print(error.kind, error)
"""
    (tmp_path / "some.pth").write_bytes(b"some weights")
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "some.pth")], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert int(lines[0]) >= 10
    assert lines[1].startswith("machine The package huggingface_hub cannot be loaded")
    assert lines[2].startswith("machine The package torch cannot be loaded")


def test_records_become_json():
    from blender_3r.engine.service.models import list_models

    listed = json.loads(json.dumps(list_models()))
    mast3r = next(model for model in listed["models"] if model["id"] == "mast3r-512")
    assert mast3r["downloaded"] is False
    assert mast3r["usable"] is True
    assert mast3r["source"].startswith("huggingface.co/naver/")

"""What a job will need, told before it starts, and sizes known without a picture at hand."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from blender_3r.engine.errors import EngineError
from blender_3r.engine.methods.classic import QUALITIES
from blender_3r.engine.methods.memory import in_gigabytes
from blender_3r.engine.methods.pairwise.estimate import DENSE_COPIES
from blender_3r.engine.methods.pairwise.pictures import prepare, sizes_of
from blender_3r.engine.service import estimate
from blender_3r.engine.service.settings import make_request
from blender_3r.engine.source import Source

GB = 1_000_000_000


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """32 GB are free, and PyTorch is not asked."""
    room = {"cpu": 32 * GB, "cuda": 8 * GB}
    monkeypatch.setattr(estimate, "free_memory", lambda device, number=None: room.get(device))
    monkeypatch.setattr(estimate, "network_device", lambda name: "cuda" if name.startswith("cuda") else "cpu")
    return room


def ask(count, kind="photos", method="pairwise", size=(1920, 1080), folder=None, **settings):
    source = Source(kind, tuple(f"/x/{n}.png" for n in range(count)))
    if kind == "movie":
        source = Source(kind, ("/x/shot.mp4",))
    return estimate.estimate_job(make_request(method, source, settings), count, list(size), folder)


@pytest.mark.parametrize("size", [512, 224, 64, 96])
def test_sizes_are_those_of_real_pictures(size):
    random = np.random.default_rng(1)
    shapes = [(480, 640), (640, 480), (300, 300), (1080, 1920), *random.integers(300, 900, (20, 2)).tolist()]
    for height, width in shapes:
        picture = prepare(np.zeros((height, width, 3), np.uint8), size)
        assert sizes_of(width, height, size) == (picture.size, picture.scaled)


def test_pairs_memory_and_disk_of_photos():
    found = ask(12, model="dust3r-512-dpt")
    assert (found["graph"], found["pairs"], found["fits"]) == ("complete", 132, True)
    maps = 132 * 2 * 512 * 288 * 16  # points and confidence of both images of every pair
    assert found["memory_bytes"] == found["network_bytes"] + int(DENSE_COPIES["global"] * maps)
    assert found["disk_bytes"] == 12 * 512 * 288 * 11 + maps  # the views, and the pairs while it runs on the CPU
    memory = in_gigabytes(found["memory_bytes"])
    assert found["text"] == (
        f"12 images, 132 predicted pairs on the processor: about {memory} of memory and 642 MB on disk."
    )
    assert ask(12, model="dust3r-512-dpt", dense=False)["disk_bytes"] == maps


def test_what_does_not_fit_names_what_does():
    found = ask(30, model="dust3r-512-dpt", scene_graph="complete", memory_gb=2)
    assert not found["fits"]
    assert "30 images" in found["text"]
    assert "2.0 GB may be used" in found["text"]
    assert "images fit" in found["hint"]
    assert "begin again" not in found["hint"]
    allowed = ask(30, model="dust3r-512-dpt", scene_graph="complete", memory_gb=2, allow_smaller=True)
    assert "It will begin again with squares of 224 pixels." in allowed["hint"]


def test_a_network_that_does_not_fit(machine):
    machine["cuda"] = 2 * GB
    found = ask(2, model="mast3r-512", device="cuda")
    assert not found["fits"]
    assert "MASt3R 512, metric alone needs about 3.3 GB of memory on the graphics card" in found["text"]
    assert "the processor as device" in found["hint"]
    assert ask(2, model="mast3r-512", device="cpu")["fits"]


def test_the_plan_is_the_methods_own(machine):
    """Footage gets a window; an automatic graph shrinks before anything is refused."""
    assert ask(60, kind="movie", model="dust3r-512-dpt")["graph"] == "swin-5-noncyclic"
    machine["cpu"] = 6 * GB
    smaller = ask(60, kind="movie", model="dust3r-512-dpt")
    assert smaller["graph"] in ("swin-3-noncyclic", "swin-1-noncyclic")
    assert "do not fit" in smaller["text"]
    assert ask(60, kind="movie", model="mast3r-512")["fits"], "matches take memory per image, not per pair"


def test_the_disk_may_be_too_small(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=300_000_000))
    found = ask(200, model="mast3r-512", folder=str(tmp_path / "jobs" / "new"))
    assert not found["fits"]
    assert f"300 MB are free in {tmp_path}." in found["text"]
    fitting = int(found["hint"].split()[0])
    assert ask(fitting, model="mast3r-512", folder=str(tmp_path))["fits"]
    assert not ask(fitting + 1, model="mast3r-512", folder=str(tmp_path))["fits"]


def test_auto_is_estimated_as_what_it_would_choose(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("BLENDER_3R_ZOO", str(tmp_path / "zoo"))
    found = ask(100, "movie", "auto", quality="fine")
    assert found["text"] == ask(100, "movie", "classic", quality="fine")["text"]
    assert found["choice"]["method"] == "classic"
    assert found["choice"]["why"] == "Classic: 100 frames of footage, and it needs no weights."
    assert "choice" not in ask(100, "movie", "classic")
    one = ask(1, method="auto")
    assert not one["fits"]
    assert (one["text"], one["hint"]) == (one["choice"]["why"], one["choice"]["hint"])
    named = ask(5, method="auto", model="mast3r-512")
    assert (named["choice"]["method"], named["images"]) == ("pairwise", 5)
    assert named["text"] == ask(5, model="mast3r-512")["text"]


def test_the_classic_method_tells_the_disk():
    assert {name: (one.depth_side, one.depth_views) for name, one in QUALITIES.items()} == estimate.CLASSIC
    found = ask(100, "movie", "classic", quality="fine")
    assert found["disk_bytes"] == 64 * 768 * 432 * 11
    assert found["text"] == "100 images: up to 234 MB on disk."
    assert ask(100, "movie", "classic", dense=False)["text"] == ""


@pytest.mark.parametrize(
    ("count", "size"), [(0, [640, 480]), (3, [0, 0]), (None, [640, 480]), (3, None), (True, [1, 1])]
)
def test_unknown_footage_is_said(count, size):
    request = make_request("classic", Source("photos", ("/x/a.png",)), {})
    with pytest.raises(EngineError, match="not known"):
        estimate.estimate_job(request, count, size)

"""What the streaming method decides before any network is loaded; nothing here needs torch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from blender_3r.engine.errors import EngineError
from blender_3r.engine.methods.memory import in_gigabytes
from blender_3r.engine.methods.streaming.estimate import state_bytes
from blender_3r.engine.methods.streaming.options import OF_MODELS, Options, frames_for_network
from blender_3r.engine.methods.streaming.pictures import prepare_for, prepare_like, sizes_for
from blender_3r.engine.service import estimate
from blender_3r.engine.service.settings import check_request, make_request
from blender_3r.engine.source import Source
from scripts.environments import ROOT

GB = 1_000_000_000
IDS = {"cut3r": "cut3r-512-dpt", "point3r": "point3r-512-dpt", "spann3r": "spann3r-224", "wint3r": "wint3r-512"}


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """8 GB are free, and PyTorch is not asked."""
    monkeypatch.setattr(estimate, "free_memory", lambda device, number=None: 8 * GB)
    monkeypatch.setattr(estimate, "network_device", lambda name: "cpu")


def ask(count, size=(1920, 1080), **settings):
    return estimate.estimate_job(make_request("streaming", Source("movie", ("/x/shot.mp4",)), settings), count, size)


@pytest.mark.parametrize(("count", "every"), [(1, 1), (2, 5), (9, 4), (10, 4), (10, 1), (400, 10)])
def test_every_frame_lies_between_two_that_are_looked_at(count, every):
    chosen = frames_for_network(count, every)
    assert chosen[0] == 0
    assert chosen[-1] == count - 1
    assert max(np.diff(chosen), default=0) <= every
    assert len(chosen) <= count / every + 2


@pytest.mark.parametrize("architecture", OF_MODELS)
@pytest.mark.parametrize("size", [512, 224, 64])
def test_sizes_are_those_of_real_pictures(architecture, size):
    random = np.random.default_rng(2)
    for height, width in [(480, 640), (640, 480), (300, 300), (720, 1280), *random.integers(300, 900, (8, 2)).tolist()]:
        picture = prepare_for(architecture, np.zeros((height, width, 3), np.uint8), size)
        assert sizes_for(architecture, width, height, size) == (picture.size, picture.scaled)
        assert picture.size[0] % 16 == picture.size[1] % 16 == 0


@pytest.mark.parametrize("architecture", ["cut3r", "wint3r"])
@pytest.mark.parametrize("frame", [(90, 160), (160, 90), (100, 100), (97, 301)])
def test_a_frame_of_another_shape_covers_the_picture_and_keeps_its_lens(architecture, frame):
    picture = prepare_like(architecture, np.full((*frame, 3), 200, np.uint8), (48, 64))
    assert picture.size == (48, 64)
    assert (picture.color == 200).all(), "nothing of the picture lies outside of the frame"
    lens = picture.intrinsics(60.0)
    assert (lens.height, lens.width) == frame
    scale = max(48 / frame[0], 64 / frame[1])
    assert lens.fx == pytest.approx(60 / scale, rel=0.02)
    assert lens.cx == pytest.approx(frame[1] / 2, abs=1.5 / scale)


def test_the_state_is_what_the_models_keep():
    plain, picture = Options(), (384, 512)
    assert state_bytes("cut3r", plain, 10, picture) == state_bytes("cut3r", plain, 10_000, picture) == 3_932_160
    assert state_bytes("wint3r", plain, 102, picture) - state_bytes("wint3r", plain, 100, picture) == 4 * 1536 * 4
    assert state_bytes("spann3r", plain, 10_000, (224, 224)) == state_bytes("spann3r", plain, 1000, (224, 224))
    grown = state_bytes("point3r", plain, 11, picture) - state_bytes("point3r", plain, 10, picture)
    assert grown == 768 * 771 * 4


@pytest.mark.parametrize("architecture", OF_MODELS)
def test_memory_and_disk_are_told(architecture):
    found = ask(400, model=IDS[architecture], every=4)
    assert found["fits"]
    assert found["memory_bytes"] > found["network_bytes"] > 3 * GB
    size = sizes_for(architecture, 1920, 1080, 224 if architecture == "spann3r" else 512)[1]
    assert found["disk_bytes"] == 101 * 11 * size[0] * size[1]
    assert found["text"].startswith("400 frames, 101 of them through the network on the processor: about ")
    assert in_gigabytes(found["memory_bytes"]) in found["text"]
    assert ask(400, model=IDS[architecture], dense=False)["disk_bytes"] == 0


def test_what_does_not_fit_says_so():
    found = ask(400, memory_gb=2)
    assert not found["fits"]
    assert found["text"] == "WinT3R 512 needs about 4.5 GB of memory on the processor, and 2.0 GB may be used."
    assert found["hint"].startswith("Close other programs")
    with pytest.raises(EngineError, match="does not walk through a sequence"):
        ask(4, model="dust3r-512-dpt")


@pytest.mark.parametrize(
    ("name", "value"),
    [("every", 0), ("window", 3), ("window", 0), ("revisit", 1.5), ("memory_tokens", -1), ("similarity_threshold", 2)],
)
def test_values_that_cannot_be_are_refused(name, value):
    with pytest.raises(EngineError, match=f"setting {name} is") as caught:
        check_request(make_request("streaming", Source("movie", ("/x/shot.mp4",)), {name: value}))
    assert caught.value.kind == "usage"


@pytest.mark.parametrize("architecture", OF_MODELS)
def test_each_model_knows_its_own_options_only(architecture):
    values = {"camera_from": "points", "revisit": 2, "merge_units": 3.0, "memory_frames": 4, "window": 6}
    for name, value in values.items():
        chosen = Options.from_json({name: value})
        if name in OF_MODELS[architecture]:
            chosen.refuse(architecture, "video")
        else:
            with pytest.raises(EngineError, match=f"knows no setting {name}"):
                chosen.refuse(architecture, "video")


def test_the_command_line_tells_every_option_and_needs_no_torch():
    code = (
        "import sys; from blender_3r.engine.service.cli import main\n"
        "try: main(['reconstruct', '--help'])\n"
        "finally: assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stderr
    for option in ("--every", "--camera-from", "--revisit", "--frozen-revisit", "--reset-every", "--merge-units"):
        assert option in done.stdout
    for option in ("--keep-all-pointers", "--memory-frames", "--memory-tokens", "--window", "--similarity-threshold"):
        assert option in done.stdout

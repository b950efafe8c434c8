"""Models over the command line and over the engine's messages, with the stand-in hub."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from blender_3r.engine import errors, protocol
from tests.models.support.stand_in_hub import Served, StandIn
from tests.models.support.tiny_weights import CONFIGS, write_checkpoint

ENGINE = Path(__file__).parents[2] / "blender_3r" / "engine"
PATIENCE_S = 60
DATA = bytes(range(256)) * 4000
RECORDS = """
[common]
architecture = "dust3r"
license = "CC BY-NC-SA 4.0"
license_url = "https://licence.invalid/"

[[models]]
id = "hubbed"
title = "From the Hub"
files = [{ repo = "somebody/model", file = "model.safetensors" }]

[[models]]
id = "webbed"
title = "From the Web"
files = [{ url = "WEB/model.pth" }]
"""


@pytest.fixture
def stand_in():
    server = StandIn()
    server.hub_files["somebody/model/model.safetensors"] = Served(DATA)
    server.web_files["/model.pth"] = Served(DATA)
    yield server
    server.close()


@pytest.fixture
def environment(stand_in, tmp_path):
    folder = tmp_path / "records"
    folder.mkdir()
    (folder / "some.toml").write_text(RECORDS.replace("WEB", stand_in.web_url))
    known = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    known |= {"HF_ENDPOINT": stand_in.hub_url, "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1"}
    return known | {"BLENDER_3R_ZOO": str(tmp_path / "zoo"), "BLENDER_3R_RECORDS": str(folder)}


@pytest.fixture
def models(environment):
    def run(*arguments):
        command = [sys.executable, ENGINE, "models", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=PATIENCE_S)
        assert "Traceback" not in done.stdout + done.stderr
        return done

    return run


def test_a_model_comes_and_goes(models, tmp_path):
    listed = json.loads(models("--json").stdout)
    assert listed["problems"] == []
    before = next(model for model in listed["models"] if model["id"] == "webbed")
    assert (before["downloaded"], before["license"]) == (False, "CC BY-NC-SA 4.0")

    refused = models("download", "webbed")
    assert refused.returncode == errors.EXIT_USAGE
    assert "no commercial use" in refused.stderr
    assert "https://licence.invalid/" in refused.stderr

    done = models("download", "webbed", "hubbed", "--accept-licence", "--json")
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)["models"]
    assert [Path(answer["path"]).read_bytes() for answer in answers] == [DATA, DATA]
    assert "gives no hash" in answers[0]["notes"][0]
    assert "1.0 of 1.0 MB" in done.stderr
    table = models().stdout
    assert "From the Web (here)" in table
    assert "From the Hub (here)" in table

    assert "webbed is right." in models("verify", "webbed").stdout
    path = Path(answers[0]["path"])
    path.write_bytes(DATA[1:])
    damaged = models("verify", "webbed", "--json")
    assert damaged.returncode == errors.EXIT_MACHINE
    assert json.loads(damaged.stdout)["kind"] == "machine"
    assert not path.exists()

    removed = models("remove", "hubbed")
    assert removed.returncode == 0
    assert "From the Hub (not here)" in models("list").stdout


def test_a_checkpoint_of_ones_own_over_the_command_line(models, tmp_path):
    path = write_checkpoint(tmp_path / "mine.safetensors", "mast3r")
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS["mast3r"]))
    done = models("add", str(path), "--title", "My net", "--licence", "MIT", "--commercial-use")
    assert done.returncode == 0, done.stderr
    assert f"mine is here: {path}" in done.stdout
    assert "My net (here)" in models().stdout
    assert "MIT: commercial use allowed" in models().stdout
    assert models("remove", "mine").returncode == 0
    assert path.exists()
    (tmp_path / "stranger.pth").write_bytes(b"no checkpoint")
    refused = models("add", str(tmp_path / "stranger.pth"))
    assert refused.returncode == errors.EXIT_INPUT
    assert "weights_only" not in refused.stderr, "advice of torch to run what the file brings along"


def test_the_rule_on_commercial_use_holds_for_the_command_line(models, environment):
    environment["BLENDER_3R_COMMERCIAL_ONLY"] = "1"
    refused = models("download", "webbed", "--accept-licence")
    assert refused.returncode == errors.EXIT_USAGE
    assert "allows no commercial use" in refused.stderr


def test_wrong_commands(models):
    for arguments in (["download"], ["list", "hubbed"], ["download", "nothing"], ["verify", "nothing"]):
        assert models(*arguments).returncode == errors.EXIT_USAGE
    assert models("verify", "hubbed").returncode == errors.EXIT_MACHINE


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_keeps_what_came(stand_in, environment, models, tmp_path):
    served = stand_in.web_files["/model.pth"]
    served.gate = threading.Event()
    command = [sys.executable, ENGINE, "models", "download", "webbed", "--accept-licence"]
    # A suite started in the background ignores Ctrl-C, and hands that on.
    listens = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, **listens)
    part = tmp_path / "zoo" / "weights" / "webbed" / "model.pth.incomplete"
    deadline = time.monotonic() + PATIENCE_S
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == errors.EXIT_CANCELLED
    told = process.stderr.read()
    assert "kept" in told
    assert "Traceback" not in told
    served.gate.set()
    assert models("download", "webbed", "--accept-licence").returncode == 0
    assert stand_in.bodies()[-1].headers["range"] == "bytes=65536-"


# -- messages


class Child:
    """The engine process with its messages in a queue."""

    def __init__(self, environment):
        command = [sys.executable, ENGINE, "serve"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, env=environment, **pipes)
        self.inbox = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        decoder = protocol.Decoder()
        while data := os.read(self.process.stdout.fileno(), 65536):
            for message in decoder.feed(data):
                self.inbox.put(message)

    def send(self, type_, **fields):
        self.process.stdin.write(protocol.encode(type_, **fields))
        self.process.stdin.flush()

    def until(self, *types):
        seen = []
        while not seen or seen[-1]["type"] not in types:
            seen.append(self.inbox.get(timeout=PATIENCE_S))
        return seen


@pytest.fixture
def child(environment):
    child = Child(environment)
    yield child
    child.process.kill()
    child.process.wait()


def test_messages(child, stand_in):
    child.until("hello")
    child.send("models", id=1)
    listed = child.until("models")[-1]
    assert listed["id"] == 1
    assert {"hubbed", "webbed", "mast3r-512"} <= {model["id"] for model in listed["models"]}

    child.send("download", id=2, model="hubbed")
    failed = child.until("failed", "downloaded")[-1]
    assert (failed["type"], failed["kind"], failed["id"]) == ("failed", "usage", 2)
    assert "CC BY-NC-SA 4.0" in failed["message"]

    served = stand_in.hub_files["somebody/model/model.safetensors"]
    served.gate = threading.Event()
    child.send("download", id=3, model="hubbed", accept=True)
    while (message := child.until("progress")[-1])["done"] == 0:
        pass
    assert message["id"] == 3
    assert message["stage"] == "Downloading model.safetensors"
    assert (message["done"], message["total"], message["unit"]) == (65536, len(DATA), "bytes")
    assert message["fraction"] == pytest.approx(65536 / len(DATA))
    child.send("download", id=4, model="webbed", accept=True)
    assert child.until("failed")[-1]["id"] == 4  # one at a time
    child.send("cancel", id=3)
    assert child.until("cancelled")[-1]["id"] == 3  # though the server hangs

    served.gate.set()
    child.send("download", id=5, model="hubbed", accept=True)
    done = child.until("downloaded", "failed")[-1]
    assert (done["type"], done["id"], done["model"]) == ("downloaded", 5, "hubbed")
    assert Path(done["path"]).read_bytes() == DATA
    assert stand_in.bodies()[-1].headers["range"] == "bytes=65536-"
    child.send("download", id=6, model=None, accept=True)
    assert child.until("failed")[-1]["kind"] == "usage"
    child.send("quit")
    assert child.process.wait(PATIENCE_S) == 0

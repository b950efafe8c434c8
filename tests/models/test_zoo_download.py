"""Files of the hub: resumed, cancelled, refused, damaged, offline; all from a stand-in on this machine."""

from __future__ import annotations

import errno
import shutil
import threading
from collections import namedtuple

import huggingface_hub
import pytest

from blender_3r.engine import zoo
from blender_3r.engine.errors import Cancelled, EngineError
from blender_3r.engine.zoo import transfer
from blender_3r.engine.zoo.places import repo_folder
from tests.models.support.stand_in_hub import COMMIT, Served, StandIn

REPO, FILE = "somebody/model", "model.safetensors"
DATA = bytes(range(256)) * 4000  # about 1 MB


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    server = StandIn()
    monkeypatch.setenv("HF_ENDPOINT", server.hub_url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("BLENDER_3R_ZOO", str(tmp_path / "zoo"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(transfer, "RETRY_WAITS_S", (0.0, 0.0, 0.0))
    yield server
    server.close()


@pytest.fixture
def served(stand_in):
    """The file on the hub."""
    stand_in.hub_files[f"{REPO}/{FILE}"] = Served(DATA)
    return stand_in.hub_files[f"{REPO}/{FILE}"]


@pytest.fixture
def record():
    file = zoo.WeightFile(repo=REPO, file=FILE)
    return zoo.Record("some", "Some Model", (file,), "dust3r", license="CC BY-NC-SA 4.0", license_url="https://l/")


def partials():
    return list((repo_folder(REPO) / "blobs").glob("*.blender_3r.incomplete"))


class Stop:
    """Cancels once so many bytes have come."""

    def __init__(self, after):
        self.after, self.done = after, 0

    def progress(self, stage, done, total):
        self.done = done

    def check(self):
        if self.done >= self.after:
            raise Cancelled


def test_download_lands_in_the_shared_cache_once(stand_in, served, record, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    served.block, served.delay_s = 1 << 17, 0.02
    reports = []
    path = zoo.download(record, lambda *facts: reports.append(facts), accept=True)
    assert path.read_bytes() == DATA
    assert path == repo_folder(REPO) / "snapshots" / COMMIT / FILE
    assert path.resolve().name == served.sha256
    loading = [(done, total) for stage, done, total in reports if stage == f"Downloading {FILE}"]
    assert loading[-1] == (len(DATA), len(DATA))
    assert loading == sorted(loading)
    assert len({done for done, _ in loading}) > 3
    # The hub got the token, the storage server (another origin) did not.
    assert stand_in.requests[0].headers["authorization"] == "Bearer secret"
    assert ["authorization" in one.headers for one in stand_in.bodies()] == [False]
    asked = len(stand_in.requests)
    assert zoo.download(record) == path  # no licence asked for what is here
    assert len(stand_in.requests) == asked
    assert huggingface_hub.hf_hub_download(
        REPO, FILE, cache_dir=repo_folder(REPO).parent, local_files_only=True
    ) == str(path)
    assert zoo.is_downloaded(record)
    assert zoo.remove(record) == len(DATA)
    assert not zoo.is_downloaded(record)
    assert not any((repo_folder(REPO) / "blobs").iterdir())


def test_what_another_program_downloaded_is_used(stand_in, served, record):
    huggingface_hub.hf_hub_download(REPO, FILE, cache_dir=repo_folder(REPO).parent, endpoint=stand_in.hub_url)
    asked = len(stand_in.requests)
    assert zoo.download(record).read_bytes() == DATA
    assert len(stand_in.requests) == asked


def test_a_broken_line_is_gone_on_with(stand_in, served, record):
    served.cuts = [300_000, 200_000]
    path = zoo.download(record, accept=True)
    assert path.read_bytes() == DATA
    assert [one.headers.get("range") for one in stand_in.bodies()] == [None, "bytes=300000-", "bytes=500000-"]
    assert partials() == []


def test_a_line_that_stays_broken_leaves_the_part_for_later(stand_in, served, record):
    served.cuts = [100_000, 0, 0, 0]
    with pytest.raises(EngineError) as caught:
        zoo.download(record, accept=True)
    assert caught.value.kind == "machine"
    assert "100,000 of 1,024,000 bytes" in caught.value.message
    assert [part.stat().st_size for part in partials()] == [100_000]
    assert zoo.download(record, accept=True).read_bytes() == DATA
    assert stand_in.bodies()[-1].headers["range"] == "bytes=100000-"


def test_cancel_keeps_what_came(stand_in, served, record):
    served.block, served.delay_s = 1 << 14, 0.02
    stop = Stop(150_000)
    with pytest.raises(Cancelled):
        zoo.download(record, stop.progress, stop.check, accept=True)
    size = partials()[0].stat().st_size
    assert 150_000 <= size < len(DATA)
    served.delay_s = 0.0
    assert zoo.download(record, accept=True).read_bytes() == DATA
    assert stand_in.bodies()[-1].headers["range"] == f"bytes={size}-"


def test_cancel_does_not_wait_for_a_server_that_hangs(stand_in, served, record):
    served.gate = threading.Event()  # the server sends the first block and then nothing
    stop = Stop(1)
    with pytest.raises(Cancelled):
        zoo.download(record, stop.progress, stop.check, accept=True)
    reader = [thread for thread in threading.enumerate() if thread.name == "download"]
    assert reader  # still waiting for the server, and nobody waits for it
    size = partials()[0].stat().st_size
    served.gate.set()
    for thread in reader:
        thread.join(20)
    assert partials()[0].stat().st_size == size  # what came after the cancel was not written
    assert zoo.download(record, accept=True).read_bytes() == DATA


def test_a_server_without_ranges_starts_over(stand_in, served, record):
    served.ranges, served.cuts = False, [300_000]
    assert zoo.download(record, accept=True).read_bytes() == DATA
    assert [one.headers.get("range") for one in stand_in.bodies()] == [None, "bytes=300000-"]


def test_wrong_content_is_removed_and_fetched_again(stand_in, served, record):
    served.content = DATA[:-1] + b"?"
    with pytest.raises(zoo.Damaged) as caught:
        zoo.download(record, accept=True)
    assert "hash differs" in caught.value.message
    assert "Some Model" in caught.value.message
    assert FILE in caught.value.message
    assert partials() == []
    assert not zoo.is_downloaded(record)
    served.content = None
    assert zoo.download(record, accept=True).read_bytes() == DATA
    assert "range" not in stand_in.bodies()[-1].headers


def test_content_that_ends_early_is_no_file(stand_in, served, record):
    served.content = DATA[:-1000]
    with pytest.raises(EngineError) as caught:
        zoo.download(record, accept=True)
    assert caught.value.kind == "machine"
    assert not zoo.is_downloaded(record)


def damage(path, how):
    blob = path.resolve()
    data = blob.read_bytes()
    blob.write_bytes(data[:-10] if how == "truncated" else data[:500] + b"X" + data[501:])


@pytest.mark.parametrize("how", ["truncated", "altered"])
def test_a_damaged_file_is_named_removed_and_fetched_again(stand_in, served, record, how):
    path = zoo.download(record, accept=True)
    damage(path, how)
    with pytest.raises(EngineError) as caught:
        zoo.load_model(record)
    assert caught.value.kind == "machine"
    assert str(path) in caught.value.message
    assert "removed" in caught.value.message
    assert not path.exists()
    assert not any((repo_folder(REPO) / "blobs").iterdir())
    with pytest.raises(EngineError, match="not on this machine"):
        zoo.load_model(record)
    assert zoo.download(record, accept=True).read_bytes() == DATA


def test_download_replaces_a_damaged_file_at_once_and_says_so(stand_in, served, record):
    damage(zoo.download(record, accept=True), "altered")
    notes = []
    assert zoo.download(record, accept=True, log=notes.append).read_bytes() == DATA
    assert len(notes) == 1
    assert "removed" in notes[0]


def test_missing_files_and_repositories(stand_in, record):
    with pytest.raises(EngineError) as caught:
        zoo.download(record, accept=True)
    assert caught.value.kind == "machine"
    assert FILE in caught.value.message
    assert "404" in caught.value.message


def test_refused_without_and_with_a_wrong_token(stand_in, served, record, monkeypatch):
    served.needs_token = "right"
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", "/nowhere")
    for token, told in (("", "no token was sent"), ("wrong", "not accepted")):
        monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(EngineError) as caught:
            zoo.download(record, accept=True)
        assert caught.value.kind == "machine"
        assert "401" in caught.value.message
        assert told in caught.value.message
        assert "HF_TOKEN" in caught.value.hint
        assert "licence" in caught.value.hint
        assert f"{stand_in.hub_url}/{REPO}" in caught.value.hint
    monkeypatch.setenv("HF_TOKEN", "right")
    assert zoo.download(record, accept=True).read_bytes() == DATA


def test_a_hub_out_of_order(stand_in, served, record):
    served.status = 500
    with pytest.raises(EngineError) as caught:
        zoo.download(record, accept=True)
    assert "500" in caught.value.message
    assert "network" in caught.value.hint


def test_a_hub_that_cannot_be_reached(record, stand_in, monkeypatch):
    stand_in.close()
    with pytest.raises(EngineError) as caught:
        zoo.download(record, accept=True)
    assert caught.value.kind == "machine"
    assert stand_in.hub_url in caught.value.message


def test_disk_full_while_writing(stand_in, served, record, monkeypatch):
    append = transfer.Part.append

    def full(part, data):
        if part.size > 200_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return append(part, data)

    monkeypatch.setattr(transfer.Part, "append", full)
    with pytest.raises(EngineError) as caught:
        zoo.download(record, accept=True)
    assert caught.value.kind == "machine"
    assert "not enough room" in caught.value.message
    assert "HF_HOME" in caught.value.hint
    monkeypatch.setattr(transfer.Part, "append", append)
    assert zoo.download(record, accept=True).read_bytes() == DATA
    assert int(stand_in.bodies()[-1].headers["range"][6:-1]) > 200_000


def test_room_is_looked_for_before(stand_in, served, record, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(EngineError, match="not enough room"):
        zoo.download(record, accept=True)
    assert stand_in.bodies() == []


def test_the_licence_comes_first(stand_in, served, record):
    with pytest.raises(EngineError) as caught:
        zoo.download(record)
    assert caught.value.kind == "usage"
    assert "CC BY-NC-SA 4.0" in caught.value.message
    assert "no commercial use" in caught.value.message
    assert "--accept-licence" in caught.value.hint
    assert "https://l/" in caught.value.hint
    assert stand_in.requests == []


def test_offline_works_from_the_cache_only(stand_in, served, record, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(EngineError) as caught:
        zoo.download(record, accept=True)
    assert "HF_HUB_OFFLINE" in caught.value.message
    assert stand_in.requests == []
    monkeypatch.delenv("HF_HUB_OFFLINE")
    path = zoo.download(record, accept=True)
    asked = len(stand_in.requests)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert zoo.download(record, accept=True) == path
    assert zoo.verify(record)[0].sha256 == served.sha256
    assert len(stand_in.requests) == asked


def test_one_download_at_a_time(stand_in, served, record):
    with transfer.claimed(repo_folder(REPO) / "blobs" / served.sha256), pytest.raises(EngineError, match="already"):
        zoo.download(record, accept=True)
    assert zoo.download(record, accept=True).read_bytes() == DATA


def test_systems_without_links_hold_the_file_once(stand_in, served, record, monkeypatch):
    from huggingface_hub import file_download

    monkeypatch.setattr(file_download, "are_symlinks_supported", lambda cache_dir=None: False)
    path = zoo.download(record, accept=True)
    assert not path.is_symlink()
    assert [file for file in repo_folder(REPO).rglob("*") if file.is_file() and file.stat().st_size > 1000] == [path]
    assert zoo.verify(record)[0].origin == "the Hugging Face hub"
    path.write_bytes(DATA[:-1] + b"?")
    with pytest.raises(zoo.Damaged):
        zoo.verify(record)
    assert not path.exists()


def test_a_blob_without_its_link_is_not_downloaded_again(stand_in, served, record):
    path = zoo.download(record, accept=True)
    path.unlink()
    loaded = len(stand_in.bodies())
    assert zoo.download(record, accept=True) == path
    assert path.read_bytes() == DATA
    assert len(stand_in.bodies()) == loaded


def test_again_fetches_what_is_right(stand_in, served, record):
    zoo.download(record, accept=True)
    with pytest.raises(EngineError, match="licence"):
        zoo.download(record, again=True)
    assert zoo.download(record, accept=True, again=True).read_bytes() == DATA
    assert len(stand_in.bodies()) == 2


def test_what_is_only_listed_is_not_downloaded(stand_in):
    record = zoo.Record("some", "Some Model", (zoo.WeightFile(repo=REPO, file=FILE),))
    with pytest.raises(EngineError) as caught:
        zoo.download(record, accept=True)
    assert caught.value.kind == "usage"
    assert stand_in.requests == []

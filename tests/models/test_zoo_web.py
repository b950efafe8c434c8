"""Files at plain addresses have the manners of the hub's: resumed only while they are the same, hash recorded."""

from __future__ import annotations

import hashlib

import pytest

from blender_3r.engine import zoo
from blender_3r.engine.errors import Cancelled, EngineError
from blender_3r.engine.zoo import transfer
from tests.models.support.stand_in_hub import Served, StandIn

DATA = bytes(range(256)) * 4000
PATH = "/models/weights.pth"


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    server = StandIn()
    monkeypatch.setenv("BLENDER_3R_ZOO", str(tmp_path / "zoo"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(transfer, "RETRY_WAITS_S", (0.0, 0.0, 0.0))
    yield server
    server.close()


@pytest.fixture
def served(stand_in):
    stand_in.web_files[PATH] = Served(DATA)
    return stand_in.web_files[PATH]


@pytest.fixture
def record(stand_in):
    return make_record(stand_in.web_url + PATH)


def make_record(url, **known):
    return zoo.Record("some", "Some Model", (zoo.WeightFile(url=url, **known),), "dust3r", origin="some.toml")


def part():
    return zoo.zoo_home() / "weights" / "some" / "weights.pth.incomplete"


def break_off(record, served, after):
    """Begin a download that is cancelled after some bytes; returns how many there are."""
    done = []
    served.block, served.delay_s = 1 << 14, 0.01

    def check():
        if done and done[-1] >= after:
            raise Cancelled

    with pytest.raises(Cancelled):
        zoo.download(record, lambda stage, count, total: done.append(count), check, accept=True)
    served.block, served.delay_s = 1 << 16, 0.0
    return part().stat().st_size


def test_the_hash_is_recorded_on_the_first_download_and_compared_later(stand_in, served, record):
    notes = []
    path = zoo.download(record, accept=True, log=notes.append)
    assert path == zoo.zoo_home() / "weights" / "some" / "weights.pth"
    assert path.read_bytes() == DATA
    assert len(notes) == 1
    assert "gives no hash" in notes[0]
    assert served.sha256 in notes[0]
    verdict = zoo.verify(record)[0]
    assert (verdict.sha256, verdict.bytes, verdict.origin) == (served.sha256, len(DATA), "its first download")
    assert zoo.download(record) == path
    assert len(stand_in.bodies()) == 1
    path.write_bytes(DATA[:-1] + b"?")
    with pytest.raises(zoo.Damaged) as caught:
        zoo.verify(record)
    assert str(path) in caught.value.message
    assert "first download" in caught.value.message
    assert not path.exists()
    assert zoo.download(record, accept=True).read_bytes() == DATA


def test_an_altered_file_with_its_old_date_is_found_out(stand_in, served, record):
    import os

    path = zoo.download(record, accept=True)
    before = path.stat()
    path.write_bytes(DATA[:-1] + b"?")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(zoo.Damaged):
        zoo.verify_file(record, record.file())


def test_a_recorded_hash_is_compared(stand_in, served):
    right = make_record(stand_in.web_url + PATH, sha256=served.sha256, bytes=len(DATA))
    notes = []
    assert zoo.download(right, accept=True, log=notes.append).read_bytes() == DATA
    assert notes == []
    assert zoo.verify(right)[0].origin == "the record"
    wrong = make_record(stand_in.web_url + PATH, sha256=hashlib.sha256(b"other").hexdigest())
    with pytest.raises(zoo.Damaged) as caught:
        zoo.download(zoo.Record("other", "Other", wrong.files, "dust3r"), accept=True)
    assert "not what was published" in caught.value.message
    assert not list((zoo.zoo_home() / "weights" / "other").glob("*"))


def test_a_broken_line_is_gone_on_with(stand_in, served, record):
    served.cuts = [300_000, 200_000]
    assert zoo.download(record, accept=True).read_bytes() == DATA
    asked = [(one.headers.get("range"), one.headers.get("if-range")) for one in stand_in.bodies()]
    assert asked == [(None, None), ("bytes=300000-", '"v1"'), ("bytes=500000-", '"v1"')]


def test_gone_on_with_after_a_cancel(stand_in, served, record):
    size = break_off(record, served, 200_000)
    assert 200_000 <= size < len(DATA)
    assert zoo.download(record, accept=True).read_bytes() == DATA
    assert stand_in.bodies()[-1].headers["range"] == f"bytes={size}-"


def test_another_version_is_not_glued_to_the_first(stand_in, served, record):
    break_off(record, served, 200_000)
    served.data, served.etag = DATA[::-1], '"v2"'
    assert zoo.download(record, accept=True).read_bytes() == DATA[::-1]


def test_a_version_that_changes_while_it_comes(stand_in, served, record):
    served.cuts, served.block, served.delay_s = [500_000], 1 << 14, 0.005

    def change(stage, done, total):
        if done > 100_000 and served.etag == '"v1"':
            served.data, served.etag = DATA[: len(DATA) // 2], '"v2"'

    assert zoo.download(record, change, accept=True).read_bytes() == DATA[: len(DATA) // 2]


def test_without_a_version_the_beginning_is_not_trusted(stand_in, served, record):
    served.etag = ""
    break_off(record, served, 200_000)
    assert zoo.download(record, accept=True).read_bytes() == DATA
    assert "range" not in stand_in.bodies()[-1].headers


def test_a_cancel_while_checking_costs_no_second_download(stand_in, served, record):
    stages = []

    def check():
        if stages and stages[-1].startswith("Checking"):
            raise Cancelled

    with pytest.raises(Cancelled):
        zoo.download(record, lambda stage, done, total: stages.append(stage), check, accept=True)
    assert part().stat().st_size == len(DATA)
    stages.clear()
    assert zoo.download(record, accept=True).read_bytes() == DATA
    assert stand_in.bodies()[-1].headers["range"] == f"bytes={len(DATA)}-"  # nothing more came


def test_a_server_that_does_not_tell_the_size(stand_in, served, record):
    served.is_chunked = True
    served.cuts = [250_000]
    assert zoo.download(record, accept=True).read_bytes() == DATA


def test_refusals_name_the_server_and_the_way_out(stand_in, served, record):
    host = stand_in.web_url.removeprefix("http://")
    for status, told, way_out in ((404, "404", "some.toml"), (401, "licence", "path"), (403, "login", "path")):
        served.status = status
        with pytest.raises(EngineError) as caught:
            zoo.download(record, accept=True)
        assert caught.value.kind == "machine"
        assert host in caught.value.message
        assert told in caught.value.message
        assert way_out in caught.value.hint
    served.status = 503
    with pytest.raises(EngineError, match="503"):
        zoo.download(record, accept=True)
    assert len(stand_in.bodies()) == 3 + 4  # a server out of order is asked again, one that refuses is not


def test_a_web_page_is_no_file(stand_in, served, record):
    served.content_type = "text/html; charset=utf-8"
    with pytest.raises(EngineError, match="web page"):
        zoo.download(record, accept=True)
    assert not zoo.is_downloaded(record)


def test_an_address_without_a_name(stand_in, served):
    stand_in.web_files["/download?id=7"] = served
    record = make_record(stand_in.web_url + "/download?id=7", file="weights.pth")
    assert zoo.download(record, accept=True).name == "weights.pth"


def test_offline_means_plain_addresses_too(stand_in, served, record, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(EngineError, match="HF_HUB_OFFLINE"):
        zoo.download(record, accept=True)
    assert stand_in.requests == []


def test_all_files_of_a_record_are_fetched(stand_in, served):
    stand_in.web_files["/models/codebook.pkl"] = Served(b"codes")
    files = (
        zoo.WeightFile(url=stand_in.web_url + PATH),
        zoo.WeightFile(role="codebook", url=stand_in.web_url + "/models/codebook.pkl"),
    )
    record = zoo.Record("some", "Some Model", files, "dust3r")
    path = zoo.download(record, accept=True)
    assert path.read_bytes() == DATA
    codebook = zoo.weights_path(record, role="codebook")
    assert codebook.parent == path.parent  # the publisher's programs want it there
    assert codebook.read_bytes() == b"codes"
    codebook.unlink()
    assert not zoo.is_downloaded(record)
    zoo.download(record, accept=True)
    assert [one.path for one in stand_in.bodies()] == [PATH, "/models/codebook.pkl", "/models/codebook.pkl"]
    assert zoo.remove(record) == len(DATA) + 5


def test_own_files_may_change_and_are_never_removed(tmp_path, stand_in):
    path = tmp_path / "own.pth"
    path.write_bytes(DATA)
    own = zoo.Record("own", "Own", (zoo.WeightFile(path=str(path)),), "dust3r")
    assert zoo.download(own) == path
    path.write_bytes(b"trained further")
    assert zoo.verify(own)[0].path == path
    fixed = zoo.WeightFile(path=str(path), sha256=hashlib.sha256(DATA).hexdigest())
    with pytest.raises(zoo.Damaged) as caught:
        zoo.verify(zoo.Record("own", "Own", (fixed,), "dust3r"))
    assert str(path) in caught.value.message
    assert zoo.remove(own) == 0
    assert path.exists()

"""Weights come over https: what is refused, what the user may ask for all the same, and that https works."""

from __future__ import annotations

import shutil
import subprocess

import huggingface_hub
import pytest

from blender_3r.engine import zoo
from blender_3r.engine.errors import EngineError
from blender_3r.engine.zoo import addresses, transfer
from tests.models.support.stand_in_hub import Served, StandIn

REPO, FILE = "somebody/model", "model.safetensors"
PATH = "/models/weights.pth"
DATA = bytes(range(256)) * 400


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("BLENDER_3R_ZOO", str(tmp_path / "zoo"))
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(transfer, "RETRY_WAITS_S", (0.0,))
    huggingface_hub.close_session()  # it reads proxies and certificates when it is made
    yield
    huggingface_hub.close_session()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A certificate of our own with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1,DNS:weights.invalid"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run(
        [*command, "-addext", names, "-keyout", path, "-out", f"{path}.crt"], check=True, capture_output=True
    )
    path.write_text(path.read_text() + path.with_name("both.pem.crt").read_text())
    return path


@pytest.fixture
def serve():
    """Start stand-ins, and end them."""
    servers = []

    def start(certificate=None):
        servers.append(StandIn(certificate))
        servers[-1].web_files[PATH] = Served(DATA)
        servers[-1].hub_files[f"{REPO}/{FILE}"] = Served(DATA)
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def trusted(certificate, monkeypatch):
    """As if the system knew who made the certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


def web_record(url):
    return zoo.Record("some", "Some Model", (zoo.WeightFile(url=url),), "dust3r", origin="some.toml")


def hub_record():
    return zoo.Record("some", "Some Model", (zoo.WeightFile(repo=REPO, file=FILE),), "dust3r")


def test_over_https(serve, certificate, trusted, monkeypatch):
    server = serve(certificate)
    notes = []
    assert zoo.download(web_record(server.web_url + PATH), accept=True, log=notes.append).read_bytes() == DATA
    monkeypatch.setenv("HF_ENDPOINT", server.hub_url)
    assert zoo.download(hub_record(), accept=True, log=notes.append).read_bytes() == DATA
    assert not any("encryption" in note for note in notes)


def test_a_certificate_that_nobody_knows(serve, certificate, monkeypatch):
    server = serve(certificate)
    monkeypatch.setenv("HF_ENDPOINT", server.hub_url)
    for record in (web_record(server.web_url + PATH), hub_record()):
        with pytest.raises(EngineError, match=r"(?i)certificate"):
            zoo.download(record, accept=True)
    assert server.requests == []


def test_a_redirection_out_of_the_encryption_is_refused(serve, certificate, trusted, monkeypatch):
    server, plain = serve(certificate), serve()
    server.web_files[PATH].moved_to = plain.web_url + PATH
    server.storage_url = plain.web_url
    plain.web_files |= {f"/storage/{Served(DATA).sha256}?signature=x": Served(DATA)}
    monkeypatch.setenv("HF_ENDPOINT", server.hub_url)
    for record, asked in ((web_record(server.web_url + PATH), server.web_url), (hub_record(), server.hub_url)):
        with pytest.raises(EngineError) as caught:
            zoo.download(record, accept=True)
        assert caught.value.kind == "machine"
        assert caught.value.message.startswith(asked.removeprefix("https://"))
        assert plain.web_url in caught.value.message
        assert "not encrypted" in caught.value.message
        assert not zoo.is_downloaded(record)
    assert plain.requests == []


def test_a_proxy_for_https(serve, certificate, trusted, monkeypatch):
    server, proxy = serve(certificate), serve()
    proxy.tunnel_port = int(server.web_url.rpartition(":")[2])
    monkeypatch.setenv("https_proxy", proxy.web_url)
    url = f"https://weights.invalid{PATH}"
    assert zoo.download(web_record(url), accept=True).read_bytes() == DATA
    assert [(one.method, one.path) for one in proxy.requests] == [("CONNECT", "weights.invalid:443")]


def test_in_the_plain_on_this_machine_only(serve):
    server = serve()
    notes = []
    zoo.download(web_record(server.web_url + PATH), accept=True, log=notes.append)
    assert not any("encryption" in note for note in notes)  # nothing goes over a network
    with pytest.raises(EngineError) as caught:
        zoo.download(web_record("http://weights.invalid/other.pth"), accept=True)
    assert caught.value.kind == "usage"
    assert "https://" in caught.value.hint


def test_a_mirror_of_the_users_may_be_plain_and_leads_nowhere_else(serve, monkeypatch):
    """A host that only the proxy knows stands for one in the network."""
    server = serve()
    monkeypatch.setenv("http_proxy", server.hub_url)
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror.invalid")
    server.storage_url = "http://other.invalid"
    with pytest.raises(EngineError, match=r"mirror\.invalid sends the download on to http://other\.invalid"):
        zoo.download(hub_record(), accept=True)
    server.storage_url = "http://mirror.invalid:8080"
    notes = []
    assert zoo.download(hub_record(), accept=True, log=notes.append).read_bytes() == DATA
    assert notes == ["mirror.invalid is asked without encryption, as HF_ENDPOINT says."]


@pytest.mark.parametrize(
    ("url", "begin", "good"),
    [
        ("https://b/x", "https://a", True),
        ("https://b/x", "http://127.0.0.1:5", True),
        ("http://127.0.0.1:6/x", "http://localhost:5", True),
        ("http://mirror/x", "http://mirror", True),
        ("http://mirror/x", "https://mirror", False),
        ("http://127.0.0.1/x", "https://a", False),
        ("http://127.0.0.1/x", "http://mirror", False),
        ("http://other/x", "http://mirror", False),
        ("ftp://mirror/x", "http://mirror", False),
    ],
)
def test_ways(url, begin, good):
    if good:
        addresses.check_way(url, begin)
    else:
        with pytest.raises(EngineError, match="not encrypted"):
            addresses.check_way(url, begin)


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://[::1]:8/x", True),
        ("http://127.9.9.9/x", True),
        ("http://a.localhost", True),
        ("http://10.0.0.1", False),
    ],
)
def test_what_this_machine_is(url, local):
    assert addresses.is_local(url) is local


def test_our_own_records_name_encrypted_addresses_only():
    files = [file for record in zoo.load_records().values() for file in record.files]
    assert len(files) > 10
    assert all(file.repo or addresses.is_https(file.url) for file in files)

"""The installer behind a firm's package index and proxy: small servers on this machine, the real pip and uv."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from blender_3r.client import environment, locks
from blender_3r.client.installer import Installer
from blender_3r.client.work import InstallState

LIMIT_S = 600
PASSWORD = "correct horse"
CREDENTIALS = base64.b64encode(b"artist:" + PASSWORD.encode()).decode()

pytestmark = pytest.mark.skipif(
    not locks.uv_lock_path().is_file(), reason=f"there is no ready-made engine for {locks.platform_id()}"
)


class Index(BaseHTTPRequestHandler):
    """A package index over a folder of wheels; as a proxy it answers for every host."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.server.has_password and self.headers.get("Authorization") != f"Basic {CREDENTIALS}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="packages"')
            self.end_headers()
            return
        parts = urlsplit(self.path).path.strip("/").split("/")
        files = [path for path in self.server.folder.iterdir() if path.suffix == ".whl"]
        if parts[0] == "simple":
            names = [path.name for path in files if locks.normal_name(path.name.split("-")[0]) == parts[1]]
            self._answer("".join(f'<a href="/files/{name}">{name}</a>' for name in names).encode(), "text/html")
        else:
            self._answer((self.server.folder / parts[1]).read_bytes(), "application/octet-stream")

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # uv asks for sizes

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Path:
    """uv and one small package, as the public index has them."""
    folder = tmp_path_factory.mktemp("wheels")
    lock = folder / "pillow.txt"
    whole = locks.lock_path("classic").read_text().split("\npillow==")[1]
    lock.write_text("pillow==" + whole.split("\n#")[0] + "\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    for file in (lock, locks.uv_lock_path()):
        subprocess.run([*command, "--require-hashes", "-r", file, "-d", folder], check=True, timeout=LIMIT_S)
    return folder


@pytest.fixture
def index(wheels, monkeypatch):
    """A running index; pip's own configuration is out of the way, and no Python is downloaded."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    server.folder, server.asked, server.has_password = wheels, [], False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    monkeypatch.setenv("PIP_TRUSTED_HOST", "127.0.0.1 index.invalid")
    yield server
    server.shutdown()
    server.server_close()


def install(folder: Path, lock: Path) -> tuple[InstallState, str]:
    """The end, and the log. A stand-in for the engine says that all is well."""
    engine = folder.parent / "engine.py"
    engine.write_text("")
    installer = Installer([Path(sys.executable)], folder, lock=lock, engine=engine)
    until = time.monotonic() + LIMIT_S
    while installer.state.status == "running":
        assert time.monotonic() < until, f"stuck: {installer.state}"
        time.sleep(0.02)
    installer.close(30)
    return installer.state, installer.log.read_text()


def test_an_index_with_a_password(index, wheels, tmp_path, monkeypatch):
    index.has_password = True
    address = f"127.0.0.1:{index.server_port}/simple"
    monkeypatch.setenv("PIP_INDEX_URL", f"http://artist:{PASSWORD.replace(' ', '%20')}@{address}")
    outcome, log = install(tmp_path / "engine", wheels / "pillow.txt")
    assert outcome.status == "done", outcome.failure
    assert any("/files/pillow" in path for path in index.asked)
    assert any("/files/uv" in path for path in index.asked)
    assert "uv is told: UV_DEFAULT_INDEX" in log
    assert "uv cannot be used" not in log
    assert "horse" not in log

    monkeypatch.setenv("PIP_INDEX_URL", f"http://artist:wrong@{address}")
    outcome, _ = install(tmp_path / "engine", wheels / "pillow.txt")
    assert outcome.status == "failed"
    assert "refuses access" in outcome.failure.message
    assert "password" in outcome.failure.hint


def test_a_proxy(index, wheels, tmp_path, monkeypatch):
    """The index is a host that only the proxy knows."""
    monkeypatch.setenv("PIP_INDEX_URL", "http://index.invalid/simple")
    monkeypatch.setenv("PIP_PROXY", f"http://127.0.0.1:{index.server_port}")
    outcome, log = install(tmp_path / "engine", wheels / "pillow.txt")
    assert outcome.status == "done", outcome.failure
    assert "uv cannot be used" not in log
    assert any(path.startswith("http://index.invalid/files/pillow") for path in index.asked)
    assert "asked without encryption: index.invalid" in log


def test_a_file_with_another_hash_is_refused(index, wheels, tmp_path, monkeypatch):
    """As from an index whose files were exchanged."""
    exchanged = tmp_path / "exchanged"
    shutil.copytree(wheels, exchanged)
    file = next(exchanged.glob("pillow*.whl"))
    file.write_bytes(file.read_bytes() + b"\0")
    index.folder = exchanged
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{index.server_port}/simple")
    outcome, _ = install(tmp_path / "engine", wheels / "pillow.txt")
    assert outcome.status == "failed"
    assert "its hash is another" in outcome.failure.message
    assert not environment.environment_folder(tmp_path / "engine").exists()

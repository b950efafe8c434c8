"""A Hugging Face hub, its storage server and a plain web server for tests, with all the bad manners one wants.

The hub answers HEAD and GET of /OWNER/NAME/resolve/REVISION/FILE with a redirection to the storage server, which is
another origin, and with the headers that huggingface_hub reads. Any other path is a plain file.
"""

from __future__ import annotations

import hashlib
import re
import select
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "c0ffee" * 6 + "c0ff"
_RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


@dataclass
class Served:
    """A file and how it is served. content: what is really sent, where that is not data (a server that lies).

    cuts: for the next requests of the body, after how many bytes the line breaks. block, delay_s: sent in blocks with
    a pause after each; a gate is waited for after the first block. status: answered instead. ranges: whether the
    server knows them. etag: "" = none is sent. moved_to: an address that a plain request is sent on to.
    """

    data: bytes
    content: bytes | None = None
    cuts: list[int] = field(default_factory=list)
    block: int = 1 << 16
    delay_s: float = 0.0
    gate: threading.Event | None = None
    status: int = 200
    error_code: str = ""
    ranges: bool = True
    etag: str = '"v1"'
    needs_token: str = ""
    is_chunked: bool = False
    content_type: str = "application/octet-stream"
    moved_to: str = ""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Request:
    """server: "hub" or "web" (storage and plain files)."""

    server: str
    method: str
    path: str
    headers: dict[str, str]


class StandIn:
    """Both servers. hub_files: by "OWNER/NAME/FILE"; web_files: by path. requests: all that came, in order.

    storage_url: where the hub says that its bytes are; web_url if not said. tunnel_port: what is reached through it
    when it is used as a proxy for https.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        """certificate: a PEM file with a certificate for localhost and its key; then both servers speak https."""
        self.certificate = certificate
        self.hub_files: dict[str, Served] = {}
        self.web_files: dict[str, Served] = {}
        self.requests: list[Request] = []
        self._servers = [self._serve("hub"), self._serve("web")]
        scheme = "https" if certificate else "http"
        self.hub_url, self.web_url = (f"{scheme}://127.0.0.1:{server.server_port}" for server in self._servers)
        self.storage_url = self.web_url
        self.tunnel_port = 0

    def bodies(self, text: str = "") -> list[Request]:
        """The requests for bytes, of paths that contain text."""
        return [one for one in self.requests if one.server == "web" and one.method == "GET" and text in one.path]

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def _serve(self, name: str) -> ThreadingHTTPServer:
        handler = type("Handler", (_Handler,), {"stand_in": self, "name": name})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        if self.certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server


class _Handler(BaseHTTPRequestHandler):
    stand_in: StandIn
    name: str
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def log_message(self, *_arguments):
        pass

    def _answer(self):
        headers = {name.lower(): value for name, value in self.headers.items()}
        if not self.path.startswith("/api/"):  # the hub's client asks for more than files
            self.stand_in.requests.append(Request(self.name, self.command, self.path, headers))
        path = re.sub(r"^http://[^/]+", "", self.path)  # asked as a proxy
        if self.name == "hub" and path not in self.stand_in.web_files:
            self._answer_as_hub(path, headers)
        else:
            self._answer_bytes(self.stand_in.web_files.get(path), headers)

    def do_CONNECT(self):
        """As a proxy for https: bytes to and fro, whatever host is asked for."""
        self.stand_in.requests.append(Request(self.name, self.command, self.path, {}))
        with socket.create_connection(("127.0.0.1", self.stand_in.tunnel_port)) as other:
            self.send_response(200)
            self.end_headers()
            ways = {self.connection: other, other: self.connection}
            while ready := select.select(list(ways), [], [], 30)[0]:
                for end in ready:
                    data = end.recv(1 << 16)
                    if not data:
                        self.close_connection = True
                        return
                    ways[end].sendall(data)

    def _answer_as_hub(self, path, headers):
        match = _RESOLVE.fullmatch(path)
        served = self.stand_in.hub_files.get(f"{match[1]}/{match[3]}") if match else None
        if served is None:
            return self._refuse(404, "EntryNotFound" if match else "RepoNotFound")
        if served.needs_token and headers.get("authorization") != f"Bearer {served.needs_token}":
            return self._refuse(401, "GatedRepo")
        if served.status != 200:
            return self._refuse(served.status, served.error_code)
        path = f"/storage/{served.sha256}?signature=x"
        self.stand_in.web_files[path] = served
        self.send_response(302)
        self.send_header("Location", self.stand_in.storage_url + path)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("X-Linked-Size", str(len(served.data)))
        self.send_header("X-Linked-ETag", f'"{served.sha256}"')
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def _answer_bytes(self, served, headers):
        if served is None:
            return self._refuse(404)
        if served.moved_to:
            self.send_response(302)
            self.send_header("Location", served.moved_to)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        if served.status != 200:
            return self._refuse(served.status)
        content = served.data if served.content is None else served.content
        start = self._start(served, headers)
        if start is not None and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        self.send_response(200 if start is None else 206)
        if start is not None:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Type", served.content_type)
        if served.etag:
            self.send_header("ETag", served.etag)
        body = content[start or 0 :]
        if served.is_chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self._send(served, body)
        return None

    def _start(self, served, headers):
        """The first byte asked for, None for all."""
        match = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
        if match is None or not served.ranges:
            return None
        if headers.get("if-range") not in (None, served.etag):
            return None
        return int(match[1])

    def _send(self, served, body):
        cut = served.cuts.pop(0) if served.cuts else None
        body = body if cut is None else body[:cut]
        try:
            for begin in range(0, len(body), served.block):
                block = body[begin : begin + served.block]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block) if served.is_chunked else block)
                time.sleep(served.delay_s)
                if served.gate is not None:
                    served.gate.wait(60)
            if served.is_chunked and cut is None:
                self.wfile.write(b"0\r\n\r\n")
        except OSError:
            pass  # the client has gone
        self.close_connection = cut is not None or self.close_connection

    def _refuse(self, status, error_code=""):
        self.send_response(status)
        if error_code:
            self.send_header("X-Error-Code", error_code)
        self.send_header("Content-Length", "0")
        self.end_headers()

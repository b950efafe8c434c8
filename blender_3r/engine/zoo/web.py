"""Files that are not on the hub: urllib, with the proxies of the environment. Standard library only."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from .. import __version__
from .addresses import check_way
from .transfer import READ_TIMEOUT_S, Interrupted, Opener

BLOCK = 1 << 18


class WebReply:
    """An answer of urllib in the form of transfer.Reply."""

    def __init__(self, response: Any, status: int) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
        self._response = response

    def read(self) -> bytes:
        try:
            return self._response.read1(BLOCK)  # what has come, without waiting for a full block
        except (OSError, http.client.HTTPException) as error:
            raise Interrupted(f"the line broke: {error or type(error).__name__}") from error

    def close(self) -> None:
        self._response.close()


class _Redirections(urllib.request.HTTPRedirectHandler):
    """Follows them from one encrypted address to another, not out of the encryption."""

    def __init__(self, begin: str) -> None:
        self._begin = begin

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        check_way(newurl, self._begin)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def url_opener(url: str) -> Opener:
    """Requests for one address, which must be https or of this machine. Redirections are followed.

    The opener raises EngineError for one that leads out of the encryption.
    """
    director = urllib.request.build_opener(urllib.request.HTTPSHandler(context=_tls_context()), _Redirections(url))

    def open_reply(headers: Mapping[str, str]) -> WebReply:
        own = {"User-Agent": f"blender_3r/{__version__}"}
        request = urllib.request.Request(url, headers={**own, **headers})
        try:
            response = director.open(request, timeout=READ_TIMEOUT_S)
        except urllib.error.HTTPError as error:
            return WebReply(error, error.code)
        except urllib.error.URLError as error:
            raise Interrupted(str(error.reason)) from error
        except (OSError, http.client.HTTPException) as error:
            raise Interrupted(str(error) or type(error).__name__) from error
        return WebReply(response, response.status)

    return open_reply


def _tls_context() -> ssl.SSLContext:
    """The system's certificates. Pythons that come with programs often lack them; truststore (a package that the hub's
    client brings) asks the system itself.
    """
    try:
        import truststore
    except ImportError:
        return ssl.create_default_context()
    make: Callable[[int], ssl.SSLContext] = truststore.SSLContext
    return make(ssl.PROTOCOL_TLS_CLIENT)

"""Which addresses weights may come from: https, and in the plain only what the user has asked for. Standard library.

A request begins at an address and may be sent on to others. Where it begins with https, every address on the way must
be https. In the plain it may begin on this machine, or at the hub's mirror that HF_ENDPOINT names, and stays there.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from ..errors import EngineError


def is_https(url: str) -> bool:
    return urlsplit(url).scheme == "https"


def is_local(url: str) -> bool:
    """Whether it leads to this machine, so that nothing goes over a network."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_begin(url: str) -> bool:
    """Whether a record may name this address: https, or of this machine."""
    return is_https(url) or (urlsplit(url).scheme == "http" and is_local(url))


def check_begin(url: str) -> None:
    """Raises EngineError("usage") for an address that a record may not name."""
    if not is_begin(url):
        text = f"{url} is not encrypted, so nothing is downloaded from there."
        raise EngineError("usage", text, "Name an address with https:// in the record, or a file of yours by `path`.")


def check_way(url: str, begin: str) -> None:
    """url: an address that is about to be asked. begin: the one that the record or the user named.

    Raises EngineError("machine") when url is not encrypted, unless begin is not either and leads to the same machine.
    """
    if is_https(url):
        return
    is_same = urlsplit(url).hostname == urlsplit(begin).hostname or (is_local(url) and is_local(begin))
    if urlsplit(url).scheme == "http" and urlsplit(begin).scheme == "http" and is_same:
        return
    where = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"
    raise EngineError(
        "machine",
        f"{urlsplit(begin).netloc} sends the download on to {where}, which is not encrypted, so it was stopped.",
        "Somebody on the way, a proxy perhaps, may have changed the answer. Try again in another network.",
    )


def plain_note(begin: str, named_by: str) -> str:
    """A sentence for the log on a download that begins in the plain and comes over a network; "" for others."""
    if is_begin(begin):
        return ""
    return f"{urlsplit(begin).netloc} is asked without encryption, as {named_by} says."

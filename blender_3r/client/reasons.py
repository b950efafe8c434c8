"""Why an installation failed, in words: the output of uv and pip, read for the causes that users meet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from .work import Failed


class Reason(NamedTuple):
    """signs: a pattern in the output. {0}: what its first group caught; {python}: the Python's version."""

    signs: str
    message: str
    hint: str


CERTIFICATE = r"(?i)certificate verify failed|invalid peer certificate|unknown ?issuer|self[- ]signed certificate"
NETWORK = (
    r"(?i)NewConnectionError|Retrying \(|name resolution|Connection refused|ProxyError|Max retries|dns error|"
    r"error sending request|Failed to fetch|timed out|tunnel error|connection (was )?(reset|closed)|"
    r"Request failed after"
)

REASONS = (
    Reason(
        r"No space left|os error 28|os error 112|disk is full",
        "The disk is full.",
        "Free some space and try again.",
    ),
    Reason(
        r"(?i)hash mismatch|DO NOT MATCH THE HASHES|mismatched hashes",
        "A downloaded package is not the one that the extension's lock file names: its hash is another.",
        "The package index serves changed files, or a proxy damages them. Use the public index, or ask who runs yours.",
    ),
    Reason(
        r"(?i)\b(?:401|403|407)\b (?:client error|unauthorized|forbidden|proxy)|HTTP status client error \(40[137]",
        "The package index refuses access.",
        "Check the user name and password that pip or uv has for it, and try again.",
    ),
    Reason(
        CERTIFICATE,
        "The package index is not trusted: its certificate cannot be verified.",
        "Behind a firm's proxy, install its certificate in this system, or set pip's option cert.",
    ),
    Reason(
        NETWORK,
        "The packages cannot be downloaded: the package index does not answer.",
        "Check the network (behind a proxy, set https_proxy) and try again.",
    ),
    Reason(
        r"No matching distribution found for (\S+)",
        "There is no ready-made {0} for Python {python} on this system.",
        "Name another Python, or a finished engine's, in the preferences.",
    ),
    Reason(
        r"(?i)no (?:usable )?wheels|no matching platform tag|there (?:is|are) no versions? of|was not found in the",
        "Not every package is there in a form for Python {python} on this system.",
        "The log names it. From a folder of wheels: put it there. Else name another Python in the preferences.",
    ),
    Reason(
        r"(?i)os error 32|being used by another process",
        "A file of the engine is in use.",
        "End the jobs in other Blender windows, then try again.",
    ),
    Reason(
        r"(?i)permission denied|os error 13|os error 30|read-only file system|access is denied|not a directory",
        "The engine folder cannot be written.",
        "Change its rights or choose another engine folder in the preferences.",
    ),
)


def explain(error: Failed, python: str) -> Failed:
    """The failure in words for users, if its output shows a known cause; else as it is."""
    text = "\n".join(error.lines)
    for reason in REASONS:
        if match := re.search(reason.signs, text):
            caught = match.group(1) if match.groups() else ""
            return Failed(reason.message.format(caught, python=python or "here"), reason.hint, error.lines, True)
    return error


def is_network(lines: Sequence[str]) -> bool:
    """Whether a program's output shows that a server could not be reached."""
    return re.search(NETWORK, "\n".join(lines)) is not None

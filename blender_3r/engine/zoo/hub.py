"""Files of the Hugging Face hub: found out about, streamed and put into the cache by huggingface_hub.

huggingface_hub itself throws a partial file away when a download stops, reports in steps of 10 MB and cannot be told
to stop. So the bytes go through transfer.py, over the hub's own connection; what they must be, with whose token they
may be had and where they lie is the hub's business. Imported only when something is to be downloaded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .. import __version__
from ..errors import EngineError
from .addresses import check_way
from .places import hub_cache, hub_endpoint, repo_folder, snapshot_path
from .records import Record, WeightFile
from .transfer import READ_TIMEOUT_S, Interrupted, Opener, Part, Refused
from .verify import Expected, expected_from_etag

HEAD_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class HubFile:
    """What the hub says of a file. location: where its bytes are now. headers: to send there."""

    file: WeightFile
    etag: str
    commit: str
    bytes: int
    location: str
    headers: dict[str, str]

    @property
    def blob(self) -> Path:
        """The file's place in the cache."""
        return repo_folder(self.file.repo) / "blobs" / self.etag

    @property
    def part_path(self) -> Path:
        """Its partial file: in the same folder, so that it can be renamed, and under its hash, so that another
        version is never gone on with. huggingface_hub overlooks what ends like this.
        """
        return self.blob.with_name(f"{self.etag}.blender_3r.incomplete")

    @property
    def expected(self) -> Expected:
        return expected_from_etag(self.etag, self.bytes)


def look_up(record: Record, file: WeightFile) -> HubFile:
    """Ask the hub for a file. Blocks for up to HEAD_TIMEOUT_S. Raises EngineError."""
    hub = _huggingface_hub()
    _guarded(hub)
    from huggingface_hub.errors import FileMetadataError
    from huggingface_hub.utils import build_hf_headers

    own = {"library_name": "blender_3r", "library_version": __version__}
    try:
        url = hub.hf_hub_url(file.repo, file.file, revision=file.revision, endpoint=hub_endpoint())
        headers = build_hf_headers(**own)
        facts = hub.get_hf_file_metadata(url, timeout=HEAD_TIMEOUT_S, endpoint=hub_endpoint(), **own)
        if facts.commit_hash is None or facts.etag is None or not facts.size:
            raise FileMetadataError("the answer names neither version nor size")
    except Exception as error:
        raise hub_error(error, record, file) from error
    if urlsplit(facts.location).netloc != urlsplit(url).netloc:
        headers.pop("authorization", None)  # signed addresses of other servers get no token
    return HubFile(file, facts.etag, facts.commit_hash, facts.size, facts.location, headers)


def hub_opener(found: HubFile) -> Opener:
    """Requests for the file's bytes over huggingface_hub's connection (its proxies, certificates, offline mode)."""
    hub = _huggingface_hub()
    from huggingface_hub.errors import HTTPError

    def open_reply(headers: Mapping[str, str]) -> HubReply:
        session = _guarded(hub)
        request = session.build_request(
            "GET", found.location, headers={**found.headers, **headers}, timeout=READ_TIMEOUT_S
        )
        try:
            return HubReply(session.send(request, stream=True, follow_redirects=True), HTTPError)
        except (HTTPError, OSError) as error:
            raise Interrupted(str(error) or type(error).__name__) from error

    return open_reply


class HubReply:
    """An answer of the hub's connection in the form of transfer.Reply."""

    def __init__(self, response: Any, broken: type[Exception]) -> None:
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
        self._response, self._broken = response, broken
        self._blocks = response.iter_raw()

    def read(self) -> bytes:
        try:
            return next((block for block in self._blocks if block), b"")
        except (self._broken, OSError) as error:
            raise Interrupted(f"the line broke: {error or type(error).__name__}") from error

    def close(self) -> None:
        self._response.close()


def place(record: Record, found: HubFile, part: Part | None) -> Path:
    """Put the checked part (None: the blob is there already) into the cache, and have the hub link it into the
    snapshot. Returns the path in the snapshot. Raises EngineError, OSError of the disk.
    """
    hub = _huggingface_hub()
    _guarded(hub)
    from huggingface_hub.file_download import are_symlinks_supported

    cache = hub_cache()
    if part is not None:
        cache.mkdir(parents=True, exist_ok=True)
        if are_symlinks_supported(cache):
            part.move_to(found.blob)
        else:  # the hub would copy the blob: gigabytes twice
            part.move_to(snapshot_path(found.file, found.commit))
    try:
        placed = hub.hf_hub_download(
            found.file.repo,
            found.file.file,
            revision=found.file.revision,
            cache_dir=cache,
            endpoint=hub_endpoint(),
            library_name="blender_3r",
            library_version=__version__,
        )
    except Exception as error:
        raise hub_error(error, record, found.file) from error
    return Path(placed)


def hub_error(error: Exception, record: Record, file: WeightFile) -> EngineError:
    """What went wrong at the hub, in a sentence."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if isinstance(error, EngineError):
        return error
    if isinstance(error, OfflineModeIsEnabled):
        return offline_error(record)
    status = error.status if isinstance(error, Refused) else 0
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
    page = f"{hub_endpoint()}/{file.repo}"
    if status in (401, 403):
        sent = "was sent and is not accepted" if _has_token() else "was sent"
        text = f"The Hugging Face hub refuses {file.repo} ({status}); {'a' if _has_token() else 'no'} token {sent}."
        return EngineError(
            "machine",
            text,
            f"If the model asks for it, accept its licence on {page}, then set the environment variable HF_TOKEN to a "
            "token that may read it (huggingface.co/settings/tokens).",
        )
    if status == 404:
        text = f"The Hugging Face hub has no {file.file} in {file.repo}, revision {file.revision} (404)."
        return EngineError("machine", text, _elsewhere(record))
    reason = f"it answers {status}" if status else str(error).split("\n")[0] or type(error).__name__
    text = f"The Hugging Face hub ({hub_endpoint()}) cannot be used: {reason.rstrip('.')}."
    return EngineError("machine", text, "Check the network and its proxy settings, then try again.")


def offline_error(record: Record) -> EngineError:
    text = f"The weights of {record.title} are not on this machine, and HF_HUB_OFFLINE forbids downloads."
    return EngineError("machine", text, "Unset HF_HUB_OFFLINE, or copy the hub's cache from another machine.")


# -- inside


def _elsewhere(record: Record) -> str:
    other = f" The same weights: {record.same_as}" if record.same_as else ""
    return f"The publisher may have moved it; correct the record in {record.origin}.{other}"


def _guarded(hub: Any) -> Any:
    """The connection that huggingface_hub uses for everything, which refuses to leave the encryption."""
    session = hub.get_session()
    hooks = session.event_hooks
    if _check_request not in hooks["request"]:  # called for every request, redirected ones too
        session.event_hooks = {**hooks, "request": [*hooks["request"], _check_request]}
    return session


def _check_request(request: Any) -> None:
    check_way(str(request.url), hub_endpoint())


def _has_token() -> bool:
    from huggingface_hub import get_token

    return bool(get_token()) and os.environ.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "") in ("", "0")


def _huggingface_hub() -> Any:
    """The package. Raises EngineError("machine") where it is missing."""
    try:
        import huggingface_hub
    except ImportError as error:
        text = f"The package huggingface_hub cannot be loaded ({error})."
        raise EngineError("machine", text, "Install the engine with the models' packages.") from error
    return huggingface_hub

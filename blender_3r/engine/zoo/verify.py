"""Whether a file is what its publisher put out, before anything reads it. Standard library only.

What a file must be is told, in this order, by its record (sha256, bytes), by the hub's cache (a blob is named by its
hash), or by a receipt: what was seen when the file was downloaded, or first used. Hashing gigabytes takes seconds, so
a receipt also holds the file's stamp (size, times, inode); while that is unchanged the hash is not computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import EngineError
from .places import find_file, repo_folder, zoo_home
from .records import Record, WeightFile

BLOCK = 1 << 22
_DIGESTS = {"sha256": re.compile(r"[0-9a-f]{64}"), "git-sha1": re.compile(r"[0-9a-f]{40}")}

Watch = Callable[[int, int], None]  # bytes done, bytes in all; raises to stop


@dataclass(frozen=True)
class Expected:
    """What a file must be. digest: hexadecimal, of the kind "sha256" or "git-sha1" (the hub's small files); "" = not
    known. bytes: 0 = not known. origin: who says so, for people.
    """

    digest: str = ""
    kind: str = "sha256"
    bytes: int = 0
    origin: str = ""


@dataclass(frozen=True)
class Verdict:
    """A file found to be right. origin: who said what it must be. first_time: nothing was known of it; its hash is
    recorded now and compared from now on. The user's own files may change as they like: sha256 and origin are "".
    """

    path: Path
    sha256: str
    bytes: int
    origin: str
    first_time: bool = False


class Damaged(EngineError):
    """A file that is not what it should be; it has been removed, unless it is the user's own."""


def verify_file(
    record: Record, file: WeightFile, watch: Watch = lambda done, total: None, full: bool = False
) -> Verdict:
    """Check a file of a record before use; one that is wrong is removed.

    full: compute the hash even where the file is unchanged since the last time. Raises EngineError("machine") when the
    file is not there, Damaged (an EngineError that names the file and what to do) when it is wrong.
    """
    path = find_file(record, file)
    if path is None:
        raise not_there(record, file)
    if file.path and not file.sha256:
        return Verdict(path, "", path.stat().st_size, "")
    known = expected_of(file, path)
    try:
        return check(path, known, watch, full)
    except Damaged as damage:
        if file.path:
            raise
        discard(path, file)
        raise Damaged(
            "machine",
            f"{damage.message} It has been removed.",
            f"Download it again: models download {record.id}",
        ) from damage


def not_there(record: Record, file: WeightFile) -> EngineError:
    """The error for a file that is not on this machine."""
    if file.path:
        text = f"The file {file.path} of the model {record.id} does not exist."
        return EngineError("machine", text, f"Correct its path in {record.origin}.")
    text = f"The weights of {record.title} are not on this machine."
    return EngineError("machine", text, f"Download them first: models download {record.id}")


def expected_of(file: WeightFile, path: Path) -> Expected:
    """What is known of a file beforehand; an empty Expected when nothing is."""
    if file.sha256:
        return Expected(file.sha256, "sha256", file.bytes, "the record")
    if file.repo:
        blob = _blob_of(path, file)
        if blob is not None:
            made = expected_from_etag(blob.name, file.bytes)
            if made.digest:
                return made
    receipt = _read_receipt(path)
    if receipt is not None:
        return Expected(receipt["sha256"], "sha256", receipt["bytes"], receipt["origin"])
    return Expected(bytes=file.bytes, origin="the record" if file.bytes else "")


def expected_from_etag(etag: str, size: int) -> Expected:
    """The hub's ETag is the file's hash: SHA-256 for large files, git's SHA-1 for small ones."""
    for kind, form in _DIGESTS.items():
        if form.fullmatch(etag):
            return Expected(etag, kind, size, "the Hugging Face hub")
    return Expected(bytes=size, origin="the Hugging Face hub")


def check(path: Path, expected: Expected, watch: Watch = lambda done, total: None, full: bool = False) -> Verdict:
    """Compare a file with what it must be and write its receipt. Raises Damaged; removes nothing."""
    receipt = _read_receipt(path)
    if not full and receipt is not None and receipt["stamp"] == _stamp(path):
        digest = receipt["digests"].get(expected.kind)
        fits = not expected.bytes or expected.bytes == receipt["bytes"]
        if fits and (not expected.digest or digest == expected.digest):
            return Verdict(path, receipt["sha256"], receipt["bytes"], expected.origin or receipt["origin"])
    digests = examine(path, expected, watch)
    return note(path, expected, digests)


def examine(path: Path, expected: Expected, watch: Watch = lambda done, total: None) -> dict[str, str]:
    """Read a whole file and compare it with what it must be. Returns its hashes by kind. Raises Damaged."""
    stamp = _stamp(path)
    if expected.bytes and stamp["size"] != expected.bytes:
        raise _damaged(path, f"has {stamp['size']:,} bytes instead of {expected.bytes:,}", expected)
    try:
        digests = hash_file(path, watch, git=expected.kind == "git-sha1")
    except OSError as error:
        raise _unreadable(path, error) from error
    if _stamp(path) != stamp:
        raise _damaged(path, "was changed while it was checked", expected)
    if expected.digest and digests[expected.kind] != expected.digest:
        raise _damaged(path, "does not have the right content (its hash differs)", expected)
    return digests


def note(path: Path, expected: Expected, digests: dict[str, str]) -> Verdict:
    """Write the receipt of a file just examined. Raises EngineError("machine") when that cannot be written."""
    stamp = _stamp(path)
    origin = expected.origin if expected.digest else "its first use on this machine"
    _write_receipt(path, stamp, digests, origin)
    return Verdict(path, digests["sha256"], stamp["size"], origin, first_time=not expected.digest)


def hash_file(path: Path, watch: Watch = lambda done, total: None, git: bool = False) -> dict[str, str]:
    """SHA-256 of a file, and git's SHA-1 of it if asked, in hexadecimal."""
    total, done = path.stat().st_size, 0
    hashes = {"sha256": hashlib.sha256()}
    if git:
        hashes["git-sha1"] = hashlib.sha1(f"blob {total}\0".encode(), usedforsecurity=False)
    with path.open("rb", buffering=0) as stream:
        while block := stream.read(BLOCK):
            for one in hashes.values():
                one.update(block)
            done += len(block)
            watch(done, total)
    return {kind: one.hexdigest() for kind, one in hashes.items()}


def discard(path: Path, file: WeightFile) -> int:
    """Remove a downloaded file: from the hub's cache also its blob and every link to that. Returns the bytes freed."""
    size = path.stat().st_size if path.exists() else 0
    blob = _blob_of(path, file) if file.repo else None
    path.unlink(missing_ok=True)
    if blob is not None:
        for link in (repo_folder(file.repo) / "snapshots").rglob(path.name):
            if _blob_of(link, file) == blob:
                link.unlink()
        blob.unlink(missing_ok=True)
    _receipt_path(path).unlink(missing_ok=True)
    return size


# -- inside


def _damaged(path: Path, what: str, expected: Expected) -> Damaged:
    said = f", as {expected.origin} says" if expected.origin else ""
    return Damaged("machine", f"The file {path} {what}{said}.", "Get the file again.")


def _unreadable(path: Path, error: OSError) -> EngineError:
    return EngineError("machine", f"{path} cannot be read ({error.strerror or error}).", "Check the disk.")


def _blob_of(path: Path, file: WeightFile) -> Path | None:
    """The blob that a snapshot's link in the hub's cache shows; None where there are no links. The blob may be a link
    itself, into a store that the hub keeps for several repositories: so only one step is gone.
    """
    if not path.is_symlink():
        return None
    blob = path.parent / os.readlink(path)
    blobs = (repo_folder(file.repo) / "blobs").resolve()
    return blobs / blob.name if blob.parent.resolve() == blobs else None


def _stamp(path: Path) -> dict[str, int]:
    try:
        facts = os.stat(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    # The time of the last change of the inode cannot be set back, as that of the content can.
    return {"size": facts.st_size, "mtime": facts.st_mtime_ns, "ctime": facts.st_ctime_ns, "inode": facts.st_ino}


def _receipt_path(path: Path) -> Path:
    name = hashlib.sha256(os.path.abspath(path).encode(errors="surrogateescape")).hexdigest()[:32]
    return zoo_home() / "receipts" / f"{name}.json"


def _read_receipt(path: Path) -> dict[str, Any] | None:
    try:
        receipt = json.loads(_receipt_path(path).read_text(encoding="utf-8"))
        sound = isinstance(receipt["stamp"], dict) and isinstance(receipt["digests"], dict)
        sound = sound and isinstance(receipt["bytes"], int) and isinstance(receipt["origin"], str)
        return receipt if sound and _DIGESTS["sha256"].fullmatch(receipt["sha256"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_receipt(path: Path, stamp: dict[str, int], digests: dict[str, str], origin: str) -> None:
    receipt = {
        "file": os.path.abspath(path),
        "bytes": stamp["size"],
        "sha256": digests["sha256"],
        "digests": digests,
        "origin": origin,
        "date": time.strftime("%Y-%m-%d"),
        "stamp": stamp,
    }
    target = _receipt_path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(receipt, indent=1), encoding="utf-8")
        temporary.replace(target)
    except OSError as error:
        text = f"The check of {path.name} cannot be noted in {target.parent} ({error.strerror})."
        raise EngineError(
            "machine", text, "Make the folder writable, or name another one in BLENDER_3R_ZOO."
        ) from error

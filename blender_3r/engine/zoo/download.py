"""Weights onto this machine: licence, room, bytes, check."""

from __future__ import annotations

import errno
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from ..errors import EngineError
from . import hub
from .addresses import check_begin, plain_note
from .places import find_file, hub_cache, hub_endpoint, is_offline, repo_folder, url_folder, zoo_home
from .records import Record, WeightFile
from .transfer import POLL_S, RESERVE_BYTES, Interrupted, Part, Refused, check_space, claimed, fetch
from .verify import Damaged, Expected, Verdict, discard, examine, note, verify_file
from .web import url_opener

Value = TypeVar("Value")
OnProgress = Callable[[str, int, int], None]  # stage, bytes done, bytes in all (0 = not known)


class _Job:
    """What every step of a download needs."""

    def __init__(
        self, on_progress: OnProgress, check_cancelled: Callable[[], None], log: Callable[[str], None]
    ) -> None:
        self.on_progress, self.check_cancelled, self.log = on_progress, check_cancelled, log

    def tell(self, sentence: str) -> None:
        if sentence:
            self.log(sentence)

    def watch(self, stage: str) -> Callable[[int, int], None]:
        def watch(done: int, total: int) -> None:
            self.on_progress(stage, done, total)
            self.check_cancelled()

        return watch


def download(
    record: Record,
    on_progress: OnProgress = lambda stage, done, total: None,
    check_cancelled: Callable[[], None] = lambda: None,
    *,
    accept: bool = False,
    again: bool = False,
    log: Callable[[str], None] = lambda text: None,
) -> Path:
    """Make sure that all files of a record are here and right; returns the path of the weights.

    What is here already, by whichever program it came, is checked and not downloaded again; what is here in part is
    gone on with; what is damaged is removed, said to log, and fetched again. again: fetch even what is right.
    accept: the user has accepted the licence; nothing is downloaded without.
    on_progress: at least every POLL_S while bytes come. check_cancelled: raises to stop (errors.Cancelled); what has
    come stays for the next time. log: sentences that the user should see.
    Raises EngineError: "usage" (licence not accepted, record that cannot be run), "machine" (network, token, disk,
    wrong content), and what check_cancelled raises.
    """
    if not record.is_usable:
        raise EngineError("usage", f"{record.title} is listed only: this engine cannot run it yet.", record.source)
    job = _Job(on_progress, check_cancelled, log)
    for file in record.files:
        if again and not file.path and (path := find_file(record, file)) is not None:
            _require_acceptance(record, accept)
            discard(path, file)
        if not _is_here(record, file, job):
            _require_acceptance(record, accept)
            if is_offline():
                raise hub.offline_error(record)
            _get(record, file, job)
    path = find_file(record, record.file())
    if path is None:
        raise EngineError("internal", f"{record.title} was downloaded and cannot be found.", "Try again.")
    return path


def verify(
    record: Record,
    on_progress: OnProgress = lambda stage, done, total: None,
    check_cancelled: Callable[[], None] = lambda: None,
    full: bool = True,
) -> list[Verdict]:
    """Check all files of a record, reading them whole if full. Raises what verify_file() raises."""
    job = _Job(on_progress, check_cancelled, lambda text: None)
    return [verify_file(record, file, job.watch(f"Checking {file.name}"), full) for file in record.files]


def weights_path(record: Record, role: str = "weights") -> Path | None:
    """The file on this machine, not checked; None when it is not there."""
    return find_file(record, record.file(role))


def is_downloaded(record: Record) -> bool:
    """Whether all files are on this machine (not: whether they are right)."""
    return all(find_file(record, file) is not None for file in record.files)


def remove(record: Record) -> int:
    """Remove a record's files and what was begun of them from this machine, also from the hub's cache that other
    programs share. The user's own files (a record's `path`) stay. Returns the bytes freed.
    """
    freed = 0
    for file in record.files:
        if not file.path and (path := find_file(record, file)) is not None:
            freed += discard(path, file)
    return freed + discard_parts(record)


def discard_parts(record: Record) -> int:
    """Remove what was begun of a record's files and is not whole. Returns the bytes freed."""
    freed = 0
    for leftover in _parts(record):
        freed += leftover.stat().st_size
        leftover.unlink(missing_ok=True)
    return freed


def begun_bytes(record: Record) -> int:
    """How much is on this machine of files that are not whole: where a download would go on."""
    return sum(path.stat().st_size for path in _parts(record) if path.suffix == ".incomplete")


def _parts(record: Record) -> list[Path]:
    """Partial files and the notes beside them; those of other programs are not ours."""
    found = []
    for file in record.files:
        if file.path:
            continue
        folder = repo_folder(file.repo) / "blobs" if file.repo else url_folder(record)
        pattern = "*.blender_3r.incomplete*" if file.repo else "*.incomplete*"
        found += [path for path in sorted(folder.glob(pattern)) if path not in found]
    return found


# -- inside


def _require_acceptance(record: Record, accept: bool) -> None:
    if accept:
        return
    use = "" if record.commercial_use else ", which allows no commercial use"
    where = f" Read it at {record.license_url}." if record.license_url else ""
    raise EngineError(
        "usage",
        f"The weights of {record.title} are under the licence {record.license}{use}. It has not been accepted.",
        f"{where} To accept it and download: models download {record.id} --accept-licence".strip(),
    )


def _is_here(record: Record, file: WeightFile, job: _Job) -> bool:
    """Whether a file is here and right; a downloaded one that is not is removed."""
    if find_file(record, file) is None and not file.path:
        return False
    try:
        verify_file(record, file, job.watch(f"Checking {file.name}"))
    except Damaged as damage:
        if file.path:
            raise
        job.log(damage.message)
        return False
    return True


def _get(record: Record, file: WeightFile, job: _Job) -> None:
    job.on_progress(f"Downloading {file.name}", 0, file.bytes)
    try:
        if file.repo:
            _get_from_hub(record, file, job)
        else:
            _get_from_url(record, file, job)
    except OSError as error:
        raise _disk_error(error, record, file) from error


def _get_from_hub(record: Record, file: WeightFile, job: _Job) -> None:
    job.tell(plain_note(hub_endpoint(), "HF_ENDPOINT"))
    found = _patiently(lambda: hub.look_up(record, file), job.check_cancelled)
    if found.blob.is_file():
        try:
            digests = examine(found.blob, found.expected, job.watch(f"Checking {file.name}"))
            path = _patiently(lambda: hub.place(record, found, None), job.check_cancelled)
            note(path, found.expected, digests)
            return
        except Damaged as damage:
            job.log(f"{damage.message} It is fetched again.")
            found.blob.unlink(missing_ok=True)
    with claimed(found.blob):
        part = Part(found.part_path)
        try:
            check_space(part.path, found.bytes - part.size)
            opener = hub.hub_opener(found)
            fetch(opener, part, found.bytes, job.watch(f"Downloading {file.name}"))
        except (Refused, Interrupted) as error:
            raise hub.hub_error(error, record, file) from error
        finally:
            part.close()
        expected = _told_by(file) if file.sha256 else found.expected
        digests = _check_part(part, expected, record, file, job)
        note(_patiently(lambda: hub.place(record, found, part), job.check_cancelled), expected, digests)


def _get_from_url(record: Record, file: WeightFile, job: _Job) -> None:
    check_begin(file.url)
    target = url_folder(record) / file.name
    with claimed(target):
        part = Part(target.with_name(target.name + ".incomplete"))
        try:
            check_space(part.path, file.bytes - part.size)
            fetch(url_opener(file.url), part, file.bytes, job.watch(f"Downloading {file.name}"), needs_tag=True)
        except Refused as error:
            raise _refused(error, record, file) from error
        except Interrupted as error:
            host = urlsplit(file.url).netloc
            text = f"{file.name} cannot be downloaded from {host}: {error}."
            raise EngineError("machine", text, "Check the network and its proxy settings, then try again.") from error
        finally:
            part.close()
        digests = _check_part(part, _told_by(file), record, file, job)
        part.move_to(target)
        known = file.sha256 or digests["sha256"]
        verdict = note(target, Expected(known, origin="the record" if file.sha256 else "its first download"), digests)
    if not file.sha256:
        job.log(
            f"The publisher of {file.name} gives no hash. That of this download is kept and compared from now on: "
            f"{verdict.bytes:,} bytes, SHA-256 {verdict.sha256}."
        )


def _told_by(file: WeightFile) -> Expected:
    return Expected(file.sha256, "sha256", file.bytes, "the record")


def _check_part(part: Part, expected: Expected, record: Record, file: WeightFile, job: _Job) -> dict[str, str]:
    """The hashes of a finished part. One that turns out wrong is removed: it is of no use for going on with."""
    try:
        return examine(part.path, expected, job.watch(f"Checking {file.name}"))
    except Damaged as damage:
        part.remove()
        what = damage.message.replace(str(part.path), file.name)
        raise Damaged(
            "machine",
            f"What was downloaded for {record.title} is not what was published: {what} It has been removed.",
            "Try again; if it happens again, a proxy on the way may alter downloads.",
        ) from damage


def _refused(error: Refused, record: Record, file: WeightFile) -> EngineError:
    host = urlsplit(file.url).netloc
    if error.status == 404:
        text = f"{host} has no {file.name} any more (404)."
        hint = f"The publisher may have moved it; correct the address in {record.origin}."
    elif error.status in (401, 403):
        text = f"{host} refuses {file.name} ({error.status}): it wants a login or a licence accepted there."
        hint = f"Get the file with a browser ({file.url}) and name it by `path` in a record of your own."
    else:
        text, hint = f"{host} answers {error} for {file.name}.", "Try again later."
    return EngineError("machine", text, hint)


def _disk_error(error: OSError, record: Record, file: WeightFile) -> EngineError:
    place = hub_cache() if file.repo else zoo_home()
    named = "HF_HOME" if file.repo else "BLENDER_3R_ZOO"
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        text = f"{record.title} cannot be stored in {place} ({error.strerror or error})."
        return EngineError("machine", text, f"Make the folder writable, or name another one in {named}.")
    there = place
    while not there.exists():
        there = there.parent
    needed = file.bytes or record.download_bytes
    takes = f", it takes about {needed / 1e9:.1f} GB" if needed else ""
    free = f"{shutil.disk_usage(there).free / 1e9:.1f} GB"
    text = f"There is not enough room for {record.title}{takes}: {place} has {free} free."
    hint = f"Free some room ({RESERVE_BYTES >> 20} MB are kept free besides), or name a folder elsewhere in {named}."
    return EngineError("machine", text, f"{hint} What has come is kept.")


def _patiently(action: Callable[[], Value], check_cancelled: Callable[[], None]) -> Value:
    """Run what may block in a thread, so that a cancel is heard meanwhile; a cancelled thread is left to itself."""
    outcome: list[Value] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(action())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, name="hub", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(POLL_S)
        check_cancelled()
    if failure:
        raise failure[0]
    return outcome[0]

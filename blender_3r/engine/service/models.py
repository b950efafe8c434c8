"""The zoo for Blender and the command line: which models there are, getting and removing them."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .. import zoo
from ..errors import Cancelled, EngineError
from ..methods import METHODS
from ..zoo.places import hub_cache
from .summary import short_time

NETWORK_PACKAGES = {
    "torch": "PyTorch",
    "safetensors": "safetensors",
    "scipy": "SciPy",
    "huggingface_hub": "huggingface_hub",
}
REPORT_S = 0.2  # no more often; a new stage at once


def list_models() -> dict[str, Any]:
    """{"models": one dictionary per record, "problems": sentences on records of the user's that cannot be read,
    "missing": packages that networks need and this engine has not, "hub", "zoo": folders of the weights,
    "free_bytes": room there}.

    Beside the record's own fields: "source", "usable" (this engine can run it), "runs" (one of its methods uses it),
    "downloaded" (all files are there),
    "begun_bytes" (of files that are not whole yet), "own" (the user's record), "allowed" (by the rule on commercial
    use). Needs neither torch nor huggingface_hub.
    """
    problems: list[str] = []
    models = []
    for record in zoo.load_records(problems).values():
        facts = dataclasses.asdict(record)
        facts |= {"source": record.source, "usable": record.is_usable, "downloaded": zoo.is_downloaded(record)}
        facts |= {
            "runs": record.is_usable and record.method in METHODS,
            "begun_bytes": zoo.begun_bytes(record),
            "own": zoo.is_own(record),
            "allowed": record.commercial_use or not zoo.is_commercial_only(),
        }
        models.append(facts)
    hub = hub_cache()
    return {
        "models": models,
        "problems": problems,
        "missing": [title for name, title in NETWORK_PACKAGES.items() if find_spec(name) is None],
        "hub": str(hub),
        "zoo": str(zoo.zoo_home()),
        "free_bytes": _free_bytes(hub),
    }


def use_folder(folder: str | os.PathLike[str]) -> None:
    """Keep all weights of this process below a folder: the Hugging Face hub's cache in it and what comes from
    elsewhere. A folder that is the hub's home, or the hub's cache itself, is used as such.
    """
    place = Path(folder).expanduser()
    is_cache = place.name == "hub" or any(place.glob("models--*"))
    os.environ["HF_HUB_CACHE"] = str(place if is_cache else place / "hub")
    os.environ["BLENDER_3R_ZOO"] = str((place.parent if is_cache else place) / "blender_3r")


def download_model(
    id_: Any,
    report: Callable[..., None],
    is_cancelled: Callable[[], bool] = lambda: False,
    accept: bool = False,
    again: bool = False,
) -> dict[str, Any]:
    """Download a model's files, or check those that are here. accept: its licence is accepted. again: even if whole.

    report: gets "progress" messages (done and total in bytes) and "log" messages. Returns what "downloaded" tells:
    {"model", "path", "notes"}. Raises what zoo.download raises, Cancelled.
    """
    if not isinstance(id_, str):
        raise EngineError("usage", "The request names no model.")
    record = zoo.find_record(id_)
    zoo.refuse_forbidden(record)
    notes: list[str] = []

    def log(text: str) -> None:
        notes.append(text)
        report("log", text=text)

    def check_cancelled() -> None:
        if is_cancelled():
            raise DownloadCancelled(record.title)

    try:
        path = zoo.download(record, _Progress(report), check_cancelled, accept=accept, again=again, log=log)
    except KeyboardInterrupt:
        raise DownloadCancelled(record.title) from None
    for needed in map(zoo.find_record, record.needs):
        if not zoo.is_downloaded(needed):
            log(f"{record.title} works together with {needed.title}, which is not here: models download {needed.id}")
    return {"model": record.id, "path": str(path), "notes": notes}


def verify_model(id_: str, report: Callable[..., None]) -> dict[str, Any]:
    """Read a model's files whole and compare them; a wrong one is removed. Raises what zoo.verify raises."""
    record = zoo.find_record(id_)
    verdicts = zoo.verify(record, _Progress(report))
    files = [
        {"path": str(one.path), "bytes": one.bytes, "sha256": one.sha256, "compared_with": one.origin}
        for one in verdicts
    ]
    return {"model": record.id, "files": files}


def remove_model(id_: Any, report: Callable[..., None] | None = None, parts: bool = False) -> dict[str, Any]:
    """Remove a model's files from this machine; of a checkpoint of the user's own, its record only.

    parts: only what was begun of files that are not whole. report is not used: it takes no time. Raises EngineError.
    """
    if not isinstance(id_, str):
        raise EngineError("usage", "The request names no model.")
    record = zoo.find_record(id_)
    try:
        if parts:
            return {"model": record.id, "freed_bytes": zoo.discard_parts(record)}
        if all(file.path for file in record.files):
            zoo.forget_checkpoint(record)
            return {"model": record.id, "freed_bytes": 0}
        return {"model": record.id, "freed_bytes": zoo.remove(record)}
    except OSError as error:
        text = f"The files of {record.title} cannot be removed ({error.strerror or error})."
        raise EngineError("machine", text, "Close programs that use them, or remove them yourself.") from error


def add_model(message: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint on this machine into the list: {"model": its id}. Raises what zoo.add_checkpoint raises."""
    path, title, license_ = (message.get(name) or "" for name in ("path", "title", "license"))
    if not (path and all(isinstance(one, str) for one in (path, title, license_))):
        raise EngineError("usage", "The request names no checkpoint.", "Pick a file.")
    record = zoo.add_checkpoint(path, title, license_, message.get("commercial_use") is True)
    return {"model": record.id}


def answer_aside(message: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The answer to "add", "remove" and "estimate": type and fields. Raises EngineError."""
    if message["type"] == "add":
        return "added", add_model(message)
    if message["type"] == "remove":
        return "removed", remove_model(message.get("model"), parts=message.get("parts") is True)
    from .estimate import estimate_job

    folder = message.get("folder")
    folder = folder if isinstance(folder, str) else None
    return "estimated", {
        "estimate": estimate_job(message.get("request"), message.get("count"), message.get("size"), folder)
    }


class DownloadCancelled(Cancelled):
    """The user asked to stop a download."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.message = f"The download of {title} was cancelled."
        self.hint = "What has come is kept; start it again to go on."
        self.args = (self.message,)


class _Progress:
    """Bytes to "progress" messages, with the time left from the speed since the stage began."""

    def __init__(self, report: Callable[..., None]) -> None:
        self._report = report
        self._stage = ""
        self._began = (0.0, 0)
        self._last = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._began = stage, (now, done)
        elif now - self._last < REPORT_S and done != total:
            return
        self._last = now
        begun, before = self._began
        speed = (done - before) / (now - begun) if now > begun else 0.0
        left = (total - done) / speed if speed > 0 and total else None
        fraction = min(1.0, done / total) if total else 0.0
        self._report("progress", stage=stage, done=done, total=total, fraction=fraction, eta_s=left, unit="bytes")


def _free_bytes(folder: Path) -> int | None:
    """Room on the disk where a folder is or will be."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


# -- the command line's side


def table(listed: dict[str, Any]) -> list[str]:
    """What `models` prints."""
    lines = []
    for model in listed["models"]:
        state = "here" if model["downloaded"] else "not here"
        if not model["usable"]:
            state = "listed only, cannot be run yet"
        use = "commercial use allowed" if model["commercial_use"] else "no commercial use"
        lines.append(f"{model['id']:20} {model['title']} ({state})")
        facts = [f"{model['license']}: {use}"]
        facts += [f"{model['parameters'] / 1e6:.0f} M parameters"] if model["parameters"] else []
        facts += [_size("download", model["download_bytes"], model["download_is_estimate"])]
        facts += [_size("memory", model["memory_bytes"], model["memory_is_estimate"])]
        lines.append(" " * 21 + ", ".join(fact for fact in facts if fact))
        lines += [" " * 21 + model["good_for"]] if model["good_for"] else []
        lines.append(" " * 21 + model["source"])
    return lines + [f"Note: {problem}" for problem in listed["problems"]]


def sentence(done: dict[str, Any]) -> str:
    """What was done to a model, for people."""
    if "freed_bytes" in done:
        return f"{done['model']} removed, {done['freed_bytes'] / 1e9:.2f} GB freed."
    if "path" in done:
        return f"{done['model']} is here: {done['path']}"
    said = [f"as {file['compared_with']} says" if file["compared_with"] else "your own" for file in done["files"]]
    lines = [f"  {file['path']}: {what}" for file, what in zip(done["files"], said)]
    return "\n".join([f"{done['model']} is right.", *lines])


def console_report() -> Callable[..., None]:
    """Messages of download_model() to standard error: a line rewritten in place on a terminal, else one per tenth."""
    shown: list[tuple[str, int]] = []

    def report(type_: str, **fields: Any) -> None:
        if type_ == "log":
            print(f"\n{fields['text']}" if sys.stderr.isatty() else fields["text"], file=sys.stderr)
            return
        done, total, left = fields["done"], fields["total"], fields["eta_s"]
        text = f"{fields['stage']}: {done / 1e6:,.1f} of {total / 1e6:,.1f} MB" if total else fields["stage"]
        text += f", {short_time(left)} left" if left is not None and left >= 1 else ""
        if sys.stderr.isatty():
            print(f"\r{text:<100}", end="" if done < total or not total else "\n", file=sys.stderr, flush=True)
        elif (key := (fields["stage"], int(fields["fraction"] * 10))) not in shown:
            shown.append(key)
            print(text, file=sys.stderr, flush=True)

    return report


def _size(what: str, count: int, is_estimate: bool) -> str:
    if not count:
        return ""
    return f"{what} {'about ' if is_estimate else ''}{count / 1e9:.1f} GB"

"""Is the engine healthy? Every file of every package against its recorded hash, the marker, rights, the engine's own
self-test, and whether packages could be had. Knows nothing of bpy.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from . import environment, files, locks
from .tools import VERSION_PROBE, Toolbox
from .work import Failed, Work

GOOD, WARNING, BAD = "good", "warning", "bad"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. state: GOOD, WARNING (works, but) or BAD (to be repaired). text: a sentence."""

    name: str
    state: str
    text: str
    hint: str = ""


@dataclass(frozen=True)
class Report:
    findings: tuple[Finding, ...]
    bytes: int = 0

    @property
    def is_healthy(self) -> bool:
        return not any(finding.state == BAD for finding in self.findings)

    @property
    def text(self) -> str:
        bad = sum(finding.state == BAD for finding in self.findings)
        if bad:
            return f"{bad} {'thing is' if bad == 1 else 'things are'} wrong with the engine. Press Repair."
        return "The engine is in order."


class Checkup(Work):
    """Look at everything and change nothing. `report` is there when the state is "done"."""

    title = "Checking the engine"

    def __init__(
        self,
        engine_folder: Path,
        profile: str = "classic",
        *,
        lock: Path | None = None,
        engine: Path = environment.ENGINE,
        use_network: bool = True,
        own_python: Path | None = None,
    ) -> None:
        """use_network: whether Blender may go online. own_python: the user's, to test instead of what is installed.

        Raises OSError when engine_folder cannot be written.
        """
        self.report: Report | None = None
        self._profile = profile
        self._lock = lock or locks.lock_path(profile)
        self._engine = engine
        self._use_network = use_network
        self._own_python = own_python
        super().__init__(engine_folder)

    def _do(self) -> str:
        place = environment.environment_folder(self._folder, self._profile)
        findings = list(self._look(place))
        for finding in findings:
            self.note(f"{finding.state}: {finding.name}: {finding.text} {finding.hint}".rstrip())
        self.step("Measuring its size", 0.98)
        size = sum(environment.folder_bytes(folder) for folder in environment.own_folders(self._folder))
        self.report = Report(tuple(findings), size)
        return self.report.text

    def _look(self, place: Path) -> Iterator[Finding]:
        python = self._own_python or environment.python_of(place)
        if self._own_python is not None:
            yield self._check_python(python)
            yield from self._self_test(python)
            return
        self.step("Looking at the folder", 0.02)
        yield check_rights(self._folder)
        lock = locks.read_lock(self._lock) if self._lock.is_file() else None
        yield check_marker(place, lock)
        self.step("Starting its Python", 0.05)
        start = self._check_python(python)
        yield start
        yield self._check_packages(place, lock)
        if start.state == GOOD:
            yield from self._self_test(python)
        if self._use_network:
            yield self._check_index(place, lock)

    def _check_python(self, python: Path) -> Finding:
        try:
            version = self.call([python, "-I", "-c", VERSION_PROBE], "The engine's Python does not start").strip()
        except Failed as error:
            return Finding("Python", BAD, error.message)
        return Finding("Python", GOOD, f"{version}, starts")

    def _check_packages(self, place: Path, lock: locks.Lock | None) -> Finding:
        wanted = wanted_packages(place, lock)

        def show(name: str, share: float) -> None:
            self.step(f"Reading {name}", 0.1 + 0.6 * share)

        broken = damaged_packages(site_packages(place), wanted, show)
        for name, reason in broken.items():
            self.note(f"{name}: {reason}")
        if not broken:
            return Finding("Packages", GOOD, f"{len(wanted)} packages, every file as it was installed")
        name, reason = next(iter(broken.items()))
        others = (
            f" Damaged, too: {', '.join(list(broken)[1:4])}{', ...' if len(broken) > 4 else ''}."
            if len(broken) > 1
            else ""
        )
        return Finding("Packages", BAD, f"The package {name} is damaged: {reason}.{others}")

    def _self_test(self, python: Path) -> Iterator[Finding]:
        self.step("Running the engine's own test", 0.75)
        lines: list[str] = []
        command = [python, "-I", "-X", "utf8", self._engine, "check", "--profile", self._profile]
        try:
            self.call([*command, "--json"], "The engine does not start", lines.append)
        except Failed as error:
            report = _json(lines)
            if report is None:
                yield Finding("Self-test", BAD, error.message)
                return
        else:
            report = _json(lines) or {}
        for problem in report.get("problems", ()):
            yield Finding("Self-test", BAD, str(problem))
        if not report.get("problems"):
            methods = ", ".join(report.get("methods", ()))
            yield Finding("Self-test", GOOD, f"passed; methods: {methods}" if methods else "passed")
        for device in report.get("devices", ()):
            yield Finding("Device", GOOD, str(device.get("text", device.get("id"))))

    def _check_index(self, place: Path, lock: locks.Lock | None) -> Finding:
        self.step("Asking the package index", 0.9)
        toolbox = Toolbox(self, self._folder)
        if lock is None or not toolbox.find():
            return Finding("Packages' index", WARNING, "There are no tools to ask it with; Repair brings them back.")
        name, version = next(iter(lock.pins.items()))
        problem = toolbox.index_problem(place, f"{name}=={version}")
        if problem is None:
            return Finding("Package index", GOOD, "The package index answers")
        return Finding("Package index", WARNING, problem.message, f"Needed for repairs only. {problem.hint}".strip())


def check_rights(engine_folder: Path) -> Finding:
    """Whether the engine folder, and all the installer keeps in it, can be written."""
    for folder in (engine_folder, *environment.own_folders(engine_folder)):
        if not os.path.lexists(folder):
            continue
        if not folder.is_dir():
            return Finding("Folder", BAD, f"{folder} should be a folder, and is not: the engine cannot write there.")
        for place in (folder, site_packages(folder)):
            if place is not None and (reason := _why_not_writable(place)):
                return Finding("Folder", BAD, f"{place} cannot be written ({reason}).", "Repair tries to change that.")
    return Finding("Folder", GOOD, f"{engine_folder} can be written")


def _why_not_writable(folder: Path) -> str:
    trial = folder / ".write-test"
    try:
        if sys.platform != "win32" and not folder.stat().st_mode & stat.S_IWUSR:  # there it means nothing of folders
            return "it is write-protected"
        trial.write_bytes(b"")
        trial.unlink()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def check_marker(place: Path, lock: locks.Lock | None) -> Finding:
    """Whether an installation came to its end, and from this extension's list of packages."""
    marker = environment.read_marker(place)
    if marker is None:
        return Finding("Installation", BAD, "It did not come to its end: the note about that is missing or unreadable.")
    if marker.get("unfinished"):
        return Finding("Installation", BAD, "The last repair did not come to its end.")
    if lock is None:
        return Finding("Installation", WARNING, "This extension has no list of packages for this system.")
    if marker.get("lock") != lock.hash:
        return Finding("Installation", BAD, "It was made from another list of packages than this extension's.")
    return Finding("Installation", GOOD, "Complete, from this extension's list of packages")


def wanted_packages(place: Path, lock: locks.Lock | None) -> dict[str, str]:
    """Package to version: the lock's, and what uv had to add to it (PyTorch's own needs), as the marker says."""
    noted = (environment.read_marker(place) or {}).get("packages")
    added = noted if isinstance(noted, dict) else {}
    return {**added, **lock.pins, **lock.unlocked} if lock is not None else dict(added)


def site_packages(place: Path) -> Path | None:
    """Where an environment keeps its packages; None when there is no such folder."""
    folders = [*place.glob("lib/python3*/site-packages"), place / "Lib" / "site-packages"]
    return next((folder for folder in folders if folder.is_dir()), None)


def installed_packages(site: Path | None) -> dict[str, tuple[str, Path]]:
    """Package to version and the folder with its records."""
    found = {}
    for folder in sorted(site.glob("*.dist-info")) if site is not None else ():
        name, _, version = folder.name.removesuffix(".dist-info").rpartition("-")
        found[locks.normal_name(name)] = (version, folder)
    return found


def damaged_packages(
    site: Path | None, wanted: dict[str, str], show: Callable[[str, float], None] = lambda name, share: None
) -> dict[str, str]:
    """Package to what is wrong with it: not there, of another version, or with files missing or changed.

    show: called with each package and the share of them that was read. Reads every file once.
    """
    site = files.whole(site) if site is not None else None
    present = installed_packages(site)
    broken: dict[str, str] = {}
    for name, version in wanted.items():
        if name not in present:
            broken[name] = "it is not there"
        elif not _is_version(present[name][0], version):
            broken[name] = f"it is {present[name][0]}, not {version}"
    for number, (name, (_, folder)) in enumerate(present.items()):
        show(name, number / len(present))
        if name not in broken and (reason := _damage(site, folder)):
            broken[name] = reason
    return broken


def _is_version(there: str, wanted: str) -> bool:
    """A build of PyTorch for one kind of graphics card has its name behind a plus."""
    return there == wanted or there.split("+")[0] == wanted


def _damage(site: Path, folder: Path) -> str:
    """What is wrong with one package's files, or ""."""
    try:
        with open(folder / "RECORD", encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if len(row) == 3]
    except (OSError, ValueError):
        return "the list of its files is missing"
    if not rows:
        return "the list of its files is empty"
    for path, digest, size in rows:
        file = Path(os.path.normpath(site / path))
        if not file.is_file():
            if not path.endswith(".pyc"):
                return f"{path} is missing"
            continue
        if size and file.stat().st_size != int(size):
            return f"{path} has {file.stat().st_size} bytes, not {size}"
        if digest.startswith("sha256=") and _sha256(file) != digest.removeprefix("sha256="):
            return f"{path} was changed"
    return ""


def _sha256(file: Path) -> str:
    """As RECORD writes it."""
    with open(file, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _json(lines: list[str]) -> dict | None:
    for line in reversed(lines):
        with contextlib.suppress(ValueError):
            data = json.loads(line)
            if isinstance(data, dict) and "problems" in data:
                return data
    return None

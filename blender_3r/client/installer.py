"""Makes the engine's environment in the background. Knows nothing of bpy.

A thread drives one child process after the other; the panel reads `state`, which is replaced as a whole.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from . import environment
from .job import Failure
from .process import kill_tree, read_tail, start_detached

NEEDED_BYTES = 1_000_000_000  # the installed packages and, for a while, their downloads beside them
PROBE = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
OFFLINE_SIGNS = (
    "NewConnectionError",
    "Retrying (",
    "name resolution",
    "Connection refused",
    "ProxyError",
    "Max retries",
)


@dataclass(frozen=True)
class InstallState:
    """status: "running", "done", "failed", "cancelled". fraction: 0..1 of all steps."""

    status: str = "running"
    step: str = "Looking for Python"
    fraction: float = 0.0
    failure: Failure | None = None


class _Stopped(Exception):
    """Cancel was pressed."""


class _Failed(Exception):
    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class Installer:
    """Construct to start; `cancel` stops it; what was made half is removed."""

    def __init__(
        self,
        pythons: list[Path],
        engine_folder: Path,
        requirements: Path = environment.REQUIREMENTS,
        engine: Path = environment.ENGINE,
    ) -> None:
        """pythons: see environment.base_pythons. Raises OSError when engine_folder cannot be written."""
        self.state = InstallState()
        self.log = environment.install_log(engine_folder)
        self._pythons = pythons
        self._environment = environment.environment_folder(engine_folder)
        self._requirements = requirements
        self._engine = engine
        self._stop = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._has_begun = False  # whether what lies in the folder is ours to remove
        engine_folder.mkdir(parents=True, exist_ok=True)
        self._log_file = open(self.log, "w", encoding="utf-8", buffering=1)  # noqa: SIM115 - closed by the thread
        self._thread = threading.Thread(target=self._run, name="3R engine installer", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Ask to stop; returns at once."""
        self._stop.set()
        process = self._process
        if process is not None and process.poll() is None:
            kill_tree(process)

    def close(self, timeout_s: float = 3.0) -> None:
        """Stop and wait for the end: Blender leaves."""
        self.cancel()
        self._thread.join(timeout_s)

    # -- the thread

    def _run(self) -> None:
        with self._log_file:
            try:
                self._install()
                self.state = InstallState("done", "Installed", 1.0)
            except _Stopped:
                self._remove_half()
                self.state = replace(self.state, status="cancelled")
            except (_Failed, OSError) as error:
                self._remove_half()
                if isinstance(error, OSError):
                    reason = f"The engine cannot be written to {self._environment} ({error.strerror or error})."
                    error = _Failed(reason, "Free space there or choose another engine folder in the preferences.")
                self._note(f"{error.message} {error.hint}")
                failure = Failure(error.message, error.hint, "machine", tuple(read_tail(self.log)))
                self.state = replace(self.state, status="failed", failure=failure)

    def _install(self) -> None:
        self._check_place()
        python, version = self._choose_python()
        self._step(f"Making an environment with Python {version}", 0.05)
        self._has_begun = True
        if self._environment.exists():
            shutil.rmtree(self._environment)
        self._call([python, "-I", "-m", "venv", self._environment], "The environment cannot be made")
        self._install_packages(version)
        self._step("Checking the engine", 0.92)
        own = environment.python_of(self._environment)
        self._call([own, "-I", "-X", "utf8", self._engine, "check"], "The installed engine does not start")
        marker = {"requirements": environment.requirements_hash(self._requirements), "python": version}
        (self._environment / environment.MARKER).write_text(json.dumps(marker), encoding="utf-8")

    def _check_place(self) -> None:
        folder = self._environment
        ours = (folder / "pyvenv.cfg").is_file() or (folder / environment.MARKER).is_file()
        if folder.exists() and not ours and any(folder.iterdir()):
            raise _Failed(f"{folder} holds other files.", "Choose another engine folder in the preferences.")
        free = shutil.disk_usage(folder.parent).free
        if free < NEEDED_BYTES:
            raise _Failed(
                f"The engine needs {NEEDED_BYTES / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free in {folder.parent}.",
                "Free some space or choose another engine folder in the preferences.",
            )

    def _choose_python(self) -> tuple[Path, str]:
        for python in self._pythons:
            try:
                version = self._call([python, "-I", "-c", PROBE], f"{python} is of no use").strip()
            except _Failed as error:
                self._note(error.message)
                continue
            if version in environment.PYTHONS:
                return python, version
            self._note(f"{python} is Python {version}: not supported")
        raise _Failed(
            f"No Python that can make an environment was found (tried {len(self._pythons)}).",
            f"Install Python {environment.PYTHONS[-1]} to {environment.PYTHONS[0]}, or name one in the preferences.",
        )

    def _install_packages(self, version: str) -> None:
        pins = environment.read_pins(self._requirements)
        self._step("Asking for packages", 0.15)
        seen: list[str] = []

        def follow(line: str) -> None:
            if match := re.match(r"Collecting ([\w.-]+)", line):
                seen.append(match.group(1))
                share = min(len(seen), len(pins)) / len(pins)
                self._step(f"Fetching {seen[-1]}", 0.1 + 0.6 * share)
            elif match := re.match(r"\s*Downloading (\S+?)-\S+ \(([^)]+)\)", line):
                self._step(f"Downloading {match.group(1).replace('_', '-')} ({match.group(2)})", self.state.fraction)
            elif line.startswith("Installing collected packages"):
                self._step("Unpacking packages", 0.8)

        pip = [environment.python_of(self._environment), "-I", "-m", "pip", "install", "--no-input"]
        options = ["--disable-pip-version-check", "--progress-bar", "off", "--only-binary", ":all:"]
        try:
            self._call([*pip, *options, "-r", self._requirements], "The packages cannot be installed", follow)
        except _Failed as error:
            raise self._explain_pip(error, version) from None

    def _explain_pip(self, error: _Failed, version: str) -> _Failed:
        text = self.log.read_text(encoding="utf-8", errors="replace")
        if any(sign in text for sign in OFFLINE_SIGNS):
            return _Failed(
                "The packages cannot be downloaded: the package index does not answer.",
                "Check the network (behind a proxy, set https_proxy) and press Install again.",
            )
        if match := re.search(r"No matching distribution found for (\S+)", text):
            return _Failed(
                f"There is no ready-made {match.group(1)} for Python {version} on this system.",
                "Name another Python, or a finished engine's, in the preferences.",
            )
        if "No space left" in text:
            return _Failed("The disk is full.", "Free some space and press Install again.")
        return error

    def _call(self, command: list[object], sentence: str, follow: Callable[[str], None] | None = None) -> str:
        """Run a child to its end, its output to the log (and to `follow`). Returns the output; raises _Failed."""
        if self._stop.is_set():
            raise _Stopped
        arguments = [str(part) for part in command]
        self._note("$ " + " ".join(arguments))
        process = start_detached(
            arguments,
            self._environment.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._process = process
        if self._stop.is_set():  # pressed while it started
            kill_tree(process)
        lines = []
        with process.stdout as stream:
            for raw in stream:
                line = raw.decode("utf-8", errors="replace").rstrip()
                lines.append(line)
                self._note(line)
                if follow is not None:
                    follow(line)
        code = process.wait()
        if self._stop.is_set():
            raise _Stopped
        if code != 0:
            raise _Failed(f"{sentence}: {_reason(lines)}", "The log tells more; press Install to try again.")
        return "\n".join(lines)

    def _step(self, step: str, fraction: float) -> None:
        self.state = InstallState("running", step, fraction)

    def _note(self, line: str) -> None:
        with contextlib.suppress(OSError):  # a full disk shows where it matters
            self._log_file.write(line + "\n")

    def _remove_half(self) -> None:
        if self._has_begun and environment.read_marker(self._environment) is None:
            shutil.rmtree(self._environment, ignore_errors=True)


def _reason(lines: list[str]) -> str:
    """The line of a failed program's output that says most: what the engine's check found, else the last one."""
    said = [line.strip() for line in lines if line.strip()]
    problems = [line.removeprefix("Problem: ") for line in said if line.startswith("Problem: ")]
    return (problems or said[-1:] or ["no output"])[0][:200]

"""The tools that make an environment: uv, fetched by pip into the engine folder, or pip alone where uv cannot be had.

Knows nothing of bpy. All output goes to the log of the work that uses the tools.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from . import environment, indexes, locks
from .downloads import Downloads
from .reasons import explain, is_network
from .work import Failed, Stopped, Work

OWN_PYTHON = "3.12"  # which is fetched where that is possible; the requirements have wheels for it
PROBE = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
VERSION_PROBE = "import sys; print('%d.%d' % sys.version_info[:2])"
WATCH_S = 1.0
BEGIN, TORCH_BEGIN, END = 0.2, 0.3, 0.8  # of the bar: where the packages begin, PyTorch begins, and both end
BINARY_ONLY = ("--only-binary", ":all:")


class Toolbox:
    """uv and pip for one engine folder. `prepare` first; every method may take minutes and raises Failed or Stopped."""

    def __init__(self, work: Work, engine_folder: Path, wheels: Path | None = None) -> None:
        """wheels: a folder to take all packages from; then nothing is asked of the network."""
        self._work = work
        self._folder = engine_folder
        self._tools = environment.tools_folder(engine_folder)
        self._cache = environment.cache_folder(engine_folder)
        self._wheels = wheels
        self._settings: dict[str, str] = {}
        self._has_uv = False
        self._guard = threading.Lock()

    @property
    def has_uv(self) -> bool:
        return self._has_uv

    def prepare(self, base: Path) -> None:
        """Have pip and, if possible, uv in the engine folder. base: the Python to make them with."""
        if not self._is_alive():
            shutil.rmtree(self._tools, ignore_errors=True)
            self._work.call([base, "-I", "-m", "venv", self._tools], "The tools cannot be made")
        self._read_settings()
        self._has_uv = self._fetch_uv()
        if not self._has_uv:
            self._work.note("uv cannot be used here, so pip does the work")

    def find(self) -> bool:
        """Use the tools that are there; whether there are any."""
        if not self._is_alive():
            return False
        self._read_settings()
        self._has_uv = self._runs(self._uv, "--version")
        return True

    def fetch_python(self) -> Path | None:
        """An interpreter of the engine's own, independent of any Blender; None where it cannot be had."""
        if not self._has_uv or self._wheels is not None:
            return None
        try:
            # one retry: where the downloads are out of reach there is a Python to fall back on
            settings = {"UV_HTTP_RETRIES": "1"}
            self._work.call(
                [self._uv, "python", "install", OWN_PYTHON], "No Python was fetched", None, self._env(settings)
            )
            found = self._work.call(
                [self._uv, "python", "find", "--managed-python", "--no-project", OWN_PYTHON],
                "The fetched Python is not found",
                None,
                self._env(),
            )
        except Failed as error:
            self._work.note(f"{error.message}: the environment is made with a Python of this machine")
            return None
        python = Path(found.strip().splitlines()[-1])
        return python if python.is_file() else None

    def make_environment(self, place: Path, python: Path) -> None:
        """An environment without packages."""
        if self._has_uv:
            command = [self._uv, "venv", "--no-project", "--no-python-downloads", "--python", python, place]
            self._work.call(command, "The environment cannot be made", None, self._env())
        else:
            self._work.call([python, "-I", "-m", "venv", "--without-pip", place], "The environment cannot be made")

    def install(self, lock: locks.Lock, place: Path, version: str, broken: Sequence[str] = ()) -> None:
        """All packages of a lock, and again those in `broken`. version: the environment's Python, "3.12"."""
        again = [part for name in broken for part in self._again(name)]
        command = ["--require-hashes", "-r", lock.path, *again]
        downloads = Downloads(lock.download_bytes(version), names=lock.pins)
        middle = TORCH_BEGIN if lock.unlocked else END
        self._packages(place, command, version, downloads, (BEGIN, middle))
        if lock.unlocked:
            downloads = Downloads({}, names=lock.unlocked)
            command = ["-r", lock.unlocked_path, *again]
            options = self._torch_options(place, command)
            self._packages(place, [*command, *options], version, downloads, (middle, END))

    def index_problem(self, place: Path, pin: str) -> Failed | None:
        """Why no package could be had now, or None. Asks for one pinned package and installs nothing."""
        options = ["--dry-run", "--no-deps", *BINARY_ONLY]
        if self._has_uv:
            options += ["--no-cache", "--reinstall", "--python", place]
            command, extra = [self._uv, "pip", "install", *options, pin], self._env({"UV_HTTP_RETRIES": "1"})
        else:
            command, extra = [*self._pip(place), "install", *options, "--ignore-installed", "--retries", "1", pin], {}
        try:
            self._work.call(command, "The package index cannot be asked", None, extra)
        except Failed as error:
            return explain(error, "")
        return None

    def clear_cache(self) -> None:
        shutil.rmtree(self._cache, ignore_errors=True)

    # -- parts

    @property
    def _uv(self) -> Path:
        return self._python.parent / ("uv.exe" if sys.platform == "win32" else "uv")

    @property
    def _python(self) -> Path:
        return environment.python_of(self._tools)

    def _pip(self, place: Path | None = None) -> list[object]:
        target = ["--python", environment.python_of(place)] if place is not None else []
        return [self._python, "-I", "-m", "pip", *target, "--no-input", "--disable-pip-version-check"]

    def _again(self, name: str) -> list[str]:
        return ["--reinstall-package", name] if self._has_uv else ["--force-reinstall"]

    def _runs(self, *command: object) -> bool:
        try:
            self._work.call(command, f"{command[0]} is of no use")
        except Failed as error:
            self._work.note(error.message)
            return False
        return True

    def _is_alive(self) -> bool:
        return self._python.exists() and self._runs(*self._pip(), "--version")

    def _read_settings(self) -> None:
        """What the user has told pip, for uv. The output is not logged: it may hold passwords."""
        try:
            text = self._work.call([*self._pip(), "config", "list"], "pip's configuration is not read", is_secret=True)
        except Failed as error:
            self._work.note(error.message)
            text = ""
        pip = indexes.parse_pip_config(text)
        self._settings = indexes.uv_settings(pip, os.environ, indexes.uv_config_files())
        self._work.note(f"of pip's configuration, uv is told: {', '.join(sorted(self._settings)) or 'nothing'}")
        if hosts := indexes.plain_hosts(pip, os.environ):
            self._work.note(f"of the indexes in your configuration, asked without encryption: {', '.join(hosts)}")

    def _fetch_uv(self) -> bool:
        lock = locks.uv_lock_path()
        if not lock.is_file():
            return False
        wanted = next(iter(locks.read_lock(lock).pins.values()))
        if self._uv.is_file():
            try:
                if wanted in self._work.call([self._uv, "--version"], "uv does not start").split():
                    return True
            except Failed as error:
                self._work.note(error.message)
        command = ["install", *BINARY_ONLY, "--force-reinstall", "--require-hashes", "-r", lock, *self._places()]
        try:
            self._work.call([*self._pip(), *command, "--progress-bar", "off"], "uv cannot be fetched")
        except Failed as error:
            if self._wheels is None and is_network(error.lines):  # nor would pip get anything else
                raise explain(error, "") from None
            self._work.note(error.message)
            return False
        return self._runs(self._uv, "--version")

    def _places(self) -> list[object]:
        """Options that keep uv and pip to the folder of wheels: as an address, because uv takes a comma for an end."""
        return [] if self._wheels is None else ["--no-index", "--find-links", self._wheels.absolute().as_uri()]

    def _env(self, more: dict[str, str] | None = None) -> dict[str, str]:
        own = {
            "UV_CACHE_DIR": str(self._cache),
            "UV_PYTHON_INSTALL_DIR": str(environment.python_folder(self._folder)),
            "UV_PYTHON_INSTALL_BIN": "0",
            "UV_PYTHON_INSTALL_REGISTRY": "0",
            "UV_NO_PROGRESS": "1",
            "NO_COLOR": "1",
        }
        if "UV_SYSTEM_CERTS" not in os.environ:  # where a firm's proxy opens connections, only the system trusts it
            own["UV_SYSTEM_CERTS"] = "1"
        return self._settings | own | (more or {})

    def _packages(
        self, place: Path, options: Sequence[object], version: str, downloads: Downloads, span: tuple[float, float]
    ) -> None:
        """One call of uv or pip. span: the part of the bar that it moves through."""
        if self._has_uv:
            command = [self._uv, "pip", "install", "--python", place, *BINARY_ONLY, *self._places(), *options]
            if self._wheels is not None:
                command.append("--offline")
        else:
            command = [*self._pip(place), "install", "--progress-bar", "off", *BINARY_ONLY, *self._places(), *options]

        def follow(line: str) -> None:
            downloads.follow(line)
            self._show(downloads, span)

        self._show(downloads, span)
        ended = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(downloads, span, ended), name="3R downloads", daemon=True)
        watcher.start()
        try:
            self._work.call(command, "The packages cannot be installed", follow, self._env())
        except Failed as error:
            raise explain(error, version) from None
        finally:
            ended.set()
            watcher.join()

    def _watch(self, downloads: Downloads, span: tuple[float, float], ended: threading.Event) -> None:
        """Watcher thread: neither uv nor pip tells how far it is when nobody looks, but the cache grows."""
        before = environment.folder_bytes(self._cache)
        while not ended.wait(WATCH_S):
            downloads.grown_bytes = environment.folder_bytes(self._cache) - before
            self._show(downloads, span)

    def _show(self, downloads: Downloads, span: tuple[float, float]) -> None:
        """Called by two threads. A cancel is seen by who runs the child."""
        with self._guard, contextlib.suppress(Stopped):
            done, total = downloads.progress()
            begin, end = span
            self._work.step(downloads.step, begin + (end - begin) * downloads.fraction, done, total)

    def _torch_options(self, place: Path, command: Sequence[object]) -> list[str]:
        """How uv finds PyTorch's build for this machine's graphics card; nothing where its indexes do not answer."""
        if not self._has_uv or self._wheels is not None or "UV_TORCH_BACKEND" in os.environ:
            return []
        options = ["--torch-backend", "auto"]
        self._work.step("Looking for the graphics card", self._work.state.fraction)
        trial = [self._uv, "pip", "install", "--dry-run", "--python", place, *command, *options]
        try:
            self._work.call(trial, "PyTorch's index cannot be used", None, self._env({"UV_HTTP_RETRIES": "1"}))
        except Failed as error:
            if not is_network(error.lines):
                raise explain(error, "") from None
            self._work.note("PyTorch's own indexes do not answer, so its build is taken from the package index")
            return []
        return options

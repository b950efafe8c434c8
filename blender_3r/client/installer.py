"""Makes, repairs and removes the engine's environment in the background. Knows nothing of bpy."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
from pathlib import Path

from . import doctor, environment, files, locks
from .tools import PROBE, VERSION_PROBE, Toolbox
from .work import Failed, InstallState, Work

# Windows takes names of 259 letters; "\\Lib\\site-packages\\" is 19 of them, and PyTorch's modules have up to 100.
LONGEST_PLACE = 259 - 19 - 100

__all__ = ["InstallState", "Installer", "Remover", "Repair"]


class Installer(Work):
    """A new environment for a profile, in place of the one that is there; what was made half is removed."""

    title = "Installing the engine"

    def __init__(
        self,
        pythons: list[Path],
        engine_folder: Path,
        profile: str = "classic",
        *,
        lock: Path | None = None,
        engine: Path = environment.ENGINE,
        wheels: Path | None = None,
        use_network: bool = True,
    ) -> None:
        """pythons: see environment.base_pythons. lock: the lock file, if not the extension's own for this system.

        wheels: a folder to take all packages from. use_network: whether Blender may go online; without it and without
        wheels only a repair that needs no packages succeeds. Raises OSError when engine_folder cannot be written.
        """
        self._pythons = pythons
        self._profile = locks.PROFILES[profile]
        self._lock_path = lock or locks.lock_path(profile)
        self._engine = engine
        self._wheels = wheels
        self._use_network = use_network
        self._environment = environment.environment_folder(engine_folder, profile)
        self._has_begun = False  # whether what lies in the folder is ours to remove
        super().__init__(engine_folder)

    def _do(self) -> str:
        lock = self._read_lock()
        self._check_network("All packages are needed")
        self.step("Looking for Python", 0.01)
        self._check_place()
        base, _ = self._choose_python()
        toolbox = Toolbox(self, self._folder, self._wheels)
        self.step("Fetching uv", 0.04)
        toolbox.prepare(base)
        self.step("Fetching Python", 0.08)
        python = toolbox.fetch_python() or base
        self.step("Making the environment", 0.14)
        self._has_begun = True
        files.remove(self._environment)
        toolbox.make_environment(self._environment, python)
        version = self._version()
        self.step("Asking for packages", 0.2)
        toolbox.install(lock, self._environment, version)
        self._check_and_mark(lock, version)
        toolbox.clear_cache()
        return "The engine is installed."

    def _undo(self) -> None:
        if self._has_begun and environment.read_marker(self._environment) is None:
            shutil.rmtree(self._environment, ignore_errors=True)

    def _read_lock(self) -> locks.Lock:
        try:
            return locks.read_lock(self._lock_path)
        except OSError:
            raise Failed(
                f"There is no ready-made engine for this system ({locks.platform_id()}).",
                "Make a Python with the packages in client/engine-classic.txt, and name it in the preferences.",
            ) from None

    def _check_network(self, reason: str) -> None:
        if self._wheels is None and not self._use_network:
            raise Failed(
                f"{reason}, and Blender may not use the network.",
                "Switch on Allow Online Access in Preferences, System, Network; or install from a folder.",
                is_final=True,
            )

    def _check_place(self) -> None:
        folder = self._environment
        ours = (folder / "pyvenv.cfg").is_file() or (folder / environment.MARKER).is_file()
        if folder.is_dir() and not ours and any(folder.iterdir()):
            raise Failed(f"{folder} holds other files.", "Choose another engine folder in the preferences.")
        if sys.platform == "win32" and len(str(folder.absolute())) > LONGEST_PLACE:
            raise Failed(
                f"The name of the engine folder is too long for Windows: {folder.parent}.",
                "Choose a folder with a short name in the preferences, for example C:\\blender_3r.",
            )
        free = shutil.disk_usage(folder.parent).free
        if free < self._profile.needed_bytes:
            needed = f"{self._profile.needed_bytes / 1e9:.1f} GB"
            raise Failed(
                f"The engine needs {needed}, and {free / 1e9:.1f} GB are free in {folder.parent}.",
                "Free some space or choose another engine folder in the preferences.",
            )

    def _choose_python(self) -> tuple[Path, str]:
        for python in self._pythons:
            try:
                version = self.call([python, "-I", "-c", PROBE], f"{python} is of no use").strip()
            except Failed as error:
                self.note(error.message)
                continue
            if version in environment.PYTHONS:
                return python, version
            self.note(f"{python} is Python {version}: not supported")
        raise Failed(
            f"No Python that can make an environment was found (tried {len(self._pythons)}).",
            f"Install Python {environment.PYTHONS[-1]} to {environment.PYTHONS[0]}, or name one in the preferences.",
        )

    def _version(self) -> str:
        """The environment's own Python."""
        python = environment.python_of(self._environment)
        return self.call([python, "-I", "-c", VERSION_PROBE], "The environment's Python does not start").strip()

    def _self_test(self) -> None:
        python = environment.python_of(self._environment)
        command = [python, "-I", "-X", "utf8", self._engine, "check", "--profile", self._profile.id]
        self.call(command, "The installed engine does not start")

    def _check_and_mark(self, lock: locks.Lock, version: str) -> None:
        """The engine tests itself; then, last of all, the marker says that it is there."""
        self.step("Checking the engine", 0.92)
        self._self_test()
        packages = doctor.installed_packages(doctor.site_packages(self._environment))
        shared = (environment.tools_folder(self._folder), environment.python_folder(self._folder))
        marker = {
            "lock": lock.hash,
            "profile": self._profile.id,
            "python": version,
            "packages": {name: found for name, (found, _) in packages.items()},
            "bytes": sum(environment.folder_bytes(folder) for folder in (self._environment, *shared)),
        }
        environment.write_marker(self._environment, marker)


class Repair(Installer):
    """Mend what is damaged and nothing else; where that does not do, install anew."""

    title = "Repairing the engine"

    def _do(self) -> str:
        lock = self._read_lock()
        self.step("Looking at the folder", 0.01)
        self._mend_folders()
        marker = environment.read_marker(self._environment)
        version = self._living_version()
        if marker is None or not version:
            self.note("there is no whole environment to repair, so it is installed anew")
            return super()._do()
        broken = doctor.damaged_packages(
            doctor.site_packages(self._environment),
            doctor.wanted_packages(self._environment, lock),
            lambda name, share: self.step(f"Reading {name}", 0.02 + 0.1 * share),
        )
        for name, reason in broken.items():
            self.note(f"{name}: {reason}")
        try:
            self._mend_packages(lock, marker, version, list(broken))
        except Failed as error:
            if not error.is_final:
                self.note(f"{error.message} So it is installed anew.")
                return super()._do()
            raise
        names = ", ".join(broken)
        return f"The engine is repaired: {names}." if broken else "The engine is in order."

    def _mend_packages(self, lock: locks.Lock, marker: dict[str, object], version: str, broken: list[str]) -> None:
        if broken:
            self._check_network(f"Packages are needed ({', '.join(broken)})")
            environment.write_marker(self._environment, marker | {"unfinished": True})
            toolbox = Toolbox(self, self._folder, self._wheels)
            toolbox.prepare(self._choose_python()[0])
            toolbox.install(lock, self._environment, version, broken)
            toolbox.clear_cache()
        self._check_and_mark(lock, version)

    def _mend_folders(self) -> None:
        """Take away files in the place of our folders, and write protection. Raises OSError when it cannot be."""
        for folder in environment.own_folders(self._folder):
            if os.path.lexists(folder) and not folder.is_dir():
                self.note(f"{folder} was no folder")
                folder.unlink()
            for parent, names, _ in os.walk(folder):
                for path in (parent, *(os.path.join(parent, name) for name in names)):
                    mode = os.lstat(path).st_mode
                    if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
                        self.note(f"{path} was protected")
                        os.chmod(path, mode | stat.S_IRWXU)

    def _living_version(self) -> str:
        try:
            return self._version()
        except Failed as error:
            self.note(error.message)
            return ""


class Remover(Work):
    """Delete all that was installed; other files in the engine folder stay."""

    title = "Removing the engine"

    def _do(self) -> str:
        folders = [folder for folder in environment.own_folders(self._folder) if os.path.lexists(folder)]
        freed = 0
        for number, folder in enumerate(folders):
            self.step(f"Removing {folder.name}", number / len(folders))
            files.remove(folder / environment.MARKER)  # half removed is not installed
            freed += environment.folder_bytes(folder)
            files.remove(folder)
        return f"The engine is removed; {freed / 1e6:.0f} MB are free again."

    def _leave(self) -> None:
        if self._folder.is_dir() and not any(map(os.path.lexists, environment.own_folders(self._folder))):
            self.log.unlink(missing_ok=True)
            (self._folder / "installing.lock").unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # other files are in it
                self._folder.rmdir()

"""What an installed engine consists of: its profiles, and the lock files with every package's version and hashes.

A lock file is a requirements file for one profile and one platform that pip and uv both read: pinned versions, the
SHA-256 of every wheel that is accepted, and each wheel's size as a comment. `scripts/lock.py` writes them. A file
*.unlocked.txt beside it pins what has no hashes there, because uv chooses the build by the graphics card: PyTorch.
"""

from __future__ import annotations

import hashlib
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "locks"


@dataclass(frozen=True)
class Profile:
    """What the engine can do, and what it takes. needed_bytes: free disk for packages and, for a while, downloads."""

    id: str
    title: str
    text: str
    size_text: str
    needed_bytes: int


PROFILES = {
    profile.id: profile
    for profile in (
        Profile(
            "classic",
            "Classic",
            "The classic method: no networks, works offline and without a graphics card, commercial use allowed",
            "125 MB to download, 450 MB on disk",
            1_000_000_000,
        ),
        Profile(
            "full",
            "Full",
            "Classic, and PyTorch for the methods with networks; each network has a licence of its own",
            "0.4 to 4 GB to download, by the graphics card",
            12_000_000_000,
        ),
    )
}


@dataclass(frozen=True)
class Lock:
    """A lock file as read. pins: package to version. unlocked: versions without hashes. wheels: file name to bytes."""

    path: Path
    pins: dict[str, str]
    unlocked: dict[str, str]
    wheels: dict[str, int]

    @property
    def hash(self) -> str:
        """Changes when a version or a hash does, not when a comment does."""
        texts = [_without_comments(path) for path in (self.path, self.unlocked_path) if path.is_file()]
        return hashlib.sha256("\n".join(texts).encode()).hexdigest()

    @property
    def unlocked_path(self) -> Path:
        return self.path.with_suffix(".unlocked.txt")

    def download_bytes(self, python: str) -> dict[str, int]:
        """Package to the size of its wheel for a Python ("3.12"); of several that fit, the largest."""
        sizes: dict[str, int] = {}
        for file, size in self.wheels.items():
            name, _, tag = file.split("-")[:3]
            if tag == f"cp{python.replace('.', '')}" or "abi3" in file or tag.endswith("py3"):
                name = normal_name(name)
                sizes[name] = max(size, sizes.get(name, 0))
        return sizes


def platform_id() -> str:
    """ "linux-x86_64", "windows-x86_64", "macos-arm64"; others by the same rule."""
    system = {"linux": "linux", "win32": "windows", "darwin": "macos"}.get(sys.platform, sys.platform)
    machine = platform.machine().lower()
    return f"{system}-{'x86_64' if machine in ('amd64', 'x64') else machine}"


def lock_path(profile: str) -> Path:
    """The lock file of a profile for this system, there or not."""
    return FOLDER / f"{profile}-{platform_id()}.txt"


def uv_lock_path() -> Path:
    """The lock file of uv for this system, there or not."""
    return FOLDER / f"uv-{platform_id()}.txt"


def read_lock(path: Path) -> Lock:
    """Raises OSError when there is no such file: nothing is ready-made for this system."""
    text = path.read_text(encoding="utf-8")
    unlocked = path.with_suffix(".unlocked.txt")
    wheels = re.findall(r"^# (\S+\.whl) (\d+)$", text, re.MULTILINE)
    return Lock(
        path,
        _pins(text),
        _pins(unlocked.read_text(encoding="utf-8")) if unlocked.is_file() else {},
        {file: int(size) for file, size in wheels},
    )


def normal_name(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _pins(text: str) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9][\w.-]*)==([^\s\\;]+)", text, re.MULTILINE)
    return {normal_name(name): version for name, version in found}


def _without_comments(path: Path) -> str:
    lines = (line.split("#")[0].strip(" \t\\") for line in path.read_text(encoding="utf-8").splitlines())
    return "\n".join(line for line in lines if line)

"""Write the lock files of the engine's environments: python -m scripts.lock [--uv UV] [PROFILE ...]

For every profile and platform the packages are resolved by `uv pip compile` from the public index alone, whatever
indexes this machine's user has set, and every wheel of the chosen versions that fits the platform and one of the
supported Pythons is written down with its SHA-256, as the index itself tells it, and its size.

PyTorch is not locked where uv chooses its build by the graphics card (Linux, Windows): these builds (CUDA, ROCm, XPU,
CPU) come from PyTorch's own indexes, under versions of their own, and pull packages of their own. Its version stands
in a file *.unlocked.txt, and what it needs from the public index is locked. On macOS there is one build, so it is
locked.

uv itself is locked too: the installer fetches it by pip. Needs uv (`pip install uv`) and the network.
"""

from __future__ import annotations

import argparse
import html
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLIENT = ROOT / "blender_3r" / "client"
FOLDER = CLIENT / "locks"
INDEX = "https://pypi.org/simple"
PYTHONS = ("3.11", "3.12", "3.13")
CHOSEN_BY_UV = re.compile(r"^(torch|triton|nvidia-.*|cuda-.*|pytorch-.*)$")
UV = "uv==0.13.9"


@dataclass(frozen=True)
class Platform:
    """target: what uv calls it. tags: what the platform part of a fitting wheel's name may be."""

    id: str
    target: str
    tags: str
    environment: tuple[tuple[str, str], ...] = ()
    is_torch_locked: bool = False


PLATFORMS = (
    Platform("linux-x86_64", "x86_64-manylinux_2_28", r"(manylinux\w*_x86_64|linux_x86_64)"),
    Platform("windows-x86_64", "x86_64-pc-windows-msvc", r"win_amd64"),
    Platform(
        "macos-arm64",
        "aarch64-apple-darwin",
        r"macosx_\d+_\d+_(arm64|universal2)",
        (("MACOSX_DEPLOYMENT_TARGET", "14.0"),),
        is_torch_locked=True,
    ),
)
SOURCES = {"classic": "engine-classic.txt", "full": "engine-full.txt"}


@dataclass(frozen=True)
class Wheel:
    file: str
    url: str
    sha256: str


class Index:
    """The public index: which wheels there are of a version, and how large they are."""

    def __init__(self) -> None:
        self._pages: dict[str, list[Wheel]] = {}
        self._sizes: dict[str, int] = {}

    def wheels(self, name: str, version: str) -> list[Wheel]:
        """All wheels of a version. Raises LookupError when one has no hash."""
        if name not in self._pages:
            with urllib.request.urlopen(f"{INDEX}/{name}/", timeout=60) as answer:
                page = answer.read().decode()
            links = re.findall(r'<a[^>]*href="([^"#]+/([^"#/]+\.whl))(?:#sha256=([0-9a-f]{64}))?"', page)
            self._pages[name] = [Wheel(file, html.unescape(url), digest) for url, file, digest in links]
        found = [wheel for wheel in self._pages[name] if wheel.file.split("-")[1] == version]
        if any(not wheel.sha256 for wheel in found):
            raise LookupError(f"the index tells no hash of {name} {version}")
        return found

    def size(self, wheel: Wheel) -> int:
        """Bytes."""
        if wheel.file not in self._sizes:
            request = urllib.request.Request(wheel.url, method="HEAD")
            with urllib.request.urlopen(request, timeout=60) as answer:
                self._sizes[wheel.file] = int(answer.headers["Content-Length"])
        return self._sizes[wheel.file]


def resolve(uv: str, source: Path, platform: Platform) -> dict[str, str]:
    """Package to version, for one platform and all Pythons: the oldest has the say, as it has least choice."""
    pins: dict[str, str] = {}
    for python in PYTHONS:
        for name, version in _resolve(uv, source, platform, python, pins).items():
            if pins.setdefault(name, version) != version:
                sys.exit(f"{name} {pins[name]} does not do for Python {python} on {platform.id}")
    return pins


def _resolve(uv: str, source: Path, platform: Platform, python: str, known: dict[str, str]) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
    command = [uv, "pip", "compile", "--no-config", "--no-header", "--no-annotate", "--quiet", "--only-binary", ":all:"]
    where = ["--default-index", INDEX, "--python-version", python, "--python-platform", platform.target]
    done = subprocess.run(
        [*command, *where, "--constraint", "-", str(source)],
        input="\n".join(f"{name}=={version}" for name, version in known.items()),
        env=clean | dict(platform.environment),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{source.name} cannot be resolved for {platform.id}, Python {python}:\n{done.stderr}")
    pins = (line.split(";")[0].strip().split("==") for line in done.stdout.splitlines() if "==" in line)
    return dict(pins)


def fits(wheel: Wheel, platform: Platform) -> bool:
    """Whether a wheel is for this platform and one of the supported Pythons."""
    python, abi, tag = wheel.file.removesuffix(".whl").split("-")[-3:]
    if abi.endswith("t"):  # free-threaded
        return False
    versions = [version.replace(".", "") for version in PYTHONS]
    is_python = any(f"cp{version}" in python.split(".") for version in versions) or "py3" in python.split(".")
    if abi == "abi3":
        is_python = any(int(part[3:] or 0) <= 11 for part in python.split(".") if part.startswith("cp3"))
    is_platform = tag == "any" or any(re.fullmatch(platform.tags, part) for part in tag.split("."))
    return is_python and is_platform


def write_lock(path: Path, title: str, pins: dict[str, str], platform: Platform, index: Index) -> None:
    """One lock file. Ends the program when a version has no wheel for the platform."""
    lines = [f"# {title} on {platform.id}, Python {PYTHONS[0]} to {PYTHONS[-1]}. Written by scripts/lock.py."]
    for name, version in sorted(pins.items()):
        wheels = sorted((w for w in index.wheels(name, version) if fits(w, platform)), key=lambda w: w.file)
        if not wheels:
            sys.exit(f"{name} {version} has no wheel for {platform.id}")
        lines.append(" \\\n    ".join([f"{name}=={version}", *(f"--hash=sha256:{wheel.sha256}" for wheel in wheels)]))
        lines += [f"# {wheel.file} {index.size(wheel)}" for wheel in wheels]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    print(f"{path.relative_to(ROOT)}: {len(pins)} packages", flush=True)


def lock_profile(profile: str, platform: Platform, uv: str, index: Index) -> None:
    """The lock of one profile on one platform, and what it leaves to uv."""
    pins = resolve(uv, CLIENT / SOURCES[profile], platform)
    left = {} if platform.is_torch_locked else {name: pins[name] for name in pins if CHOSEN_BY_UV.match(name)}
    stem = f"{profile}-{platform.id}"
    unlocked = FOLDER / f"{stem}.unlocked.txt"
    unlocked.unlink(missing_ok=True)
    if "torch" in left:
        reason = "# uv chooses the build by the graphics card, from PyTorch's own indexes: no hash holds for all."
        unlocked.write_text(f"{reason}\ntorch=={left['torch']}\n", encoding="utf-8", newline="\n")
    locked = {name: version for name, version in pins.items() if name not in left}
    write_lock(FOLDER / f"{stem}.txt", f"The engine, profile {profile},", locked, platform, index)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("profiles", nargs="*", metavar="PROFILE", help=f"of {', '.join(SOURCES)}, uv (default: all)")
    parser.add_argument("--uv", default=shutil.which("uv"), help="the uv program (default: the one on the PATH)")
    options = parser.parse_args()
    profiles = options.profiles or [*SOURCES, "uv"]
    if unknown := set(profiles) - {*SOURCES, "uv"}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if not options.uv:
        parser.error("uv is not on the PATH: pip install uv, or name it by --uv")
    FOLDER.mkdir(exist_ok=True)
    index = Index()
    for platform in PLATFORMS:
        for profile in profiles:
            if profile == "uv":
                name, version = UV.split("==")
                write_lock(FOLDER / f"uv-{platform.id}.txt", "The installer", {name: version}, platform, index)
            else:
                lock_profile(profile, platform, options.uv, index)
    return 0


if __name__ == "__main__":
    sys.exit(main())

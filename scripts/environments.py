"""The project's virtual environments: made once, checked at each start, made again when half made or out of date.

    python -m scripts.environments [NAME ...]

Every environment lies in .venv/NAME and holds a marker, written last, with the hash of what was asked of it.
"""

from __future__ import annotations

import ctypes.util
import hashlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".venv"
REQUIREMENTS = ROOT / "requirements"
MARKER = ".complete"


@dataclass(frozen=True)
class Environment:
    """python: "major.minor". requirements: files in requirements/."""

    name: str
    python: str
    requirements: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return HOME / self.name

    @property
    def interpreter(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def fingerprint(self) -> str:
        """Changes whenever the pinned packages or the Python version do."""
        digest = hashlib.sha256(self.python.encode())
        for name in self.requirements:
            digest.update(_pins(REQUIREMENTS / name))
        return digest.hexdigest()

    @property
    def is_ready(self) -> bool:
        marker = self.folder / MARKER
        return marker.is_file() and marker.read_text().strip() == self.fingerprint and self.interpreter.exists()


ENVIRONMENTS = {
    environment.name: environment
    for environment in (
        Environment("engine", "3.11", ("engine-classic.txt", "test.txt", "lint.txt")),
        Environment("models", "3.11", ("engine-full.txt", "test.txt", "lint.txt")),
        Environment("blender", "3.11", ("blender-4.5.txt", "test.txt")),
        Environment("blender-4.2", "3.11", ("blender-4.2.txt", "test.txt")),
        Environment("blender-5.0", "3.11", ("blender-5.0.txt", "test.txt")),
        Environment("blender-5.2", "3.13", ("blender-5.2.txt", "test.txt")),
    )
}

# Libraries that every desktop has and the bpy wheels do not bring: what the loader looks for, and Debian's package.
SYSTEM_LIBRARIES = {
    "X11": "libx11-6",
    "Xrender": "libxrender1",
    "Xfixes": "libxfixes3",
    "Xi": "libxi6",
    "xkbcommon": "libxkbcommon0",
    "SM": "libsm6",
    "ICE": "libice6",
    "GL": "libgl1",
    "Xxf86vm": "libxxf86vm1",
    "Xt": "libxt6",
    "gomp": "libgomp1",
}


class SetupError(Exception):
    """Set-up cannot go on; the text says why and what to do."""


def _pins(path: Path) -> bytes:
    """The pin file with the files that it includes by -r."""
    text = path.read_bytes()
    for line in text.decode().splitlines():
        if line.startswith("-r "):
            text += _pins(path.parent / line[3:].strip())
    return text


def say(text: str) -> None:
    """A line about the step at hand, at once."""
    print(text, flush=True)


def find_python(version: str) -> Path | None:
    """A Python of that "major.minor" on this machine: this one, one on the PATH, or one that pyenv keeps."""
    candidates = [sys.executable, shutil.which(f"python{version}"), shutil.which("python3")]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates += sorted(map(str, pyenv.glob(f"{version}*/bin/python")), reverse=True)
    for candidate in candidates:
        if candidate and _version_of(candidate) == version:
            return Path(candidate)
    return None


def _version_of(python: str) -> str:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        answer = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip()


def missing_libraries() -> list[str]:
    """Debian names of the system libraries that the bpy wheels need and this machine lacks."""
    if sys.platform != "linux":
        return []
    return [package for name, package in SYSTEM_LIBRARIES.items() if ctypes.util.find_library(name) is None]


def ensure(name: str) -> Environment:
    """Make the environment unless it is there. Raises SetupError."""
    environment = ENVIRONMENTS[name]
    if environment.is_ready:
        say(f"environment {name}: ready")
        return environment
    if name.startswith("blender") and (packages := missing_libraries()):
        raise SetupError(f"Blender needs system libraries. Install them: apt-get install {' '.join(packages)}")
    python = find_python(environment.python)
    if python is None:
        raise SetupError(
            f"Python {environment.python} is needed for {environment.folder} and was not found. "
            f"Install it, so that `python{environment.python}` runs."
        )
    started = time.monotonic()
    say(f"environment {name}: making {environment.folder} (first run only; downloads packages)")
    shutil.rmtree(environment.folder, ignore_errors=True)
    _run([str(python), "-m", "venv", str(environment.folder)], f"Cannot make the environment {name}")
    files = [argument for file in environment.requirements for argument in ("-r", str(REQUIREMENTS / file))]
    pip = [str(environment.interpreter), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *files]
    _run(pip, f"Cannot install the packages of the environment {name}")
    (environment.folder / MARKER).write_text(environment.fingerprint + "\n")
    say(f"environment {name}: made in {time.monotonic() - started:.0f} s")
    return environment


def _run(command: list[str], failure: str) -> None:
    """Run quietly; show the end of the output only when it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode:
        tail = "\n".join("    " + line for line in done.stdout.splitlines()[-25:])
        raise SetupError(f"{failure}. The last lines were:\n{tail}\nThe command: {' '.join(command)}")


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in ENVIRONMENTS]
    if unknown:
        say(f"There is no environment {', '.join(unknown)}. Known: {', '.join(ENVIRONMENTS)}")
        return 2
    try:
        for name in names or ("engine", "blender"):
            ensure(name)
    except SetupError as error:
        say(f"set-up failed: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

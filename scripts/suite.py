"""The whole test suite without a window: sets up what is missing, runs each part in its environment, sums up.

python -m scripts.suite [PART ...]      parts: engine, models, blender, end-to-end
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

from .environments import ENVIRONMENTS, ROOT, SetupError, ensure, find_python, say

# part: (environment that runs pytest, folder, seconds after which it counts as hanging)
PARTS = {
    "engine": ("engine", "tests/engine", 1200),
    "models": ("models", "tests/models", 1200),
    "blender": ("blender", "tests/blender", 1200),
    "end-to-end": ("engine", "tests/end_to_end", 1800),
}
SMOKE = ("blender-4.2", "blender-5.0", "blender-5.2")


def prepare(parts: list[str]) -> list[str]:
    """Make the environments of these parts. Returns sentences about what cannot run here."""
    needed = {PARTS[part][0] for part in parts}
    missing = []
    if "end-to-end" in parts:
        needed |= {"blender", "models", *SMOKE}
    for name in ENVIRONMENTS:
        if name not in needed:
            continue
        version = ENVIRONMENTS[name].python
        if name in SMOKE and find_python(version) is None:
            missing.append(f"smoke run in {name}: not run, there is no Python {version} here")
        else:
            ensure(name)
    return missing


def run(part: str) -> tuple[bool, float]:
    """Run one part. Returns whether it passed, and its seconds."""
    name, folder, limit = PARTS[part]
    command = [str(ENVIRONMENTS[name].interpreter), "-m", "pytest", "-q", "-p", "no:cacheprovider", folder]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    started = time.monotonic()
    say(f"\n=== {part}: pytest {folder} in .venv/{name}")
    try:
        passed = subprocess.run(command, cwd=ROOT, env=environment, timeout=limit).returncode == 0
    except subprocess.TimeoutExpired:
        say(f"{part}: ended after {limit} s without a result")
        passed = False
    return passed, time.monotonic() - started


def main(parts: list[str]) -> int:
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        say(f"There is no part {', '.join(unknown)}. Known: {', '.join(PARTS)}")
        return 2
    parts = parts or list(PARTS)
    try:
        missing = prepare(parts)
    except SetupError as error:
        say(f"set-up failed: {error}")
        return 1
    results = {part: run(part) for part in parts}
    say("")
    for part, (passed, seconds) in results.items():
        say(f"{'passed' if passed else 'FAILED'}  {part}  ({seconds:.0f} s)")
    for sentence in missing:
        say(sentence)
    return 0 if all(passed for passed, _ in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

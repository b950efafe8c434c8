"""The whole test suite without a window: sets up what is missing, runs each part in its environment, sums up.

python -m scripts.suite [PART ...]      parts: engine, models, blender, end-to-end

Two parts run at a time where there are two processors: much of each is waiting, for Blender and for processes. Each
gets its share of the processors for arithmetic: threads that wait for one another cost more than they bring.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from .environments import ENVIRONMENTS, ROOT, SetupError, ensure, find_python, say

# part: (environment that runs pytest, folder, seconds after which it counts as hanging)
# The longest first: what is short fills the gap beside it.
PARTS = {
    "end-to-end": ("engine", "tests/end_to_end", 2400),
    "engine": ("engine", "tests/engine", 1800),
    "models": ("models", "tests/models", 1800),
    "blender": ("blender", "tests/blender", 1800),
}
AT_ONCE = min(2, os.cpu_count() or 1)
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
    """Run one part and print its output when it ends. Returns whether it passed, and its seconds."""
    name, folder, limit = PARTS[part]
    command = [str(ENVIRONMENTS[name].interpreter), "-m", "pytest", "-q", "-p", "no:cacheprovider", folder]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // AT_ONCE)))
    started = time.monotonic()
    say(f"{part}: pytest {folder} in .venv/{name}")
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, timeout=limit, stdout=output, stderr=subprocess.STDOUT
            )
            passed = done.returncode == 0
        except subprocess.TimeoutExpired:
            output.write(f"{part}: ended after {limit} s without a result\n")
            passed = False
        output.seek(0)
        say(f"\n=== {part}\n{output.read()}")
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
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = dict(zip(parts, pool.map(run, parts)))
    say("")
    for part, (passed, seconds) in results.items():
        say(f"{'passed' if passed else 'FAILED'}  {part}  ({seconds:.0f} s)")
    for sentence in missing:
        say(sentence)
    return 0 if all(passed for passed, _ in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

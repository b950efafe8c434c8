"""`make demo`: everything from an empty checkout to a picture with a cube in the shot.

    python3.11 -m scripts.demo [--footage PATH] [--quality draft|normal|fine]

Writes out/demo.blend and out/demo.png; what happened in between is in out/demo.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from build_addon import build

from . import extension
from .environments import ROOT, SetupError, ensure, say

OUT = ROOT / "out"
SHOT = ROOT / "demo" / "courtyard.mp4"
STEPS = 5
NOISE = ("Fra:", "Saved:", "Time:", "Writing:", "Warning: ", "Info: ", "Read ")  # Blender's own chatter


class DemoError(Exception):
    """A step failed; the text says which and why."""


def step(number: int, text: str) -> None:
    say(f"[{number}/{STEPS}] {text}")


def run(command: list[str], what: str, environment: dict[str, str] | None = None, show: str = "") -> None:
    """Run a child with its output in out/demo/log.txt. show: lines that begin so are also printed."""
    log = OUT / "demo" / "log.txt"
    tail: list[str] = []
    reason = ""
    options = {"cwd": ROOT, "env": environment, "text": True, "encoding": "utf-8", "errors": "replace"}
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with open(log, "a", encoding="utf-8") as file, subprocess.Popen(command, **options, **pipes) as child:
        for line in child.stdout:
            file.write(line)
            if line.startswith("3R failed:"):
                reason = line.removeprefix("3R failed:").strip()
            elif show and line.startswith(show):
                say("      " + line.removeprefix(show).strip())
            elif line.strip() and not line.startswith(NOISE):
                tail = [*tail[-11:], line.rstrip()]
    if child.returncode and reason:
        raise DemoError(f"{reason}\nThe log: {log}")
    if child.returncode:
        raise DemoError(f"{what} failed. The last lines were:\n  " + "\n  ".join(tail) + f"\nAll of them: {log}")


def make(footage: Path, quality: str) -> None:
    """All steps. Raises DemoError or SetupError."""
    (OUT / "demo").mkdir(parents=True, exist_ok=True)
    (OUT / "demo" / "log.txt").unlink(missing_ok=True)
    step(1, "environments")
    engine, blender = ensure("engine").interpreter, ensure("blender").interpreter
    step(2, "building the extension")
    package = build(ROOT / "dist")
    step(3, f"in Blender: install {package.name}, reconstruct {footage.name}, import")
    arguments = [str(package), str(engine), str(footage), str(OUT), "--quality", quality]
    environment = extension.environment_for(OUT / "demo" / "blender_user")
    command = [str(blender), "-m", "scripts.demo_in_blender", *arguments]
    run(command, "The part in Blender", environment, show="3R:")
    facts = json.loads((OUT / "demo" / "facts.json").read_text(encoding="utf-8"))
    step(4, "putting the picture together")
    renders = [str(OUT / "demo" / name) for name in ("overlay.png", "outside.png")]
    picture = [facts["job"], str(facts["view"]), *renders, str(OUT / "demo.png"), facts["text"]]
    run([str(engine), "-m", "scripts.demo_picture", *picture], "Putting the picture together")
    step(5, f"done. {facts['text']} {facts['cube']}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--footage", type=Path, default=SHOT, help="a movie, one image of a sequence, or a folder")
    parser.add_argument("--quality", choices=("draft", "normal", "fine"), default="draft")
    options = parser.parse_args()
    started = time.monotonic()
    try:
        footage = options.footage.expanduser().resolve()
        if not footage.exists():
            raise DemoError(f"There is no footage at {footage}.")
        make(footage, options.quality)
    except (DemoError, SetupError) as error:
        say(f"demo failed: {error}")
        return 1
    say(f"      {OUT / 'demo.blend'}\n      {OUT / 'demo.png'}\n      {time.monotonic() - started:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())

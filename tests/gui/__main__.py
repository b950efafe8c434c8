"""Play the scenarios in a real Blender window: python -m tests.gui [--keep FOLDER] [SCENARIO ...].

Run it with the engine environment's Python. Where no Blender with a window can be had it says why, and passes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WINDOW = HERE / "blender-window.sh"
SCENARIOS = """install_zip first_steps dropped clip_editor photos installing engine_care job troubles busy_artist
  mask_choices disabled quits killed models methods german
  points fast_points moving surfaces report
  report_after_job export shot shot_choices render growing real_job""".split()
SOLVED = {"report", "export", "shot", "render"}  # begin with a copy of the solved demo shot
CANNOT = 77
SETUP_S = 600
PICTURES = """first_steps/offline first_steps/no-engine installing/installing installing/install-failed
  engine_care/preferences-window
  first_steps/no-footage first_steps/ready job/running troubles/failed troubles/crashed troubles/stopping
  methods/auto-one-image
  models/licence-window models/models-downloading models/models-list models/models-tight
  troubles/cancelled troubles/missing-footage busy_artist/waiting busy_artist/other-file real_job/real-running
  real_job/real-done real_job/real-window real_job/camera-window
  surfaces/surface-window report/report-window
  german/german-done dropped/drop-window clip_editor/clip-window photos/photos-window export/tracks-window""".split()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)} (default: all)")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="save the pictures of the manual there")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep pictures and logs there")
    options = parser.parse_args()
    status = set_up()
    if status:
        print("SKIPPED: the window tests need a Blender with a window, which cannot be had here (see above).")
        return 0 if status == CANNOT else status
    with tempfile.TemporaryDirectory(prefix="3r-gui-") as scratch:
        folder = options.keep or Path(scratch)
        if set(options.scenarios or SCENARIOS) & SOLVED:
            solve_demo(folder / "demo_job")
        failed = [name for name in options.scenarios or SCENARIOS if not play(name, folder / name)]
        if options.pictures and not failed:
            save_pictures(folder, options.pictures)
    print(f"{'FAILED: ' + ', '.join(failed) if failed else 'All scenarios passed.'}")
    return 1 if failed else 0


def set_up() -> int:
    """Unpack that Blender if it is not there yet. 0, or why not: CANNOT, also where it takes longer than SETUP_S."""
    process = subprocess.Popen([WINDOW, "setup"], start_new_session=True)
    try:
        return process.wait(SETUP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        print(f"Fetching it takes more than {SETUP_S // 60} minutes here.")
        return CANNOT


def solve_demo(folder: Path) -> None:
    """The demo shot, anew and without depth, for all scenarios that begin with it."""
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier engine
    python, shot = ROOT / ".venv" / "engine" / "bin" / "python", ROOT / "demo" / "courtyard.mp4"
    command = [python, ROOT / "blender_3r" / "engine", "reconstruct", shot, "--out", folder / shot.stem]
    options = ["--method", "classic", "--quality", "draft", "--no-dense"]
    subprocess.run([*command, *options], check=True, capture_output=True)


def play(name: str, folder: Path) -> bool:
    """Run one scenario in a Blender with settings of its own; whether it passed."""
    folder.mkdir(parents=True, exist_ok=True)
    archive = subprocess.run(
        [sys.executable, ROOT / "build_addon.py", "--out", folder], check=True, capture_output=True, text=True
    ).stdout.strip()
    environment = os.environ | {
        "BLENDER_USER_RESOURCES": str(folder / "profile"),
        "XDG_DATA_HOME": str(folder / "data"),
    }
    command = [WINDOW, "run", "--factory-startup", "--enable-event-simulate", "--python-exit-code", "3"]
    started = time.monotonic()
    with open(folder / "blender.log", "wb") as log:
        blender = subprocess.Popen(
            [*command, "--python", HERE / "inside.py", "--", name, folder, archive],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        problem = watch_killed(blender, folder) if name == "killed" else watch(blender, folder)
    print(f"{'FAILED' if problem else 'ok    '} {name} ({time.monotonic() - started:.0f} s) {problem}", flush=True)
    if problem:
        print((folder / "blender.log").read_text(errors="replace")[-4000:])
    return not problem


def watch(blender: subprocess.Popen, folder: Path) -> str:
    """Wait for the end of Blender and of every engine it had; what was wrong, or ""."""
    try:
        status = blender.wait(300)
    except subprocess.TimeoutExpired:
        blender.terminate()
        return "took more than 300 s"
    if status:
        return f"status {status}"
    facts = json.loads((folder / "facts.json").read_text())
    left = [pid for pid in facts.pop("engines", []) if not is_gone(pid)]
    if facts:
        print("      ", ", ".join(f"{name} {value:.3f}" for name, value in facts.items()))
    return f"engines left behind: {left}" if left else ""


def watch_killed(blender: subprocess.Popen, folder: Path) -> str:
    """Kill Blender as soon as its job runs; its engine must go by itself."""
    note = folder / "kill"
    note.unlink(missing_ok=True)
    until = time.monotonic() + 120
    while not (note.is_file() and " " in note.read_text()):
        if time.monotonic() > until or blender.poll() is not None:
            blender.terminate()
            return "the job did not start"
        time.sleep(0.1)
    pid, engine = map(int, note.read_text().split())
    os.kill(pid, signal.SIGKILL)
    blender.wait(30)
    return "" if is_gone(engine) else f"engine {engine} left behind"


def save_pictures(folder: Path, target: Path) -> None:
    """The pictures of the scenarios that were played, cut to what matters."""
    from PIL import Image as images

    target.mkdir(parents=True, exist_ok=True)
    for name in PICTURES:
        if not (folder / f"{name}.png").is_file():
            continue
        picture = images.open(folder / f"{name}.png").convert("RGB")
        if not name.endswith(("window", "list")):
            picture = picture.crop((0, 0, picture.width, panel_end(picture)))
        picture.quantize(256).save(target / f"{Path(name).name}.png", optimize=True)


def panel_end(picture: Image) -> int:
    """The row below the sidebar's last panel: a little inside its left edge the panel's own colour ends there."""
    x, first = 12, 30
    color = picture.getpixel((x, first))
    rows = (y for y in range(first, picture.height) if picture.getpixel((x, y)) != color)
    return min(next(rows, picture.height) + 8, picture.height)


def is_gone(pid: int, within_s: float = 10.0) -> bool:
    """Whether a process ends (a zombie has ended)."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.1)
    return False


if __name__ == "__main__":
    sys.exit(main())

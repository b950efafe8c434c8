"""Points for each frame of a shot, played: what a frame takes, in each Blender here, and in a real window.

    .venv/blender/bin/python -m benchmarks.playback [--frames N] [--points N]

Ours is one object whose points know their frames, displayed as the import chose: without a graphics card by Fast
Display. Beside it an object for each frame, shown and hidden by keys, and the points of a single frame that just stand
there. Without a window for each `.venv/blender*`; with one in Debian's Blender (see tests/gui), which draws by software
where there is no graphics card. So the window plays thrice: with an OpenGL that takes everything and draws nothing
(the import takes it for a graphics card), which leaves what Blender itself does for a frame (evaluation, making what is
drawn, handing it over); in a small view; and in a large one with Blender's defaults. 100 frames of 50 000
points go to benchmarks/RESULTS.md, less to out/benchmarks/RESULTS.md. Exit status: 0 all bars reached, 1 not all.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from .measure import busy, machine
from .page import write_part
from .pairwise import FULL_REPORT, ROOT, WORK, Verdict, table

FULL = (100, 50_000)
FPS = 24.0
SCENE = ROOT / "benchmarks" / "playback_scene.py"
WINDOW = ROOT / "tests" / "gui" / "blender-window.sh"
WAYS = {
    "moving": "ours, as imported",
    "nodes": "ours, without Fast Display",
    "vertices": "ours, as bare vertices",
    "keys": "an object for each frame",
    "still": "one frame, standing",
    "empty": "no points",
}


class Screen(NamedTuple):
    """How a playback is drawn. mode: of playback_scene.py. settings: of the window's environment."""

    title: str
    mode: str
    settings: tuple[tuple[str, str], ...] = ()


SCREENS = (
    Screen("not drawn", "play", (("GALLIUM_NOOP", "1"),)),
    Screen("small view, no anti-aliasing", "play-plain", (("BLENDER_3R_WINDOW", "640x480"),)),
    Screen("large view, as Blender starts", "play"),
)
NOT_DRAWN, *DRAWN = SCREENS
Played = dict[tuple[Screen, str], dict[str, Any]]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=FULL[0])
    parser.add_argument("--points", type=int, default=FULL[1], help="of each frame, about")
    options = parser.parse_args(arguments)
    before = machine()
    job = make_job(WORK / "playback" / f"{options.frames}x{options.points}", options.frames, options.points)
    modules = sorted(ROOT.glob(".venv/blender*/bin/python"))
    evaluated = {way: [evaluate(python, way, job) for python in modules] for way in ("moving", "keys")}
    played = {(screen, way): play(screen, way, job) for screen in SCREENS for way in WAYS} if has_window() else {}
    verdicts = bars(evaluated, played)
    out = FULL_REPORT if (options.frames, options.points) == FULL else WORK / "RESULTS.md"
    text = page(options, evaluated, played, verdicts, before)
    write_part(out, "playback", text)
    print(f"{text}\n\nWrote {out}")
    return 0 if all(verdict.passed for verdict in verdicts) else 1


def make_job(folder: Path, frames: int, points: int) -> Path:
    """A shot of a wavy surface that moves, with depth for each frame; the camera walks along it."""
    from blender_3r.engine.jobfolder import JobFolder
    from blender_3r.engine.reconstruction import Intrinsics, Reconstruction, View

    height = round((points * 3 / 4) ** 0.5)
    width = round(points / height)
    lens = Intrinsics(1280, 960, 1000.0, 1000.0, 640.0, 480.0)
    job = JobFolder.create(folder)
    job.clear_results()
    views = []
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    for index in range(frames):
        pose = np.eye(4)
        pose[0, 3] = 0.01 * index
        views.append(View(f"frame_{index:04d}", index, lens, pose))
        depth = 3 + 0.3 * np.sin(columns / width * 12 + index / 8) * np.cos(rows / height * 9)
        color = np.stack([rows * 255 / height, columns * 255 / width, 40 + 60 * depth], axis=-1).astype(np.uint8)
        confidence = np.ones((height, width), np.float32)
        job.write_view(index, {"depth": depth.astype(np.float32), "confidence": confidence, "color": color})
    job.write_cameras(Reconstruction(views, fps=FPS))
    return folder


def evaluate(python: Path, way: str, job: Path) -> dict[str, Any]:
    """One way in a Blender module of its own process."""
    return _run([str(python), str(SCENE), "evaluate", way, str(job)], job)


def has_window() -> bool:
    """Whether a Blender with a window can be had; says why not."""
    return subprocess.run([WINDOW, "setup"], check=False).returncode == 0


def play(screen: Screen, way: str, job: Path) -> dict[str, Any]:
    """One way, played in a window of its own."""
    arguments = ["--factory-startup", "--python", str(SCENE), "--", screen.mode, way, str(job)]
    return _run([str(WINDOW), "run", *arguments], job, dict(screen.settings))


def _run(command: list[str], job: Path, settings: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    out = job.parent / "facts.json"
    out.unlink(missing_ok=True)
    environment = os.environ | settings | {"BLENDER_USER_RESOURCES": str(job.parent / "profile")}
    subprocess.run([*command, str(out)], cwd=ROOT, env=environment, check=True, capture_output=True, timeout=1800)
    facts = json.loads(out.read_text(encoding="utf-8"))
    print(Path(command[0]).parents[1].name, *command[-3:-1], *settings, facts, file=sys.stderr, flush=True)
    return facts


def bars(evaluated: dict[str, list[dict[str, Any]]], played: Played) -> list[Verdict]:
    limit = 1000 / FPS
    worst = max(facts["cpu_ms"] for facts in evaluated["moving"])
    found = [
        Verdict("CPU ms a frame without a window, slowest Blender", f"{worst:.1f}", f"< {limit:.1f}", worst < limit)
    ]
    if played:
        large = DRAWN[-1]
        more = played[large, "nodes"]["main_ms"] - played[large, "still"]["main_ms"]
        what = f"CPU ms a frame of the window's thread, more than what stands, {WAYS['nodes']}"
        found.append(Verdict(what, f"{more:.1f}", f"< {limit:.1f}", more < limit))
        for screen in SCREENS:
            alone = played[screen, "empty"]["fps"]
            for way in ("moving", "nodes"):
                fps = played[screen, way]["fps"]
                what = f"frames a second in the window, Solid, {screen.title} ({alone:.1f} without points), {WAYS[way]}"
                found.append(Verdict(what, f"{fps:.1f}", f">= {FPS:g}", fps >= FPS))
    return found


def page(
    options: argparse.Namespace,
    evaluated: dict[str, list[dict[str, Any]]],
    played: Played,
    verdicts: list[Verdict],
    before: str,
) -> str:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    facts = (
        f"- Written by `python -m benchmarks.playback`\n"
        f"- Machine: {before}; {busy()} at the end; niceness {os.nice(0)}\n"
        f"- Versions: commit {commit.strip()}"
    )
    checks = [[bar.what, bar.reached, bar.bar, "pass" if bar.passed else "MISSED"] for bar in verdicts]
    without = [
        [row["version"], WAYS[way], f"{row['cpu_ms']:.2f}", f"{row['wall_ms']:.2f}", f"{row['objects']}"]
        + [f"{row['peak_mb']:.0f}"]
        for way, rows in evaluated.items()
        for row in rows
    ]
    parts = [
        "# Points that move: playback",
        facts,
        table(["what", "reached", "bar", ""], checks),
        f"{options.frames} frames of {evaluated['moving'][0]['points']} points, all of them shown at their own frame "
        "only. Second lap of two. Without a window:",
        table(["Blender", "way", "CPU ms a frame", "wall ms", "objects", "peak MB"], without),
    ]
    return "\n\n".join(parts + (played_parts(played) if played else []))


def played_parts(played: Played) -> list[str]:
    """What was played in windows: a row for each way and screen."""
    rows = [
        [screen.title, row["size"], WAYS[way], f"{row['fps']:.1f}"]
        + [f"{row[f'{name}_ms']:.1f}" for name in ("main", "cpu", "wall")]
        for (screen, way), row in played.items()
    ]
    version = next(iter(played.values()))["version"]
    return [
        f"Played in a window, Blender {version}, in Solid. Drawn by software (llvmpipe), whose vertices are the "
        "window's thread's work too. Not drawn: with GALLIUM_NOOP=1, where OpenGL takes all and draws nothing. "
        "No points: what the window alone takes. CPU ms: of the window's thread; of all threads.",
        table(["screen", "pixels", "way", "frames a second", "CPU ms, thread", "CPU ms, all", "wall ms"], rows),
    ]


if __name__ == "__main__":
    sys.exit(main())

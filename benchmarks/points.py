"""Points from a job folder into a scene: time, memory, and how the window is held, beside an import by lists.

    .venv/blender/bin/python -m benchmarks.points [--points N] [--turns N]

The two ways take turns, each in a process of its own. Ten million points go to benchmarks/RESULTS.md, fewer to
out/benchmarks/RESULTS.md. Exit status: 0 all bars reached, 1 not all.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from .measure import busy, machine
from .page import write_part
from .pairwise import FULL_REPORT, ROOT, WORK, Verdict, table

FULL = 10_000_000
MAP = (384, 512)  # rows and columns of a depth map
SECONDS, SPEEDUP, MEMORY = 2.0, 30.0, 2.5


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=FULL, help="how many (default: ten million)")
    parser.add_argument("--turns", type=int, default=3, help="how often each way runs (default: 3)")
    parser.add_argument("--way", choices=("make", "ours", "lists"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    job = WORK / "points" / str(options.points)
    if options.way:
        print(json.dumps({"make": make_job, "ours": import_ours, "lists": import_lists}[options.way](job, options)))
        return 0
    before = machine()
    versions = run("make", options)
    runs = [{way: run(way, options) for way in ("ours", "lists")} for _ in range(options.turns)]
    text, verdicts = report(runs, options, before, versions)
    out = FULL_REPORT if options.points == FULL else WORK / "RESULTS.md"
    write_part(out, "points", text)
    print(f"{text}\n\nWrote {out}")
    return 0 if all(verdict.passed for verdict in verdicts) else 1


def run(way: str, options: argparse.Namespace) -> dict[str, Any]:
    """One way in a process of its own, so that its peak memory is its own; this one is small."""
    command = [sys.executable, "-m", "benchmarks.points", "--way", way, "--points", str(options.points)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def make_job(job: Path, options: argparse.Namespace) -> dict[str, Any]:
    """A job folder with at least as many dense points: wavy surfaces with noise and holes, one lens, distorted."""
    import bpy
    import numpy as np

    from blender_3r.engine.jobfolder import JobFolder
    from blender_3r.engine.reconstruction import Intrinsics, Reconstruction, View

    holes = 0.05
    count = int(options.points / (MAP[0] * MAP[1] * (1 - holes))) + 2
    lens = Intrinsics(1920, 1440, 1500.0, 1500.0, 960.0, 720.0, k1=-0.05, k2=0.01)
    views = []
    for index in range(count):
        pose = np.eye(4)
        pose[:3, 3] = 0.01 * index, 0.0, 0.02 * index
        views.append(View(f"frame_{index:04d}", index, lens, pose))
    folder = JobFolder.create(job)
    folder.write_json("request", {"engine_version": "", "method": "classic", "settings": {}})
    folder.write_cameras(Reconstruction(views))
    rows = np.arange(MAP[0], dtype=np.float32)[:, None]
    random = np.random.default_rng(0)
    for index in range(count):
        depth = (3 + np.sin(rows / 40 + index) + random.normal(0, 0.005, MAP)).astype(np.float32)
        depth[random.random(MAP) < holes] = 0
        confidence = random.random(MAP, dtype=np.float32)
        color = random.integers(0, 256, (*MAP, 3), dtype=np.uint8)
        folder.write_view(index, {"depth": depth, "confidence": confidence, "color": color})
    return {"Blender": bpy.app.version_string, "numpy": np.__version__}


def read(job: Path, options: argparse.Namespace) -> tuple[Any, dict[str, float]]:
    """The job's points as arrays, and what that took; Blender is loaded and warm before."""
    import bpy

    from blender_3r.engine.jobfolder import JobFolder
    from blender_3r.scene.cloud import read_cloud

    bpy.data.meshes.new("warm").vertices.add(1000)
    memory = peak_bytes()
    watch = Watch()
    folder = JobFolder.open(job)
    cloud = read_cloud(folder, folder.read_cameras(), options.points)
    return cloud, {"memory_before": memory, **watch.lap("read")}


def import_ours(job: Path, options: argparse.Namespace) -> dict[str, float]:
    """As the extension does: all attributes, display included, in slices."""
    import bpy
    import numpy as np

    from blender_3r.scene.point_nodes import add_point_display
    from blender_3r.scene.points import write_points_in_slices

    cloud, facts = read(job, options)
    watch, slices = Watch(), [time.thread_time()]
    mesh = bpy.data.meshes.new("points")
    item = bpy.data.objects.new("points", mesh)
    for _ in write_points_in_slices(mesh, cloud):
        slices.append(time.thread_time())
    add_point_display(item)
    bpy.context.scene.collection.objects.link(item)
    facts.update(watch.lap("build"))
    arrays = sum(values.nbytes for values in vars(cloud).values() if isinstance(values, np.ndarray))
    facts["memory"] = (peak_bytes() - facts.pop("memory_before")) / arrays
    steps = [after - before for before, after in pairwise(slices)]
    return {**facts, "points": len(mesh.vertices), "bytes": arrays / len(cloud), "slice": max(steps)}


def import_lists(job: Path, options: argparse.Namespace) -> dict[str, float]:
    """As importers usually do: position, colour and confidence as Python lists."""
    import bpy

    cloud, facts = read(job, options)
    watch = Watch()
    mesh = bpy.data.meshes.new("points")
    mesh.from_pydata(cloud.points.tolist(), [], [])
    colors = mesh.attributes.new("Col", "FLOAT_COLOR", "POINT")
    colors.data.foreach_set("color", cloud.colors.reshape(-1).tolist())
    confidence = mesh.attributes.new("confidence", "FLOAT", "POINT")
    confidence.data.foreach_set("value", cloud.confidence.tolist())
    bpy.context.scene.collection.objects.link(bpy.data.objects.new("points", mesh))
    facts.update(watch.lap("build"))
    facts.pop("memory_before")
    return {**facts, "points": len(mesh.vertices)}


class Watch:
    """Wall and CPU seconds since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def lap(self, name: str) -> dict[str, float]:
        return {f"{name}_s": time.perf_counter() - self._wall, f"{name}_cpu_s": time.process_time() - self._cpu}


def peak_bytes() -> int:
    """Most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def report(
    runs: list[dict[str, dict[str, float]]], options: argparse.Namespace, before: str, versions: dict[str, str]
) -> tuple[str, list[Verdict]]:
    """The page's part, and its bars. Medians of the turns; ratios within one turn."""

    def median(way: str, *names: str) -> float:
        return statistics.median(sum(turn[way][name] for name in names) for turn in runs)

    def ratio(*names: str) -> float:
        return statistics.median(
            sum(turn["lists"][name] for name in names) / sum(turn["ours"][name] for name in names) for turn in runs
        )

    seconds, memory = median("ours", "read_s", "build_s"), median("ours", "memory")
    cpu_seconds = median("ours", "read_cpu_s", "build_cpu_s")
    bars = [
        Verdict("job folder to scene, wall s", f"{seconds:.2f}", f"< {SECONDS:g}", seconds < SECONDS),
        Verdict("job folder to scene, CPU s", f"{cpu_seconds:.2f}", f"< {SECONDS:g}", cpu_seconds < SECONDS),
        *(
            Verdict(f"arrays to scene: lists / ours, {name}", f"{times:.1f}", f">= {SPEEDUP:g}", times >= SPEEDUP)
            for name, times in (("wall", ratio("build_s")), ("CPU", ratio("build_cpu_s")))
        ),
        Verdict("peak memory / the arrays", f"{memory:.2f}", f"< {MEMORY:g}", memory < MEMORY),
    ]
    rows = [
        [label, *(f"{median(way, f'{part}_{unit}'):.2f}" for part in ("read", "build") for unit in ("s", "cpu_s"))]
        for label, way in (("ours", "ours"), ("lists", "lists"))
    ]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    count = f"{runs[0]['ours']['points']:,.0f}".replace(",", " ")
    note = (
        f"{count} points with colour and confidence, depth maps of {MAP[1]}x{MAP[0]} with holes, one distorted lens; "
        f"files in the system's cache. Medians of {options.turns} turns, ratios within a turn. *ours* writes "
        f"further attributes and the modifier as well; its arrays hold {runs[0]['ours']['bytes']:.0f} bytes a "
        f"point. From the job folder, lists / ours is {ratio('read_cpu_s', 'build_cpu_s'):.1f} in CPU time. "
        f"The longest of the steps in which ours is "
        f"written took {median('ours', 'slice') * 1000:.0f} ms of the main thread."
    )
    facts = (
        f"- Written by `python -m benchmarks.points`\n- Machine: {before}; {busy()} at the end; niceness {os.nice(0)}\n"
        f"- Versions: {', '.join(f'{name} {version}' for name, version in versions.items())}, commit {commit.strip()}"
    )
    checks = [[bar.what, bar.reached, bar.bar, "pass" if bar.passed else "MISSED"] for bar in bars]
    head = ["seconds", "read: wall", "read: CPU", "arrays to scene: wall", "arrays to scene: CPU"]
    return "\n\n".join(
        ["# Points into a scene", facts, table(["what", "reached", "bar", ""], checks), table(head, rows), note]
    ), bars


if __name__ == "__main__":
    sys.exit(main())

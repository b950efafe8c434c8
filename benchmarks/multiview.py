"""Multi-view method: peak memory of a pass against what the engine says before it.

    .venv/models/bin/python -m benchmarks.multiview [--models vggt pi3 ...]

It has its place in benchmarks/RESULTS.md; a run over some models writes out/benchmarks/RESULTS.md instead. Exit
status: 0 the estimate holds, 1 it does not.

Each pass runs in a process of its own, over networks of the published widths with few layers and weights of 0: what
a pass holds does not grow with the number of layers. The encoder is left out, which takes pictures one by one.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from blender_3r.engine.methods.multiview.estimate import ARCHITECTURES, Room
from blender_3r.engine.methods.multiview.layout import PATCHES

from .measure import machine
from .page import write_part
from .pairwise import FULL_REPORT, WORK, Verdict, page, table

ROOT = Path(__file__).resolve().parents[1]
VIEWS = {"mv_dust3r": 16}  # others:
MANY = 32
SIZE = (112, 112)  # of the pictures
SHALLOW: dict[str, dict[str, Any]] = {
    "vggt": {
        "enc_depth": 1,
        "depth": 4,
        "intermediate_layer_idx": (0, 1, 2, 3),
        "camera_trunk_depth": 1,
        "track": {"corr_levels": 6, "iterations": 1},  # pictures of 112 pixels halve that often
    },
    "pi3": {"enc_depth": 1, "dec_depth": 4, "head_dec_depth": 1},
    "pi3x": {"enc_depth": 1, "dec_depth": 4, "head_dec_depth": 1, "pose_inject_after_block": (1,)},
    "fast3r": {"enc_depth": 1, "dec_depth": 4},
    "mv_dust3r": {"enc_depth": 1, "dec_depth": 2},
}


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.one:
        architecture, views, refine = options.one
        print(json.dumps(measure(architecture, int(views), bool(int(refine)))))
        return 0
    before = machine()
    command = " ".join(["python -m benchmarks.multiview", *(sys.argv[1:] if arguments is None else arguments)])
    rows = []
    for architecture in options.models:
        for refine in (False, True) if architecture == "vggt" else (False,):
            rows.append(in_a_process(architecture, VIEWS.get(architecture, MANY), refine))
    verdicts = [
        Verdict(f"{row['name']}: measured / said", ratio(row), "0.7 to 1", 0.7 <= float(ratio(row)) <= 1)
        for row in rows
    ]
    out = FULL_REPORT if set(options.models) == set(ARCHITECTURES) else WORK / "RESULTS.md"
    text = page(table_of(rows), verdicts, before, command)
    write_part(out, "multiview_memory", text)
    print(f"{text}\n\nWrote {out}")
    return 0 if all(verdict.passed for verdict in verdicts) else 1


def in_a_process(architecture: str, views: int, refine: bool) -> dict[str, Any]:
    """measure() in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.multiview", "--one", architecture, str(views), str(int(refine))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    row = json.loads(done.stdout.splitlines()[-1])
    print(f"{row['name']:16} {views:3} views {row['peak'] / 1e6:7.0f} MB", file=sys.stderr)
    return row


def measure(architecture: str, views: int, refine: bool) -> dict[str, Any]:
    """Bytes that a pass adds to the process at its peak, and what Room says of it."""
    import torch

    from blender_3r.engine.methods.multiview.drivers import make_driver
    from blender_3r.engine.methods.multiview.options import Options
    from blender_3r.engine.models import build, prepare_for_inference

    network = build(architecture, SHALLOW[architecture], "meta").to_empty(device="cpu")
    for tensor in network.parameters():
        tensor.detach().zero_()
    for tensor in network.buffers():  # deviations that are divided by
        tensor.fill_(1)
    network = prepare_for_inference(network)
    driver = make_driver(architecture, network, Options(learned_tracks=refine, quality="draft"))
    given = encoded_views(driver, views, SIZE)
    with torch.no_grad():
        before = resident()
        driver.predict(given, torch.device("cpu"))
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    tokens = (SIZE[0] // PATCHES[architecture]) * (SIZE[1] // PATCHES[architecture])
    room = Room(architecture, tokens, None, refine=refine)
    name = f"{architecture}, refine" if refine else architecture
    return {"name": name, "views": views, "tokens": tokens, "peak": peak, "estimate": room.needed(views)}


def encoded_views(driver: Any, count: int, size: tuple[int, int]) -> list[Any]:
    """Views of noise, each picture through the encoder."""
    import torch

    from blender_3r.engine.methods.multiview.drivers import View
    from blender_3r.engine.methods.multiview.pictures import UnitPicture

    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        image = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
        picture = UnitPicture(size, image, size, (0, 0))
        with torch.no_grad():
            tokens = driver.encode(torch.from_numpy(picture.tensor)[None])
        found.append(View(number, picture, tokens))
    return found


def resident() -> int:
    """Bytes of this process in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def ratio(row: dict[str, Any]) -> str:
    """Measured over said."""
    return f"{row['peak'] / row['estimate']:.2f}"


def table_of(rows: list[dict[str, Any]]) -> str:
    """The part's title, table and notes."""
    lines = [
        [row["name"], str(row["views"]), f"{row['peak'] / 1e6:.0f}", f"{row['estimate'] / 1e6:.0f}", ratio(row)]
        for row in rows
    ]
    head = ["network", "views", "MB measured", "MB said before", "measured / said"]
    note = (
        f"Pictures of {SIZE[1]}x{SIZE[0]}. Published widths, few layers, weights of 0, float32 on the CPU, without the "
        "weights and without the encoder."
    )
    return "\n\n".join(["# Multi-view method: peak memory of a pass", table(head, lines), note])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.multiview", description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(ARCHITECTURES), choices=ARCHITECTURES)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)  # architecture, views, refine: in a child process
    return parser


if __name__ == "__main__":
    sys.exit(main())

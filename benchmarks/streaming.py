"""The streaming method: memory over the length of a shot; speed and memory of all networks that read sequences.

    .venv/models/bin/python -m benchmarks.streaming [--parts memory speed] [--models M ...] [--frames N]
                                                    [--device D] [--precision P]

Each part has its place in benchmarks/RESULTS.md; a run over some models writes out/benchmarks/RESULTS.md instead, a run
on a graphics card has a part of its own. Exit status: 0 all bars reached, 1 not all.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from .measure import machine, run_measured
from .page import write_part
from .pairwise import FULL_REPORT, LIMIT_S, ROOT, WORK, Verdict, page, table

STREAMING = ("cut3r", "point3r", "spann3r", "wint3r")
AT_ONCE = ("vggt", "pi3", "pi3x", "fast3r", "mv_dust3r")
SHORT, LONG = 50, 400  # frames
MARGIN = 1.1  # of the memory, beside what the model itself keeps
FRAMES = 2  # timed at full size
MB = 2**20


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    command = " ".join(["python -m benchmarks.streaming", *(sys.argv[1:] if arguments is None else arguments)])
    passed = True
    for part in options.parts:
        before = machine()
        text, verdicts, is_full = {"memory": memory, "speed": speed}[part](options)
        out = FULL_REPORT if is_full else WORK / "RESULTS.md"
        on_card = "" if part == "memory" or options.device == "cpu" else f"_{options.device.split(':')[0]}"
        write_part(out, f"streaming_{part}{on_card}", page(text, verdicts, before, command))
        passed = passed and all(verdict.passed for verdict in verdicts)
        print(f"{text}\n\nWrote {out}", flush=True)
    return 0 if passed else 1


def memory(options: argparse.Namespace) -> tuple[str, list[Verdict], bool]:
    """Peak memory of the whole engine on a short and on a long shot, tiny networks."""
    folder = WORK / "streaming"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "records").mkdir(parents=True)
    _make_inputs(folder)
    models = [model for model in options.models or STREAMING if model in STREAMING]
    rows, verdicts = [], []
    for model in models:
        facts = [_child("shot", model, str(count), str(folder)) for count in (SHORT, LONG)]
        peaks, states = ([fact[name] for fact in facts] for name in ("process_mb", "state_bytes"))
        grown, state = peaks[1] - peaks[0], (states[1] - states[0]) / MB
        rows.append([model, *(f"{value:.1f}" for value in (*peaks, grown, state)), f"{peaks[1] / peaks[0]:.3f}"])
        ratio = peaks[1] / (peaks[0] + state)
        what = f"{model}: peak of {LONG} / ({SHORT} frames + state)"
        verdicts.append(Verdict(what, f"{ratio:.3f}", f"<= {MARGIN}", ratio <= MARGIN))
    head = ["model", f"MB, {SHORT} frames", f"MB, {LONG} frames", "MB more", "of these state", f"{LONG} / {SHORT}"]
    note = (
        f"Peak memory of the process (weights, PyTorch, frames, results) for the demo shot of {SHORT} and of {LONG} "
        "frames, tiny networks with random weights, pictures of 64 pixels. State: what the model itself keeps between "
        "frames, more after the long shot than after the short one."
    )
    return (
        "\n\n".join(["# Streaming method: memory over the length", table(head, rows), note]),
        verdicts,
        len(models) == 4,
    )


def speed(options: argparse.Namespace) -> tuple[str, list[Verdict], bool]:
    """Frames per second and peak memory at full size, one process a network."""
    models = options.models or [*STREAMING, *AT_ONCE]
    rows = []
    for model in models:
        more = ("--device", options.device, "--precision", options.precision)
        facts = _child("full", model, str(options.frames), *more)
        speeds = (f"{facts['frames_a_second']:.3f}", f"{facts['cpu_s']:.1f}")
        numbers = (*speeds, f"{facts['weights_mb']:.0f}", f"{facts['peak_mb']:.0f}")
        way = "stream" if model in STREAMING else f"{facts['frames']} at once"
        rows.append([model, way, facts["size"], *numbers])
        print(" ".join(rows[-1]), file=sys.stderr, flush=True)
    head = ["network", "way", "pictures", "frames a second", "CPU s a frame", "MB of weights", "peak MB"]
    note = (
        f"Published sizes, random weights, {options.precision}, on {options.device}. Encoder, decoder and heads, "
        "cameras where the method takes them from points; without reading and writing files. Streams: the first frames "
        "(of WinT3R the first window) are not timed. On a busy machine only the CPU seconds say something."
    )
    title = f"# Networks that read sequences: frames a second and memory on {options.device}"
    return "\n\n".join([title, table(head, rows), note]), [], len(models) == len(STREAMING) + len(AT_ONCE)


def _make_inputs(folder: Any) -> None:
    """Shots and tiny networks."""
    code = (
        "import sys; from pathlib import Path\n"
        "from benchmarks.streaming_network import write_shot\n"
        "from tests.models.support.tiny_streaming import write_records\n"
        "folder = Path(sys.argv[1]); write_records(folder / 'records')\n"
        "[write_shot(folder / f'shot_{count}.mp4', int(count)) for count in sys.argv[2:]]"
    )
    subprocess.run([sys.executable, "-c", code, str(folder), str(SHORT), str(LONG)], cwd=ROOT, check=True)


def _child(way: str, model: str, *more: str) -> dict[str, Any]:
    """Facts of one child process. Raises SystemExit with its last words when it fails."""
    command = [sys.executable, "-m", "benchmarks.streaming_network", way, model, *more]
    run = run_measured(command, WORK / "streaming_runs" / f"{way}_{model}", LIMIT_S, ROOT)
    if run.status:
        sys.exit(f"{' '.join(command)}: {run.ending}\n{run.stderr[-2000:]}")
    return {**json.loads(run.stdout.strip().splitlines()[-1]), "process_mb": run.peak_mb}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming", description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=("memory", "speed"), default=["memory", "speed"])
    parser.add_argument("--models", nargs="+", choices=(*STREAMING, *AT_ONCE), help="default: all")
    parser.add_argument("--frames", type=int, default=FRAMES, help="timed at full size, or seen at once")
    parser.add_argument("--device", default="cpu", help="for the part speed")
    parser.add_argument("--precision", default="float32", help="for the part speed")
    return parser


if __name__ == "__main__":
    sys.exit(main())

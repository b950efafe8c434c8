"""The pairwise method: network time against running pairs one by one, alignment against the published one, memory.

    .venv/models/bin/python -m benchmarks.pairwise [--parts network memory alignment truth agreement gpu] [--model M]
        [--turns N] [--device D] [--steps N] [--scale S] [--noises NAME ...] [--scenes NAME ...] [--jobs N]

Each part has its place in benchmarks/RESULTS.md; a run of less than a part's full problem writes
out/benchmarks/RESULTS.md instead. Exit status: 0 all bars reached, 1 not all.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from .measure import Run, busy, machine, run_measured
from .page import write_part

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "out" / "benchmarks"
FULL_REPORT = ROOT / "benchmarks" / "RESULTS.md"
PARTS = ("network", "memory", "alignment", "truth", "agreement")
KEPT = WORK / "pairwise" / "published"  # results of the published aligner in parts that measure no time
NETWORK_SPEEDUP = 2.2
LIMIT_S = 3600.0


@dataclass(frozen=True)
class Verdict:
    """A figure, what it has to be, and whether it is."""

    what: str
    reached: str
    bar: str
    passed: bool


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    passed = True
    command = " ".join(["python -m benchmarks.pairwise", *(sys.argv[1:] if arguments is None else arguments)])
    full = {"alignment": (options.steps, options.scale) == (300, 1.0), "agreement": not options.scenes}
    for part in options.parts:
        before = machine()
        parts = (network, memory, alignment, truth, agreement, gpu)
        found = {function.__name__: function for function in parts}[part](options)
        out = FULL_REPORT if full.get(part, True) else WORK / "RESULTS.md"
        for text, verdicts in found if isinstance(found, Iterator) else [found]:
            write_part(out, f"pairwise_{part}", page(text, verdicts, before, command))
        passed = passed and all(verdict.passed for verdict in verdicts)
        print(f"{text}\n\nWrote {out}", flush=True)
    return 0 if passed else 1


def page(text: str, verdicts: list[Verdict], before: str, command: str) -> str:
    """One part of the results page: its title, how it was made, its bars, its tables."""
    title, _, body = text.partition("\n\n")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "numpy"))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    rows = [[bar.what, bar.reached, bar.bar, "pass" if bar.passed else "MISSED"] for bar in verdicts]
    facts = (
        f"- Written by `{command}`\n- Machine: {before}; {busy()} at the end\n"
        f"- Versions: {versions}, commit {commit.strip()}"
    )
    parts = [title, facts, table(["what", "reached", "bar", ""], rows) if rows else "", body]
    return "\n\n".join(part for part in parts if part)


def network(options: argparse.Namespace) -> tuple[str, list[Verdict]]:
    """Eight images, all ordered pairs, ours and the usual way in turns."""
    facts = _network("both", options, "--turns", str(options.turns))
    pairs, turns = facts["pairs"], options.turns
    rows, total = [], {}
    for unit in ("s", "cpu_s"):
        decode = facts[f"first_{unit}"] + (pairs - 1) * facts[f"ours_pairs_{unit}"] / turns
        ours = facts[f"encode_{unit}"] + decode
        usual = pairs * facts[f"usual_pairs_{unit}"] / turns
        total[unit] = usual / ours
        cells = (facts[f"encode_{unit}"], decode, ours, usual)
        rows.append(["wall" if unit == "s" else "CPU", *(f"{cell:.0f}" for cell in cells), f"{usual / ours:.2f}"])
    encoded = facts["images_encoded"] - 2 * (turns + 1)
    title = f"# Pairwise method: time of the network ({options.model}, 8 images of 512x384, complete graph)"
    head = ["seconds", "ours: encoding", "ours: pairs", "ours: all", "usual: all", "usual / ours"]
    note = (
        f"{pairs} ordered pairs; full size, random weights: times are real, predictions mean nothing. *usual*: pair by "
        "pair, both images encoded each time, attention as an explicit softmax. *ours*: the engine's own runner. "
        f"All {encoded} images were encoded; then the two ways took turns, {turns} pairs each, and their means stand "
        "for all pairs, which are the same work."
    )
    bars = [
        Verdict(f"network: usual / ours, {unit}", f"{ratio:.2f}", f">= {NETWORK_SPEEDUP}", ratio >= NETWORK_SPEEDUP)
        for unit, ratio in (("wall time", total["s"]), ("CPU time", total["cpu_s"]))
    ]
    bars.append(Verdict("images encoded by ours", str(encoded), "8", encoded == 8))
    return "\n\n".join([title, table(head, rows), note]), bars


def memory(options: argparse.Namespace) -> tuple[str, list[Verdict]]:
    """Peak memory over numbers of images and of pairs; small pictures, since only growth is asked for."""
    rows, peaks = [], []
    for images, pairs in ((6, 18), (12, 36), (24, 72), (12, 108)):
        facts = _network("ours", options, "--images", str(images), "--size", "224x224", "--pairs", str(pairs))
        peaks.append(facts["peak_mb"])
        rows.append([str(images), str(facts["pairs"]), f"{facts['weights_mb']:.0f}", f"{facts['peak_mb']:.0f}"])
    six, twelve, many_images, many_pairs = peaks
    note = (
        f"From 6 to 12 images {twelve - six:.0f} MB more, from 12 to 24 {many_images - twelve:.0f} MB: what is kept of "
        f"each image. Three times the pairs of 12 images: {many_pairs - twelve:.0f} MB more. Pairs are handed on as "
        "they are decoded and dropped here; what an alignment keeps of them comes on top."
    )
    ratio = many_pairs / twelve
    bar = Verdict("12 images: peak memory with 108 pairs / 36 pairs", f"{ratio:.3f}", "< 1.05", ratio < 1.05)
    head = ["images of 224x224", "pairs", "MB before", "peak MB"]
    return "\n\n".join(["# Pairwise method: peak memory", table(head, rows), note]), [bar]


def alignment(options: argparse.Namespace) -> tuple[str, list[Verdict]]:
    """The default alignment (and the minimum of the loss) against the published one, on every kind of noise."""
    from . import pairwise_alignment as bench

    texts, verdicts = [], []
    for noise in options.noises:
        rows = bench.rows(options.steps, options.scale, noise=noise)
        texts.append(f"Noise: {noise}\n\n{bench.table(rows)}")
        row = rows[1]
        turn, shift, _ = row.other
        verdicts += [
            Verdict(f"alignment ({noise}): times as fast", f"{row.speedup:.1f}", ">= 5", row.speedup >= 5),
            Verdict(f"alignment ({noise}): loss, excess %", f"{row.excess_pct:+.3f}", "<= 1", row.excess_pct <= 1),
            Verdict(f"alignment ({noise}): rotation deg", f"{turn:.3f}", "<= 0.1", turn <= 0.1),
            Verdict(f"alignment ({noise}): place, % of path", f"{shift:.3f}", "<= 0.2", shift <= 0.2),
        ]
    title = f"# Pairwise method: alignment (8 views, 56 pairs of 512x384, published aligner with {options.steps} steps)"
    return "\n\n".join([title, *texts]), verdicts


def truth(options: argparse.Namespace) -> tuple[str, list[Verdict]]:
    """How far cameras are off the truth, by size of the images, over scenes of three seeds."""
    from . import pairwise_agreement as bench

    rows, verdicts = [], []
    tasks = [(size, seed, KEPT) for size in reversed(bench.TRUTH_SIZES) for seed in bench.TRUTH_SEEDS]
    errors = dict(zip([task[:2] for task in tasks], _each(bench.truth_errors, tasks, options.jobs)))
    for size in bench.TRUTH_SIZES:
        name = f"{size[1]}x{size[0]}"
        found = [errors[size, seed] for seed in bench.TRUTH_SEEDS]
        worst = {key: tuple(max(one[key][k] for one in found) for k in (0, 1)) for key in found[0]}
        cells = [f"{worst[key][k]:.2f}" if key in worst else "" for key, _ in bench.ALGORITHMS for k in (0, 1)]
        rows.append([name, *cells])
        if size[0] * size[1] >= bench.HELD_PIXELS:
            off, degrees = worst["default"]
            for what, value, most in (("% of path", off, bench.MOST_OFF_PCT), ("degrees", degrees, bench.MOST_OFF_DEG)):
                verdicts.append(Verdict(f"default, {name}: {what}", f"{value:.2f}", f"<= {most}", value <= most))
    head = ["images"] + [f"{key}: {unit}" for key, _ in bench.ALGORITHMS for unit in ("% of path", "deg")]
    note = (
        "Of the farthest of 8 views, the worst of three scenes, after the best similarity. The scenes are shallow "
        "reliefs (a quarter of a unit up and down at a distance of 4), seen with 2 % noise of every coordinate. With "
        "few pixels the noise itself is what is missing. The published aligner (run on the smaller images only) ends "
        "its 300 steps before the minimum whatever the size."
    )
    return "\n\n".join(["# Pairwise method: cameras against the truth", table(head, rows), note]), verdicts


def agreement(options: argparse.Namespace) -> Iterator[tuple[str, list[Verdict]]]:
    """Where the default alignment ends on many scenes, beside the others; the page anew with every case."""
    from . import pairwise_agreement as bench
    from .pairwise_scenes import cases
    from .scenes import NoData, data_folder

    try:
        shots = data_folder()
    except NoData as error:
        print(error, file=sys.stderr)
        shots = None
    asked = [k for k, case in enumerate(cases(shots)) if not options.scenes or case.scene in options.scenes]
    if not asked:
        sys.exit(f"No scene of these names: {', '.join(options.scenes)}")
    rows: list[bench.Row] = []
    for row in _each(bench.measure, [(number, shots, KEPT) for number in asked], options.jobs):
        rows.append(row)
        (same, good), (held, bad), _ = bench.summary(rows)
        stays, goes_on = (
            "published holds: cases where the default is there",
            "it does not: cases where the default does",
        )
        verdicts = [
            Verdict(stays, str(same), str(good), same == good),
            Verdict(goes_on, str(held), str(bad), held == bad),
        ]
        parts = [
            "# Pairwise method: the default alignment on many scenes",
            table(list(bench.HEAD), [row.cells() for row in rows]),
            bench.note(rows, len(asked), with_shots=shots is not None),
        ]
        yield "\n\n".join(parts), verdicts


def gpu(options: argparse.Namespace) -> tuple[str, list[Verdict]]:
    """bfloat16 against float32, and pairs per second, on options.device."""
    differences = _network("bf16", options, "--images", "2", "--device", options.device)
    rows = [[name, f"{value:.2e}"] for name, value in differences.items() if name != "cpu_s"]
    speeds = []
    for precision in ("float32", "bfloat16"):
        facts = _network("ours", options, "--device", options.device, "--precision", precision)
        pairs = facts["pairs"] / facts["decode_s"]
        speeds.append([precision, f"{pairs:.2f}", f"{facts['encode_s']:.2f}", f"{facts['peak_mb']:.0f}"])
    parts = [
        f"# Pairwise method: bfloat16 against float32 on {options.device}",
        table(["output", "relative difference"], rows),
        table(["precision", "pairs a second", "encoding 8 images s", "peak MB"], speeds),
    ]
    return "\n\n".join(parts), []


def _each(function: Callable[..., Any], tasks: list[tuple[Any, ...]], jobs: int) -> Iterator[Any]:
    """Results of function over tasks, in their order; printed as they come. jobs: how many processes."""
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        for task, result in zip(tasks, pool.map(function, *zip(*tasks))):
            print(*task[:-1], result, flush=True)
            yield result


def _network(way: str, options: argparse.Namespace, *more: str) -> dict[str, Any]:
    """Facts of one child process. Raises SystemExit with its last words when it fails."""
    command = [sys.executable, "-m", "benchmarks.pairwise_network", way, "--model", options.model, *more]
    run: Run = run_measured(command, WORK / "pairwise" / way, LIMIT_S, ROOT)
    if run.status:
        sys.exit(f"{' '.join(command)}: {run.ending}\n{run.stderr[-2000:]}")
    return {**json.loads(run.stdout.strip().splitlines()[-1]), "cpu_s": run.cpu_s}


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pairwise", description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=(*PARTS, "gpu"), default=list(PARTS))
    parser.add_argument("--model", choices=("dust3r", "mast3r"), default="dust3r", help="which network is timed")
    parser.add_argument("--turns", type=int, default=12, help="pairs timed of each way (default: 12)")
    parser.add_argument("--device", default="cuda", help="for the part gpu")
    parser.add_argument("--steps", type=int, default=300, help="of the published aligner")
    parser.add_argument("--scale", type=float, default=1.0, help="of the images' sides in the part alignment")
    parser.add_argument("--scenes", nargs="+", default=[], help="of the part agreement; all by default")
    parser.add_argument("--jobs", type=int, default=1, help="processes of the parts truth and agreement")
    parser.add_argument("--noises", nargs="+", default=["white"], help="kinds of noise in the part alignment")
    return parser


if __name__ == "__main__":
    sys.exit(main())

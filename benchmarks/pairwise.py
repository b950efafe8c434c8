"""The pairwise method: network time against running pairs one by one, alignment against the published one, memory.

    .venv/models/bin/python -m benchmarks.pairwise [--parts network memory alignment gpu] [--model M] [--pairs N]
                                                   [--device D] [--steps N] [--scale S]

Rewrites its part of benchmarks/RESULTS.md; a run of only some parts, or of less than the full problem, writes
out/benchmarks/RESULTS.md instead. Exit status: 0 all bars reached, 1 not all.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .measure import Run, busy, machine, run_measured
from .page import write_part

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "out" / "benchmarks"
FULL_REPORT = ROOT / "benchmarks" / "RESULTS.md"
PARTS = ("network", "memory", "alignment")
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
    verdicts: list[Verdict] = []
    texts: list[str] = []
    full = set(PARTS) <= set(options.parts) and options.pairs is None and (options.steps, options.scale) == (300, 1.0)
    out = FULL_REPORT if full else WORK / "RESULTS.md"
    before = machine()
    for part in options.parts:
        text, found = {"network": network, "memory": memory, "alignment": alignment, "gpu": gpu}[part](options)
        texts.append(text)
        verdicts += found
        print(text, flush=True)
        write_part(out, "pairwise", page(texts, verdicts, before, sys.argv[1:] if arguments is None else arguments))
    print(f"Wrote {out}")
    return 0 if all(verdict.passed for verdict in verdicts) else 1


def page(texts: list[str], verdicts: list[Verdict], before: str, arguments: Sequence[str]) -> str:
    """The part of the results page."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "numpy", "scipy"))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    rows = [
        [verdict.what, verdict.reached, verdict.bar, "pass" if verdict.passed else "MISSED"] for verdict in verdicts
    ]
    command = " ".join(["python -m benchmarks.pairwise", *arguments])
    return "\n\n".join(
        [
            "# Results of the pairwise method",
            f"Written by `{command}`. Networks have their full size and random weights: times and memory are real, "
            "what they predict is not.",
            f"- Machine: {before}\n- Versions: {versions}, commit {commit.strip()}\n- At the end: {busy()}",
            table(["what", "reached", "bar", ""], rows),
            *texts,
        ]
    )


def network(options: argparse.Namespace) -> tuple[str, list[Verdict]]:
    """Eight images, all ordered pairs, ours and the usual way."""
    pairs = [] if options.pairs is None else ["--pairs", str(options.pairs)]
    found = {way: _network(way, options, *pairs) for way in ("ours", "usual")}
    rows = []
    for way, facts in found.items():
        total = facts["encode_s"] + facts["decode_s"]
        rows.append(
            [
                way,
                f"{facts['encode_s']:.1f}",
                f"{facts['decode_s']:.1f}",
                f"{total:.1f}",
                f"{facts['cpu_s']:.0f}",
                f"{facts['images_encoded']}",
                f"{facts['peak_mb']:.0f}",
            ]
        )
    seconds = {way: facts["encode_s"] + facts["decode_s"] for way, facts in found.items()}
    ratio = seconds["usual"] / seconds["ours"]
    title = f"## Network time: {options.model}, 8 images of 512x384, {found['ours']['pairs']} ordered pairs"
    head = ["way", "encoding s", "decoding and heads s", "total s", "CPU s", "images encoded", "peak MB"]
    note = (
        "*usual*: pair by pair, both images encoded each time, attention as an explicit softmax. *ours*: the engine's "
        f"own runner. **{ratio:.2f} times as fast.** Peak memory holds the weights."
    )
    verdicts = [
        Verdict("network: usual / ours", f"{ratio:.2f}", f">= {NETWORK_SPEEDUP}", ratio >= NETWORK_SPEEDUP),
        Verdict("images encoded", str(found["ours"]["images_encoded"]), "8", found["ours"]["images_encoded"] == 8),
    ]
    return "\n\n".join([title, table(head, rows), note]), verdicts


def memory(options: argparse.Namespace) -> tuple[str, list[Verdict]]:
    """Peak memory over numbers of images and of pairs; small pictures, since only growth is asked for."""
    rows, peaks = [], {}
    for images, graph, pairs in ((6, "ring", 12), (12, "ring", 12), (24, "ring", 12), (12, "complete", 36)):
        facts = _network(
            "ours", options, "--images", str(images), "--size", "224x224", "--graph", graph, "--pairs", str(pairs)
        )
        peaks[images, facts["pairs"]] = facts["peak_mb"]
        rows.append([str(images), str(facts["pairs"]), f"{facts['weights_mb']:.0f}", f"{facts['peak_mb']:.0f}"])
    few, many = peaks[12, 12], peaks[12, 36]
    first, second = peaks[12, 12] - peaks[6, 12], peaks[24, 12] - peaks[12, 12]
    note = (
        f"Twice and four times the images take {first:.0f} and {second:.0f} MB more; three times the pairs "
        f"{many - few:.0f} MB more. Pairs are handed on as they are decoded and dropped here; what an alignment keeps "
        "of them comes on top."
    )
    passed = many - few < 0.05 * few
    bar = Verdict("memory: 36 pairs / 12 pairs of 12 images", f"{many / few:.3f}", "< 1.05", passed)
    head = ["images of 224x224", "pairs", "MB before", "peak MB"]
    return "\n\n".join(["## Peak memory", table(head, rows), note]), [bar]


def alignment(options: argparse.Namespace) -> tuple[str, list[Verdict]]:
    """The default alignment against the published one, on every kind of noise asked for."""
    from . import pairwise_alignment as bench

    texts, verdicts = [], []
    for noise in options.noises:
        rows = bench.rows(options.steps, options.scale, noise=noise)
        texts.append(f"### Noise: {noise}\n\n{bench.table(rows)}")
        row = rows[-1]
        turn, shift, _ = row.other
        verdicts += [
            Verdict(f"alignment ({noise}): times as fast", f"{row.speedup:.1f}", ">= 5", row.speedup >= 5),
            Verdict(f"alignment ({noise}): loss, excess %", f"{row.excess_pct:+.3f}", "<= 1", row.excess_pct <= 1),
            Verdict(f"alignment ({noise}): rotation deg", f"{turn:.3f}", "<= 0.1", turn <= 0.1),
            Verdict(f"alignment ({noise}): place, % of path", f"{shift:.3f}", "<= 0.2", shift <= 0.2),
        ]
    title = f"## Alignment: 8 views, 56 ordered pairs of 512x384, published aligner with {options.steps} steps"
    return "\n\n".join([title, *texts]), verdicts


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
        f"## {options.device}: bfloat16 against float32",
        table(["output", "relative difference"], rows),
        table(["precision", "pairs a second", "encoding 8 images s", "peak MB"], speeds),
    ]
    return "\n\n".join(parts), []


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
    parser.add_argument("--pairs", type=int, help="time only the first so many pairs")
    parser.add_argument("--device", default="cuda", help="for the part gpu")
    parser.add_argument("--steps", type=int, default=300, help="of the published aligner")
    parser.add_argument("--scale", type=float, default=1.0, help="of the images' sides in the part alignment")
    parser.add_argument("--noises", nargs="+", default=["white", "smooth"], help="kinds of noise in the part alignment")
    return parser


if __name__ == "__main__":
    sys.exit(main())

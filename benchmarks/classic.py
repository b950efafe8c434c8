"""The classic method on all scenes, beside other programs on the same machine; see README.md.

    python -m benchmarks.classic [--scenes SCENE ...] [--methods METHOD ...] [--repeat N] [--no-dense]

Writes benchmarks/RESULTS.md; a run of only some scenes or methods writes out/benchmarks/RESULTS.md instead.
Exit status: 0 all bars reached; 1 not all; 2 the scenes are missing or the command is wrong.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .measure import busy, machine
from .page import write_part
from .report import all_reached, write_report
from .runs import BLENDER_PYTHON, ROOT, Row, Runner
from .scenes import BLENDER, CASES, METHODS, OURS, Case, NoData, data_folder

WORK = ROOT / "out" / "benchmarks"
FULL_REPORT = ROOT / "benchmarks" / "RESULTS.md"
PACKAGES = ("pycolmap", "opencv-python-headless", "numpy")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    cases = [
        case for case in CASES if case.scene in options.scenes and not (case.table == "dense" and options.no_dense)
    ]
    try:
        data = data_folder()
        missing = sorted({case.scene for case in cases if not (data / case.scene / "reference.json").is_file()})
        if missing:
            raise NoData(f"These scenes are not in the data folder: {', '.join(missing)}.")
    except NoData as error:
        print(error, file=sys.stderr)
        return 2
    rows = plan(cases, options.methods)
    full = len(cases) == len(CASES) and set(options.methods) == set(METHODS)
    out = options.out or (FULL_REPORT if full else WORK / "RESULTS.md")
    facts = {
        "command": " ".join(["python -m benchmarks.classic", *(sys.argv[1:] if arguments is None else arguments)]),
        "machine": machine(),
        "versions": versions(),
        "repeat": options.repeat,
        "finished": "not finished",
    }
    runner = Runner(data, options.work, options.limit)
    runner.warm_up()
    for case in cases:
        run_case(runner, [row for row in rows if row.case is case], options.repeat)
        facts["finished"] = "finished" if case is cases[-1] else f"not finished, the last case is {case.id}"
        done = [row for row in rows if row.walls or row.note]
        page = write_report(done, {**facts, "finished": f"{facts['finished']}, {busy()} at the end"})
        write_part(out, "classic", page)
    print(f"Wrote {out}")
    return 0 if all_reached(rows) else 1


def _on_terminate(*_: object) -> None:
    """Ended from outside, end what is running too: it is in a process group of its own."""
    sys.exit(128 + signal.SIGTERM)


def plan(cases: Sequence[Case], methods: Sequence[str]) -> list[Row]:
    """One row for each case and each method that takes part in it, ours first."""
    return [Row(case, method) for case in cases for method in (OURS, *case.others) if method in methods]


def run_case(runner: Runner, rows: Sequence[Row], repeat: int) -> None:
    """Run the rows of one case in turn, so that a machine that gets busy slows all of them; Blender's only once."""
    for turn in range(repeat if rows and rows[0].case.timed else 1):
        for row in rows:
            if turn and row.method == BLENDER:
                continue
            try:
                runner.run(row)
            except (OSError, RuntimeError, ValueError, KeyError) as error:  # a broken result marks its row only
                row.note = f"not scored ({type(error).__name__}: {error})"
            failed = [bar.value for bar, _, holds in row.verdicts() if not holds] if row.method == OURS else []
            seconds = f"{row.walls[-1]:7.1f} s" if row.walls else "      -  "
            print(f"{row.case.id:34} {row.method:9} {seconds}  {'FAILED: ' + ', '.join(failed) if failed else ''}")
            sys.stdout.flush()


def versions() -> str:
    """Versions of what took part, and the commit of this repository."""
    found = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    found.insert(0, f"Python {sys.version.split()[0]}")
    blender = [
        path.name.split("-")[1] for path in BLENDER_PYTHON.parents[1].glob("lib/python*/site-packages/bpy-*-info")
    ]
    found += [f"Blender {name.removesuffix('.dist')}" for name in blender]
    commit = _git("rev-parse", "--short", "HEAD")
    if commit:
        changed = " with changes" if _git("status", "--porcelain", "--untracked-files=no") else ""
        found.append(f"commit {commit}{changed}")
    return ", ".join(found)


def _git(*arguments: str) -> str:
    """What git answers; empty where the sources are no repository."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def _parser() -> argparse.ArgumentParser:
    scenes = list(dict.fromkeys(case.scene for case in CASES))
    parser = argparse.ArgumentParser(prog="python -m benchmarks.classic", description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", nargs="+", choices=scenes, default=scenes, metavar="SCENE", help=", ".join(scenes))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, metavar="METHOD", help=str(METHODS))
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="runs of the timed cases (default: 1)")
    parser.add_argument("--no-dense", action="store_true", help="leave the cases of dense depth out")
    parser.add_argument("--limit", type=float, default=900, metavar="S", help="seconds for each run (default: 900)")
    parser.add_argument(
        "--work", type=Path, default=WORK, help="where jobs and logs are kept (default: out/benchmarks)"
    )
    parser.add_argument("--out", type=Path, help="where the page is written")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _on_terminate)
    sys.exit(main())

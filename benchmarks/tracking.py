"""Camera tracking with nothing given, beside Blender's tracker and pycolmap's default; and its time over the length.

    python -m benchmarks.tracking [--scenes CASE ...] [--long FOLDER]

Writes its parts of benchmarks/RESULTS.md (a run of some cases only: out/benchmarks/RESULTS.md). FOLDER holds the shot
that long_shot.py renders, for the time over the length; `--scenes` without a case leaves the other part as it is.
Exit status: 0 all bars reached; 1 not all; 2 the scenes are missing or the command is wrong.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from .classic import FULL_REPORT, WORK, run_case, versions
from .measure import busy, machine
from .page import write_part
from .report import all_reached, write_report
from .runs import Row, Runner
from .scenes import (
    ALL_SOLVED,
    BLENDER,
    KLT_GLOB,
    METHODS,
    OURS,
    SEQUENCE,
    SIFT_INC,
    Bar,
    Case,
    NoData,
    at_most,
    data_folder,
)

ALL = (SIFT_INC, KLT_GLOB, BLENDER)
LENGTHS = (60, 120, 240)
FIXED = {"ate_pct": 0.02, "focal_err_pct": 0.3, "k1_err": 0.002}
GIVEN = {"ate_pct": 0.024, "focal_err_pct": 0.36, "k1_err": 0.0024}  # 1.2 times those
ZOOM = {"ate_pct": 0.15, "focal_err_pct": 0.6, "focal_jitter_pct": 0.02, "slide_px": 0.13}
SHARED = Bar("lens", "shared")

CASES = (
    Case(
        "syn_walk",
        "syn_walk",
        "tracking",
        ALL,
        bars=(ALL_SOLVED, *at_most(**FIXED, slide_px=0.08, wall_s=25.0), SHARED),
    ),
    Case("syn_moving", "syn_moving", "tracking", ALL, bars=(ALL_SOLVED, *at_most(**FIXED, slide_px=0.12), SHARED)),
    Case("syn_zoom", "syn_zoom", "tracking", ALL, bars=(ALL_SOLVED, *at_most(**ZOOM), Bar("lens", "zoom"))),
    Case("lady_running", "lady_running", "tracking", ALL, bars=(ALL_SOLVED, *at_most(reproj_error_px=0.9))),
    Case(
        "kitti07_drive, focal given",
        "kitti07_drive",
        "tracking",
        (SIFT_INC, KLT_GLOB),
        known="focal",
        options=SEQUENCE,
        bars=(ALL_SOLVED, *at_most(ate_pct=1.3)),
    ),
    Case(
        "pano_rotation",
        "pano_rotation",
        "tripod",
        (SIFT_INC, KLT_GLOB),
        bars=(Bar("motion", "tripod"), *at_most(rpe_rot_deg=0.03, focal_err_pct=2.0, points=0)),
    ),
    Case(
        "syn_walk, from given cameras",
        "syn_walk",
        "tracking",
        known="disturbed",
        bars=(ALL_SOLVED, *at_most(**GIVEN, slide_px=0.096), SHARED),
    ),
    Case(
        "syn_moving, from given cameras",
        "syn_moving",
        "tracking",
        known="disturbed",
        bars=(ALL_SOLVED, *at_most(**GIVEN, slide_px=0.144), SHARED),
    ),
    Case("fountain_p11", "fountain_p11", "photos", (SIFT_INC,), bars=(ALL_SOLVED, *at_most(ate_pct=0.03))),
)

PREAMBLE = """\
# {title}

Written by `{command}`; what the methods and columns mean: [README.md](README.md).

- Machine: {machine}
- Versions: {versions}
- Runs: {repeat}; {finished}

**{reached} of {total} bars reached.**
"""


def length_cases() -> tuple[Case, ...]:
    """The long shot's first frames; Blender's tracker and the whole of pycolmap only on the shortest."""
    return tuple(
        Case(
            f"long shot, {count} frames",
            f"long_{count:03d}",
            "length",
            (SIFT_INC, KLT_GLOB, BLENDER) if count == LENGTHS[0] else (KLT_GLOB,),
            options=SEQUENCE,
            bars=(ALL_SOLVED,),
        )
        for count in LENGTHS
    )


def cut_long_shot(folder: Path, data: Path, out: Path) -> None:
    """A data folder at out whose scenes are the first frames of the shot in folder. Raises NoData."""
    pictures = sorted((folder / "frames").glob("*.png"))
    if len(pictures) < max(LENGTHS) or not (folder / "reference.json").is_file():
        raise NoData(f"There is no shot of {max(LENGTHS)} frames in {folder}; long_shot.py renders one.")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    shutil.copy(data / "eval_poses.py", out)
    truth = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
    for count in LENGTHS:
        scene = out / f"long_{count:03d}"
        (scene / "images").mkdir(parents=True)
        for picture in pictures[:count]:
            (scene / "images" / picture.name).symlink_to(picture.absolute())
        reference = {**truth, "images": truth["images"][:count]}
        (scene / "reference.json").write_text(json.dumps(reference), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    chosen = [case for case in CASES if case.id in options.scenes]
    lengths = length_cases() if options.long else ()
    try:
        data = data_folder()
        if options.long:
            cut_long_shot(options.long, data, options.work / "long")
    except NoData as error:
        print(error, file=sys.stderr)
        return 2
    full = len(chosen) in (0, len(CASES)) and set(options.methods) == set(METHODS)
    out = options.out or (FULL_REPORT if full else WORK / "RESULTS.md")
    said = [*(sys.argv[1:] if arguments is None else arguments)]
    said = ["FOLDER" if i and said[i - 1] == "--long" else word for i, word in enumerate(said)]
    facts = {
        "command": " ".join(["python -m benchmarks.tracking", *said]),
        "machine": machine(),
        "versions": versions(),
        "repeat": 1,
    }
    rows = [
        Row(case, method)
        for case in (*chosen, *lengths)
        for method in (OURS, *case.others)
        if method in options.methods
    ]
    runner = Runner(data, options.work, options.limit)
    runner.warm_up()
    long_runner = Runner(options.work / "long", options.work, options.limit)
    parts = (
        ("tracking", "Results of camera tracking", chosen, runner),
        ("tracking_length", "Camera tracking: time over the length", lengths, long_runner),
    )
    for part, title, cases, its_runner in parts:
        for case in cases:
            mine = [row for row in rows if row.case is case]
            run_case(its_runner, mine, 1)
            for row in mine:
                if case in lengths and row.cpus:
                    row.values["cpu_s_per_frame"] = row.cpus[-1] / int(case.scene[-3:])
            finished = f"the last case is {case.id}, {busy()} at the end"
            done = [row for row in rows if row.case in cases and (row.walls or row.note)]
            write_part(out, part, write_report(done, {**facts, "title": title, "finished": finished}, PREAMBLE))
    print(f"Wrote {out}")
    return 0 if all_reached(rows) else 1


def _on_terminate(*_: object) -> None:
    """Ended from outside, end what is running too: it is in a process group of its own."""
    sys.exit(128 + signal.SIGTERM)


def _parser() -> argparse.ArgumentParser:
    names = [case.id for case in CASES]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tracking", description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", nargs="*", choices=names, default=names, metavar="CASE", help="; ".join(names))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, metavar="METHOD", help=str(METHODS))
    parser.add_argument("--long", type=Path, metavar="FOLDER", help="of the shot that long_shot.py has rendered")
    parser.add_argument("--limit", type=float, default=900, metavar="S", help="seconds for each run (default: 900)")
    parser.add_argument("--work", type=Path, default=WORK / "tracking", help="where jobs and logs are kept")
    parser.add_argument("--out", type=Path, help="where the page is written")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _on_terminate)
    sys.exit(main())

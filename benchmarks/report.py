"""What was measured as a Markdown page."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from .runs import Row
from .scenes import OURS, TIME_BARS, Bar

WORDS = {
    "solved": "solved",
    "ate_pct": "ATE %",
    "rpe_rot_deg": "RPE deg",
    "rot_abs_deg": "rotation deg",
    "focal_err_pct": "focal error %",
    "focal_jitter_pct": "focal jitter %",
    "k1_err": "k1 error",
    "slide_px": "slide px",
    "reproj_error_px": "reprojection px",
    "pair_rotation_deg": "rotation deg",
    "pair_direction_deg": "direction deg",
    "filled": "filled",
    "right_of_all": "within 2 %, of all",
    "right_of_filled": "within 2 %, of the filled",
    "s_per_view": "s a view",
    "cpu_s": "CPU s",
    "wall_s": "wall s",
    "peak_mb": "peak MB",
    "cpu_s_per_frame": "CPU s a frame",
    "focal_is_certain": "claims to be certain of the focal",
    "warns_of_focal": "warns that the focal is uncertain",
    "says_tripod": "says that it is a tripod shot",
    "says_why": "says why in a sentence",
    "depth_maps": "depth maps",
    "scored": "views with truth",
}
COST = ("cpu_s", "wall_s", "peak_mb")
TABLES = {
    "video": (
        "Footage, cameras only",
        ("solved", "ate_pct", "rpe_rot_deg", "focal_err_pct", "slide_px", "reproj_error_px", "lens", *COST),
    ),
    "photos": (
        "Photos, cameras only",
        ("solved", "ate_pct", "rpe_rot_deg", "rot_abs_deg", "focal_err_pct", "reproj_error_px", *COST),
    ),
    "tracking": (
        "Distortion and lens model found by itself",
        (
            "solved",
            "ate_pct",
            "rpe_rot_deg",
            "focal_err_pct",
            "focal_jitter_pct",
            "k1_err",
            "slide_px",
            "reproj_error_px",
            "lens",
            *COST,
        ),
    ),
    "length": (
        "Shots of several lengths",
        ("solved", "ate_pct", "focal_err_pct", "reproj_error_px", "cpu_s_per_frame", *COST),
    ),
    "tripod": (
        "A camera that only turns",
        ("solved", "motion", "rpe_rot_deg", "focal_err_pct", "reproj_error_px", "points", "depth_maps", *COST),
    ),
    "pair": (
        "Two pictures",
        (
            "solved",
            "pair_rotation_deg",
            "pair_direction_deg",
            "focal_err_pct",
            "filled",
            "right_of_all",
            "right_of_filled",
            *COST,
        ),
    ),
    "refusal": ("Pictures that have nothing in common", ("refused", *COST)),
    "dense": (
        "Depth from our own cameras",
        ("views", "scored", "filled", "right_of_all", "right_of_filled", "s_per_view", *COST),
    ),
}
PREAMBLE = """\
# Results of the classic method

Written by `{command}`; what the methods and columns mean: [README.md](README.md).

- Machine: {machine}
- Versions: {versions}
- Runs: {repeat} for timed cases (medians), else one; {finished}

**{reached} of {total} bars reached.**
"""


def write_report(rows: Sequence[Row], facts: dict[str, Any], preamble: str = PREAMBLE) -> str:
    """The page. facts: what the preamble names, without the bars."""
    verdicts = [(row.case.id, *verdict) for row in rows if row.method == OURS for verdict in row.verdicts()]
    verdicts += time_verdicts(rows)
    reached = sum(verdict[3] for verdict in verdicts)
    parts = [preamble.format(reached=reached, total=len(verdicts), **facts)]
    if verdicts:
        parts.append(_bars(verdicts))
    for table, (title, columns) in TABLES.items():
        chosen = [row for row in rows if row.case.table == table]
        if chosen:
            parts.append(f"## {title}\n\n{_rows(chosen, columns)}")
    times = _times(rows)
    if times:
        parts.append(f"## Time, cameras only\n\n{times}")
    parts.append("## What was said\n\n" + _notes(rows))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def all_reached(rows: Sequence[Row]) -> bool:
    ours = [verdict[2] for row in rows if row.method == OURS for verdict in row.verdicts()]
    return all(ours) and all(verdict[3] for verdict in time_verdicts(rows))


def time_verdicts(rows: Sequence[Row]) -> list[tuple[str, Bar, Any, bool]]:
    """(case, bar, measured ratio of wall times, whether it holds) of the cases where both have run."""
    found = []
    for case, walls, _ in _timed(rows):
        for other, bar in TIME_BARS:
            if other in walls:
                ratio = walls[other] / walls[OURS] if bar.at_least else walls[OURS] / walls[other]
                found.append((case, bar, ratio, bar.holds(ratio)))
    return found


def _timed(rows: Sequence[Row]) -> list[tuple[str, dict[str, float], dict[str, float]]]:
    """(case, wall seconds by method, CPU seconds by method) of the timed cases that ours has run."""
    found = []
    for case, group in groupby((row for row in rows if row.case.timed and row.walls), lambda row: row.case.id):
        group = list(group)
        walls, cpus = ({row.method: row.values[name] for row in group} for name in ("wall_s", "cpu_s"))
        if OURS in walls:
            found.append((case, walls, cpus))
    return found


def _bars(verdicts: Sequence[tuple[str, Bar, Any, bool]]) -> str:
    lines = []
    for case, bar, measured, holds in verdicts:
        sign = "" if isinstance(bar.limit, bool | str) else (">= " if bar.at_least else "<= ")
        words = WORDS.get(bar.value, bar.value)
        lines.append([case, words, _text(measured), sign + _text(bar.limit), "pass" if holds else "**FAIL**"])
    return _table(["case", "what", "reached", "bar", ""], lines)


def _rows(rows: Sequence[Row], columns: Sequence[str]) -> str:
    lines = []
    for row in rows:
        bars = row.verdicts() if row.method == OURS else []
        verdict = "-" if not bars else "pass" if all(holds for *_, holds in bars) else "**FAIL**"
        values = [_text(row.values.get(name)) for name in columns]
        lines.append([row.case.id, row.method, *values, verdict])
    return _table(["case", "method", *(WORDS.get(name, name) for name in columns), "bars"], lines)


def _times(rows: Sequence[Row]) -> str:
    lines = []
    for case, walls, cpus in _timed(rows):
        for other, bar in TIME_BARS:
            if other not in walls:
                continue
            ratios = [
                times[other] / times[OURS] if bar.at_least else times[OURS] / times[other] for times in (walls, cpus)
            ]
            sign = ">=" if bar.at_least else "<="
            verdict = "pass" if bar.holds(ratios[0]) else "**FAIL**"
            lines.append([case, bar.value, *map(_text, ratios), f"{sign} {_text(bar.limit)}", verdict])
    return _table(["case", "ratio", "of wall times", "of CPU times", "bar on wall times", ""], lines) if lines else ""


def _notes(rows: Sequence[Row]) -> str:
    return "\n".join(f"- {row.case.id}, {row.method}: {row.note}" for row in rows if row.note)


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    cells = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _text(value: Any) -> str:
    """Three digits, or what it is; a dash for what could not be measured."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)

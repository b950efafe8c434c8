"""What a finished job is told as: numbers for scripts, one sentence for the panel."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from ..jobfolder import JobFolder
from ..reconstruction import Reconstruction


def make_summary(job: JobFolder, result: Reconstruction, seconds: float, warnings: list[str]) -> dict[str, Any]:
    """The summary of state.json and of the message "done"; warnings of the footage come before the method's."""
    points = count_points(job)
    summary: dict[str, Any] = {
        "solved": len(result.solved),
        "total": len(result.views),
        "reproj_error_px": finite(result.reproj_error_px),
        "seconds": round(seconds, 2),
        "motion": result.motion,
        "lens": result.lens,
        "focal_is_certain": result.focal_is_certain,
        "points": points,
        "interpolated": _interpolated(result),
        "warnings": list(dict.fromkeys([*warnings, *result.warnings])),
        "checks": [
            {**dataclasses.asdict(check), "value": finite(check.value), "limit": finite(check.limit)}
            for check in result.checks
        ],
    }
    summary["text"] = summary_text(result, points, seconds)
    return summary


def summary_text(result: Reconstruction, points: int, seconds: float) -> str:
    """One sentence: how many frames, how well, how many points, how long; then what must not be overlooked."""
    noun = "frames" if result.kind == "video" else "photos"
    solved, total = len(result.solved), len(result.views)
    parts = [f"All {total} {noun} solved" if solved == total else f"{solved} of {total} {noun} solved"]
    if _interpolated(result):
        parts.append(f"{_interpolated(result)} of them interpolated")
    if finite(result.reproj_error_px) is not None:
        parts.append(f"mean error {result.reproj_error_px:.2f} px")
    if points:
        parts.append(f"{short_count(points)} points")
    parts.append(f"in {short_time(seconds)}")
    text = ", ".join(parts[:-1]) + f" {parts[-1]}."
    if result.motion == "tripod":
        text += " The camera only turns (tripod), so there is no depth."
    if not result.focal_is_certain:
        text += " The focal length is uncertain."
    if solved < total:
        text += f" Missing: {missing_names(result)}."
    failed = [check for check in result.checks if not check.passed]
    if failed:
        text += f" Doubtful: {failed[0].text}"
    return text


def _interpolated(result: Reconstruction) -> int:
    return sum(view.interpolated for view in result.views)


def missing_names(result: Reconstruction, at_most: int = 6) -> str:
    """The views without a pose: runs of frame numbers ("12-14, 40"), or file names."""
    unsolved = [view for view in result.views if not view.is_solved]
    if result.kind == "video" and all(view.frame is not None for view in unsolved):
        position = {view.file: i for i, view in enumerate(result.views)}
        runs: list[list[int]] = []
        for view in unsolved:
            i = position[view.file]
            if runs and runs[-1][1] == i - 1:
                runs[-1][1] = i
            else:
                runs.append([i, i])
        ends = [(result.views[a].frame, result.views[b].frame) for a, b in runs]
        names = [f"{a}" if a == b else f"{a}-{b}" for a, b in ends]
    else:
        names = [view.file for view in unsolved]
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more


def count_points(job: JobFolder) -> int:
    """Dense points of all views; the sparse ones where there are none."""
    dense = sum(int(np.count_nonzero(job.read_view(index)["depth"])) for index in job.view_indices())
    if dense:
        return dense
    sparse = job.read_sparse()
    return 0 if sparse is None else len(sparse["points"])


def short_count(number: int) -> str:
    """1234567 as "1.2 million", 45678 as "46 thousand"."""
    if number >= 1e6:
        return f"{number / 1e6:.1f} million"
    return f"{number / 1e3:.0f} thousand" if number >= 1e4 else str(number)


def short_time(seconds: float) -> str:
    """42 s, 3:05 min, 1:02 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"


def finite(value: float | None) -> float | None:
    """None for what JSON cannot hold."""
    return float(value) if value is not None and math.isfinite(value) else None

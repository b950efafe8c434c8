"""How good a solve is, in numbers and pictures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..jobfolder import JobFolder
from ..reconstruction import Reconstruction
from . import ExportOptions
from .names import map_names

GRID = 8  # cells across and down that coverage is counted in
WORST = 20  # tracks that the report names


@dataclass(frozen=True)
class Quality:
    """Errors in pixels, nan where unknown; all but tracks are per view, in their order.

    error, error90: mean and 90th percentile of the kept observations. tracks: their number. coverage: share of the
    picture's GRID x GRID cells with one of them. track_ids, track_error, track_length, track_kept: per track the mean
    error of its kept observations, how many observations it has and how many of them took part. has_tracks: False when
    all that is known is the error that the method stated per view.
    """

    error: np.ndarray
    error90: np.ndarray
    tracks: np.ndarray
    coverage: np.ndarray
    track_ids: np.ndarray
    track_error: np.ndarray
    track_length: np.ndarray
    track_kept: np.ndarray
    has_tracks: bool


def write_report(job: JobFolder, result: Reconstruction, out: Path, options: ExportOptions) -> None:
    """report.json, error_per_frame.png, contact_sheet.png."""
    from .contact_sheet import draw_contact_sheet, write_picture
    from .plot import draw_plot

    quality = measure(job, result)
    sheet, notes = draw_contact_sheet(job, result)
    write_picture(out / "error_per_frame.png", draw_plot(result, quality))
    write_picture(out / "contact_sheet.png", sheet)
    said = {**_facts(job, result, quality), "notes": notes}
    (out / "report.json").write_text(json.dumps(said, indent=1, ensure_ascii=False), encoding="utf-8")


def measure(job: JobFolder, result: Reconstruction) -> Quality:
    """The quality of a solve from the job's tracks; where there are none, from the errors the views state."""
    count = len(result.views)
    tracks = job.read_npz("tracks")
    if tracks is None or not len(tracks.get("frame", ())) or int(tracks["frame"].max()) >= count:
        stated = np.array([np.nan if view.error_px is None else view.error_px for view in result.views], float)
        nothing = np.zeros(0)
        unknown = np.full(count, np.nan)
        return Quality(stated, unknown, np.zeros(count, int), unknown, nothing, nothing, nothing, nothing, False)
    kept = tracks["kept"].astype(bool) & np.isfinite(tracks["error_px"])
    frame, xy, error = tracks["frame"][kept], tracks["xy"][kept], tracks["error_px"][kept].astype(float)
    number = np.bincount(frame, minlength=count)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(frame, error, minlength=count) / number
    high = np.full(count, np.nan)
    order = np.argsort(frame, kind="stable")
    for index, rows in zip(np.flatnonzero(number), np.split(error[order], np.cumsum(number[number > 0])[:-1])):
        high[index] = np.percentile(rows, 90)
    ids, place = np.unique(tracks["track"], return_inverse=True)
    used = np.bincount(place[kept], minlength=len(ids))
    with np.errstate(invalid="ignore", divide="ignore"):
        track_error = np.bincount(place[kept], error, minlength=len(ids)) / used
    length = np.bincount(place, minlength=len(ids))
    return Quality(mean, high, number, _coverage(result, frame, xy), ids, track_error, length, used, True)


def _coverage(result: Reconstruction, frame: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Share of the picture's cells that hold a point, per view."""
    size = np.array([(view.intrinsics.width, view.intrinsics.height) for view in result.views], float)
    cell = np.clip((xy / size[frame] * GRID).astype(int), 0, GRID - 1)
    held = np.zeros((len(result.views), GRID * GRID), bool)
    held[frame, cell[:, 1] * GRID + cell[:, 0]] = True
    return held.mean(axis=1)


def _facts(job: JobFolder, result: Reconstruction, quality: Quality) -> dict[str, Any]:
    """The form of report.json."""
    names = map_names(result)
    frames = [
        {
            "name": names[index],
            "frame": view.frame,
            "solved": view.is_solved,
            "interpolated": view.interpolated,
            "error_px": _number(quality.error[index]),
            "error90_px": _number(quality.error90[index]),
            "tracks": int(quality.tracks[index]),
            "coverage": _number(quality.coverage[index]),
            "note": view.note,
        }
        for index, view in enumerate(result.views)
    ]
    solved = result.solved
    summary = (job.read_json("state") or {}).get("summary") or {}
    known = [index for index in solved if np.isfinite(quality.error[index])]
    return {
        "method": result.method,
        "motion": result.motion,
        "lens": result.lens,
        "solved": len(solved),
        "total": len(result.views),
        "interpolated": sum(result.views[index].interpolated for index in solved),
        "reproj_error_px": _number(result.reproj_error_px),
        "worst_frame": names[max(known, key=lambda index: quality.error[index])] if known else None,
        "coverage": _number(np.nanmean(quality.coverage[solved])) if quality.has_tracks else None,
        "seconds": _number(summary.get("seconds")),
        "checks": [{"text": check.text, "passed": check.passed} for check in result.checks],
        "warnings": list(result.warnings),
        "frames": frames,
        "tracks": _track_facts(quality) if quality.has_tracks else None,
    }


def _track_facts(quality: Quality) -> dict[str, Any]:
    used = quality.track_kept > 0
    worst = np.argsort(np.where(used, -quality.track_error, np.inf), kind="stable")[: min(WORST, int(used.sum()))]
    return {
        "count": len(quality.track_ids),
        "used": int(used.sum()),
        "mean_length": _number(quality.track_length[used].mean()) if used.any() else None,
        "median_error_px": _number(np.median(quality.track_error[used])) if used.any() else None,
        "worst": [
            {
                "track": int(quality.track_ids[index]),
                "error_px": _number(quality.track_error[index]),
                "observations": int(quality.track_length[index]),
                "used": int(quality.track_kept[index]),
            }
            for index in worst
        ],
    }


def _number(value: Any) -> float | None:
    """A rounded number, None for what JSON cannot hold."""
    return round(float(value), 4) if isinstance(value, int | float | np.floating) and np.isfinite(value) else None

"""The error of every frame as a picture, and below it how many tracks hold the frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..reconstruction import Reconstruction
from .drawing import BACK, BLUE, FAINT, FIELD, GRID, PALE, TEXT, Color, nice_step, write
from .report import Quality

WIDTH, HEIGHT = 960, 720
LOST: Color = (46, 40, 110)
BETWEEN: Color = (56, 56, 56)
_LEFT, _RIGHT = 70, 930


@dataclass(frozen=True)
class _Field:
    """A chart's frame in the image: rows top..bottom, values 0..high, views first..last on the x axis."""

    top: int
    bottom: int
    high: float
    count: int

    def x(self, index: float) -> int:
        return round(_LEFT + (index + 0.5) / self.count * (_RIGHT - _LEFT))

    def y(self, value: float) -> int:
        return round(self.bottom - min(value / self.high, 1.0) * (self.bottom - self.top))


def draw_plot(result: Reconstruction, quality: Quality) -> np.ndarray:
    """(HEIGHT, WIDTH, 3) uint8 BGR. Frames without a camera have a red ground, interpolated ones a gray one."""
    image = np.full((HEIGHT, WIDTH, 3), BACK, np.uint8)
    known = np.isfinite(quality.error)
    solved = len(result.solved)
    error = "unknown" if result.reproj_error_px is None else f"{result.reproj_error_px:.2f} px"
    noun = "frames" if result.kind == "video" else "photos"
    write(image, f"{solved} of {len(result.views)} {noun} solved, mean error {error}", (_LEFT, 32), 0.6)
    high = quality.error90[np.isfinite(quality.error90)]
    top = max([*quality.error[known], *high, 1e-3]) * 1.1 if known.any() else 1.0
    errors = _Field(70, 480 if quality.has_tracks else 660, top, len(result.views))
    _frame(image, errors, result, "px")
    if not known.any():
        middle = (errors.top + errors.bottom) // 2
        write(image, "This method states no reprojection errors.", (WIDTH // 2, middle), 0.6, FAINT, "middle")
    _band(image, errors, quality.error90)
    _line(image, errors, quality.error, BLUE)
    entries = [("mean", BLUE)] + ([("90 % are below", PALE)] if quality.has_tracks else [])
    entries += [("no camera", LOST)] if solved < len(result.views) else []
    _legend(image, entries + ([("interpolated", BETWEEN)] if any(view.interpolated for view in result.views) else []))
    if quality.has_tracks:
        tracks = _Field(525, 660, max(float(quality.tracks.max()) * 1.1, 1.0), len(result.views))
        _frame(image, tracks, result, "tracks")
        _line(image, tracks, np.where(quality.tracks > 0, quality.tracks, np.nan).astype(float), TEXT)
    _numbers(image, errors.count, result)
    return image


def _frame(image: np.ndarray, field: _Field, result: Reconstruction, unit: str) -> None:
    cv2.rectangle(image, (_LEFT, field.top), (_RIGHT, field.bottom), FIELD, cv2.FILLED)
    half = (_RIGHT - _LEFT) / field.count / 2
    for index, view in enumerate(result.views):
        if view.is_solved and not view.interpolated:
            continue
        color = BETWEEN if view.is_solved else LOST
        x = field.x(index)
        cv2.rectangle(image, (int(x - half), field.top), (int(np.ceil(x + half)), field.bottom), color, cv2.FILLED)
    step = nice_step(field.high, 5)
    value = 0.0
    while value <= field.high:
        y = field.y(value)
        cv2.line(image, (_LEFT, y), (_RIGHT, y), GRID, 1)
        write(image, f"{value:g}"[:6], (_LEFT - 8, y + 5), 0.45, FAINT, "right")
        value = round(value + step, 10)
    write(image, unit, (_LEFT, field.top - 8), 0.45, FAINT)


def _runs(values: np.ndarray) -> list[np.ndarray]:
    """Indices of neighbours whose values are known."""
    known = np.flatnonzero(np.isfinite(values))
    return np.split(known, np.flatnonzero(np.diff(known) > 1) + 1) if len(known) else []


def _band(image: np.ndarray, field: _Field, values: np.ndarray) -> None:
    for run in _runs(values):
        upper = [(field.x(index), field.y(values[index])) for index in run]
        ground = [(field.x(run[-1]), field.bottom), (field.x(run[0]), field.bottom)]
        cv2.fillPoly(image, [np.array(upper + ground, np.int32)], PALE, cv2.LINE_AA)


def _line(image: np.ndarray, field: _Field, values: np.ndarray, color: Color) -> None:
    for run in _runs(values):
        places = np.array([(field.x(index), field.y(values[index])) for index in run], np.int32)
        cv2.polylines(image, [places], False, color, 2, cv2.LINE_AA)
        if len(run) == 1 or field.count <= 60:
            for place in places:
                cv2.circle(image, tuple(map(int, place)), 3, color, cv2.FILLED, cv2.LINE_AA)


def _legend(image: np.ndarray, entries: list[tuple[str, Color]]) -> None:
    """Swatches with their meaning, to the right above the chart."""
    x = _RIGHT - 130 * len(entries)
    for text, color in entries:
        cv2.rectangle(image, (x, 50), (x + 16, 60), color, cv2.FILLED)
        write(image, text, (x + 22, 60), 0.45)
        x += 130


def _numbers(image: np.ndarray, count: int, result: Reconstruction) -> None:
    """Frame numbers of footage, or the photos' numbers, below the last chart."""
    axis = _Field(0, 0, 1.0, count)
    step = max(1, round(nice_step(count, 10)))
    for index in range(0, count, step):
        frame = result.views[index].frame if result.kind == "video" else None
        write(image, str(index + 1 if frame is None else frame), (axis.x(index), 682), 0.45, FAINT, "middle")
    write(image, "frame" if result.kind == "video" else "photo", (WIDTH // 2, 706), 0.45, FAINT, "middle")

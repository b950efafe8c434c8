"""Frames of the shot with the solved points projected into them, on one sheet."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from ..errors import EngineError
from ..jobfolder import JobFolder
from ..media.frames import FrameSource, open_source
from ..reconstruction import Reconstruction, View
from ..source import Source
from .cloud import sparse_block
from .drawing import BACK, FAINT, GREEN, RED, TEXT, YELLOW, Color, write
from .names import map_names

FRAMES = 12
TILE = 480  # width of a frame in pixels
_GAP, _LABEL, _HEAD = 8, 24, 34
_LIMITS = ((0.5, GREEN), (1.5, YELLOW), (math.inf, RED))  # pixels of the original frame
_MOST = 1500  # points in a frame, so that it stays to be seen


def draw_contact_sheet(job: JobFolder, result: Reconstruction) -> tuple[np.ndarray, list[str]]:
    """(the sheet, uint8 BGR, and sentences about what is missing in it): FRAMES views evenly from the solved ones.

    A point is drawn where its solved position projects to, coloured by the distance to where it was tracked; gray:
    points whose track did not take part. Without tracks, the sparse points are drawn in one colour.
    """
    solved = result.solved
    chosen = [solved[i] for i in np.unique(np.linspace(0, len(solved) - 1, min(FRAMES, len(solved))).astype(int))]
    frames, notes = _open(job)
    tracks = job.read_npz("tracks")
    sparse = sparse_block(job)
    if tracks is None and sparse is None:
        notes.append("There are no solved points to draw.")
    names = map_names(result)
    tiles = []
    try:
        for index in chosen:
            tile = _picture(frames, result.views[index])
            if tracks is not None:
                _draw_tracks(tile, result.views[index], index, tracks)
            elif sparse is not None:
                _draw_points(tile, result.views[index], sparse.points)
            tiles.append(_labelled(tile, names[index], result.views[index]))
    finally:
        if frames is not None:
            frames.close()
    return _sheet(tiles, tracks is not None), notes


def write_picture(path: Path, image: np.ndarray) -> None:
    """A PNG; cv2.imwrite does not take every name on Windows."""
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())


def _open(job: JobFolder) -> tuple[FrameSource | None, list[str]]:
    request = job.read_json("request") or {}
    if isinstance(request.get("source"), dict):
        with suppress(EngineError):
            return open_source(Source.from_json(request["source"])), []
    return None, ["The footage is not there, so the points have no picture behind them."]


def _picture(frames: FrameSource | None, view: View) -> np.ndarray:
    """The frame, darkened a little so that points stand out, TILE wide."""
    height = max(1, round(TILE * view.intrinsics.height / view.intrinsics.width))
    image = None
    if frames is not None:
        position = {info.file: info.index for info in frames.infos}
        with suppress(EngineError):
            if view.file in position:
                image = frames.read(position[view.file], max_side=2 * max(TILE, height))
    if image is None:
        return np.full((height, TILE, 3), 30, np.uint8)
    image = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), (TILE, height), interpolation=cv2.INTER_AREA)
    return (image * 0.7).astype(np.uint8)


def _draw_tracks(tile: np.ndarray, view: View, index: int, tracks: dict[str, np.ndarray]) -> None:
    rows = np.flatnonzero(tracks["frame"] == index)
    scale = TILE / view.intrinsics.width
    kept = tracks["kept"][rows].astype(bool)
    for row in _some(rows[~kept], _MOST // 3):
        _dot(tile, tracks["xy"][row] * scale, FAINT, 1.2)
    used = _some(rows[kept], _MOST)
    places = _project(view, tracks["points"][tracks["track"][used]].astype(np.float64)) * scale
    for row, place in zip(used, places):
        _dot(tile, place, next(color for limit, color in _LIMITS if not tracks["error_px"][row] > limit), 2.4)


def _draw_points(tile: np.ndarray, view: View, points: np.ndarray) -> None:
    places = _project(view, points[_some(np.arange(len(points)), _MOST)].astype(np.float64))
    for place in places * (TILE / view.intrinsics.width):
        _dot(tile, place, GREEN, 2.4)


def _project(view: View, points: np.ndarray) -> np.ndarray:
    """World points (n, 3) to pixels (n, 2) of the original frame; nan behind the camera."""
    pose = view.world_from_camera
    return view.intrinsics.project((points - pose[:3, 3]) @ pose[:3, :3])


def _some(rows: np.ndarray, at_most: int) -> np.ndarray:
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), at_most)).astype(int))] if len(rows) else rows


def _dot(tile: np.ndarray, place: np.ndarray, color: Color, radius: float) -> None:
    height, width = tile.shape[:2]
    if np.isfinite(place).all() and 0 <= place[0] < width and 0 <= place[1] < height:
        # in sixteenths of a pixel, counted from the first pixel's centre
        centre = tuple(round((float(value) - 0.5) * 16) for value in place)
        cv2.circle(tile, centre, round(radius * 16), color, cv2.FILLED, cv2.LINE_AA, 4)


def _labelled(tile: np.ndarray, name: str, view: View) -> np.ndarray:
    label = np.full((_LABEL, TILE, 3), BACK, np.uint8)
    write(label, name[-40:], (2, 17), 0.45)
    if view.error_px is not None:
        write(label, f"{view.error_px:.2f} px", (TILE - 2, 17), 0.45, TEXT, "right")
    return np.concatenate([tile, label])


def _sheet(tiles: list[np.ndarray], has_tracks: bool) -> np.ndarray:
    columns = min(len(tiles), max(1, math.ceil(math.sqrt(len(tiles)))))
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    heights = [max(len(tile) for tile in row) for row in rows]
    sheet = np.full((_HEAD + sum(heights) + _GAP * len(rows), _GAP + columns * (TILE + _GAP), 3), BACK, np.uint8)
    y = _HEAD
    for row, height in zip(rows, heights):
        for column, tile in enumerate(row):
            x = _GAP + column * (TILE + _GAP)
            sheet[y : y + len(tile), x : x + TILE] = tile
        y += height + _GAP
    _legend(sheet, has_tracks)
    return sheet


def _legend(sheet: np.ndarray, has_tracks: bool) -> None:
    entries = [("below 0.5 px", GREEN), ("to 1.5 px", YELLOW), ("more", RED), ("not used", FAINT)]
    x = _GAP + 6
    for text, color in entries if has_tracks else [("solved points", GREEN)]:
        cv2.circle(sheet, (x, 17), 4, color, cv2.FILLED, cv2.LINE_AA)
        write(sheet, text, (x + 10, 22), 0.45)
        x += 130

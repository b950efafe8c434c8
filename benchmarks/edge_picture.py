"""What the measured edges look like: the render over the plate, and a part of it enlarged."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from .edge_measure import Edges

_TILES = 8  # squares over the picture's height, plate and render in turn
_PART, _ENLARGED = 1 / 3, 3  # of the width, and how many times larger it is shown
_GAP = 6
_GOOD, _BAD = np.array([90, 230, 110.0]), np.array([255, 60, 40.0])  # colours of edges: on the plate's, 1 px off
_QUALITY = 82


def write_picture(path: Path, plate: np.ndarray, render: np.ndarray, edges: Edges) -> None:
    """Above: plate and render in squares, then the render's edges over the plate. Below: a part of both, enlarged.

    plate: (h, w, 3) uint8 RGB. render: (h, w, 4) float32, RGB and alpha 0 to 255.
    """
    squares, drawn = _squares(plate, render), _drawn(plate, edges, 1)
    part = _busiest(edges, plate.shape)
    shapes = [np.ascontiguousarray(picture[part]) for picture in (squares, plate)]
    larger = [cv2.resize(shape, None, fx=_ENLARGED, fy=_ENLARGED, interpolation=cv2.INTER_CUBIC) for shape in shapes]
    larger[1] = _drawn(larger[1], _moved(edges, part), _ENLARGED)
    width = plate.shape[1]
    larger = [picture[:, :width] for picture in larger]
    larger = [cv2.copyMakeBorder(p, 0, 0, 0, width - p.shape[1], cv2.BORDER_CONSTANT) for p in larger]
    rows = [
        np.hstack([left, np.zeros((len(left), _GAP, 3), np.uint8), right]) for left, right in ((squares, drawn), larger)
    ]
    sheet = np.vstack([rows[0], np.zeros((_GAP, rows[0].shape[1], 3), np.uint8), rows[1]])
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), sheet[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])


def _squares(plate: np.ndarray, render: np.ndarray) -> np.ndarray:
    side = plate.shape[0] // _TILES
    rows, columns = np.indices(plate.shape[:2]) // side
    alpha = render[..., 3:] / 255 * ((rows + columns) % 2)[..., None]
    return np.clip(np.round(render[..., :3] * alpha + plate * (1 - alpha)), 0, 255).astype(np.uint8)


def _drawn(plate: np.ndarray, edges: Edges, scale: int) -> np.ndarray:
    """The plate, darker, with each edge of the render in a colour that says how far off it is."""
    picture = (0.6 * plate).astype(np.uint8)
    for place, off in zip(edges.places, np.clip(np.abs(edges.displacement), 0, 1)):
        x, y = np.floor(place * scale).astype(int)
        color = tuple(int(value) for value in _GOOD + off * (_BAD - _GOOD))
        half = scale // 2
        cv2.rectangle(picture, (x - half, y - half), (x + half, y + half), color, -1)
    return picture


def _busiest(edges: Edges, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The part of the picture with the most edges."""
    height, width = shape[:2]
    side = (round(height * _PART), round(width * _PART))
    counts = np.zeros((height, width), np.float32)
    columns, rows = np.floor(edges.places).astype(int).T
    np.add.at(counts, (rows, columns), 1)
    total = cv2.boxFilter(counts, -1, side[::-1], anchor=(0, 0), normalize=False, borderType=cv2.BORDER_CONSTANT)
    row, column = np.unravel_index(
        np.argmax(total[: height - side[0], : width - side[1]]), total[: height - side[0], : width - side[1]].shape
    )
    return slice(int(row), int(row) + side[0]), slice(int(column), int(column) + side[1])


def _moved(edges: Edges, part: tuple[slice, slice]) -> Edges:
    """The edges inside part, from its corner."""
    rows, columns = part
    low, high = np.array([columns.start, rows.start]), np.array([columns.stop, rows.stop])
    inside = ((edges.places >= low) & (edges.places < high)).all(axis=1)
    return Edges(edges.places[inside] - low, edges.normals[inside], edges.displacement[inside], int(inside.sum()))

"""How far the edges of a picture lie from those of another, square to the edge, in pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

REACH = 4.0  # px, how far off an edge may lie and still be found
_HALF = 3.0  # px to each side of an edge that are compared
_STEP = 0.25  # px between samples across an edge
_ALONG = (-2, -1, 0, 1, 2)  # px along it over which a profile is the mean
_BLUR = 1.0  # px, of both pictures: noise of the plate makes no edges
_ALIKE = 0.9  # of profiles, from which on they are the same edge
_CONTRAST = 12.0  # gray levels a pixel, the weakest edge that counts


@dataclass(frozen=True)
class Edges:
    """places (n, 2): pixels of edges that both pictures have, from the corner. normals (n, 2): unit, square to them.
    displacement (n,): how far the second picture's edge lies along the normal. sought: edges of the first picture."""

    places: np.ndarray
    normals: np.ndarray
    displacement: np.ndarray
    sought: int

    @property
    def mean_px(self) -> float:
        """Mean of the distances; nan without edges."""
        return float(np.abs(self.displacement).mean()) if len(self.displacement) else float("nan")

    @property
    def share(self) -> float:
        """Of the first picture's edges, how many the second one has, too."""
        return len(self.displacement) / max(1, self.sought)


def find_edges(picture: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(places (n, 2) from the corner, normals (n, 2)) of strong edges, well inside valid.

    picture: (h, w) float32 gray. valid: (h, w) bool.
    """
    smooth = cv2.GaussianBlur(picture, (0, 0), _BLUR)
    across, down = (cv2.Scharr(smooth, cv2.CV_32F, *way) / 32 for way in ((1, 0), (0, 1)))
    strength = np.hypot(across, down)
    lines = cv2.Canny(*(np.clip(8 * slope, -32767, 32767).astype(np.int16) for slope in (across, down)), 60, 120)
    margin = int(REACH + _HALF + 2)
    kernel = np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)
    inside = cv2.erode(valid.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    rows, columns = np.nonzero((lines > 0) & (inside > 0) & (strength >= _CONTRAST))
    normals = np.stack([across[rows, columns], down[rows, columns]], axis=1) / strength[rows, columns, None]
    return np.stack([columns, rows], axis=1) + 0.5, normals


def edge_displacement(first: np.ndarray, second: np.ndarray, valid: np.ndarray) -> Edges:
    """Where second has the edges of first: (h, w) float32 gray pictures of the same size.

    Across each edge the slopes of both are compared (cosine) at all shifts up to REACH; the best one, refined by a
    parabola, is the displacement. Edges whose best is not alike enough, or lies at the end of the reach, are left out.
    """
    places, normals = find_edges(first, valid)
    if not len(places):
        return Edges(places, normals, np.empty(0), 0)
    shifts = round(REACH / _STEP)
    half = round(_HALF / _STEP)
    own = _slopes(first, places, normals, half)
    other = _slopes(second, places, normals, half + shifts)
    alike = np.empty((len(places), 2 * shifts + 1))
    for shift in range(2 * shifts + 1):
        part = other[:, shift : shift + own.shape[1]]
        size = np.linalg.norm(own, axis=1) * np.linalg.norm(part, axis=1)
        alike[:, shift] = (own * part).sum(axis=1) / np.maximum(size, 1e-9)
    best = np.argmax(alike, axis=1)
    rows = np.arange(len(best))
    good = (alike[rows, best] >= _ALIKE) & (best > 0) & (best < 2 * shifts)
    rows, best = rows[good], best[good]
    before, peak, after = (alike[rows, best + step] for step in (-1, 0, 1))
    bend = before - 2 * peak + after
    finer = np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, -1.0), 0.0)
    return Edges(places[good], normals[good], _STEP * (best - shifts + finer), len(places))


def _slopes(picture: np.ndarray, places: np.ndarray, normals: np.ndarray, half: int) -> np.ndarray:
    """(n, 2 half) slopes of the picture across each edge, averaged along it."""
    smooth = cv2.GaussianBlur(picture, (0, 0), _BLUR)
    steps = _STEP * np.arange(-half, half + 1)
    along = np.stack([-normals[:, 1], normals[:, 0]], axis=1)
    total = np.zeros((len(places), len(steps)), np.float32)
    for offset in _ALONG:
        where = (places + offset * along)[:, None] + steps[:, None] * normals[:, None] - 0.5
        x, y = np.ascontiguousarray(where.astype(np.float32).transpose(2, 0, 1))
        for start in range(0, len(x), 16384):  # what remap takes
            block = slice(start, start + 16384)
            total[block] += cv2.remap(smooth, x[block], y[block], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.diff(total, axis=1)

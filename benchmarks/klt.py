"""Points followed by Lucas-Kanade with an anchor against drift: the tracker of the "klt_glob" comparison.

It shares nothing with the engine on purpose: the engine's own tracker changes, what it is compared with must not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np

CELLS = (8, 5)  # across, down
TARGET = 1200  # live points
QUALITY, MIN_DISTANCE, BLOCK = 0.008, 9, 5
WINDOW, LEVELS = 15, 4
MAX_ROUND_TRIP_PX = 0.6
MAX_ANCHOR_SHIFT_PX = 1.5
MIN_LENGTH = 3
_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.01)
_SUBPIX_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.01)


@dataclass
class FrameTracks:
    """The tracks seen in one frame. ids: (n,) ascending; xy: (n, 2) pixels, the first pixel's centre at (0.5, 0.5)."""

    ids: np.ndarray
    xy: np.ndarray


@dataclass
class _Live:
    """The points that are alive. xy: OpenCV pixels (first centre at 0, 0). anchor: the frame each is held to."""

    ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    xy: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    velocity: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    anchor: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    anchor_xy: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))

    def keep(self, mask: np.ndarray) -> None:
        for name in ("ids", "xy", "velocity", "anchor", "anchor_xy"):
            setattr(self, name, getattr(self, name)[mask])

    def add(self, xy: np.ndarray, first_id: int, frame: int) -> None:
        count = len(xy)
        self.ids = np.concatenate([self.ids, np.arange(first_id, first_id + count)])
        self.xy = np.concatenate([self.xy, xy])
        self.velocity = np.concatenate([self.velocity, np.zeros_like(xy)])
        self.anchor = np.concatenate([self.anchor, np.full(count, frame)])
        self.anchor_xy = np.concatenate([self.anchor_xy, xy])


def track(images: Iterable[np.ndarray]) -> list[FrameTracks]:
    """Follow points through gray images (h, w) uint8; tracks of fewer than MIN_LENGTH frames are left out."""
    live, found, seen, next_id = _Live(), [], [], 0
    for frame, image in enumerate(images):
        if seen and len(live.ids):
            _follow(live, seen[-1], image)
            _hold_to_anchor(live, seen, image, frame)
        corners = _new_corners(image, live.xy)
        live.add(corners, next_id, frame)
        next_id += len(corners)
        seen.append(image)
        found.append(FrameTracks(live.ids.copy(), live.xy + 0.5))
    lengths = np.bincount(np.concatenate([tracks.ids for tracks in found]), minlength=next_id)
    kept = [lengths[tracks.ids] >= MIN_LENGTH for tracks in found]
    return [FrameTracks(tracks.ids[keep], tracks.xy[keep]) for tracks, keep in zip(found, kept)]


def _follow(live: _Live, before: np.ndarray, image: np.ndarray) -> None:
    """One frame on, from a start of constant velocity; only points that come back to where they were stay alive."""
    options = {
        "winSize": (WINDOW, WINDOW),
        "maxLevel": LEVELS,
        "criteria": _STOP,
        "flags": cv2.OPTFLOW_USE_INITIAL_FLOW,
    }
    moved, there, _ = cv2.calcOpticalFlowPyrLK(before, image, live.xy, live.xy + live.velocity, **options)
    back, and_back, _ = cv2.calcOpticalFlowPyrLK(image, before, moved, live.xy.copy(), **options)
    round_trip = np.linalg.norm(back - live.xy, axis=1)
    good = (there.ravel() > 0) & (and_back.ravel() > 0) & (round_trip < MAX_ROUND_TRIP_PX) & _inside(moved, image)
    live.velocity = moved - live.xy
    live.xy = moved
    live.keep(good)


def _hold_to_anchor(live: _Live, seen: list[np.ndarray], image: np.ndarray, frame: int) -> None:
    """Align each point with its patch in the anchor frame; a point whose patch no longer fits gets a new anchor."""
    for anchor in np.unique(live.anchor):
        mine = np.flatnonzero(live.anchor == anchor)
        aligned, there, _ = cv2.calcOpticalFlowPyrLK(
            seen[anchor],
            image,
            live.anchor_xy[mine],
            live.xy[mine].copy(),
            winSize=(WINDOW, WINDOW),
            maxLevel=0,
            criteria=_STOP,
            flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
        )
        shift = np.linalg.norm(aligned - live.xy[mine], axis=1)
        good = (there.ravel() > 0) & (shift <= MAX_ANCHOR_SHIFT_PX) & _inside(aligned, image)
        live.xy[mine[good]] = aligned[good]
        lost = mine[~good]
        live.anchor[lost] = frame
        live.anchor_xy[lost] = live.xy[lost]


def _inside(xy: np.ndarray, image: np.ndarray) -> np.ndarray:
    height, width = image.shape
    return (xy >= 1).all(1) & (xy[:, 0] < width - 2) & (xy[:, 1] < height - 2)


def _new_corners(image: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """(n, 2) float32 corners that bring each cell up to its share of TARGET, away from the points xy."""
    height, width = image.shape
    across, down = CELLS if width >= height else CELLS[::-1]
    share = TARGET // (across * down)
    free = np.full(image.shape, 255, np.uint8)
    for x, y in np.rint(xy).astype(int):
        cv2.circle(free, (int(x), int(y)), MIN_DISTANCE, 0, -1)
    cells = (xy[:, 1] * down / height).astype(int) * across + (xy[:, 0] * across / width).astype(int)
    counts = np.bincount(cells, minlength=across * down)
    fresh = []
    for cell in np.flatnonzero(counts < share):
        row, column = divmod(int(cell), across)
        rows = slice(row * height // down, (row + 1) * height // down)
        columns = slice(column * width // across, (column + 1) * width // across)
        corners = cv2.goodFeaturesToTrack(
            image[rows, columns],
            int(share - counts[cell]),
            QUALITY,
            MIN_DISTANCE,
            mask=free[rows, columns],
            blockSize=BLOCK,
        )
        if corners is not None:
            fresh.append(corners.reshape(-1, 2) + np.float32([columns.start, rows.start]))
    if not fresh:
        return np.zeros((0, 2), np.float32)
    corners = cv2.cornerSubPix(image, np.concatenate(fresh), (4, 4), (-1, -1), _SUBPIX_STOP)
    return corners[_inside(corners, image)]

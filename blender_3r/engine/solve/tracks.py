"""Points followed through footage by pyramidal Lucas-Kanade: many, long, sub-pixel.

Detection is spread over a grid of cells and topped up in every frame; each step is checked by tracking it back.
There is no re-alignment to the first patch of a track: with it the solved camera slid more, not less.

Where nearly everything is lost at once, the next frames are tried from the last good one: a flash leaves a few frames
without points, and the tracks go on behind it. Where that fails too it is a cut, and no track crosses it.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ..geometry.cameras import Observations
from ..media.frames import FrameSource
from ..media.masks import Masks

GRID = (8, 5)  # cells across, down (swapped for portrait footage)
WINDOW = 15
LEVELS = 4
MAX_ROUND_TRIP_PX = 0.6
MIN_LENGTH = 3
LOST = 0.1  # fewer than this share followed on: a flash or a cut
FEW = 20  # points, of which the loss tells nothing
LONGEST_FLASH = 3  # frames


class FramePairs:
    """Which tracks two frames have in common, answered fast. observations must be sorted by frame, then track."""

    def __init__(self, observations: Observations, n_frames: int) -> None:
        self.observations = observations
        self.bounds = np.searchsorted(observations.frame, np.arange(n_frames + 1))

    def in_frame(self, frame: int) -> slice:
        """Where a frame's observations lie."""
        return slice(int(self.bounds[frame]), int(self.bounds[frame + 1]))

    def common(self, a: int, b: int) -> tuple[np.ndarray, np.ndarray]:
        """(indices in a, indices in b) of the observations of the tracks seen in both, counted within each frame."""
        track = self.observations.track
        _, ia, ib = np.intersect1d(
            track[self.in_frame(a)], track[self.in_frame(b)], assume_unique=True, return_indices=True
        )
        return ia, ib

    def shift(self, a: int, b: int) -> tuple[int, float]:
        """(number of common tracks, their median displacement in pixels; 0 if there are none)."""
        ia, ib = self.common(a, b)
        if len(ia) == 0:
            return 0, 0.0
        xy = self.observations.xy
        moved = xy[self.in_frame(b)][ib] - xy[self.in_frame(a)][ia]
        return len(ia), float(np.median(np.linalg.norm(moved, axis=1)))


def track_video(
    frames: FrameSource,
    max_side: int = 1280,
    target: int = 1200,
    on_frame: Callable[[int], None] = lambda index: None,
    masks: Masks | None = None,
) -> Observations:
    """Follow points through all frames.

    max_side: the longer side of the images tracked in (larger footage is reduced; positions come back in original
    pixels). target: points kept alive. on_frame is called after each frame and may raise to stop; a cut takes it back
    by a few frames. masks: what they leave out is neither looked at nor followed into. Returns tracks of at least
    MIN_LENGTH observations, numbered from 0, sorted by frame, then track.
    """
    tracker = _Tracker(target)
    index = 0
    while index < len(frames):
        image = frames.read(index, max_side=max_side, gray=True)
        info = frames.infos[index]
        # Half a window: a patch must not reach over what is left out.
        allowed = None if masks is None else masks.allowed(index, image.shape, WINDOW // 2)
        scale = np.array([info.width / image.shape[1], info.height / image.shape[0]])
        is_last = index == len(frames) - 1
        cut = tracker.step(index, image, scale, allowed, is_last)
        on_frame(index)
        index = index + 1 if cut is None else cut
    return tracker.result()


class _Tracker:
    def __init__(self, target: int) -> None:
        self.target = target
        self.positions = np.zeros((0, 2), np.float32)  # of live tracks; OpenCV pixels: centres at integers
        self.velocities = np.zeros((0, 2), np.float32)
        self.ids = np.zeros(0, np.int64)
        self.next_id = 0
        self.image: np.ndarray | None = None
        self.blind: list[int] = []  # frames since the last good one
        self.log: list[tuple[int, np.ndarray, np.ndarray]] = []

    def step(
        self, index: int, image: np.ndarray, scale: np.ndarray, allowed: np.ndarray | None = None, is_last: bool = False
    ) -> int | None:
        """Take the next frame. Returns the frame to begin anew from where a cut turns out to lie before it."""
        if self.image is not None and self.image.shape != image.shape:
            self._forget(np.zeros(len(self.ids), bool))
            self.blind = []
        elif self.image is not None and len(self.ids) and not self._follow(image, allowed):
            self.blind.append(index)
            if len(self.blind) <= LONGEST_FLASH and not is_last:
                return None
            cut = self.blind[0]
            self._forget(np.zeros(len(self.ids), bool))
            self.image, self.blind = None, []
            return cut
        self._refill(image, allowed)
        self.image, self.blind = image, []
        self.log.append((index, self.ids.copy(), (self.positions + 0.5) * scale))
        return None

    def _follow(self, image: np.ndarray, allowed: np.ndarray | None) -> bool:
        """Move the live tracks on; false, and nothing has changed, where nearly all of them are lost at once."""
        moved, good = self._moved(self.image, image, allowed)
        if len(good) >= FEW and good.sum() < LOST * len(good):
            # A lamp goes on, or a camera's exposure jumps: the patches differ by more than the motion.
            moved, good = self._moved(_as_bright_as(self.image, image), image, allowed)
            if good.sum() < LOST * len(good):
                return False
        self.velocities = (moved - self.positions) / (1 + len(self.blind))
        self.positions = moved
        self._forget(good)
        self._forget(_first_in_pixel_blocks(self.positions, 4))
        return True

    def _moved(
        self, before: np.ndarray, image: np.ndarray, allowed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """(positions in the image, which of them are found)."""
        guess = self.positions + self.velocities * (1 + len(self.blind))
        options = {
            "winSize": (WINDOW, WINDOW),
            "maxLevel": LEVELS,
            "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.01),
            "flags": cv2.OPTFLOW_USE_INITIAL_FLOW,
        }
        moved, found, _ = cv2.calcOpticalFlowPyrLK(before, image, self.positions, guess.copy(), **options)
        start = self.positions.copy()
        back, found_back, _ = cv2.calcOpticalFlowPyrLK(image, before, moved, start, **options)
        round_trip = np.linalg.norm(back - self.positions, axis=1)
        height, width = image.shape
        margin = 3
        inside = (moved >= margin).all(1) & (moved[:, 0] < width - margin) & (moved[:, 1] < height - margin)
        good = (found.ravel() > 0) & (found_back.ravel() > 0) & (round_trip < MAX_ROUND_TRIP_PX) & inside
        if allowed is not None:
            column, row = np.rint(moved[good]).astype(int).T
            good[good] = allowed[row, column]
        return moved, good

    def _forget(self, good: np.ndarray) -> None:
        self.positions, self.velocities, self.ids = self.positions[good], self.velocities[good], self.ids[good]

    def _refill(self, image: np.ndarray, allowed: np.ndarray | None) -> None:
        height, width = image.shape[:2]
        across, down = GRID if width >= height else GRID[::-1]
        per_cell = max(1, self.target // (across * down))
        distance = max(5, round(0.014 * max(height, width)))
        free = (
            np.full((height, width), 255, np.uint8) if allowed is None else np.where(allowed, 255, 0).astype(np.uint8)
        )
        for x, y in np.rint(self.positions).astype(int):
            cv2.circle(free, (int(x), int(y)), distance, 0, -1)
        cell_x = np.clip((self.positions[:, 0] * across / width).astype(int), 0, across - 1)
        cell_y = np.clip((self.positions[:, 1] * down / height).astype(int), 0, down - 1)
        counts = np.bincount(cell_y * across + cell_x, minlength=across * down)
        fresh = []
        for cell in range(across * down):
            missing = per_cell - counts[cell]
            # A handful of missing points is not worth a detection; cells are topped up when a quarter is gone.
            if missing < max(1, per_cell // 4):
                continue
            y, x = divmod(cell, across)
            rows = slice(y * height // down, (y + 1) * height // down)
            columns = slice(x * width // across, (x + 1) * width // across)
            if min(rows.stop - rows.start, columns.stop - columns.start) < 8:
                continue
            corners = cv2.goodFeaturesToTrack(
                image[rows, columns], int(missing), 0.008, distance, mask=free[rows, columns], blockSize=5
            )
            if corners is not None:
                fresh.append(corners.reshape(-1, 2) + np.float32([columns.start, rows.start]))
        if not fresh:
            return
        corners = np.concatenate(fresh).astype(np.float32)
        if min(height, width) > 20:
            corners = cv2.cornerSubPix(
                image, corners, (4, 4), (-1, -1), (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.01)
            )
        if allowed is not None:  # refining may have moved them
            column, row = np.clip(np.rint(corners).astype(int), 0, (width - 1, height - 1)).T
            corners = corners[allowed[row, column]]
        ids = np.arange(self.next_id, self.next_id + len(corners))
        self.next_id += len(corners)
        self.positions = np.concatenate([self.positions, corners])
        self.velocities = np.concatenate([self.velocities, np.zeros_like(corners)])
        self.ids = np.concatenate([self.ids, ids])

    def result(self) -> Observations:
        if not self.log:
            return Observations(np.zeros(0), np.zeros(0), np.zeros((0, 2)))
        frame = np.concatenate([np.full(len(ids), index, np.int32) for index, ids, _ in self.log])
        track = np.concatenate([ids for _, ids, _ in self.log])
        xy = np.concatenate([positions for _, _, positions in self.log]).astype(np.float64)
        long_enough = np.bincount(track, minlength=self.next_id) >= MIN_LENGTH
        keep = long_enough[track]
        number = np.cumsum(long_enough) - 1
        return Observations(frame[keep], number[track[keep]], xy[keep])


def _as_bright_as(image: np.ndarray, other: np.ndarray) -> np.ndarray:
    """image (h, w) uint8 with the mean and the contrast of another."""
    gain = float(other.std()) / max(float(image.std()), 1e-3)
    return np.clip((image.astype(np.float32) - image.mean()) * gain + other.mean(), 0, 255).astype(np.uint8)


def _first_in_pixel_blocks(positions: np.ndarray, size: int) -> np.ndarray:
    """Mask of the first position in each size x size block: tracks that ran into each other count once."""
    block = np.floor(positions / size).astype(np.int64)
    _, first = np.unique(block[:, 0] * (1 << 20) + block[:, 1], return_index=True)
    mask = np.zeros(len(positions), bool)
    mask[first] = True
    return mask

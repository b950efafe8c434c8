"""Which pixels of footage show what moves by itself: other frames see through the place where their points lie.

A point of a frame is put into the cameras of frames before and after it. Where one of those sees something farther
away in its direction, the point was not there at that time. How much farther is enough is asked of the two depth maps
themselves: most of both shows what stands, so their usual difference is noise. No single frame is believed, since its
depth may be wrong just there, and what other frames confirm stands.

What slides along its own surface or stands at either end of the shot is not told from what stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..reconstruction import View, depth_to_points
from .edges import depth_edges

REACH = 32  # views with depth, as far as others are asked
_WINDOW = 5  # px, over which depth is smoothed before it is compared
_SMALLEST = (2 * _WINDOW) ** 2  # px, of a connected region: smoothing makes spots as large as its window
_STRIDE = 2  # every other row and column is asked about and answers for its neighbours
_WITNESSES = 2  # frames that must see through a point, where there are so many
_FEWEST = 500  # points that two frames share, to know how well they agree
_FINEST = 0.01  # share of the depth; nearer to each other than that, maps are taken for equal
_JUMP = 0.03  # share of the depth by which it changes from pixel to pixel at an edge
_FEWEST_TRACKS = 3  # of one thing
_MOST = 2 / 3  # of the tracks around a place must move for it to do so
_SPREAD = 1.4826  # standard deviation of normal errors, by their median magnitude


@dataclass(frozen=True)
class DepthMap:
    """A solved view's depth, made ready to be compared.

    depth (h, w) float32: planar z, smoothed; 0 where unknown. nearest (h, w) float32: the smallest within 3 x 3;
    infinite where all is unknown. is_edge (h, w) bool: where it jumps.
    """

    view: View
    depth: np.ndarray
    nearest: np.ndarray
    is_edge: np.ndarray

    @classmethod
    def of(cls, view: View, depth: np.ndarray) -> DepthMap:
        """depth: (h, w) as in the job folder; what is 0, negative or not finite is unknown."""
        known = np.isfinite(depth) & (depth > 0)
        smooth = _smoothed(np.where(known, depth, 0).astype(np.float32), known)
        nearest = cv2.erode(np.where(known, smooth, np.float32(np.inf)), np.ones((3, 3), np.uint8))
        return cls(view, smooth, nearest, depth_edges(smooth, known, _JUMP))

    @property
    def size_bytes(self) -> int:
        """Memory that it takes."""
        return self.depth.nbytes + self.nearest.nbytes + self.is_edge.nbytes


def choose_witnesses(order: Sequence[int], place: int) -> list[int]:
    """Whom to ask about order[place]: those 1, 2, 4 ... REACH places before and after it in order (views by time).

    The near ones catch what is quick, the far ones what is slow or large.
    """
    spacings = [1 << power for power in range(REACH.bit_length())]
    places = [place + sign * spacing for spacing in spacings for sign in (-1, 1)]
    return [order[other] for other in places if 0 <= other < len(order)]


def find_moving(here: DepthMap, witnesses: Sequence[DepthMap], seeds: np.ndarray | None = None) -> np.ndarray:
    """(h, w) bool: pixels with depth that show what moves by itself, to a pixel or two.

    witnesses: the maps of choose_witnesses, of any size. seeds: (h, w) bool, what is known to move otherwise, such as
    from tracks (moving_region): it is taken in.
    """
    through, hinted, confirmed = _ask(here, witnesses)
    own = (slice(_STRIDE // 2, None, _STRIDE),) * 2  # the pixels that were asked about
    inner = (here.depth[own] > 0) & ~here.is_edge[own]
    sure = (through >= min(_WITNESSES, len(witnesses))) & (through >= confirmed)
    sure &= inner
    few = _whole_regions(sure, inner & (confirmed <= hinted), (hinted > 0) | (confirmed > 0))
    moving = _enlarged(few, here.depth.shape)
    return _with_edges(moving if seeds is None else moving | seeds, here)


def moving_region(xy: np.ndarray, moving: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(h, w) bool: where tracks tell that something moves.

    xy: (n, 2) places of a frame's tracks in pixels of a map of that shape; moving: (n,) bool. About a place those
    tracks are asked that lie within their usual distance from each other; single ones are not believed, since tracks
    that slip along an outline look as if they moved.
    """
    height, width = shape
    if np.count_nonzero(moving) < _FEWEST_TRACKS:
        return np.zeros(shape, bool)
    column, row = np.clip(xy.astype(np.int64), 0, (width - 1, height - 1)).T
    density = np.zeros((2, height, width), np.float32)
    np.add.at(density[0], (row, column), 1)
    np.add.at(density[1], (row, column), moving)
    spacing = float(np.sqrt(height * width / len(xy)))
    every, those = (cv2.GaussianBlur(tracks, (0, 0), spacing) for tracks in density)
    least = np.exp(-0.5) / (2 * np.pi * spacing**2)  # what a single track amounts to in that distance
    region = ((those > _MOST * every) & (every > least)).astype(np.uint8)
    count, label = cv2.connectedComponents(region, connectivity=4)
    good = np.bincount(label[row, column], moving, minlength=count) >= _FEWEST_TRACKS
    good[0] = False
    return good[label]


def _ask(here: DepthMap, witnesses: Sequence[DepthMap]) -> np.ndarray:
    """(3, h // 2, w // 2): how many witnesses see through each asked pixel's point; look as if they did, those
    included; confirm that it is there.
    """
    height, width = (size // _STRIDE for size in here.depth.shape)
    points, pixels = depth_to_points(here.view, here.depth, stride=_STRIDE)
    rows, columns = np.divmod(pixels, here.depth.shape[1])
    place = rows // _STRIDE * width + columns // _STRIDE
    votes = np.zeros((3, height * width), np.int8)
    for witness in witnesses:
        seen = _look(points, witness)
        if seen is None:
            continue
        index, beyond, clear, limit = seen
        asked = place[index]
        votes[0, asked] += clear > limit
        votes[1, asked] += clear > limit / 2
        votes[2, asked] += np.abs(beyond) < limit / 2
    return votes.reshape(3, height, width)


def _look(points: np.ndarray, witness: DepthMap) -> tuple[np.ndarray, np.ndarray, np.ndarray, float] | None:
    """World points (n, 3) float32 as a witness sees them; None where it shares too few to say anything.

    Returns (index of the points in its picture, how far beyond each it sees, the same for the nearest around that,
    and what cannot be noise), differences of the logarithm of the depth, without the two maps' difference in scale.
    """
    pose = witness.view.world_from_camera.astype(np.float32)
    local = (points - pose[:3, 3]) @ pose[:3, :3]
    height, width = witness.depth.shape
    places = witness.view.intrinsics.scaled_to(width, height).project(local)
    with np.errstate(invalid="ignore"):
        index = np.flatnonzero(((places >= 0) & (places < (width, height))).all(axis=-1))  # not what lies behind
    column, row = places[index].astype(np.int64).T
    known = witness.depth[row, column] > 0
    index, row, column = index[known], row[known], column[known]
    if len(index) < _FEWEST:
        return None
    depth = np.log(local[index, 2])
    beyond = np.log(witness.depth[row, column]) - depth
    scale = np.median(beyond)
    noise = _SPREAD * float(np.median(np.abs(beyond - scale)))
    limit = max(_FINEST, noise * np.sqrt(2 * np.log(len(index))))  # the largest of so many normal errors
    return index, beyond - scale, np.log(witness.nearest[row, column]) - depth - scale, limit


def _whole_regions(sure: np.ndarray, possible: np.ndarray, is_told: np.ndarray) -> np.ndarray:
    """Connected regions of what possibly moves, (h, w) bool, of which most surely does, as far as anything is told."""
    count, label = cv2.connectedComponents(possible.astype(np.uint8), connectivity=4)
    certain = np.bincount(label[sure], minlength=count)
    told = np.bincount(label[possible & is_told], minlength=count)
    good = (2 * certain >= told) & (certain * _STRIDE**2 >= _SMALLEST)
    good[0] = False  # the label of all that is not possible
    return good[label]


def _with_edges(moving: np.ndarray, here: DepthMap) -> np.ndarray:
    """With the depth edges around it, whose points float between it and what stands, and without its pinholes."""
    near = cv2.dilate(moving.astype(np.uint8), np.ones((_WINDOW, _WINDOW), np.uint8)) > 0
    moving = moving | (near & here.is_edge)
    closed = cv2.morphologyEx(moving.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0
    return closed & (here.depth > 0)


def _enlarged(few: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(h, w) bool from the pixels that were asked about."""
    whole = np.repeat(np.repeat(few, _STRIDE, axis=0), _STRIDE, axis=1)
    missing = [(0, size - have) for size, have in zip(shape, whole.shape, strict=True)]
    return np.pad(whole, missing, mode="edge")


def _smoothed(depth: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The median over the window where all of it is known, else the depth itself: edges stay where they are."""
    whole = cv2.erode(known.astype(np.uint8), np.ones((_WINDOW, _WINDOW), np.uint8)) > 0
    return np.where(whole, cv2.medianBlur(depth, _WINDOW), depth)

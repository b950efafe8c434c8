"""Which pixels of footage show what moves by itself: other frames see through the place where their points lie.

A point of a frame is put into the cameras of frames before and after it. Where one of those sees something farther
away in its direction, the point was not there at that time. How much farther is enough is asked of the two depth maps
themselves: most of both shows what stands, so their usual difference is noise. No single frame is believed, since its
depth may be wrong just there, and what other frames confirm stands.

What slides along its own surface all the time is not told from what stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..reconstruction import View, depth_to_points
from .edges import floating_strength

REACH = 32  # views with depth, as far as others are asked
_WINDOW = 5  # px, over which depth is smoothed before it is compared
_SMALLEST = (2 * _WINDOW) ** 2  # px, of a connected region: smoothing makes spots as large as its window
_STRIDE = 2  # every other row and column is asked about and answers for its neighbours
_WITNESSES = 2  # frames that must see through a point, where there are so many
_FEWEST = 500  # points that two frames share, to know how well they agree
_FINEST = 0.01  # share of the depth; nearer to each other than that, maps are taken for equal
_JUMP = 0.03  # share of the depth by which it jumps at an edge
_FEWEST_TRACKS = 3  # of one thing
_MOST = 2 / 3  # of the tracks around a place must move for it to do so
_SURE, _POSSIBLE, _TOLD, _DOUBTED, _ALONE = 1, 2, 4, 8, 16  # bits of what witnesses say
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
        return cls(view, smooth, nearest, floating_strength(smooth, known) > _JUMP)

    @property
    def size_bytes(self) -> int:
        """Memory that it takes."""
        return self.depth.nbytes + self.nearest.nbytes + self.is_edge.nbytes


Settled = tuple[DepthMap, np.ndarray]  # a map, and (h, w) bool what moves in it


def choose_witnesses(order: Sequence[int], place: int) -> tuple[list[int], list[int]]:
    """Whom to ask about order[place] (views by time): those 1, 2, 4 ... REACH places before it, and after it.

    The near ones catch what is quick, the far ones what is slow or large.
    """
    spacings = [1 << power for power in range(REACH.bit_length())]
    before = [order[place - spacing] for spacing in spacings if place >= spacing]
    return before, [order[place + spacing] for spacing in spacings if place + spacing < len(order)]


def gather(here: DepthMap, before: Sequence[DepthMap], after: Sequence[DepthMap]) -> np.ndarray:
    """(h // 2, w // 2) uint8: what witnesses say of every other pixel, for settle. They may be of any size.

    before, after: the nearest first. That what moves slowly still covers its place a few frames on says nothing: once
    a frame sees through it, only frames still farther away can confirm that it stands.
    """
    through, hinted, hidden, confirmed = _ask(here, before) + _ask(here, after)
    sure = (through >= min(_WITNESSES, max(1, len(before) + len(after)))) & (through >= confirmed)
    said = {
        _SURE: sure,
        _POSSIBLE: confirmed <= hinted,
        _TOLD: (hinted > 0) | (confirmed > 0),
        _DOUBTED: confirmed <= hinted + hidden,
        _ALONE: confirmed == 0,
    }
    return sum(flag * is_so.astype(np.uint8) for flag, is_so in said.items())


def settle(
    here: DepthMap, said: np.ndarray, moving: np.ndarray | None = None, neighbours: Sequence[Settled] = ()
) -> np.ndarray:
    """(h, w) bool: pixels with depth that show what moves by itself, to a pixel or two.

    said: what gather gave. moving: (h, w) bool, what is known to move otherwise, such as from tracks: it is taken in.
    neighbours: maps of the frames beside this one, each with what moves in it. What comes towards the camera hides
    where it was from all frames after, so that nobody sees through it there; but the frame after shows it nearly at
    the same place, and knows that it moves. To carry that over all of a shot takes one go forward and one backward.
    """
    own = (slice(_STRIDE // 2, None, _STRIDE),) * 2  # the pixels that were asked about
    inner = (here.depth[own] > 0) & ~here.is_edge[own]
    sure, possible = said & _SURE > 0, said & _POSSIBLE > 0
    for neighbour in neighbours:
        carried = _carried(here, said, *neighbour)
        sure, possible = sure | carried, possible | carried
    found = _enlarged(_whole_regions(sure & inner, possible & inner, said & _TOLD > 0), here.depth.shape)
    return _with_edges(found if moving is None else found | moving, here)


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
    """(4, h // 2, w // 2): how many witnesses see through each asked pixel's point; look as if they did, those
    included; see something before it; confirm that it is there.
    """
    points, place = _asked(here)
    height, width = (size // _STRIDE for size in here.depth.shape)
    votes = np.zeros((4, height * width), np.int8)
    for witness in witnesses:
        seen = _look(points, witness)
        if seen is None:
            continue
        index, _, beyond, clear, limit = seen
        asked = place[index]
        votes[0, asked] += clear > limit
        votes[1, asked] += clear > limit / 2
        votes[2, asked] += beyond < -limit / 2
        votes[3, asked] = np.where(clear > limit, 0, votes[3, asked] + (np.abs(beyond) < limit / 2))
    return votes.reshape(4, height, width)


def _carried(here: DepthMap, said: np.ndarray, neighbour: DepthMap, moving: np.ndarray) -> np.ndarray:
    """(h // 2, w // 2) bool: asked pixels, doubted by others, whose points lie on what moves in the neighbour.

    Where nobody at all confirms them it may be twice as far off: what comes near the camera is quick.
    """
    carried = np.zeros(said.shape, bool)
    points, place = _asked(here)
    seen = _look(points, neighbour) if moving.any() else None
    if seen is not None:
        index, pixel, beyond, _, limit = seen
        asked = said.reshape(-1)[place[index]]
        reach = np.where(asked & _ALONE > 0, 2 * limit, limit)
        is_there = moving.reshape(-1)[pixel] & (np.abs(beyond) < reach)
        carried.reshape(-1)[place[index]] = is_there & (asked & _DOUBTED > 0)
    return carried


def _asked(here: DepthMap) -> tuple[np.ndarray, np.ndarray]:
    """World points (n, 3) float32 of every other pixel, and their places (n,) in the flattened map of those."""
    width = here.depth.shape[1]
    points, pixels = depth_to_points(here.view, here.depth, stride=_STRIDE)
    rows, columns = np.divmod(pixels, width)
    return points, rows // _STRIDE * (width // _STRIDE) + columns // _STRIDE


def _look(points: np.ndarray, witness: DepthMap) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float] | None:
    """World points (n, 3) float32 as a witness sees them; None where it shares too few to say anything.

    Returns (index of the points in its picture; the pixels in its flattened map; how far beyond each it sees; the same
    for the nearest around that; what cannot be noise), differences of the logarithm of the depth, without the two
    maps' difference in scale.
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
    clear = np.log(witness.nearest[row, column]) - depth - scale
    return index, row * width + column, beyond - scale, clear, limit


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
    reach = np.ones((_WINDOW + 2, _WINDOW + 2), np.uint8)  # smoothing widens edges by half its window, and they by one
    near = cv2.dilate(moving.astype(np.uint8), reach) > 0
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

"""Which pixels of footage show what moves by itself: other frames see through the place where their points lie.

A point of a frame is put into the cameras of frames before and after it. Where one of those sees something farther
away in its direction, the point was not there at that time. How much farther is enough is asked of the two depth maps
themselves: most of both shows what stands, so their usual difference is noise. No single frame is believed, since its
depth may be wrong just there, and what other frames confirm stands.

Depth that was measured between frames knows no movement: a pixel of what moves has none, or that of what stands behind
it. The latter other frames confirm, but what they show there looks otherwise. Tracks tell the rest, and what depth and
looks confirm in many frames is not believed of them.

What slides along its own surface all the time is not told from what stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..reconstruction import View, depth_to_points
from .appearance import STRIDE, Appearance
from .edges import floating_strength
from .placed_tracks import PlacedTracks

REACH = 32  # views with depth, as far as others are asked
_WINDOW = 5  # px, over which depth is smoothed before it is compared
_SMALLEST = (2 * _WINDOW) ** 2  # px, of a connected region: smoothing makes spots as large as its window
_OWN = (slice(STRIDE // 2, None, STRIDE),) * 2  # the pixels that are asked about; they answer for their neighbours
_WITNESSES = 2  # frames that must see through a point, where there are so many
_FEWEST = 500  # points that two frames share, to know how well they agree
_FINEST = 0.01  # share of the depth; nearer to each other than that, maps are taken for equal
_JUMP = 0.03  # share of the depth by which it jumps at an edge
_ALIKE = 1.25  # scales of two pictures within this show the same detail: looks are compared over 4 or 5 pixels then
_SURE, _POSSIBLE, _TOLD, _DOUBTED, _ALONE, _STANDS = 1, 2, 4, 8, 16, 32  # bits of what witnesses say
_SPREAD = 1.4826  # standard deviation of normal errors, by their median magnitude


@dataclass(frozen=True)
class DepthMap:
    """A solved view's depth, made ready to be compared.

    depth (h, w) float32: planar z, smoothed; 0 where unknown. nearest (h, w) float32: the smallest within 3 x 3;
    infinite where all is unknown. is_edge (h, w) bool: where it jumps. points (n, 3) float32: of every other pixel
    with depth, in world axes; place (n,): where in the flattened map of those. looks: of the view's picture, tracks:
    that pass through it, None where there are none. by_tracks (h, w) bool: what moves if one believes them.
    """

    view: View
    depth: np.ndarray
    nearest: np.ndarray
    is_edge: np.ndarray
    points: np.ndarray
    place: np.ndarray
    looks: Appearance | None
    tracks: PlacedTracks | None
    by_tracks: np.ndarray

    @classmethod
    def of(
        cls, view: View, depth: np.ndarray, color: np.ndarray | None = None, tracks: PlacedTracks | None = None
    ) -> DepthMap:
        """depth: (h, w) as in the job folder; what is 0, negative or not finite is unknown. color: (h, w, 3) uint8."""
        known = np.isfinite(depth) & (depth > 0)
        smooth = _smoothed(np.where(known, depth, 0).astype(np.float32), known)
        nearest = cv2.erode(np.where(known, smooth, np.float32(np.inf)), np.ones((3, 3), np.uint8))
        is_edge = floating_strength(smooth, known) > _JUMP
        points, pixels = depth_to_points(view, smooth, stride=STRIDE)
        row, column = np.divmod(pixels, smooth.shape[1])
        place = row // STRIDE * (smooth.shape[1] // STRIDE) + column // STRIDE
        looks = None if color is None else Appearance.of(color)
        by_tracks = np.zeros(smooth.shape, bool) if tracks is None else tracks.region(smooth.shape)
        return cls(view, smooth, nearest, is_edge, points, place.astype(np.int32), looks, tracks, by_tracks)

    @property
    def size_bytes(self) -> int:
        """Memory that it takes."""
        maps = (self.depth, self.nearest, self.is_edge, self.points, self.place, self.by_tracks)
        return sum(array.nbytes for array in maps) + (self.looks.size_bytes if self.looks else 0)

    @property
    def few_shape(self) -> tuple[int, int]:
        """Of the map of every other pixel."""
        return self.depth.shape[0] // STRIDE, self.depth.shape[1] // STRIDE


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
    a frame sees through it, only frames still farther away can confirm that it stands. Looks that differ do not undo
    what nearer frames confirm by theirs.
    """
    denied, hinted, hidden, confirmed, alike, asked = _ask(here, before) + _ask(here, after)
    sure = (denied >= min(_WITNESSES, max(1, len(before) + len(after)))) & (denied >= confirmed)
    said = {
        _SURE: sure,
        _POSSIBLE: confirmed <= hinted,
        _TOLD: (hinted > 0) | (confirmed > 0),
        _DOUBTED: confirmed <= hinted + hidden,
        _ALONE: confirmed == 0,
        _STANDS: (alike >= _WITNESSES) & (alike > hinted) & (2 * (confirmed + hidden) >= asked),
    }
    return sum(flag * is_so.astype(np.uint8) for flag, is_so in said.items())


def settle(here: DepthMap, said: np.ndarray, neighbours: Sequence[Settled] = ()) -> np.ndarray:
    """(h, w) bool: pixels with depth that show what moves by itself, to a pixel or two.

    said: what gather gave. neighbours: maps of the frames beside this one, each with what moves in it. What comes
    towards the camera hides where it was from all frames after, so that nobody sees through it there; but the frame
    after shows it nearly at the same place, and knows that it moves. To carry that over all of a shot takes one go
    forward and one backward.
    """
    known, inner = here.depth[_OWN] > 0, ~here.is_edge[_OWN]
    moves = _by_tracks(here, said, known & inner)
    sure, possible, told = (moves | (said & flag > 0) for flag in (_SURE, _POSSIBLE, _TOLD))
    for neighbour in neighbours:
        carried = _carried(here, said, *neighbour)
        sure, possible = sure | carried, possible | carried
    found = _whole_regions(sure & known & inner, possible & known & inner, told, ~known)
    if here.tracks is not None:
        found = here.tracks.without_standing(found, STRIDE)
    return _with_edges(_enlarged(found | moves, here.depth.shape), here)


def _by_tracks(here: DepthMap, said: np.ndarray, sound: np.ndarray) -> np.ndarray:
    """(h // 2, w // 2) bool: asked pixels that move if one believes the tracks, but what witnesses have seen stand.

    Of a region in which most of the sound pixels stand, nothing is believed: those tracks slipped.
    """
    region, stands = here.by_tracks[_OWN], said & _STANDS > 0
    count, label = cv2.connectedComponents(region.astype(np.uint8), connectivity=4)
    standing, every = (
        np.bincount(label[those], minlength=count) for those in (region & sound & stands, region & sound)
    )
    good = 2 * standing <= every
    good[0] = False
    return good[label] & ~stands


def _ask(here: DepthMap, witnesses: Sequence[DepthMap]) -> np.ndarray:
    """(6, h // 2, w // 2): how many witnesses deny each asked pixel's point, since they see through it or see something
    of other looks there; nearly do so, those included; see something before it; confirm it; confirm it by its looks
    too; have it in their picture.
    """
    height, width = here.few_shape
    votes = np.zeros((6, height * width), np.int8)
    for witness in witnesses:
        seen = _look(here, witness)
        if seen is None:
            continue
        asked, there = here.place[seen.index], np.abs(seen.beyond) < seen.limit / 2
        unlike, is_told = _unlike(here, witness, seen, there)
        # What moves before the witness may have taken the depth of what it hides: its looks are no evidence.
        moves = witness.by_tracks.reshape(-1)[seen.pixel]
        through, other = seen.clear > seen.limit, (unlike > 1) & ~moves
        votes[0, asked] += through | other
        votes[1, asked] += (seen.clear > seen.limit / 2) | ((unlike > 0.5) & ~moves)
        votes[2, asked] += seen.beyond < -seen.limit / 2
        votes[3, asked] = np.where(through, 0, votes[3, asked] + (there & (unlike <= 0.5)))
        votes[4, asked] = np.where(through, 0, votes[4, asked] + (there & (unlike <= 0.5) & is_told))
        votes[5, here.place[seen.inside]] += 1
    return votes.reshape(6, height, width)


def _unlike(here: DepthMap, witness: DepthMap, seen: _Seen, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much the looks of what a witness sees at n points' places differ, and where that tells of a pattern, see
    Appearance.unlike; 0 where they cannot be compared: it sees something else there, or much larger or smaller.
    """
    unlike, is_told = np.zeros(len(there)), np.zeros(len(there), bool)
    if here.looks is None or witness.looks is None:
        return unlike, is_told
    row, column = np.divmod(seen.pixel, witness.depth.shape[1])
    scale = _focal_px(witness) / witness.depth[row, column]
    scale /= _focal_px(here) / here.depth[_OWN].reshape(-1)[here.place[seen.index]]
    alike = np.flatnonzero(there & (scale < _ALIKE) & (scale > 1 / _ALIKE))
    if len(alike) >= _FEWEST:
        place = here.place[seen.index[alike]]
        unlike[alike], is_told[alike] = here.looks.unlike(place, witness.looks, row[alike], column[alike])
    return unlike, is_told


def _focal_px(map_: DepthMap) -> float:
    """In pixels of the map."""
    lens = map_.view.intrinsics
    return lens.fx * map_.depth.shape[1] / lens.width


def _carried(here: DepthMap, said: np.ndarray, neighbour: DepthMap, moving: np.ndarray) -> np.ndarray:
    """(h // 2, w // 2) bool: asked pixels, doubted by others, whose points lie on what moves in the neighbour.

    Where nobody at all confirms them it may be twice as far off: what comes near the camera is quick.
    """
    carried = np.zeros(said.shape, bool)
    seen = _look(here, neighbour) if moving.any() else None
    if seen is not None:
        place = here.place[seen.index]
        asked = said.reshape(-1)[place]
        reach = np.where(asked & _ALONE > 0, 2 * seen.limit, seen.limit)
        is_there = moving.reshape(-1)[seen.pixel] & (np.abs(seen.beyond) < reach)
        carried.reshape(-1)[place] = is_there & (asked & _DOUBTED > 0)
    return carried


@dataclass(frozen=True)
class _Seen:
    """The asked points of a view as a witness sees them: differences of the logarithm of the depth, without the two
    maps' difference in scale.

    inside (m,): which of them are in its picture. index (n,): those of them where it knows depth; pixel (n,) in its
    flattened map; beyond (n,): how far beyond them it sees; clear (n,): the same for the nearest around that. limit:
    what cannot be noise.
    """

    inside: np.ndarray
    index: np.ndarray
    pixel: np.ndarray
    beyond: np.ndarray
    clear: np.ndarray
    limit: float


def _look(here: DepthMap, witness: DepthMap) -> _Seen | None:
    """None where the witness shares too few points to say anything."""
    pose = witness.view.world_from_camera.astype(np.float32)
    local = (here.points - pose[:3, 3]) @ pose[:3, :3]
    height, width = witness.depth.shape
    places = witness.view.intrinsics.scaled_to(width, height).project(local)
    with np.errstate(invalid="ignore"):
        inside = np.flatnonzero(((places >= 0) & (places < (width, height))).all(axis=-1))  # not what lies behind
    column, row = places[inside].astype(np.int64).T
    known = witness.depth[row, column] > 0
    index, row, column = inside[known], row[known], column[known]
    if len(index) < _FEWEST:
        return None
    depth = np.log(local[index, 2])
    beyond = np.log(witness.depth[row, column]) - depth
    scale = np.median(beyond)
    noise = _SPREAD * float(np.median(np.abs(beyond - scale)))
    limit = max(_FINEST, noise * np.sqrt(2 * np.log(len(index))))  # the largest of so many normal errors
    clear = np.log(witness.nearest[row, column]) - depth - scale
    return _Seen(inside, index, row * width + column, beyond - scale, clear, limit)


def _whole_regions(sure: np.ndarray, possible: np.ndarray, is_told: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """Connected regions of what possibly moves, (h, w) bool, of which most surely does, as far as anything is told.

    Measured depth of what moves is specks: those that are apart by a pixel or two without depth count as one for its
    size, not for what is told of it.
    """
    count, label = cv2.connectedComponents(possible.astype(np.uint8), connectivity=4)
    certain = np.bincount(label[sure], minlength=count)
    told = np.bincount(label[possible & is_told], minlength=count)
    good = (2 * certain >= told) & (certain > 0)
    good[0] = False  # the label of all that is not possible
    specks = good[label]
    near = cv2.dilate(specks.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    count, label = cv2.connectedComponents((specks | (unknown & near)).astype(np.uint8), connectivity=4)
    large = np.bincount(label[sure & specks], minlength=count) * STRIDE**2 >= _SMALLEST
    return specks & large[label]


def _with_edges(moving: np.ndarray, here: DepthMap) -> np.ndarray:
    """With the depth edges around it, whose points float between it and what stands, and without its pinholes."""
    reach = np.ones((_WINDOW + 2, _WINDOW + 2), np.uint8)  # smoothing widens edges by half its window, and they by one
    near = cv2.dilate(moving.astype(np.uint8), reach) > 0
    moving = moving | (near & here.is_edge)
    closed = cv2.morphologyEx(moving.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0
    return closed & (here.depth > 0)


def _enlarged(few: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(h, w) bool from the pixels that were asked about."""
    whole = np.repeat(np.repeat(few, STRIDE, axis=0), STRIDE, axis=1)
    missing = [(0, size - have) for size, have in zip(shape, whole.shape, strict=True)]
    return np.pad(whole, missing, mode="edge")


def _smoothed(depth: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The median over the window where all of it is known, else the depth itself: edges stay where they are."""
    whole = cv2.erode(known.astype(np.uint8), np.ones((_WINDOW, _WINDOW), np.uint8)) > 0
    return np.where(whole, cv2.medianBlur(depth, _WINDOW), depth)

"""Depth maps of several views asked of one another: what agrees is kept and averaged, the rest is dropped."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .depthmap import RawDepth
from .pictures import Picture

# Two maps agree on a point when its depths differ by less than this share.
TOLERANCE = np.float32(0.02)
# Pixels of movement per relative change of depth from which on the precision of matching is no limit.
FULL_PARALLAX = 15.0
SPECK_SIZE = 20  # pixels
HIDDEN_CONFIDENCE = 0.1


@dataclass(frozen=True)
class Vote:
    """What the partners' maps say of a depth map, (h, w) each.

    agree: how many place the surface there. against: how many look through that place onto something further away.
    asked: how many have the place in their picture. inverse: mean inverse depth of the map and those that agree.
    """

    agree: np.ndarray
    against: np.ndarray
    asked: np.ndarray
    inverse: np.ndarray


def fuse(own: Picture, raw: RawDepth, partners: list[tuple[Picture, RawDepth]]) -> tuple[np.ndarray, np.ndarray]:
    """Depth (h, w) float32, 0 = unknown, and confidence (h, w) float32 0..1 of a view, from its map and others'.

    Where the partners agree with one another on another surface than this view's own map, theirs is taken.
    """
    vote = count_votes(own, raw.inverse, partners)
    better = np.zeros(own.shape, dtype=bool)
    if len(partners) > 1:
        other = common_surface(own, partners)
        other_vote = count_votes(own, np.where(other > 0, other, raw.inverse), partners)
        better = (other > 0) & (other_vote.agree - other_vote.against > vote.agree - vote.against + 1)
        vote = Vote(
            np.where(better, other_vote.agree, vote.agree),
            np.where(better, other_vote.against, vote.against),
            np.where(better, other_vote.asked, vote.asked),
            np.where(better, other_vote.inverse, vote.inverse),
        )
    keep = (4 * vote.agree > vote.asked) & (vote.agree > vote.against) & (raw.found | better)
    depth = remove_specks(np.where(keep, 1 / cv2.medianBlur(vote.inverse, 3), 0).astype(np.float32))
    confidence = np.where(depth > 0, _confidence(vote, raw.parallax), 0).astype(np.float32)
    if len(partners) == 1:
        confidence[depth == 0] = HIDDEN_CONFIDENCE
        depth = extend_background(depth)
        confidence[depth == 0] = 0
    return depth, confidence


def remove_specks(depth: np.ndarray) -> np.ndarray:
    """Depth (h, w) float32 without islands of few pixels; 0 = unknown."""
    # Logarithm in steps of 0.1 %, so that the difference filterSpeckles allows is a share of the depth.
    known = depth > 0
    if not known.any():
        return depth
    level = np.log(np.where(known, depth, 1) / np.median(depth[known])) * 1000
    level = np.where(known, np.clip(level, -32000, 32000), -32768).astype(np.int16)
    cv2.filterSpeckles(level, -32768, SPECK_SIZE, round(2000 * float(TOLERANCE)))
    return np.where(level > -32768, depth, np.float32(0))


def extend_background(depth: np.ndarray) -> np.ndarray:
    """Fill what a pair of views cannot tell, since only one sees it: with the further of the surfaces on either side.

    depth: (h, w) float32, 0 = unknown. Sides are left and right or above and below, whichever are closer together.
    """
    filled, gaps = [], []
    for axis in (0, 1):
        before, steps_before = _last_known(depth, axis)
        after, steps_after = (np.flip(part, axis) for part in _last_known(np.flip(depth, axis), axis))
        filled.append(np.maximum(before, after))
        gaps.append(steps_before + steps_after)
    return np.where(depth > 0, depth, np.where(gaps[0] < gaps[1], *filled))


def _last_known(depth: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The last known value up to each pixel along an axis (0 = none), and how many steps ago (many where none)."""
    place = np.arange(depth.shape[axis]).reshape((-1, 1) if axis == 0 else (1, -1))
    last = np.maximum.accumulate(np.where(depth > 0, place, -1), axis=axis)
    value = np.where(last >= 0, np.take_along_axis(depth, np.maximum(last, 0), axis), 0)
    return value, np.where(last >= 0, place - last, max(depth.shape))


def _confidence(vote: Vote, parallax: np.ndarray) -> np.ndarray:
    """(h, w) 0..1, fitted so that of those above 0.5 more than nine in ten are right to TOLERANCE.

    How well the pictures match says nothing once the maps agree; how many agree, out of how many, and how far the
    point moves in the pictures does.
    """
    evidence = 1 - 0.4 ** np.maximum(vote.agree - 2.0 * vote.against, 0)
    share = vote.agree / np.maximum(vote.asked, 1)
    return evidence * share * np.clip(parallax / FULL_PARALLAX, 0.2, 1)


def count_votes(own: Picture, inverse: np.ndarray, partners: list[tuple[Picture, RawDepth]]) -> Vote:
    """Look every pixel's point up in the partners' maps."""
    agree = np.zeros(inverse.shape, dtype=np.int8)
    against = np.zeros(inverse.shape, dtype=np.int8)
    asked = np.zeros(inverse.shape, dtype=np.int8)
    total = inverse.copy()
    points = own.rays / inverse[..., None]
    for picture, raw in partners:
        x, y, z = _locate(points, own, picture)
        # The partner's inverse depth times the point's depth there: below 1 it sees past the point. 0 = not seen.
        ratio = cv2.remap(np.where(raw.found, raw.inverse, 0), x, y, cv2.INTER_NEAREST)
        ratio *= z
        fits = np.abs(ratio - 1) < TOLERANCE
        agree += fits
        asked += ratio > 0
        against += (ratio > 0) & (ratio < 1 - 2 * TOLERANCE)
        ratio *= inverse
        total += np.where(fits, ratio, 0)
    total /= agree + np.float32(1)
    return Vote(agree, against, asked, total)


def common_surface(own: Picture, partners: list[tuple[Picture, RawDepth]]) -> np.ndarray:
    """(h, w) inverse depth that most of the partners' maps, drawn into this view, agree on; 0 = none."""
    drawn = [_draw(own, picture, raw) for picture, raw in partners]
    best, votes = np.zeros(own.shape, dtype=np.float32), np.zeros(own.shape, dtype=np.int8)
    for guess in drawn:
        count = np.zeros(own.shape, dtype=np.int8)
        margin = TOLERANCE * guess
        for other in drawn:
            count += np.abs(other - guess) < margin
        more = count > votes
        best[more], votes[more] = guess[more], count[more]
    return best


def _draw(own: Picture, picture: Picture, raw: RawDepth) -> np.ndarray:
    """A partner's map seen from this view: (h, w) inverse depth of the nearest point in each pixel, 0 = none."""
    height, width = own.shape
    x, y, z = _locate(picture.rays / raw.inverse[..., None], picture, own)
    seen = raw.found & (x > -0.5) & (y > -0.5) & (x < width - 0.5) & (y < height - 0.5)
    index = np.rint(y[seen]).astype(np.int32) * width + np.rint(x[seen]).astype(np.int32)
    result = np.zeros(height * width, dtype=np.float32)
    np.maximum.at(result, index, 1 / z[seen])
    return result.reshape(height, width)


def _locate(points: np.ndarray, origin: Picture, target: Picture) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (h, w, 3) of origin's frame in the target: x and y for cv2.remap (outside where behind it), and depth."""
    move = (np.linalg.inv(target.world_from_camera) @ origin.world_from_camera).astype(np.float32)
    points = points @ move[:3, :3].T
    points += move[:3, 3]
    pixels = target.lens.project(points).astype(np.float32, copy=False)
    pixels -= np.float32(0.5)
    np.nan_to_num(pixels, copy=False, nan=-1e6)
    return np.ascontiguousarray(pixels[..., 0]), np.ascontiguousarray(pixels[..., 1]), points[..., 2]

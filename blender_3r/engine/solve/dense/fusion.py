"""Depth maps of several views asked of one another: what agrees is kept and averaged, the rest is dropped."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .depthmap import RawDepth
from .pictures import Picture

# Two maps agree on a point when its depths differ by less than this share.
TOLERANCE = np.float32(0.02)


@dataclass(frozen=True)
class Vote:
    """What the partners' maps say of a depth map, (h, w) each.

    agree: how many place the surface there. against: how many look through that place onto something further away.
    inverse: mean inverse depth of the map and those that agree.
    """

    agree: np.ndarray
    against: np.ndarray
    inverse: np.ndarray


def fuse(own: Picture, raw: RawDepth, partners: list[tuple[Picture, RawDepth]]) -> tuple[np.ndarray, np.ndarray]:
    """Depth (h, w) float32, 0 = unknown, and confidence (h, w) float32 0..1 of a view, from its map and others'.

    Where the partners agree with one another on another surface than this view's own map, theirs is taken.
    """
    vote = count_votes(own, raw.inverse, partners)
    if len(partners) > 1:
        other = common_surface(own, partners)
        other_vote = count_votes(own, np.where(other > 0, other, raw.inverse), partners)
        better = (other > 0) & (other_vote.agree - other_vote.against > vote.agree - vote.against + 1)
        vote = Vote(
            np.where(better, other_vote.agree, vote.agree),
            np.where(better, other_vote.against, vote.against),
            np.where(better, other_vote.inverse, vote.inverse),
        )
    confidence = confidence_of(vote, raw.match, len(partners))
    inverse = cv2.medianBlur(vote.inverse, 3)
    keep = (vote.agree >= 1) & (vote.agree > vote.against)
    depth = np.where(keep, 1 / inverse, 0).astype(np.float32)
    return depth, np.where(keep, confidence, 0).astype(np.float32)


def confidence_of(vote: Vote, match: np.ndarray, partners: int) -> np.ndarray:
    return np.clip((vote.agree - vote.against) / max(min(partners, 4), 1), 0, 1) * np.clip(match / 0.7, 0.2, 1)


def count_votes(own: Picture, inverse: np.ndarray, partners: list[tuple[Picture, RawDepth]]) -> Vote:
    """Look every pixel's point up in the partners' maps."""
    agree = np.zeros(inverse.shape, dtype=np.int8)
    against = np.zeros(inverse.shape, dtype=np.int8)
    total = inverse.copy()
    points = own.rays / inverse[..., None]
    for picture, raw in partners:
        x, y, z = _locate(points, own, picture)
        # The partner's inverse depth times the point's depth there: below 1 it sees past the point. 0 = not seen.
        ratio = cv2.remap(raw.inverse, x, y, cv2.INTER_NEAREST)
        ratio *= z
        fits = np.abs(ratio - 1) < TOLERANCE
        agree += fits
        against += (ratio > 0) & (ratio < 1 - 2 * TOLERANCE)
        ratio *= inverse
        total += np.where(fits, ratio, 0)
    total /= agree + np.float32(1)
    return Vote(agree, against, total)


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
    seen = (x > -0.5) & (y > -0.5) & (x < width - 0.5) & (y < height - 0.5)
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

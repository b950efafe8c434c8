"""What the graphics card holds of one object's points, in pieces that are made when they are first drawn."""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

import bpy
import gpu
import numpy as np

from ..scene import compat, dynamic
from ..scene.fast_display import is_drawn_by_processor
from ..scene.point_nodes import point_input, point_modifier
from ..scene.point_values import PointFilter, PointValues, display_colors, mean_depth, read_filter, read_values, shown
from .dots import draw_dots, make_dots

_PIECE = 1 << 15  # points; made in some 2 ms
_BY_PROCESSOR = 200_000  # points at a time, where there is no graphics card; drawn in some 0.04 s
_LOOKED_AT = 64  # points, to see whether they are still the same
_FEWEST = 1e-4  # density below which dots grow no further, as in point_nodes


@dataclass
class Piece:
    """Points from start to before stop, which show at the scene frames first to last; always without those.

    made_for: the filter that batch was made for. batch: None as long as none of the points shows.
    """

    start: int
    stop: int
    first: int | None = None
    last: int | None = None
    made_for: PointFilter | None = None
    batch: gpu.types.GPUBatch | None = None

    def is_at(self, now: int, trail: int) -> bool:
        """Whether its points show at frame now, or showed in the last trail frames."""
        return self.first is None or (self.first <= now and self.last >= now - trail)


class DrawnPoints:
    """The points of one object. block_uid: of the datablock that they are read from. is_sure: False where it may have
    changed since, which Blender also says of each change of a setting. is_outdated: they are to be read anew.

    share: of the points that a frame shows and filters leave, how many are drawn, as large as to close surfaces all the
    same: 1 where a graphics card draws. before: what was drawn of the object until now, and is as long as these points
    are not all there.
    """

    def __init__(self, points: bpy.types.Object, before: DrawnPoints | None = None) -> None:
        self.block_uid, self.is_sure, self.is_outdated = points.data.session_uid, True, False
        self._before = before._before or before if before is not None else None
        self.share = 1.0
        self._look = _look(points.data)
        self._reading = _read(points)
        self._values: PointValues | None = None
        self._pieces: list[Piece] = []
        self._mean: tuple[PointFilter, float] | None = None

    def is_of(self, points: bpy.types.Object) -> bool:
        """Whether these are still the points of that object: its datablock holds as many, and a few are the same."""
        if self.is_outdated or self.block_uid != points.data.session_uid:
            return False
        if not self.is_sure:
            self.is_sure = self._look == _look(points.data)
        return self.is_sure

    def draw(self, points: bpy.types.Object, context: bpy.types.Context, until: float) -> bool:
        """Draw what shows at the scene's frame into context's 3D view; returns whether all of it was there.

        Of points that are read, makes what is missing until the time until (of time.perf_counter), at least a piece.
        """
        frame, settings = context.scene.frame_current_final, read_filter(points)
        here = self._pieces_at(points, frame)
        made = self._make_missing(here, settings, until)
        is_complete = self.is_read and made == len(here)
        if is_complete:
            self._before = None
        elif self._before is not None:  # as many of its pieces give way as there are new ones
            there = self._before._pieces_at(points, frame)
            self._before._draw_pieces(there[len(there) * made // max(1, len(here)) :], settings, points, context)
        self._draw_pieces(here, settings, points, context)
        return is_complete

    @property
    def is_read(self) -> bool:
        """Whether the points were copied from their datablock."""
        return self._values is not None

    def read(self, until: float) -> None:
        """Go on copying until that time, at least a step."""
        while not self.is_read:
            try:
                next(self._reading)
            except StopIteration as end:
                self._values, self._pieces = end.value
                if is_drawn_by_processor():
                    self.share = min(1.0, _BY_PROCESSOR / max(1, _most_at_once(self._pieces)))
            if time.perf_counter() > until:
                break

    def _draw_pieces(
        self, pieces: list[Piece], settings: PointFilter, points: bpy.types.Object, context: bpy.types.Context
    ) -> None:
        density = max(settings.density * self.share, _FEWEST)
        scale = _point_size(points) * points.matrix_world.median_scale / density**0.5
        batches = [piece.batch for piece in pieces if piece.batch is not None]
        draw_dots(batches, context, points.matrix_world, scale)

    def _make_missing(self, pieces: list[Piece], settings: PointFilter, until: float) -> int:
        """Returns how many of pieces are there then."""
        missing = [piece for piece in pieces if piece.made_for != settings]
        made = len(pieces) - len(missing)
        for piece in missing:
            self._make(piece, settings)
            made += 1
            if time.perf_counter() > until:
                break
        return made

    def _mean_depth(self, settings: PointFilter) -> float:
        """Of all frames, so that colours of depth do not flicker; 0 where it is not asked for."""
        if settings.display != "Depth":
            return 0.0
        if self._mean is None or self._mean[0] != settings:
            self._mean = settings, mean_depth(self._values, settings)
        return self._mean[1]

    def _pieces_at(self, points: bpy.types.Object, frame: float) -> list[Piece]:
        modifier = dynamic.moving_modifier(points)
        if modifier is None:
            return self._pieces
        offset, trail = (compat.modifier_input(modifier, dynamic.moving_input(modifier, i)) for i, _ in dynamic.INPUTS)
        return [piece for piece in self._pieces if piece.is_at(math.floor(frame - offset), trail)]

    def _make(self, piece: Piece, settings: PointFilter) -> None:
        values = self._values.part(slice(piece.start, piece.stop))
        keep = shown(values, replace(settings, density=settings.density * self.share))
        values = values if keep.all() else values.part(keep)
        piece.made_for, piece.batch = settings, None
        if len(values):
            radius = values.pixel_footprint if values.pixel_footprint is not None else np.zeros(len(values), np.float32)
            color = display_colors(values, settings.display, self._mean_depth(settings))
            piece.batch = make_dots(values.position, color, radius)


def _look(block: bpy.types.Mesh | bpy.types.PointCloud) -> str:
    """How many points, which attributes, and a few points' places and colours; as words, which equal each other even
    where a place is no number.
    """
    place, color = block.attributes["position"].data, block.attributes.get("Col")
    few = range(0, len(place), max(1, len(place) // _LOOKED_AT))
    colors = [tuple(color.data[i].color) for i in few] if color is not None else []
    return repr((len(place), *block.attributes.keys(), *(tuple(place[i].vector) for i in few), *colors))


def _point_size(points: bpy.types.Object) -> float:
    modifier = point_modifier(points)
    return float(compat.modifier_input(modifier, point_input(modifier, "Point Size"))) if modifier is not None else 1.0


def _read(points: bpy.types.Object) -> Generator[None, None, tuple[PointValues, list[Piece]]]:
    """The points, in the order of their frames, and their pieces; in steps that each copy one array."""
    block = points.data
    values = yield from read_values(block)
    if not {dynamic.FIRST, dynamic.LAST} <= set(block.attributes.keys()):
        return values, list(_pieces(len(values)))
    frames = np.empty((2, len(values)), np.int32)
    for name, target in zip((dynamic.FIRST, dynamic.LAST), frames, strict=True):
        block.attributes[name].data.foreach_get("value", target)
    yield
    if np.any(frames[0, 1:] < frames[0, :-1]):
        order = np.argsort(frames[0], kind="stable")
        values, frames = values.part(order), frames[:, order]
    return values, list(_pieces_of_frames(frames))


def _most_at_once(pieces: list[Piece]) -> int:
    """How many points a frame shows at most, without a trail."""
    changes = Counter[float]()
    for piece in pieces:
        changes[-math.inf if piece.first is None else piece.first] += piece.stop - piece.start
        changes[math.inf if piece.last is None else piece.last + 1] -= piece.stop - piece.start
    return max(itertools.accumulate(changes[frame] for frame in sorted(changes)), default=0)


def _pieces_of_frames(frames: np.ndarray) -> Iterator[Piece]:
    changes = np.flatnonzero((frames[:, 1:] != frames[:, :-1]).any(axis=0)) + 1
    ends = [0, *changes.tolist(), frames.shape[1]]
    for start, stop in itertools.pairwise(ends):
        if stop > start:
            first, last = frames[:, start].tolist()
            yield from _pieces(stop, start, first, last)


def _pieces(stop: int, start: int = 0, first: int | None = None, last: int | None = None) -> Iterator[Piece]:
    for begin in range(start, stop, _PIECE):
        yield Piece(begin, min(begin + _PIECE, stop), first, last)

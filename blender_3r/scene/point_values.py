"""What the points' node groups decide, in NumPy, for who draws points without them: which show, and in which colour.

The twin of point_nodes and point_materials; a test holds them together in every Blender. Where a filter is added there,
it is added here.
"""

from __future__ import annotations

import colorsys
from collections.abc import Generator
from dataclasses import dataclass, fields

import bpy
import numpy as np
from mathutils import Matrix

from . import compat
from .cloud import linear_colors
from .point_materials import GOLDEN, RAMP
from .point_nodes import point_input, point_modifier
from .point_views import hidden_flags, views_of

_CODES = 1 << 16  # steps of the table from linear to sRGB, so that none of 8 bits' codes is missed
_SLICE = 1 << 18  # points whose colours are coded at once
_TOUCHED = 1 << 24  # bytes of an array
_MOST = 200_000  # points that a mean is taken of

# Attribute, the property that foreach_get reads, its type, and how many of it a point has.
_ATTRIBUTES = (
    ("position", "vector", np.float32, 3),
    ("confidence", "value", np.float32, 1),
    ("view", "value", np.int32, 1),
    ("pixel_footprint", "value", np.float32, 1),
    ("depth", "value", np.float32, 1),
    ("edge", "value", np.float32, 1),
    ("seen_by", "value", np.int8, 1),
    ("sky", "value", bool, 1),
)


@dataclass(frozen=True)
class PointFilter:
    """Settings of points that decide which of them show and in which colour; equal ones show the same.

    crop: what takes the points' space to the crop box's, row by row, or None. hidden: indices of hidden views.
    """

    display: str = "Color"
    density: float = 1.0
    min_confidence: float = 0.0
    hide_edges: float = 0.0
    min_views: int = 0
    max_depth: float = 0.0
    hide_sky: bool = False
    crop: tuple[float, ...] | None = None
    invert_crop: bool = False
    hidden: frozenset[int] = frozenset()


@dataclass(frozen=True)
class PointValues:
    """n points as their datablock holds them, in its space; attributes that it has not are None.

    position (n, 3), confidence, pixel_footprint, depth, edge (n,) float32; view (n,) int32; seen_by (n,) int8;
    sky (n,) bool; color (n, 4) uint8, sRGB as a screen shows it; chance (n,) float32 in 0..1: below the density, a
    point shows.
    """

    position: np.ndarray
    color: np.ndarray
    chance: np.ndarray
    confidence: np.ndarray | None = None
    view: np.ndarray | None = None
    pixel_footprint: np.ndarray | None = None
    depth: np.ndarray | None = None
    edge: np.ndarray | None = None
    seen_by: np.ndarray | None = None
    sky: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.position)

    def part(self, which: slice | np.ndarray) -> PointValues:
        """Those points: of a slice not copied, of a mask or of indices copied."""
        arrays = ((field.name, getattr(self, field.name)) for field in fields(self))
        return PointValues(**{name: None if a is None else a[which] for name, a in arrays})


def read_filter(points: bpy.types.Object) -> PointFilter:
    """The settings of the points' modifier; those of no filter where there is none."""
    modifier = point_modifier(points)
    if modifier is None:
        return PointFilter()

    def value(name: str) -> object:
        return compat.modifier_input(modifier, point_input(modifier, name))

    views = views_of(modifier, point_input(modifier, "Views"))
    hidden = np.flatnonzero(hidden_flags(views)).tolist() if views is not None else []
    return PointFilter(
        display=str(value("Display")),
        density=float(value("Density")),
        min_confidence=float(value("Min Confidence")),
        hide_edges=float(value("Hide Edges")),
        min_views=int(value("Min Views")),
        max_depth=float(value("Max Depth")),
        hide_sky=bool(value("Hide Sky")),
        crop=_crop_from_points(points, value("Crop Box")) if value("Crop") else None,
        invert_crop=bool(value("Invert Crop")),
        hidden=frozenset(hidden),
    )


def _crop_from_points(points: bpy.types.Object, box: bpy.types.Object | None) -> tuple[float, ...]:
    if box is None:  # as Object Info has it
        return tuple(np.eye(4).reshape(-1).tolist())
    local: Matrix = points.matrix_world.inverted_safe() @ box.matrix_world
    return tuple(number for row in local.inverted_safe() for number in row)


def read_values(block: bpy.types.Mesh | bpy.types.PointCloud) -> Generator[None, None, PointValues]:
    """What block holds, in steps of some 40 ms for ten million points; it must stay as it is between them."""
    arrays = {}
    for name, field, kind, width in _ATTRIBUTES:
        attribute = block.attributes.get(name)
        if attribute is not None:
            values = yield from _room(len(attribute.data) * width, kind)
            attribute.data.foreach_get(field, values)
            arrays[name] = values.reshape(-1, width) if width > 1 else values
            yield
    count = len(arrays["position"])
    chance = np.random.default_rng(0).random(count, np.float32)
    yield
    color = (yield from _room(4 * count, np.uint8, 255)).reshape(-1, 4)
    if "Col" in block.attributes:
        linear = yield from _room(4 * count, np.float32)
        block.attributes["Col"].data.foreach_get("color", linear)
        yield
        for start in range(0, count, _SLICE):
            color[start : start + _SLICE] = screen_colors(linear[4 * start : 4 * (start + _SLICE)].reshape(-1, 4))
            yield
    return PointValues(color=color, chance=chance, **arrays)


def _room(count: int, kind: type, value: int = 0) -> Generator[None, None, np.ndarray]:
    """An array filled in steps: the first touch of its memory can take ten times as long as what is copied there."""
    room = np.empty(count, kind)
    step = _TOUCHED // room.itemsize
    for start in range(0, count, step):
        room[start : start + step] = value
        yield
    return room


def shown(values: PointValues, settings: PointFilter) -> np.ndarray:
    """(n,) bool: which of values' points show. The chance of a point is its own, not the one that nodes throw."""
    keep = values.chance < settings.density if settings.density < 1.0 else np.ones(len(values), bool)
    confidence, depth = (np.float32(0.0) if a is None else a for a in (values.confidence, values.depth))
    keep &= confidence >= np.float32(settings.min_confidence)
    if values.edge is not None:
        keep &= values.edge <= np.float32(1.0) - np.float32(settings.hide_edges)
    if values.seen_by is not None:
        keep &= (values.seen_by == 0) | (values.seen_by >= settings.min_views)
    if settings.max_depth > 0:
        keep &= depth <= np.float32(settings.max_depth)
    if values.sky is not None and settings.hide_sky:
        keep &= ~values.sky
    if values.view is not None and settings.hidden:
        keep &= ~np.isin(values.view, list(settings.hidden))
    if settings.crop is not None:
        keep &= _in_crop(values.position, settings)
    return keep


def _in_crop(position: np.ndarray, settings: PointFilter) -> np.ndarray:
    box_from_points = np.array(settings.crop, np.float32).reshape(4, 4)
    local = position @ box_from_points[:3, :3].T + box_from_points[:3, 3]
    return (np.abs(local).max(axis=1) <= 1.0) ^ settings.invert_crop


def mean_depth(values: PointValues, settings: PointFilter) -> float:
    """Of the points that show, in scene units; of at most 200 000 of them. 0 where none shows or none knows it."""
    few = values.part(slice(None, None, max(1, len(values) // _MOST)))
    if few.depth is None:
        return 0.0
    chosen = few.depth[shown(few, settings)]
    return float(chosen.mean()) if len(chosen) else 0.0


def display_colors(values: PointValues, display: str, mean: float) -> np.ndarray:
    """(n, 4) uint8, sRGB: what a display of point_materials.DISPLAYS shows. mean: as of mean_depth, for Depth."""
    if display == "Confidence" and values.confidence is not None:
        return _ramp(values.confidence)
    if display == "View" and values.view is not None:
        return _view_colors(values.view)
    if display == "Depth" and values.depth is not None:
        return _ramp(1.0 - values.depth / np.float32(2.0 * mean) if mean > 0 else np.ones_like(values.depth))
    return values.color


def screen_colors(linear: np.ndarray) -> np.ndarray:
    """(n, 4) uint8 sRGB with alpha 255, of (n, >= 3) scene linear floats."""
    codes = np.full((len(linear), 4), 255, np.uint8)
    steps = (np.clip(linear[:, :3], 0.0, 1.0) * np.float32(_CODES - 1) + np.float32(0.5)).astype(np.uint16)
    codes[:, :3] = _SCREEN[steps]
    return codes


def _screen_table() -> np.ndarray:
    linear = np.arange(_CODES) / (_CODES - 1)
    codes = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(255 * codes).astype(np.uint8)


_SCREEN = _screen_table()


def _ramp(share: np.ndarray) -> np.ndarray:
    places = np.linspace(0.0, 1.0, len(RAMP))
    corners = linear_colors(np.array(RAMP, np.uint8))
    return screen_colors(np.stack([np.interp(share, places, corners[:, i]) for i in range(3)], axis=1))


def _view_colors(views: np.ndarray) -> np.ndarray:
    there, place = np.unique(views, return_inverse=True)
    linear = [colorsys.hsv_to_rgb(view * GOLDEN % 1.0, 0.7 if view >= 0 else 0.0, 0.8) for view in there.tolist()]
    return screen_colors(np.array(linear, np.float32).reshape(-1, 3))[place.reshape(-1)]

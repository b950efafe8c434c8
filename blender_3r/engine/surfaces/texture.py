"""One picture for a surface, composed of the original frames: every face as the frame shows it that sees it best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from ..errors import EngineError
from ..media.frames import FrameSource
from ..reconstruction import Reconstruction, View
from .atlas import PADDING, Patches, cut_patches, fit
from .mesh import Mesh, parts_of
from .sight import NO_VIEW, neighbours_of

_SHADES = 16  # per channel, of faces that no frame sees: they have one colour each
_CELL = 4  # texels a side for one such colour


@dataclass(frozen=True)
class Texture:
    """image (s, s, 3) uint8 sRGB. uv (m, 3, 2) float32 per corner of a face, (0, 0) at the lower left corner.

    views: how many frames it is composed of. scale: texels per pixel of a frame. unseen: share of faces that no frame
    shows, which have the colour of their vertices.
    """

    image: np.ndarray
    uv: np.ndarray
    views: int
    scale: float
    unseen: float


def check_footage(frames: FrameSource, result: Reconstruction, indices: list[int]) -> dict[int, int]:
    """Where the frames of the views with these indices are in frames. Raises EngineError("input") if one is missing."""
    position = {info.file: info for info in frames.infos}
    for index in indices:
        view = result.views[index]
        info = position.get(view.file)
        if info is None or (info.width, info.height) != (view.intrinsics.width, view.intrinsics.height):
            raise EngineError(
                "input",
                f"The footage no longer holds {view.file} as it was reconstructed.",
                "Put it back where it was, or make the surface without a texture.",
            )
    return {index: position[result.views[index].file].index for index in indices}


def bake(
    mesh: Mesh,
    seen_by: np.ndarray,
    views: list[View],
    read: Callable[[int], np.ndarray],
    size: int,
    check: Callable[[], None],
) -> Texture:
    """The texture of a coloured mesh, size texels a side.

    seen_by: (m,) which of views shows a face best, or NO_VIEW. read: the number of a view to its frame (h, w, 3) uint8.
    check: called for every frame, may raise. Raises EngineError("usage") when the texture is too small for the mesh.
    """
    corners = _corners_in_frames(mesh, seen_by, views)
    patches, owner = _patches(mesh, seen_by, corners)
    shade, palette = _palette(mesh, seen_by)
    columns = max(1, int(np.ceil(np.sqrt(len(palette)))))
    lenses = [view.intrinsics for view in views]
    full = np.array([(lens.width, lens.height) for lens in lenses], np.float64)[owner]

    def boxes(scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Texels per pixel (k, 2), first texel and size of the patches in their scaled frames; pixels are whole."""
        ratio = np.maximum(np.rint(full * scale), 1) / full
        first = np.floor(patches.low * ratio).astype(np.int64) - PADDING
        return ratio, first, np.ceil(patches.high * ratio).astype(np.int64) + PADDING - first

    def sizes(scale: float) -> np.ndarray:
        colors = [[_CELL * columns, _CELL * -(-len(palette) // columns)]]
        return np.concatenate([boxes(scale)[2], np.array(colors, np.int64)])

    found = fit(sizes, size)
    if found is None:
        raise EngineError(
            "usage",
            f"A texture of {size} texels a side is too small for {len(owner)} patches of surface.",
            "Ask for a larger texture, or for fewer faces.",
        )
    scale, places = found
    ratio, first, extent = boxes(scale)
    image = np.empty((size, size, 3), np.uint8)
    image[:] = mesh.color.mean(axis=0) if len(mesh.color) else 128
    for number in np.unique(owner):
        check()
        mine = np.flatnonzero(owner == number)
        _paste(image, read(int(number)), scale, places[mine], first[mine], extent[mine])
    uv = np.empty((len(mesh.faces), 3, 2), np.float64)
    seen = seen_by != NO_VIEW
    of = patches.patch
    uv[seen] = corners[seen] * ratio[of][:, None] - first[of][:, None] + places[of][:, None]
    cells = places[-1] + _CELL * np.stack([np.arange(len(palette)) % columns, np.arange(len(palette)) // columns], 1)
    for (x, y), color in zip(cells, palette, strict=True):
        image[y : y + _CELL, x : x + _CELL] = color
    uv[~seen] = (cells + _CELL / 2)[shade][:, None] if len(palette) else 0
    uv /= size
    uv[..., 1] = 1 - uv[..., 1]
    return Texture(image, uv.astype(np.float32), len(np.unique(owner)), scale, float((~seen).mean()))


def _corners_in_frames(mesh: Mesh, seen_by: np.ndarray, views: list[View]) -> np.ndarray:
    """(m, 3, 2) float64: places of corners in the frames of the faces' own views, in pixels; 0 without one."""
    corners = np.zeros((len(mesh.faces), 3, 2))
    for number in np.unique(seen_by[seen_by != NO_VIEW]):
        mine = np.flatnonzero(seen_by == number)
        camera = np.linalg.inv(views[number].world_from_camera)
        local = mesh.vertices[mesh.faces[mine]].astype(np.float64) @ camera[:3, :3].T + camera[:3, 3]
        corners[mine] = views[number].intrinsics.project(local)
    return corners


def _patches(mesh: Mesh, seen_by: np.ndarray, corners: np.ndarray) -> tuple[Patches, np.ndarray]:
    """Patches of the faces that are seen, in their order, and the view of each (k,)."""
    neighbours = neighbours_of(mesh)
    face, side = np.nonzero(neighbours >= 0)
    other = neighbours[face, side]
    same = seen_by[face] == seen_by[other]
    part = parts_of(len(mesh.faces), face[same], other[same])
    seen = seen_by != NO_VIEW
    patches = cut_patches(corners[seen], part[seen])
    owner = np.zeros(len(patches.low), np.int64)
    owner[patches.patch] = seen_by[seen]
    return patches, owner


def _palette(mesh: Mesh, seen_by: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(number of the colour of each face that no view sees, the colours (k, 3) uint8)."""
    colors = mesh.color[mesh.faces[seen_by == NO_VIEW]].astype(np.float32).mean(axis=1)
    level = (colors * (_SHADES / 256)).astype(np.int64)
    _, shade = np.unique(level @ (_SHADES**2, _SHADES, 1), return_inverse=True)
    count = np.maximum(np.bincount(shade), 1)
    palette = np.stack([np.bincount(shade, colors[:, channel]) / count for channel in range(3)], axis=1)
    return shade, np.rint(palette).astype(np.uint8)


def _paste(
    image: np.ndarray, frame: np.ndarray, scale: float, places: np.ndarray, first: np.ndarray, extent: np.ndarray
) -> None:
    """Boxes of a frame, scaled, into the texture; beyond the frame its border is repeated."""
    height, width = (max(1, round(length * scale)) for length in frame.shape[:2])
    if (height, width) != frame.shape[:2]:
        frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    for (x, y), (column, row), (wide, tall) in zip(places.tolist(), first.tolist(), extent.tolist(), strict=True):
        columns = np.clip(np.arange(column, column + wide), 0, width - 1)
        rows = np.clip(np.arange(row, row + tall), 0, height - 1)
        image[y : y + tall, x : x + wide] = frame[rows[:, None], columns]

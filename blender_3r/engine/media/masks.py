"""What of the frames is to be left alone: mattes of the user's, or the alpha channel of the footage.

A matte is white over what is left out (people, a screen, a logo), as it comes from rotoscoping; `invert` turns that
round. Alpha leaves out what is transparent.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from pathlib import Path

import cv2
import numpy as np

from ..errors import EngineError
from ..source import IMAGE_SUFFIXES, MOVIE_SUFFIXES, source_from_path
from .frames import FrameSource, open_source

ALPHA = "alpha"  # in place of a path: the alpha channel of the footage itself
HALF = 0.5  # of full white or full opacity
LEAST_SEEN = 0.01  # of a frame, below which the mask hides it
_KEPT = 64  # masks in memory
_SIDE = 1280  # px, the longer side of a mask in memory


class Masks:
    """Which pixels of each frame may be used. Safe to read from several threads.

    frames without a mask are used whole. warnings: sentences for the user. Raises EngineError("input") when there is
    nothing at the path, no mask belongs to any frame, or all are hidden whole.
    """

    def __init__(self, path: str, frames: FrameSource, invert: bool = False) -> None:
        self.warnings: list[str] = []
        self._invert = invert
        self._cache: OrderedDict[int, np.ndarray] = OrderedDict()
        self._movie: FrameSource | None = None
        self._alpha = path == ALPHA
        self._files = _alpha_files(frames) if self._alpha else self._matched(path, frames)
        without = len(frames) - len(self._files)
        if without:
            self.warnings.append(f"{without} of {len(frames)} frames have no mask and are used whole.")

    def allowed(self, index: int, shape: tuple[int, int], margin: int = 0) -> np.ndarray | None:
        """(h, w) bool at that size, true where frame `index` may be used; None where it has no mask.

        margin: so many pixels round what is left out are left out too. Raises EngineError("input") when the mask
        cannot be read.
        """
        if index not in self._files:
            return None
        seen = cv2.resize(self._read(index), shape[::-1], interpolation=cv2.INTER_AREA) >= 128
        if margin > 0 and not seen.all():
            kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
            seen = cv2.erode(seen.astype(np.uint8), kernel, borderType=cv2.BORDER_REPLICATE) > 0
        return seen

    def covered(self, index: int, xy: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """(n,) bool: which of the pixels xy (n, 2) of a width x height frame the mask leaves out."""
        if index not in self._files or len(xy) == 0:
            return np.zeros(len(xy), bool)
        mask = self._read(index)
        scaled = (xy * (np.array(mask.shape[::-1]) / size)).astype(int)
        column, row = np.clip(scaled, 0, np.array(mask.shape[::-1]) - 1).T
        return mask[row, column] < 128

    def require_something(self, frames: FrameSource) -> None:
        """Note the frames that are hidden whole. Raises EngineError("input") when hardly two frames are left."""
        hidden = [index for index in self._files if np.mean(self._read(index) >= 128) < LEAST_SEEN]
        if len(frames) - len(hidden) < min(2, len(frames)):
            raise EngineError(
                "input",
                f"The mask hides the whole picture in {len(hidden)} of {len(frames)} frames.",
                "White is left out; turn the mask round if it is white where the picture should be used.",
            )
        if hidden:
            self.warnings.append(f"The mask hides {len(hidden)} of {len(frames)} frames whole.")

    # -- inside

    def _read(self, index: int) -> np.ndarray:
        """(h, w) uint8, 255 where the frame may be used."""
        cached = self._cache.get(index)
        if cached is not None:
            return cached
        where = self._files[index]
        if self._movie is not None:
            value = self._movie.read(int(where), max_side=_SIDE, gray=True)
        else:
            value = _alpha_of(where) if self._alpha else _matte_of(where)
        scale = _SIDE / max(value.shape)
        if scale < 1:
            size = (max(1, round(value.shape[1] * scale)), max(1, round(value.shape[0] * scale)))
            value = cv2.resize(value, size, interpolation=cv2.INTER_AREA)
        used = value >= 255 * HALF
        if not self._alpha:
            used = ~used
        mask = np.where(used != self._invert, 255, 0).astype(np.uint8)
        self._cache[index] = mask
        while len(self._cache) > _KEPT:
            self._cache.popitem(last=False)
        return mask

    def _matched(self, path: str, frames: FrameSource) -> dict[int, str | int]:
        """{frame: file, or frame of the movie of masks}."""
        place = Path(path)
        if not place.exists():
            raise EngineError("input", f"There is no mask at {path}.", "Pick a folder of images, an image or a movie.")
        if place.suffix.lower() in MOVIE_SUFFIXES:
            self._movie = open_source(source_from_path(place))
            numbers = {info.frame: info.index for info in self._movie.infos}
            found = {info.index: numbers[info.frame] for info in frames.infos if info.frame in numbers}
            return found or _refuse(path)
        files = _images(place)
        if len(files) == 1 and place.is_file():
            return dict.fromkeys(range(len(frames)), files[0])
        return _by_name(files, frames) or _refuse(path)


def _refuse(path: str) -> dict[int, str | int]:
    raise EngineError(
        "input",
        f"No mask in {path} belongs to a frame of the footage.",
        "Number the masks as the frames are numbered (a movie counts from 0), or give them the photos' names.",
    )


def _images(place: Path) -> list[str]:
    """The images of a folder, or the sequence that one image stands for."""
    if place.is_file():
        return list(source_from_path(place).files)
    return sorted(str(file) for file in place.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)


def _by_name(files: list[str], frames: FrameSource) -> dict[int, str | int]:
    """By the frames' own names or by frame number (the last number in a mask's name), whichever matches more; by order
    where there is one for each frame and neither matches all.
    """
    stems = {Path(file).stem.lower(): file for file in files}
    names = {info.index: Path(info.file).stem.lower() for info in frames.infos}
    named = {index: stems[name] for index, name in names.items() if name in stems}
    numbers = {}
    for file in files:
        for digits in re.findall(r"\d+", Path(file).stem)[-1:]:
            numbers[int(digits)] = file
    numbered = {info.index: numbers[info.frame] for info in frames.infos if info.frame in numbers}
    if len(files) == len(frames) and len(numbered) < len(frames) > len(named):
        return dict(enumerate(files))  # one for each frame, but counted from elsewhere
    return named if len(named) >= len(numbered) else numbered


def _alpha_files(frames: FrameSource) -> dict[int, str | int]:
    files: dict[int, str | int] = dict(frames.files())
    if not files or _decoded(files[0]).ndim != 3 or _decoded(files[0]).shape[2] != 4:
        raise EngineError(
            "input",
            "The footage has no alpha channel that can be read.",
            "Give the mask as a sequence of images or as a movie.",
        )
    return files


def _decoded(file: str | int) -> np.ndarray:
    data = np.fromfile(os.fspath(str(file)), dtype=np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if image is None:
        raise EngineError("input", f"The mask {Path(str(file)).name} cannot be read.", "Write it as PNG.")
    return image


def _as_bytes(channel: np.ndarray) -> np.ndarray:
    if channel.dtype == np.uint8:
        return channel
    if channel.dtype == np.uint16:
        return (channel >> 8).astype(np.uint8)
    return np.clip(255 * np.nan_to_num(channel.astype(np.float32)), 0, 255).astype(np.uint8)


def _alpha_of(file: str | int) -> np.ndarray:
    image = _decoded(file)
    if image.ndim == 3 and image.shape[2] == 4:
        return _as_bytes(image[:, :, 3])
    return np.full(image.shape[:2], 255, np.uint8)


def _matte_of(file: str | int) -> np.ndarray:
    """The alpha channel where it says something, else the brightness."""
    image = _decoded(file)
    if image.ndim == 2:
        return _as_bytes(image)
    if image.shape[2] == 4:
        alpha = _as_bytes(image[:, :, 3])
        if alpha.min() < alpha.max():
            return alpha
    return cv2.cvtColor(_as_bytes(image[:, :, :3]), cv2.COLOR_BGR2GRAY)

"""Still images to frames: every depth and mode to 8-bit RGB, upright, with what EXIF knows of the lens."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from ..errors import EngineError
from ..source import Source
from .info import FrameInfo

MIN_SIDE = 32  # pixels; nothing can be matched in smaller images

_HEADER_READABLE = frozenset(".jpg .jpeg .png .bmp .webp .tga".split())
_TAIL = 1 << 16  # bytes
_DECODE_FLAGS = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR_BGR | cv2.IMREAD_IGNORE_ORIENTATION
_PILLOW_ERRORS = (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError)
_DIAGONAL_35MM = math.hypot(36.0, 24.0)
_MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}  # EXIF FocalPlaneResolutionUnit
# OpenCV and NumPy operations that undo EXIF orientations 2 to 8.
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: image.swapaxes(0, 1)[:, ::-1],
    7: lambda image: image.swapaxes(0, 1)[::-1, ::-1],
    8: lambda image: image.swapaxes(0, 1)[::-1],
}


@dataclass(frozen=True)
class ImageInfo:
    """What the header says, for the upright image. camera: make, model and focal of the taking camera, or ""."""

    width: int
    height: int
    focal_px: float | None = None
    camera: str = ""


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """The image as (h, w, 3) uint8 RGB, upright; 16-bit is scaled, float is taken as linear light, alpha dropped.

    Raises EngineError("input") when it cannot be decoded whole.
    """
    _check_whole(path)
    # Not cv2.imread: it fails on Windows for names outside the code page.
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise _cannot_open(path, error) from error
    image = cv2.imdecode(data, _DECODE_FLAGS) if data.size else None
    if image is None:
        image = _read_with_pillow(path)
    else:
        image = cv2.cvtColor(_to_8_bit(image), cv2.COLOR_BGR2RGB)
    # Both libraries turn TIFF files themselves, whatever they are asked.
    orientation = 1 if data[:2].tobytes() in (b"II", b"MM") else _orientation(_exif(path))
    upright = _UPRIGHT.get(orientation, lambda same: same)
    return np.ascontiguousarray(upright(image))


def image_info(path: str | os.PathLike[str]) -> ImageInfo:
    """Size and EXIF facts; decodes the picture only where its header cannot be trusted.

    Raises EngineError("input") when it is no readable image.
    """
    _check_whole(path)
    exif = _exif(path)
    if Path(path).suffix.lower() in _HEADER_READABLE:
        try:
            with Image.open(path) as image:
                width, height = image.size
        except _PILLOW_ERRORS as error:
            raise _unreadable(path) from error
        if _orientation(exif) >= 5:
            width, height = height, width
    else:
        height, width = read_image(path).shape[:2]
    return ImageInfo(width, height, exif_focal(exif, width, height), _camera_name(exif))


def exif_focal(exif: dict[int, Any], width: int, height: int) -> float | None:
    """Focal length in pixels of a width x height image from EXIF tags, or None where they say nothing sensible.

    The focal plane's resolution is exact where it is right; the 35 mm equivalent (by diagonal, rounded to whole mm)
    is what it must agree with where both are there.
    """
    stored = [_number(exif.get(tag)) for tag in (0xA002, 0xA003)]
    scale = 1.0
    if stored[0] and stored[1]:
        scale = max(width, height) / max(stored)
        # Cropped after it was taken: what the focal refers to is gone.
        if abs(min(width, height) / min(stored) / scale - 1) > 0.03:
            return None
    equivalent = _number(exif.get(0xA405))
    by_equivalent = equivalent * math.hypot(width, height) / _DIAGONAL_35MM if equivalent else None
    focal_mm, resolution = _number(exif.get(0x920A)), _number(exif.get(0xA20E))
    unit_mm = _MM_PER_UNIT.get(int(_number(exif.get(0xA210)) or 2))
    by_plane = focal_mm * resolution / unit_mm * scale if focal_mm and resolution and unit_mm else None
    plausible = [f for f in (by_plane, by_equivalent) if f and 0.25 <= f / max(width, height) <= 30]
    if by_plane in plausible and by_equivalent in plausible and abs(by_plane / by_equivalent - 1) > 0.15:
        return by_equivalent
    return plausible[0] if plausible else None


class ImageReader:
    """The frames of a "sequence" or "photos" source."""

    def __init__(self, source: Source, on_progress: Callable[[int, int], None] | None = None) -> None:
        self.kind = "video" if source.kind == "sequence" else "photos"
        self.fps = None
        self.warnings: list[str] = []
        self.infos: list[FrameInfo] = []
        self.paths: list[str] = []
        chosen = _chosen(source)
        folder = os.path.commonpath([os.path.dirname(file) for file, _ in chosen])
        failures: list[str] = []
        for done, (file, number) in enumerate(chosen):
            try:
                self._add(file, number, folder)
            except EngineError as error:
                failures.append(error.message)
            if on_progress is not None:
                on_progress(done + 1, len(chosen))
        self.warnings += [f"Left out: {failure}" for failure in failures[:5]]
        if len(failures) > 5:
            self.warnings.append(f"{len(failures) - 5} more images could not be used either.")
        if not self.infos:
            what = failures[0] if len(chosen) == 1 else f"None of the {len(chosen)} images can be used: {failures[0]}"
            raise EngineError("input", what, "Check the files; convert them to JPEG or PNG.")
        sizes = {(info.width, info.height) for info in self.infos}
        if self.kind == "video" and len(sizes) > 1:
            self.warnings.append(
                f"The images of the sequence have {len(sizes)} different sizes: are they photos rather than a sequence?"
            )

    def decode(self, index: int) -> np.ndarray:
        """Image at index (into infos) as (h, w, 3) uint8 RGB."""
        return read_image(self.paths[index])

    def close(self) -> None:
        """Images are open only while they are read."""

    def _add(self, file: str, number: int | None, folder: str) -> None:
        info = image_info(file)
        if min(info.width, info.height) < MIN_SIDE:
            raise EngineError("input", f"{Path(file).name} is only {info.width} x {info.height} pixels large.")
        name = Path(os.path.relpath(file, folder)).as_posix()
        camera = f"{info.camera} {info.width}x{info.height}".strip()
        self.paths.append(file)
        self.infos.append(FrameInfo(len(self.infos), name, number, info.width, info.height, info.focal_px, camera))


# -- inside


def _chosen(source: Source) -> list[tuple[str, int | None]]:
    """(file, frame number) of the range and step."""
    if source.kind != "sequence":
        return [(file, None) for file in source.files[:: source.step]]
    first = source.numbers[0] if source.first is None else source.first
    last = source.numbers[-1] if source.last is None else source.last
    pairs = [
        (f, n) for f, n in zip(source.files, source.numbers) if first <= n <= last and (n - first) % source.step == 0
    ]
    if not pairs:
        raise EngineError(
            "input",
            f"The sequence has no frame between {first} and {last}: its frames are {source.numbers[0]} to "
            f"{source.numbers[-1]}.",
            "Choose a range inside.",
        )
    return pairs


def _check_whole(path: str | os.PathLike[str]) -> None:
    """Refuse JPEG and PNG files that end early: decoders paint the rest grey without a word."""
    try:
        with open(path, "rb") as file:
            start = file.read(8)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            tail = file.read()
    except OSError as error:
        raise _cannot_open(path, error) from error
    is_jpeg, is_png = start[:2] == b"\xff\xd8", start == b"\x89PNG\r\n\x1a\n"
    # In small JPEG files the end mark may be the thumbnail's; large trailers (motion photos) push it out of the tail.
    in_doubt = (is_jpeg and (size <= _TAIL or b"\xff\xd9" not in tail)) or (is_png and b"IEND" not in tail)
    if not in_doubt:
        return
    try:
        with Image.open(path) as image:
            image.load()
    except _PILLOW_ERRORS as error:
        raise EngineError("input", f"{Path(path).name} is damaged: the file ends early.", "Copy it again.") from error


def _cannot_open(path: str | os.PathLike[str], error: OSError) -> EngineError:
    return EngineError("input", f"{Path(path).name} cannot be opened ({error.strerror or error}).", "Check the file.")


def _unreadable(path: str | os.PathLike[str]) -> EngineError:
    return EngineError("input", f"{Path(path).name} is no image that can be read.", "Convert it to JPEG or PNG.")


def _read_with_pillow(path: str | os.PathLike[str]) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except _PILLOW_ERRORS as error:
        raise _unreadable(path) from error


def _to_8_bit(image: np.ndarray) -> np.ndarray:
    if image.dtype == np.uint8:
        return image
    if image.dtype == np.uint16:
        return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    linear = np.clip(np.nan_to_num(image.astype(np.float32), nan=0.0, posinf=1.0, neginf=0.0), 0.0, 1.0)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.power(linear, 1 / 2.4) - 0.055)
    return np.round(encoded * 255).astype(np.uint8)


def _exif(path: str | os.PathLike[str]) -> dict[int, Any]:
    """All EXIF tags by number, empty where there are none or they are damaged."""
    try:
        with Image.open(path) as image:
            exif = image.getexif()
            return {**dict(exif), **dict(exif.get_ifd(0x8769))}
    except Exception:  # damaged EXIF raises almost anything, and it is only extra knowledge
        return {}


def _orientation(exif: dict[int, Any]) -> int:
    value = _number(exif.get(0x0112))
    return int(value) if value in range(1, 9) else 1


def _camera_name(exif: dict[int, Any]) -> str:
    words = [str(exif.get(tag) or "").strip(" \0") for tag in (0x010F, 0x0110)]
    focal = _number(exif.get(0x920A))
    return " ".join([*filter(None, words), *([f"{focal:g}mm"] if focal else [])])


def _number(value: Any) -> float | None:
    """A positive finite number, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) and number > 0 else None

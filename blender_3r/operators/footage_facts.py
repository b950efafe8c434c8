"""What the panel tells of the picked footage before anything is decoded. Of bpy it uses the translation only."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from bpy.app.translations import pgettext_iface as iface_

from ..engine.errors import EngineError
from ..engine.jobfolder import JobFolder
from ..engine.source import Source
from ..scene import exif

FEW_FRAMES = 10
SMALL_SIDE = 120
LOOKED_AT = 24  # images whose size is read: enough to notice mixed sizes, quick on a network drive
JPEG_BYTES = 1 << 18  # a header with a preview picture and colour profiles


@dataclass(frozen=True)
class MovieFacts:
    width: int
    height: int
    fps: float
    frames: int


@dataclass
class Footage:
    """kind: as Source. count: frames, photos or cameras. size: (width, height) or None. error: why it is no use."""

    kind: str = ""
    count: int = 0
    first: int = 1
    last: int = 1
    size: tuple[int, int] | None = None
    fps: float | None = None
    text: str = ""
    warnings: list[str] = field(default_factory=list)
    error: str = ""


def describe(
    source: Source, read_movie: Callable[[str], MovieFacts], read_size: Callable[[str], tuple[int, int]]
) -> Footage:
    """Count, size, fps and warnings of a source.

    read_movie, read_size: Blender's readers, for movies and for images whose header is not read here; they raise
    EngineError("input") for unreadable files.
    """
    if source.kind in ("movie", "rig"):
        return _describe_movies(source, read_movie)
    return _describe_images(source, read_size)


def image_size(path: str) -> tuple[int, int] | None:
    """(width, height) as shown, from the header of a PNG or JPEG (EXIF orientation applied); None for others."""
    try:
        with open(path, "rb") as file:
            head = file.read(26)
            if head[:8] == b"\x89PNG\r\n\x1a\n" and head[12:16] == b"IHDR":
                return struct.unpack(">II", head[16:24])
            if head[:2] != b"\xff\xd8":
                return None
            size = _jpeg_size(head + file.read(JPEG_BYTES))
    except (OSError, struct.error):
        return None
    return size[::-1] if size and exif.orientation(path) >= 5 else size


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], struct.unpack_from(">H", data, position + 2)[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, position + 5)
            return width, height
        position += 2 + length
    return None


def _describe_movies(source: Source, read_movie: Callable[[str], MovieFacts]) -> Footage:
    facts = [read_movie(file) for file in source.files]
    first = facts[0]
    size = f"{first.width} × {first.height}"
    footage = Footage(source.kind, size=(first.width, first.height), fps=first.fps, warnings=list(source.warnings))
    if source.kind == "movie":
        footage.count = footage.last = first.frames
        footage.text = ", ".join((_frames(first.frames), size, f"{first.fps:.4g} fps"))
        _warn_of_few(footage)
    else:
        footage.count = len(facts)
        footage.last = min(movie.frames for movie in facts)
        footage.text = ", ".join((iface_("{} cameras").format(len(facts)), size, f"{first.fps:.4g} fps"))
        if len({round(movie.fps, 2) for movie in facts}) > 1:
            footage.warnings.append("The movies differ in frame rate: are they from the same take?")
    _warn_of_size(footage)
    return footage


def _describe_images(source: Source, read_size: Callable[[str], tuple[int, int]]) -> Footage:
    files = source.files
    stride = max(1, len(files) // LOOKED_AT)
    sizes = []
    for index, file in enumerate(files[::stride]):
        size = image_size(file)
        if size is None and index == 0:  # other formats: Blender has to read the picture, so only the first
            size = read_size(file)
        if size is not None:
            sizes.append(size)
    footage = Footage(source.kind, len(files), size=sizes[0], warnings=list(source.warnings))
    shown = f"{sizes[0][0]} × {sizes[0][1]}"
    if source.kind == "sequence":
        footage.first, footage.last = source.numbers[0], source.numbers[-1]
        numbers = iface_("{} to {}").format(footage.first, footage.last)
        footage.text = f"{_frames(len(files))} ({numbers}), {shown}"
        _warn_of_few(footage)
    else:
        count = iface_("1 photo") if len(files) == 1 else iface_("{} photos").format(len(files))
        footage.text = f"{count}, {shown}"
        if len(files) == 1:
            footage.warnings.append("One image shows no depth by itself.")
    if len(set(sizes)) > 1:
        footage.text = iface_("{} and others").format(footage.text)
        if source.kind == "sequence":
            footage.warnings.append("The images differ in size: are they photos rather than a sequence?")
    _warn_of_size(footage)
    return footage


def _warn_of_few(footage: Footage) -> None:
    if footage.count == 1:
        footage.warnings.append("A single frame shows no depth by itself.")
    elif footage.count < FEW_FRAMES:
        warning = iface_("Only {} frames: the camera must move enough between them.")
        footage.warnings.append(warning.format(footage.count))


def _warn_of_size(footage: Footage) -> None:
    if footage.size and min(footage.size) < SMALL_SIDE:
        footage.warnings.append("The picture is very small: expect a rough result.")


def used_frames(source: Source, footage: Footage) -> int:
    """How many frames the range and step of the source leave."""
    if source.kind == "sequence":
        low = source.numbers[0] if source.first is None else source.first
        high = source.numbers[-1] if source.last is None else source.last
        return len([number for number in source.numbers if low <= number <= high][:: source.step])
    if source.kind == "movie":
        low = source.first or 0
        high = footage.count - 1 if source.last is None else min(source.last, footage.count - 1)
        return len(range(low, high + 1, source.step))
    return len(source.files[:: source.step]) if source.kind == "photos" else footage.count


def job_folder(base: Path, source: Source, taken: Collection[Path] = ()) -> Path:
    """A folder for the source's job below base: named after it, and not one that holds other footage's job.

    taken: folders of jobs that are on their way.
    """
    name = "".join(c if c.isalnum() or c in "-_. " else "_" for c in source.name).strip(" .") or "job"
    for number in range(1, 1000):
        folder = base / (name if number == 1 else f"{name}_{number}")
        if folder not in taken and _may_hold(folder, source):
            return folder
    raise EngineError("machine", f"{base} is full of jobs called {name}.", "Remove old ones.")


def _may_hold(folder: Path, source: Source) -> bool:
    if not folder.exists():
        return True
    try:
        request = JobFolder(folder).read_json("request")
        if request is None:  # a job that ended before it began, or somebody's own folder
            return folder.is_dir() and {entry.name for entry in folder.iterdir()} <= {"log.txt", "views", ".lock"}
    except (EngineError, OSError):
        return False  # damaged or not readable: leave it alone
    return list(request.get("source", {}).get("files", ())) == list(source.files)


def _frames(number: int) -> str:
    return iface_("1 frame") if number == 1 else iface_("{} frames").format(number)

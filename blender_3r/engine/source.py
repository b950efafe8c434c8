"""What the user picked, before anything is decoded: a movie, a numbered sequence, a set of photos, a rig of movies.

Read by both sides (names and numbers only): standard library, nothing else.

Names alone cannot tell every video sequence from a photo set, so `source_from_path` follows rules a user can foresee,
and `kind` overrides them:

* a movie is a movie; several movies, or a folder of movies, are a rig (one camera each);
* one numbered image picked by itself stands for the whole sequence it belongs to;
* a folder of images (or several picked images) is a sequence when it looks like rendered or extracted video: every
  name is one stem plus a number, at least SEQUENCE_LENGTH of them, counting in equal steps without a gap, and neither
  the name (IMG_, DSC, ...) nor an EXIF header says that a stills camera wrote them. Otherwise it is photos.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from .errors import EngineError

MOVIE_SUFFIXES = frozenset(".mp4 .mov .m4v .avi .mkv .webm .mpg .mpeg .mts .m2ts .mxf .ogv .wmv".split())
IMAGE_SUFFIXES = frozenset(".jpg .jpeg .png .tif .tiff .bmp .webp .exr .dpx .hdr .jp2 .tga".split())
KINDS = ("movie", "sequence", "photos", "rig")

SEQUENCE_LENGTH = 24  # one second of film: fewer images in a folder are taken as photos
_LARGEST_STEP = 10  # every 10th frame still is a sequence; wider steps and date stamps are photos
_FOLDER_NAMES = frozenset("images image frames photos pictures img imgs rgb color input".split())
# Cameras write capitals; "img_0001.png" is what video extractors are often told to write.
_STILLS_CAMERA = re.compile(r"_?(IMG|DSC[FN]?|MG|DJI|PXL|GOPR|P\d{3}|SAM|CIMG|DCIM)[-_ ]*(\d+[-_ ]*)*$")


@dataclass(frozen=True)
class Source:
    """kind: one of KINDS. files: the movie; or the images in order; or one movie per camera.

    numbers: the frame number of each file of a sequence (gaps kept), else empty. first, last: inclusive range in the
    source's own frame numbers (a movie counts from 0), None = open. step: take every n-th frame. rig_frame: the frame
    taken from each movie of a rig.
    """

    kind: str
    files: tuple[str, ...]
    numbers: tuple[int, ...] = ()
    first: int | None = None
    last: int | None = None
    step: int = 1
    rig_frame: int = 0
    warnings: tuple[str, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        """A short name for collections and folders: the movie's or sequence's stem, the photos' folder."""
        first = Path(self.files[0])
        if self.kind == "movie":
            return first.stem
        if self.kind == "sequence":
            stem = re.sub(r"[\W_]*\d+$", "", first.stem)
            if stem:
                return stem
        folder = first.parent
        if folder.name.lower() in _FOLDER_NAMES and folder.parent.name:
            folder = folder.parent
        return folder.name or self.kind

    @property
    def is_video(self) -> bool:
        """One camera over time, as against separate cameras."""
        return self.kind in ("movie", "sequence")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Source:
        """Raises EngineError("usage") when the form is wrong."""
        try:
            values = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
            for name in ("files", "numbers", "warnings"):
                values[name] = tuple(values.get(name) or ())
            source = cls(**values)
        except (TypeError, KeyError) as error:
            raise EngineError("usage", f"The request does not describe a source ({error}).") from error
        if not source._is_sound():
            raise EngineError("usage", "The request does not describe a source.", "Pick footage again.")
        return source

    def _is_sound(self) -> bool:
        return (
            self.kind in KINDS
            and len(self.files) > 0
            and all(isinstance(file, str) for file in self.files)
            and all(isinstance(number, int) for number in (*self.numbers, self.step, self.rig_frame))
            and all(number is None or isinstance(number, int) for number in (self.first, self.last))
            and (self.kind != "sequence" or len(self.numbers) == len(self.files))
            and self.step >= 1
        )


def source_from_path(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    kind: str | None = None,
    first: int | None = None,
    last: int | None = None,
    step: int = 1,
    rig_frame: int | None = None,
) -> Source:
    """The source a user means by a path, or by several: see the rules at the top of this module.

    path: a movie, an image, a folder, or a list of movies or images. kind: one of KINDS to override the rules.
    first, last, step: frames to take, in the source's own numbers. rig_frame: the frame taken from every movie
    of a rig. Reads names (and the first bytes of one JPEG file), decodes nothing. File names become absolute.
    Raises EngineError("input") when there is no footage there, "usage" when the wishes contradict each other.
    """
    paths = [path] if isinstance(path, str | os.PathLike) else list(path)
    if not paths or not all(os.fspath(p) for p in paths):
        raise EngineError("input", "No footage is picked.", "Pick a movie, an image sequence or a folder of photos.")
    _check_wishes(kind, first, last, step)
    files = _footage_files([Path(os.path.abspath(os.fspath(p))) for p in paths])
    movies = [file for file in files if file.suffix.lower() in MOVIE_SUFFIXES]
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    warnings: list[str] = []
    if movies and images:
        if len(paths) > 1:
            raise EngineError("input", "Movies and images are picked together.", "Pick either movies or images.")
        warnings.append(f"The folder also holds {_count(len(movies), 'movie')}, which are left out.")
        movies = []
    if movies:
        made = _movie_source(movies, kind, rig_frame)
    else:
        alone = len(paths) == 1 and not Path(paths[0]).is_dir()
        made = _sequence_of(images[0], kind) if alone else _images_source(images, kind)
    if made.kind in ("photos", "rig") and (first is not None or last is not None):
        first = last = None
        warnings.append("First and last frame apply to movies and image sequences only and are left out.")
    return Source(
        kind=made.kind,
        files=made.files,
        numbers=made.numbers,
        first=first,
        last=last,
        step=step,
        rig_frame=rig_frame or 0,
        warnings=made.warnings + tuple(warnings),
    )


# -- inside


def _check_wishes(kind: str | None, first: int | None, last: int | None, step: int) -> None:
    if kind is not None and kind not in KINDS:
        raise EngineError("usage", f"There is no kind of source called {kind!r}.", f"Choose one of {', '.join(KINDS)}.")
    if step < 1:
        raise EngineError(
            "usage", f"A step of {step} frames is not possible.", "Use 1 for every frame, 2 for every other."
        )
    if last is not None and last < 0:
        raise EngineError("usage", f"There is no frame {last}.", "Frames of a movie count from 0.")
    if first is not None and last is not None and last < first:
        raise EngineError("usage", f"The last frame ({last}) lies before the first ({first}).", "Swap the two.")


def _footage_files(paths: list[Path]) -> list[Path]:
    """Every movie and image meant by paths: the paths themselves, or what lies in the one folder."""
    for path in paths:
        if not path.exists():
            raise EngineError("input", f"{path} does not exist.", "Check the path, or pick the footage again.")
    folders = [path for path in paths if path.is_dir()]
    if folders and len(paths) > 1:
        raise EngineError("input", "Several folders are picked.", "Pick one folder, or several files.")
    if folders:
        return _folder_files(folders[0])
    for path in paths:
        if path.suffix.lower() not in MOVIE_SUFFIXES | IMAGE_SUFFIXES:
            raise EngineError(
                "input",
                f"{path.name} is neither a movie nor an image of a known type.",
                "Convert it to MP4, or to JPEG, PNG or EXR images (HEIC photos to JPEG).",
            )
    return sorted(paths, key=_natural_key) if len(paths) > 1 else paths


def _folder_files(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.iterdir(), key=_natural_key)
    except OSError as error:
        raise EngineError(
            "input", f"{folder} cannot be opened ({error.strerror}).", "Check its permissions."
        ) from error
    # macOS leaves "._name" twins that are no images.
    entries = [entry for entry in entries if not entry.name.startswith(".")]
    known = MOVIE_SUFFIXES | IMAGE_SUFFIXES
    files = [entry for entry in entries if entry.suffix.lower() in known and entry.is_file()]
    if files:
        return files
    inside = next((file for file in folder.glob("*/*") if file.suffix.lower() in known), None)
    if inside is not None:
        hint = f"Did you mean {inside.parent}?"
    else:
        hint = "Pick a folder that holds JPEG, PNG, TIFF or EXR images, or movies."
    raise EngineError("input", f"There are no images or movies in {folder}.", hint)


def _movie_source(movies: list[Path], kind: str | None, rig_frame: int | None) -> Source:
    if kind in ("sequence", "photos"):
        raise EngineError(
            "usage", f"{movies[0].name} is a movie, not {kind}.", "Leave the kind of source to automatic."
        )
    if kind is None:
        kind = "rig" if len(movies) > 1 else "movie"
    if kind == "movie" and len(movies) > 1:
        raise EngineError("usage", f"{len(movies)} movies are picked, not one.", "Pick one movie, or the kind rig.")
    if kind == "rig" and len(movies) < 2:
        raise EngineError(
            "input", "A rig needs at least two movies, one per camera.", "Pick the movies of all cameras."
        )
    if rig_frame is not None and rig_frame < 0:
        raise EngineError("usage", f"A movie has no frame {rig_frame}.", "Frames count from 0.")
    return Source(kind, tuple(map(str, movies)))


def _images_source(images: list[Path], kind: str | None) -> Source:
    """Several images, all picked or all of a folder."""
    _refuse_movie_kinds(kind, images[0])
    if kind == "photos":
        return Source("photos", tuple(map(str, images)))
    groups: dict[tuple[str, str, str], dict[int, Path]] = {}
    for image in images:
        for match in list(re.finditer(r"\d+", image.stem))[-1:]:
            groups.setdefault(_group_key(image, match), {}).setdefault(int(match.group()), image)
    largest = max(groups, key=lambda key: len(groups[key]), default=None)
    if kind == "sequence":
        if largest is None:
            raise EngineError(
                "input", "The file names carry no frame numbers.", "Pick them as photos, or number them: shot_0001.png."
            )
        return _numbered(groups[largest], left_out=len(images) - len(groups[largest]))
    if largest is not None and _looks_like_video(groups[largest], len(images), largest[0]):
        return _numbered(groups[largest])
    return Source("photos", tuple(map(str, images)))


def _sequence_of(image: Path, kind: str | None) -> Source:
    """The sequence one picked image stands for; the image alone when it has no numbered siblings."""
    _refuse_movie_kinds(kind, image)
    siblings = [
        file
        for file in _folder_files(image.parent)
        if file.suffix.lower() == image.suffix.lower() and file.suffix.lower() in IMAGE_SUFFIXES
    ]
    if kind == "photos":
        return Source("photos", (str(image),))
    best: dict[int, Path] = {}
    # "shot_0001_v2.png" has two numbers: the frame is the one that most siblings vary in; the last one where equal.
    for match in reversed(list(re.finditer(r"\d+", image.stem))):
        key = _group_key(image, match)
        group: dict[int, Path] = {int(match.group()): image}
        for file in siblings:
            number = _number_in_group(file, key)
            if number is not None:
                group.setdefault(number, file)
        if len(group) > len(best):
            best = group
    spread = max(best, default=0) - min(best, default=0)
    if kind == "sequence" and not best:
        raise EngineError("input", f"{image.name} carries no frame number.", "Pick it as a photo.")
    if kind is None and (len(best) < 2 or spread > _LARGEST_STEP * len(best)):
        return Source("photos", (str(image),))
    return _numbered(best)


def _refuse_movie_kinds(kind: str | None, image: Path) -> None:
    if kind in ("movie", "rig"):
        raise EngineError("usage", f"{image.name} is an image, not a movie.", "Leave the kind of source to automatic.")


def _group_key(image: Path, match: re.Match[str]) -> tuple[str, str, str]:
    """What the names of a sequence share: before the number, after it, suffix."""
    return image.stem[: match.start()], image.stem[match.end() :], image.suffix.lower()


def _number_in_group(file: Path, key: tuple[str, str, str]) -> int | None:
    before, after, _ = key
    middle = file.stem[len(before) : len(file.stem) - len(after)]
    same = file.stem.startswith(before) and file.stem.endswith(after) and middle.isascii() and middle.isdigit()
    return int(middle) if same else None


def _looks_like_video(group: dict[int, Path], total: int, stem: str) -> bool:
    numbers = sorted(group)
    steps = {b - a for a, b in pairwise(numbers)}
    counts_evenly = len(steps) == 1 and max(steps) <= _LARGEST_STEP
    return (
        len(group) == total
        and total >= SEQUENCE_LENGTH
        and counts_evenly
        and not _STILLS_CAMERA.match(stem)
        and not _has_exif(group[numbers[0]])
    )


def _has_exif(file: Path) -> bool:
    """Whether a JPEG starts with an EXIF header, as cameras write it and video extractors do not."""
    if file.suffix.lower() not in (".jpg", ".jpeg"):
        return False
    try:
        with open(file, "rb") as stream:
            return b"Exif\0\0" in stream.read(64)
    except OSError:
        return False


def _numbered(group: dict[int, Path], left_out: int = 0) -> Source:
    numbers = tuple(sorted(group))
    warnings = []
    if left_out:
        warnings.append(f"{left_out} other images in the folder do not belong to the sequence and are left out.")
    usual = Counter(b - a for a, b in pairwise(numbers)).most_common(1)
    if usual:
        missing = sum((b - a) // usual[0][0] - 1 for a, b in pairwise(numbers) if b - a > usual[0][0])
        if missing:
            warnings.append(f"{missing} frames are missing between {numbers[0]} and {numbers[-1]}; the gaps are kept.")
    return Source("sequence", tuple(str(group[n]) for n in numbers), numbers, warnings=tuple(warnings))


def _natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Order of names as people count: img_2 before img_10."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")

"""Pick footage: the file browser, and what the panel tells of the choice."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import bpy

from ..engine.errors import EngineError
from ..engine.source import MOVIE_SUFFIXES, Source, source_from_path
from .footage_facts import Footage, MovieFacts, describe, used_frames

if TYPE_CHECKING:
    from ..properties import THREER_PG_settings

_LONGEST_PATH = 1024  # bytes, in Blender

_is_writing = False  # while the extension itself sets properties, their update callbacks must not answer


def source_of(settings: THREER_PG_settings) -> Source:
    """The source the settings of a scene mean. Raises EngineError with a sentence when there is none."""
    paths, kind = _paths_and_kind(settings)
    wanted = {}
    if settings.use_range:
        is_movie = Path(paths[0]).suffix.lower() in MOVIE_SUFFIXES
        offset = 1 if is_movie else 0  # Blender counts a movie's frames from 1, the engine from 0
        wanted = {"first": settings.first - offset, "last": settings.last - offset, "step": settings.step}
    if settings.source == "RIG" or settings.info_kind == "rig":
        wanted = {"rig_frame": settings.rig_frame - 1}
    return source_from_path(paths if len(paths) > 1 else paths[0], kind=kind, **wanted)


def has_pick(settings: THREER_PG_settings) -> bool:
    """Whether anything is picked at all, readable or not."""
    if settings.source in ("CLIP", "IMAGE"):
        return getattr(settings, settings.source.lower()) is not None
    return bool(settings.path or settings.files)


def pick_key(settings: THREER_PG_settings) -> tuple[object, ...]:
    """Equal for the same pick, whatever part of it is to be used; without a look at the disk."""
    block = getattr(settings, settings.source.lower()) if settings.source in ("CLIP", "IMAGE") else None
    if block is not None:
        return settings.source, _absolute(block.filepath, block.library)
    return settings.source, *(_absolute(path) for path in (settings.path, *(item.name for item in settings.files)))


def pick_paths(settings: THREER_PG_settings, paths: list[str], is_rig: bool = False) -> None:
    """Take files of one folder, or a folder, as the footage. is_rig: one movie per camera."""
    with _writing():
        settings.source = "RIG" if is_rig else "FILES"
        settings.path = _shown(os.path.dirname(paths[0]) if len(paths) > 1 else paths[0])
        settings.files.clear()
        for path in paths[1:] and paths:
            settings.files.add().name = _shown(path)
    refresh(settings)


def pick_block(settings: THREER_PG_settings, block: bpy.types.MovieClip | bpy.types.Image) -> None:
    """Take a clip or an image of this file as the footage."""
    with _writing():
        settings.source = "CLIP" if isinstance(block, bpy.types.MovieClip) else "IMAGE"
        setattr(settings, settings.source.lower(), block)
    refresh(settings)


def refresh(settings: THREER_PG_settings) -> None:
    """Look at the picked footage and write down what the panel shows of it."""
    if _is_writing:
        return
    found = Footage()
    if has_pick(settings):
        try:
            paths, kind = _paths_and_kind(settings)
            source = source_from_path(paths if len(paths) > 1 else paths[0], kind=kind)
            found = describe(source, read_movie, read_image_size)
        except EngineError as error:
            found = Footage(error=str(error))
    with _writing():
        _write(settings, found)
    refresh_used(settings)


def path_edited(settings: THREER_PG_settings) -> None:
    """The user typed a path: what was picked in the file browser is over."""
    if not _is_writing:
        settings.files.clear()
        refresh(settings)


def refresh_used(settings: THREER_PG_settings) -> None:
    """The range was edited: how many frames remain."""
    if _is_writing or not settings.info_kind:
        return
    try:
        source = source_of(settings)
        settings.info_used = used_frames(source, Footage(count=settings.info_count))
        settings.info_error = "" if settings.info_used else "The frame range leaves no frames."
    except EngineError as error:
        settings.info_error = str(error)


def read_movie(path: str) -> MovieFacts:
    """Size, rate and length of a movie, as Blender reads it. Raises EngineError("input")."""
    with _temporary(bpy.data.movieclips, path) as clip:
        width, height = clip.size
        if width == 0 or height == 0 or clip.frame_duration < 1:
            raise _unreadable(path)
        return MovieFacts(width, height, clip.fps, clip.frame_duration)


def read_image_size(path: str) -> tuple[int, int]:
    """(width, height) of an image, as Blender reads it. Raises EngineError("input")."""
    with _temporary(bpy.data.images, path) as image:
        width, height = image.size
        if width == 0 or height == 0:
            raise _unreadable(path)
        return width, height


# -- inside


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    global _is_writing
    _is_writing = True
    try:
        yield
    finally:
        _is_writing = False


def _write(settings: THREER_PG_settings, found: Footage) -> None:
    is_other = (found.kind, found.count) != (settings.info_kind, settings.info_count)
    if found.kind and is_other:
        settings.use_range, settings.step = False, 1
    settings.info_kind, settings.info_text, settings.info_error = found.kind, found.text, found.error
    settings.info_warnings = "\n".join(found.warnings)
    settings.info_count = settings.info_used = found.count
    settings.info_width, settings.info_height = found.size or (0, 0)
    if not settings.use_range:  # so that switching it on starts from the whole shot
        settings.first, settings.last = found.first, found.last


def _paths_and_kind(settings: THREER_PG_settings) -> tuple[list[str], str | None]:
    """Absolute paths and the kind of source asked for. Raises EngineError."""
    if settings.source == "CLIP":
        return _clip_paths(settings.clip)
    if settings.source == "IMAGE":
        return _image_paths(settings.image)
    paths = [_absolute(item.name) for item in settings.files] or ([_absolute(settings.path)] if settings.path else [])
    if not paths:
        raise EngineError("input", "No footage is picked.", "Pick a movie, an image sequence or a folder of photos.")
    if settings.source == "RIG":
        return paths, "rig"
    is_movie = Path(paths[0]).suffix.lower() in MOVIE_SUFFIXES
    return paths, None if is_movie or settings.image_kind == "AUTO" else settings.image_kind.lower()


def _clip_paths(clip: bpy.types.MovieClip | None) -> tuple[list[str], str | None]:
    if clip is None:
        raise EngineError("input", "No movie clip is chosen.", "Choose one, or pick a movie from disk.")
    return [_absolute(clip.filepath, clip.library)], "movie" if clip.source == "MOVIE" else "sequence"


def _image_paths(image: bpy.types.Image | None) -> tuple[list[str], str | None]:
    if image is None:
        raise EngineError("input", "No image is chosen.", "Choose one, or pick images from disk.")
    path = _absolute(image.filepath, image.library)
    if not image.filepath or not os.path.isfile(path):
        hint = "Save it to disk first: Image Editor, Image, Save As."
        raise EngineError("input", f"{image.name} is not a file on disk.", hint)
    return [path], {"MOVIE": "movie", "SEQUENCE": "sequence"}.get(image.source, "photos")


def _absolute(path: str, library: bpy.types.Library | None = None) -> str:
    return os.path.normpath(bpy.path.abspath(path, library=library))


@contextlib.contextmanager
def _temporary(collection: bpy.types.bpy_prop_collection, path: str) -> Iterator[bpy.types.ID]:
    """Load a datablock to look at it, and remove it again."""
    try:
        block = collection.load(path, check_existing=False)
    except RuntimeError as error:
        raise _unreadable(path) from error
    try:
        yield block
    finally:
        collection.remove(block)


def _unreadable(path: str) -> EngineError:
    if len(os.fsencode(path)) >= _LONGEST_PATH:
        message = f"The path of {Path(path).name} is longer than Blender can open."
        return EngineError("input", message, "Move the footage to a folder with a shorter path.")
    return EngineError(
        "input", f"{Path(path).name} cannot be read.", "It may be damaged or of an unknown format: convert it."
    )


class THREER_OT_pick_footage(bpy.types.Operator):
    """Pick a movie, one image of a sequence, several photos, or a folder of them"""

    bl_idname = "threer.pick_footage"
    bl_label = "Pick Footage"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    filepath: bpy.props.StringProperty(subtype="FILE_PATH", options={"HIDDEN", "SKIP_SAVE"})
    directory: bpy.props.StringProperty(subtype="DIR_PATH", options={"HIDDEN", "SKIP_SAVE"})
    files: bpy.props.CollectionProperty(type=bpy.types.OperatorFileListElement, options={"HIDDEN", "SKIP_SAVE"})
    filter_folder: bpy.props.BoolProperty(default=True, options={"HIDDEN"})
    filter_movie: bpy.props.BoolProperty(default=True, options={"HIDDEN"})
    filter_image: bpy.props.BoolProperty(default=True, options={"HIDDEN"})
    is_rig: bpy.props.BoolProperty(name="Several Cameras", options={"HIDDEN", "SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        settings = context.scene.threer
        if settings.path:
            self.filepath = _absolute(settings.path)
        self.filter_image = not self.is_rig
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.threer
        names = [element.name for element in self.files if element.name]
        folder = self.directory or os.path.dirname(self.filepath)
        paths = [os.path.join(folder, name) for name in names] or [self.filepath or folder]
        if not paths[0]:
            self.report({"ERROR"}, "Nothing is picked")
            return {"CANCELLED"}
        pick_paths(settings, paths, self.is_rig)
        if settings.info_error:
            self.report({"WARNING"}, settings.info_error)
        return {"FINISHED"}


def _shown(path: str) -> str:
    """Relative to the .blend where the user prefers that and it is possible."""
    if bpy.data.filepath and bpy.context.preferences.filepaths.use_relative_paths:
        with contextlib.suppress(ValueError):  # another drive
            return bpy.path.relpath(path)
    return path


def focal_in_pixels(settings: THREER_PG_settings) -> float | None:
    """The known focal length in pixels of the original footage, or None. Raises EngineError without footage size."""
    if settings.focal_known == "PX":
        return settings.focal_px
    if settings.focal_known == "NO":
        return None
    longer = max(settings.info_width, settings.info_height)
    if longer == 0:
        raise EngineError(
            "input", "The size of the footage is not known.", "Pick it again, or give the focal length in pixels."
        )
    return settings.focal_mm / settings.sensor_mm * longer


classes = (THREER_OT_pick_footage,)

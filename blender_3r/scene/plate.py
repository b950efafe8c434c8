"""The footage behind the cameras, and the scene made to fit it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import bpy

from ..engine.reconstruction import Intrinsics, View
from ..engine.source import Source
from . import tags
from .cameras import SENSOR_WIDTH, pixel_aspect, shot_ratio
from .exif import orientation
from .jobdata import JobData

# EXIF orientation: what brings the stored pixels upright: mirrored left to right first, then clockwise quarter turns.
_TURNS = {1: (0, 0), 2: (0, 1), 3: (2, 0), 4: (2, 1), 5: (3, 1), 6: (1, 0), 7: (1, 1), 8: (3, 0)}


def is_movie(data: JobData) -> bool:
    """Movies count from 0, sequences by their file names. Without a request the names tell: "frame_0012"."""
    if data.source is not None:
        return data.source.kind == "movie"
    return not Path(data.reconstruction.views[0].file).suffix


def scene_frames(data: JobData, views: Sequence[View]) -> list[int]:
    """The scene frame of every view: Blender shows a movie's first frame at 1, a sequence's at its own number."""
    shift = 1 if is_movie(data) else 0
    return [view.frame + shift for view in views]


def open_clip(data: JobData) -> bpy.types.MovieClip | None:
    """A new clip of the shot, for attach_footage; None where there is one, or no file. Takes longest of all here."""
    there = data.source is not None and Path(data.source.files[0]).is_file()
    if not there or tags.find(bpy.data.movieclips, data.folder, "plate") is not None:
        return None
    return bpy.data.movieclips.load(data.source.files[0])


def attach_footage(camera: bpy.types.Object, data: JobData, opened: bpy.types.MovieClip | None = None) -> str:
    """Show the shot's movie or sequence behind camera, in sync. Returns a sentence if that is not possible, else "".

    The clip's tracking camera gets the solved lens; with distortion (and one focal) the plate is shown undistorted,
    since Blender's camera is a pinhole. opened: what open_clip gave.
    """
    if data.source is None or not Path(data.source.files[0]).is_file():
        where = data.source.files[0] if data.source else data.reconstruction.source or "of this job"
        return f"The footage {where} is not there, so the camera has no background picture."
    path = data.source.files[0]
    clip = _own_clip(path, data, opened)
    if clip is None:
        return f"Blender cannot read {path}, so the camera has no background picture."
    first = 1 if is_movie(data) else (data.source.numbers or (1,))[0]
    if (clip.frame_start, clip.frame_offset) != (first, 0):  # Blender reads the file again at every assignment
        clip.frame_start, clip.frame_offset = first, 0
    views = data.solved_views
    middle = views[len(views) // 2].intrinsics
    write_clip_lens(clip, middle)
    background = next((item for item in camera.data.background_images if item.clip == clip), None)
    if background is None:
        background = new_background(camera.data, shot_ratio(views))
        background.source = "MOVIE_CLIP"
        background.clip = clip
    background.clip_user.use_render_undistorted = middle.is_distorted and data.reconstruction.lens != "zoom"
    size = tuple(clip.size)
    if size != (middle.width, middle.height):
        return (
            f"Blender shows this footage at {size[0]} x {size[1]} pixels, it was solved at {middle.width} x "
            f"{middle.height}: the background picture may be turned or cropped."
        )
    return ""


def _own_clip(path: str, data: JobData, opened: bpy.types.MovieClip | None) -> bpy.types.MovieClip | None:
    """The job's own clip of that file, made if it is not there; None if Blender cannot read it."""
    clip = tags.find(bpy.data.movieclips, data.folder, "plate")
    if clip is None:
        clip = opened or bpy.data.movieclips.load(path)
        clip.name = f"{data.name} Plate"
        tags.set_tag(clip, data.folder, "plate")
    elif bpy.path.abspath(clip.filepath) != path:
        clip.filepath = path
    if clip.frame_duration == 0:
        bpy.data.movieclips.remove(clip)
        return None
    return clip


def write_clip_lens(clip: bpy.types.MovieClip, intrinsics: Intrinsics) -> None:
    """The solved lens on the clip's tracking camera: model BROWN, whose p1 and p2 are swapped and y points up."""
    camera = clip.tracking.camera
    camera.sensor_width = SENSOR_WIDTH
    camera.pixel_aspect = max(0.1, intrinsics.fy / intrinsics.fx)
    camera.focal_length_pixels = intrinsics.fx
    camera.principal_point_pixels = (intrinsics.cx, intrinsics.height - intrinsics.cy)
    camera.distortion_model = "BROWN"
    camera.brown_k1, camera.brown_k2, camera.brown_k3, camera.brown_k4 = intrinsics.k1, intrinsics.k2, 0.0, 0.0
    camera.brown_p1, camera.brown_p2 = intrinsics.p2, -intrinsics.p1


def attach_photo(camera: bpy.types.Object, view: View, path: str, source: Source) -> bpy.types.Image | None:
    """Show the view's own picture (or the rig's movie at its frame) behind camera, upright.

    Returns the picture if it was not in the file before.
    """
    images = [item for item in camera.data.background_images if item.image is not None]
    if any(bpy.path.abspath(item.image.filepath) == path for item in images):
        return None
    count = len(bpy.data.images)
    image = bpy.data.images.load(path, check_existing=True)
    lens = view.intrinsics
    background = new_background(camera.data, lens.fx / lens.fy)
    show_photo(background, image, path, source, lens, (lens.width, lens.height))
    return image if len(bpy.data.images) > count else None


def show_photo(
    background: bpy.types.CameraBackgroundImage,
    image: bpy.types.Image,
    path: str,
    source: Source,
    intrinsics: Intrinsics,
    frame: tuple[int, int],
) -> None:
    """Let background show a photo (or the rig's movie at its frame), upright, as large as fits into the picture.

    intrinsics: of the upright photo. frame: width and height of the picture that the camera takes.
    """
    background.source = "IMAGE"
    background.image = image
    if source.kind == "rig":
        user = background.image_user
        user.frame_start, user.frame_duration, user.frame_offset = 1, 1, source.rig_frame
    else:
        _turn_upright(background, orientation(path), intrinsics, frame)


def photo_paths(views: Sequence[View], source: Source | None) -> list[str | None]:
    """The file of each photo (or rig's movie), None where it is not there.

    Views are named relative to the folder that holds all files, so of several that end alike the shortest is meant.
    """
    by_name: dict[str, list[str]] = {}
    for file in source.files if source else ():
        by_name.setdefault(Path(file).name, []).append(file)
    paths: list[str | None] = []
    for view in views:
        tail = f"/{Path(view.file).as_posix()}"
        files = [file for file in by_name.get(Path(view.file).name, ()) if f"/{Path(file).as_posix()}".endswith(tail)]
        path = min(files, key=len, default=None)
        paths.append(path if path and Path(path).is_file() else None)
    return paths


def new_background(data: bpy.types.Camera, ratio: float) -> bpy.types.CameraBackgroundImage:
    """A background that is fully there, behind everything. ratio: fx / fy of what it is to show."""
    data.show_background_images = True
    background = data.background_images.new()
    background.alpha = 1.0
    background.display_depth = "BACK"
    # Blender fits by the picture's pixels and knows nothing of their aspect: stretch where they are not square.
    background.frame_method = "FIT" if pixel_aspect(ratio) == (1.0, 1.0) else "STRETCH"
    return background


def _turn_upright(
    background: bpy.types.CameraBackgroundImage, turn: int, intrinsics: Intrinsics, frame: tuple[int, int]
) -> None:
    quarters, mirrored = _TURNS[turn]
    background.rotation = quarters * math.pi / 2
    background.use_flip_x = bool(mirrored)
    background.scale = 1.0
    if quarters % 2:
        # The picture is fitted before it is turned: lying on its side it then covers another part of the frame.
        background.frame_method = "FIT"
        size = intrinsics.width, intrinsics.height
        background.scale = fit(size, frame) / fit(size[::-1], frame)


def fit(size: tuple[int, int], frame: tuple[int, int]) -> float:
    """What a picture of that size (width, height) is scaled by to lie as large as possible inside frame."""
    return min(frame[0] / size[0], frame[1] / size[1])


def split_fps(fps: float) -> tuple[int, float]:
    """Blender's (fps, fps_base): 25 -> (25, 1), 23.976 -> (24, 1.001)."""
    whole = max(1, round(fps))
    base = whole / fps
    for usual in (1.0, 1.001):
        if abs(base - usual) < 1e-4:
            base = usual
    return whole, base


def match_scene(scene: bpy.types.Scene, data: JobData) -> str:
    """Give scene the footage's size, pixel aspect, frame rate, frame range and plain colours.

    Colours: view transform Standard, since any other changes the look of finished footage. Returns a sentence if
    that is not to be had, else "".
    """
    views = data.solved_views
    if data.is_video:
        _set_size(scene, views[0].intrinsics, shot_ratio(views))
        if data.reconstruction.fps:
            scene.render.fps, scene.render.fps_base = split_fps(data.reconstruction.fps)
        frames = scene_frames(data, data.reconstruction.views)
        scene.frame_start, scene.frame_end = min(frames), max(frames)
        if not scene.frame_start <= scene.frame_current <= scene.frame_end:
            scene.frame_set(scene.frame_start)
    else:
        lens = views[0].intrinsics
        _set_size(scene, lens, lens.fx / lens.fy)
    try:
        scene.view_settings.view_transform = "Standard"
    except TypeError:
        return 'This colour setup has no "Standard" view: points will not look quite like the footage.'
    return ""


def look_through(scene: bpy.types.Scene, camera: bpy.types.Object) -> None:
    """Make camera the scene's and give the render the size and pixel aspect its picture has.

    Photos differ in size and Blender has one size per scene. Raises ValueError for a camera that is not ours.
    """
    if camera.data is None or "threer_width" not in camera.data:
        raise ValueError(f"{camera.name} was not made from a solved view")
    facts = {
        name: camera.data[f"threer_{name}"]
        for name in ("width", "height", "fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2")
    }
    scene.camera = camera
    _set_size(scene, Intrinsics(**facts), facts["fx"] / facts["fy"])


def _set_size(scene: bpy.types.Scene, intrinsics: Intrinsics, ratio: float) -> None:
    render = scene.render
    render.resolution_x, render.resolution_y = intrinsics.width, intrinsics.height
    render.resolution_percentage = 100
    render.pixel_aspect_x, render.pixel_aspect_y = pixel_aspect(ratio)

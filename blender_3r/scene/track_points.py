"""Places of a clip's selected tracks in the scene, by the solved cameras.

Any track will do, the artist's own too: it needs no bundle, which only Blender's solver can make. Its markers are rays
of the cameras that are in the scene, and where those meet is its place.
"""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np

from ..engine.errors import EngineError
from ..engine.geometry.cameras import Cameras, Observations
from ..engine.geometry.triangulation import triangulate_tracks
from .jobdata import JobData
from .plate import is_movie

LEAST_ANGLE_DEG = 0.3  # between two of a track's rays, below which they do not tell how far it is
LARGEST_ERROR_PX = 8.0  # of a marker that belongs to a point that stands still


def selected_tracks(clip: bpy.types.MovieClip) -> list[bpy.types.MovieTrackingTrack]:
    """The selected tracks of the clip's camera that are to be seen; the active one last."""
    tracks = clip.tracking.tracks
    chosen = [track for track in tracks if track.select and not track.hide]
    return sorted(chosen, key=lambda track: track == tracks.active)


def is_of_job(clip: bpy.types.MovieClip, data: JobData) -> bool:
    """Whether the clip shows the footage that the job was made of."""
    files = {str(Path(file)) for file in data.source.files} if data.source is not None else set()
    return str(Path(bpy.path.abspath(clip.filepath))) in files


def track_points(clip: bpy.types.MovieClip, tracks: list[bpy.types.MovieTrackingTrack], data: JobData) -> np.ndarray:
    """(n, 3) places of tracks in the engine's world. Raises EngineError("usage") where one has none."""
    views = data.reconstruction.views
    if data.reconstruction.motion == "tripod":
        raise EngineError("usage", "A shot from a tripod has no places.", "Only cameras that move tell how far it is.")
    first = _first_frame(clip, data)
    index = {view.frame + first: number for number, view in enumerate(views)}
    seen = [
        (index[marker.frame], number, marker.co)
        for number, track in enumerate(tracks)
        for marker in track.markers
        if not marker.mute and marker.frame in index
    ]
    if not seen:
        raise _no_place(tracks[0].name)
    frame, track, places = (list(values) for values in zip(*seen, strict=True))
    size = np.array([(views[i].intrinsics.width, views[i].intrinsics.height) for i in frame], dtype=np.float64)
    xy = (np.array(places, dtype=np.float64) * (1, -1) + (0, 1)) * size  # Blender counts from the lower left corner
    observations = Observations(np.array(frame), np.array(track), xy)
    points = triangulate_tracks(
        observations,
        Cameras.from_views(views),
        len(tracks),
        max_error_px=LARGEST_ERROR_PX,
        min_angle_deg=LEAST_ANGLE_DEG,
    )
    lost = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(lost):
        raise _no_place(tracks[lost[0]].name)
    return points


def _first_frame(clip: bpy.types.MovieClip, data: JobData) -> int:
    """What the footage's own numbers lack to the clip's, whose first frame is 1 wherever it stands in the scene."""
    if is_movie(data):
        return 1
    return 1 - (data.source.numbers[0] if data.source is not None and data.source.numbers else clip.frame_start)


def _no_place(name: str) -> EngineError:
    return EngineError(
        "usage",
        f"The track {name} has no place: the solved cameras do not see it from two sides.",
        "Track it over more frames, or leave it out.",
    )

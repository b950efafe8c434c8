"""The engine's 2D tracks in the footage's movie clip, and their solved points as empties.

Blender lets a script make tracks and markers, but neither bundles nor a reconstruction: those come from its own solver
only. So the points stand beside it, one empty per track and named like it, under the job's root.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import bpy
import numpy as np

from ..engine.errors import EngineError
from ..engine.jobfolder import JobFolder
from ..engine.reconstruction import View
from . import tags
from .jobdata import JobData, read_job
from .plate import is_movie

PREFIX = "3R "  # of the tracks' names: what is called so is ours to change
_CELLS = 8  # across and down, over which the chosen tracks are spread
_SIZE = 0.01  # of an empty, as a share of the typical depth


@dataclass(frozen=True)
class TracksResult:
    """What is in the clip and the scene now, and sentences for the user."""

    clip: bpy.types.MovieClip
    tracks: list[bpy.types.MovieTrackingTrack]
    empties: list[bpy.types.Object] = field(default_factory=list)

    @property
    def text(self) -> str:
        return f"{len(self.tracks)} tracks in {self.clip.name}, {len(self.empties)} points in the scene."


@dataclass(frozen=True)
class _Track:
    """One track: indices of views ascending, pixels of the original frame (n, 2), the solved point (3,) or nan."""

    id: int
    views: np.ndarray
    xy: np.ndarray
    point: np.ndarray

    @property
    def name(self) -> str:
        return f"{PREFIX}{self.id:05d}"


def add_tracks(
    scene: bpy.types.Scene, folder: str | os.PathLike[str], count: int = 200, empties: bool = True
) -> TracksResult:
    """Write the longest of the tracks that took part in the solve, from all over the picture, into the job's clip.

    What an earlier call wrote is updated. Markers lie on the frames as filmed, distorted as they are; where a track was
    not seen, or was not used, a disabled marker ends it. Raises EngineError when the job has no tracks or the file no
    clip of its footage.
    """
    data = read_job(folder, 0)
    if not data.is_video:
        raise EngineError("input", "Photos have no movie clip.", "Tracks can only be shown in footage.")
    chosen = _choose(JobFolder.open(folder), data, count)
    clip = tags.find(bpy.data.movieclips, data.folder, "plate")
    if clip is None:
        raise EngineError(
            "input", "The footage of this reconstruction is not in this file.", "Import the reconstruction again."
        )
    first = scene_first(data, clip)
    tracks = [_write_track(clip, track, data, first) for track in chosen]
    _hide_others(clip, {track.name for track in chosen})
    with tags.nothing_left_on_error():
        made = _write_empties(scene, data, chosen if empties and data.reconstruction.motion != "tripod" else [])
    return TracksResult(clip, tracks, made)


def scene_first(data: JobData, clip: bpy.types.MovieClip) -> int:
    """What a view's frame number lacks to the clip's own count, which begins at 1 with its first frame."""
    return 1 if is_movie(data) else 1 - clip.frame_start


def _choose(job: JobFolder, data: JobData, count: int) -> list[_Track]:
    """The longest tracks of every part of the picture, counted in observations that took part."""
    arrays = job.read_npz("tracks")
    if arrays is None or not len(arrays["frame"]):
        raise EngineError("input", "This reconstruction has no tracks.", "Only methods that follow points have some.")
    used = arrays["kept"].astype(bool) & (arrays["frame"] < len(data.reconstruction.views))
    frame, track, xy = arrays["frame"][used], arrays["track"][used], arrays["xy"][used].astype(np.float64)
    longest = _longest(data, frame, track, xy)[:count]
    rank = np.full(len(arrays["points"]), -1)
    rank[longest] = np.arange(len(longest))
    order = np.lexsort((frame, rank[track]))
    order = order[rank[track[order]] >= 0]
    starts = np.flatnonzero(np.diff(rank[track[order]], prepend=-1))
    return [
        _Track(int(track[rows[0]]), frame[rows], xy[rows], arrays["points"][track[rows[0]]].astype(np.float64))
        for rows in np.split(order, starts[1:])
        if len(rows)
    ]


def _longest(data: JobData, frame: np.ndarray, track: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Ids of tracks with two observations or more: first the longest one of each cell of a grid over the picture,
    where its track begins, then the second ones, and so on. So a few cover the picture as well as many.
    """
    ids, first, length = np.unique(track, return_index=True, return_counts=True)
    lenses = [view.intrinsics for view in data.reconstruction.views]
    size = np.array([(lens.width, lens.height) for lens in lenses], float)[frame[first]]
    cell = np.clip((xy[first] / size * _CELLS).astype(int), 0, _CELLS - 1) @ (1, _CELLS)
    order = np.lexsort((-length, cell))
    starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
    place = np.empty(len(ids), int)
    place[order] = np.arange(len(ids)) - np.repeat(starts, np.diff(starts, append=len(ids)))
    best = np.lexsort((-length, place))
    return ids[best][length[best] >= 2]


def _write_track(clip: bpy.types.MovieClip, track: _Track, data: JobData, first: int) -> bpy.types.MovieTrackingTrack:
    """The track of that name, with exactly these markers."""
    views = data.reconstruction.views
    numbers = [views[index].frame + first for index in track.views]
    places = {number: _place(views[index], xy) for number, index, xy in zip(numbers, track.views, track.xy)}
    ends = {number + step for number in numbers for step in (-1, 1)} - places.keys()
    found = clip.tracking.tracks.get(track.name) or clip.tracking.tracks.new(name=track.name, frame=numbers[0])
    found.hide, found.select = False, False
    markers = found.markers
    for number, place in places.items():
        markers.insert_frame(number, co=place).mute = False
    near = np.array(numbers)
    for number in ends:  # where the track ends or pauses
        markers.insert_frame(number, co=places[int(near[np.argmin(np.abs(near - number))])]).mute = True
    for number in [marker.frame for marker in markers if marker.frame not in places and marker.frame not in ends]:
        markers.delete_frame(number)
    return found


def _place(view: View, xy: np.ndarray) -> tuple[float, float]:
    """Blender's marker coordinates: 0 to 1 from the lower left corner."""
    return float(xy[0] / view.intrinsics.width), float(1 - xy[1] / view.intrinsics.height)


def _hide_others(clip: bpy.types.MovieClip, names: set[str]) -> None:
    """Tracks of an earlier call that are no longer wanted; a script cannot remove them."""
    for track in clip.tracking.tracks:
        if track.name.startswith(PREFIX) and track.name not in names:
            track.hide = True


def _write_empties(scene: bpy.types.Scene, data: JobData, tracks: list[_Track]) -> list[bpy.types.Object]:
    """One empty per track with a solved point, in a collection of their own; those of other tracks go."""
    there = tags.objects_of(scene, data.folder)
    root = there.get(("root", ""))
    collection = tags.find(scene.collection.children_recursive, data.folder, "tracks collection")
    if collection is None and tracks and root is not None:
        collection = bpy.data.collections.new(f"{data.name} Tracks")
        tags.set_tag(collection, data.folder, "tracks collection")
        parent = tags.find(scene.collection.children_recursive, data.folder, "job collection")
        (parent or root.users_collection[0]).children.link(collection)
    made = []
    for track in tracks:
        if root is None or not np.isfinite(track.point).all():
            continue
        item = there.pop(("track", track.name), None)
        if item is None:
            item = bpy.data.objects.new(track.name, None)
            item.empty_display_type = "PLAIN_AXES"
            item.empty_display_size = _SIZE * (data.depth or 1.0)
            tags.set_tag(item, data.folder, "track", track.name)
            collection.objects.link(item)
            item.parent = root
        item.location = track.point
        made.append(item)
    bpy.data.batch_remove([item for (role, _), item in there.items() if role == "track"])
    return made

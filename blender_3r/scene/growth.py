"""What a running job has so far, in the scene: cameras and points that grow.

Growing must not fill the list of undo steps, and Blender stands a change without a step of its own only as long as no
datablock comes, goes or is exchanged: undo takes over what did not change between two steps as it is, with pointers to
whatever is not in them (4.2 to 5.2 crash). So the first time is an import, with an undo step, and after that the same
datablocks get new content. What the artist undoes or deletes meanwhile stays away until the job is done.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from typing import NamedTuple

import bpy

from . import tags
from .cameras import write_animated_camera, write_photo_camera
from .cloud import Cloud
from .dynamic import write_moving
from .fast_display import fast_modifier, is_drawn_by_processor
from .job import ImportOptions, build_job_in_slices, write_facts
from .jobdata import JobData
from .plate import scene_frames
from .points import write_points

GROWING_POINTS = 500_000  # at most so many are written at once, in some 15 ms
FEWEST_POINTS = 25_000  # and so many always
FAST_POINTS = 100_000  # by Fast Display, where the processor draws: what takes no more time than the window itself
REDRAW_S = 0.15  # what a redraw with them may take
RAISE = 4  # times as many points as were drawn, at most, where a redraw took less


class Grown(NamedTuple):
    """is_there: False when the artist has taken the job out of the scene. is_new: datablocks came, so that an undo
    step has to follow at once."""

    is_there: bool
    is_new: bool


class Growth:
    """One run of a job in a scene. run: tells it from other runs of the same job.

    points: how many of them the next step may bring. A graphics card draws GROWING_POINTS in a few milliseconds. Where
    the processor draws (no driver, a remote desktop), each redraw takes time for every point, and the window would
    stall at each step: it shows fewer, which grow all the same, until the result comes with all. With Fast Display most
    of the time is the window's own.
    """

    def __init__(self, run: str, options: ImportOptions) -> None:
        self.points = FEWEST_POINTS if is_drawn_by_processor() else GROWING_POINTS
        self._drawn, self._is_fast = 0, False
        self._run, self._options = run, dataclasses.replace(options, is_partial=True)
        self._has_begun = self._has_points = self._has_moving = False
        self._photos: set[str] = set()  # whose cameras came with this run

    def redrawn(self, seconds: float) -> None:
        """What a redraw took, with all that build_in_slices brought last and whatever else is in sight."""
        if self._is_fast and is_drawn_by_processor():
            self.points = min(FAST_POINTS, max(self.points, RAISE * self._drawn))
            return
        possible = int(self._drawn * min(RAISE, REDRAW_S / max(seconds, 1e-3)))
        if seconds > REDRAW_S:
            self.points = max(FEWEST_POINTS, possible)
        else:
            self.points = min(GROWING_POINTS, max(self.points, possible))

    def build_in_slices(self, scene: bpy.types.Scene, data: JobData) -> Generator[None, None, Grown]:
        """Bring data in, in steps as build_job_in_slices, which also says what it raises."""
        there = tags.objects_of(scene, data.folder)
        root = there.get(("root", ""))
        if self._has_begun and (root is None or root.get(tags.RUN) != self._run):
            return Grown(is_there=False, is_new=False)
        self._drawn = len(data.cloud or ()) + len(data.moving or ())
        shown = [there[role, ""] for role in ("points", "moving") if (role, "") in there]
        self._is_fast = bool(shown) and all(fast_modifier(points) is not None for points in shown)
        if not self._has_begun or self._needs_datablocks(data):
            yield from self._import(scene, data)
            return Grown(is_there=True, is_new=True)
        before = tags.census()
        if not any(item.mode != "OBJECT" for item in there.values()):
            self._renew(there, data)
            write_facts(root, data)
        return Grown(is_there=True, is_new=tags.census() != before)  # a zoom that is found late needs an action

    def _needs_datablocks(self, data: JobData) -> bool:
        """New cameras wait until they are as many as those that are there: each time costs an undo step."""
        has_first_points = _has(data.cloud) and not self._has_points
        has_first_points |= _has(data.moving) and not self._has_moving
        return has_first_points or (not data.is_video and len(data.solved_views) >= 2 * len(self._photos))

    def _import(self, scene: bpy.types.Scene, data: JobData) -> Generator[None, None, None]:
        options = self._options
        if self._has_begun:  # the scene is the artist's by now
            options = dataclasses.replace(options, match_scene=False)
        result = yield from build_job_in_slices(scene, data, options)
        result.root[tags.RUN] = self._run
        self._has_begun = True
        self._has_points, self._has_moving = _has(data.cloud), _has(data.moving)
        self._photos = set() if data.is_video else {view.file for view in data.solved_views}

    def _renew(self, there: dict[tuple[str, str], bpy.types.Object], data: JobData) -> None:
        """New content for what this run brought in, and no pointer from one datablock to another."""
        camera = there.get(("camera", ""))
        if data.is_video and camera is not None:
            order = sorted(data.solved_views, key=lambda view: view.frame)
            tripod = data.reconstruction.motion == "tripod"
            write_animated_camera(camera, order, scene_frames(data, order), tripod)
        for view in data.solved_views:
            if view.file in self._photos and ("camera", view.file) in there:
                write_photo_camera(there["camera", view.file], view)
        points = there.get(("points", ""))
        if self._has_points and points is not None and _has(data.cloud):
            write_points(points.data, data.cloud)
        moving = there.get(("moving", ""))
        if self._has_moving and moving is not None and _has(data.moving):
            write_moving(moving.data, data)


def _has(cloud: Cloud | None) -> bool:
    return cloud is not None and len(cloud) > 0

"""A job folder into a scene, and again into the same scene: the one entry point of this package.

    syn_walk                  collection
        syn_walk              root empty: how the engine's world stands in Blender's; facts as custom properties
        syn_walk Cameras      collection: the animated camera, or one camera per photo and, if wanted, one for all
        syn_walk Points       collection: a mesh of the points that always show, and one of those that show at their
                              own frame only

Importing again finds all of it by its tags and updates it in place. What belongs to the user stays: names, the
collections an object was moved to, sliders, and the root's transform once it was touched.

What takes long is made aside first, in slices that a timer can spread over time; then all of it takes its place at
once. So a scene is as before or complete, never half.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TypeVar

import bpy
import numpy as np
from mathutils import Matrix

from ..engine.errors import EngineError
from . import tags
from .aside import Aside, Vanished
from .cameras import set_depth_range, write_animated_camera, write_photo_camera
from .dynamic import add_moving_display
from .fast_display import add_fast_display, is_drawn_by_processor
from .jobdata import JobData, read_job
from .plate import attach_footage, attach_photo, match_scene, scene_frames
from .point_nodes import add_point_display, point_modifier
from .points import Points
from .slideshow import frames_of, write_slideshow

Result = TypeVar("Result")

_PLACEMENT = "threer_placement"


@dataclass(frozen=True)
class ImportOptions:
    """point_budget: at most so many points, 0 for none. plate: footage behind the cameras. match_scene: the scene
    takes size, frame rate, frame range and plain colours of the footage, and its camera. is_partial: the job still
    runs, so nothing is removed because it is missing. slideshow: of photos, also one camera that is at another
    one at each frame. moving: what shows at its own frame only, see read_job. as_cloud: points that are not there yet
    become a PointCloud datablock instead of a mesh, where Blender can."""

    point_budget: int = 1_000_000
    plate: bool = True
    match_scene: bool = True
    is_partial: bool = False
    slideshow: bool = False
    moving: str = "known"
    as_cloud: bool = False


@dataclass(frozen=True)
class ImportResult:
    """What lies in the scene now. updated: the job was there before. warnings: sentences for the user."""

    root: bpy.types.Object
    collection: bpy.types.Collection
    cameras: list[bpy.types.Object]
    points: bpy.types.Object | None
    updated: bool
    warnings: list[str] = field(default_factory=list)
    slideshow: bpy.types.Object | None = None
    moving: bpy.types.Object | None = None

    @property
    def point_count(self) -> int:
        """Of meshes or point clouds, of all frames."""
        there = [item for item in (self.points, self.moving) if item is not None]
        return sum(len(item.data.attributes["position"].data) for item in there)

    @property
    def text(self) -> str:
        """One sentence for the status line."""
        cameras = "an animated camera" if self.root["threer_kind"] == "video" else f"{len(self.cameras)} cameras"
        cameras += ", a slideshow camera" if self.slideshow else ""
        verb = "Updated" if self.updated else "Imported"
        interpolated = self.root["threer_interpolated"]
        moving = "" if self.moving is None else ", some of which move" if self.points else ", each at its frame"
        between = f", {interpolated} frames interpolated" if interpolated else ""
        return f"{verb} {self.collection.name}: {cameras}{between}, {self.point_count:,} points{moving}."


def import_job(
    scene: bpy.types.Scene, folder: str | os.PathLike[str], options: ImportOptions = ImportOptions()
) -> ImportResult:
    """Read a job folder, finished or running, and make or update its datablocks in scene.

    Raises EngineError with a sentence when the job cannot be imported; the scene is then as it was.
    """
    return build_job(scene, read_job(folder, options.point_budget, options.moving), options)


def build_job(scene: bpy.types.Scene, data: JobData, options: ImportOptions = ImportOptions()) -> ImportResult:
    """The datablocks of a job that was read before (read_job may run in a thread, this may not)."""
    return finish(build_job_in_slices(scene, data, options))


def build_job_in_slices(
    scene: bpy.types.Scene, data: JobData, options: ImportOptions = ImportOptions()
) -> Generator[None, None, ImportResult]:
    """build_job in steps of some milliseconds. Until the last one nothing is to be seen of it.

    Closed at any step, it leaves nothing. Close it before an undo and before a file is loaded; whatever else happens
    between two steps does no harm. Raises as build_job.
    """
    while True:
        _refuse_while_edited(tags.objects_of(scene, data.folder))
        try:
            with Aside(options.as_cloud) as aside:
                yield from aside.make(scene, data, options.plate)
                with tags.nothing_left_on_error():
                    there = tags.objects_of(scene, data.folder)
                    _refuse_while_edited(there)
                    tags.remove_unused(data.folder)
                    return _Builder(scene, data, options, there, aside).build()
        except Vanished:
            continue


def finish(steps: Generator[None, None, Result]) -> Result:
    """What the steps return, without a pause between them."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def push_undo(message: str) -> None:
    """Close an undo step after changes made from a timer, where no operator does it."""
    manager = bpy.context.window_manager
    with bpy.context.temp_override(window=bpy.context.window or manager.windows[0]):
        bpy.ops.ed.undo_push(message=message)


def write_facts(root: bpy.types.Object, data: JobData) -> None:
    """What is known of a job as custom properties of its root."""
    result = data.reconstruction
    failed = [check.text for check in result.checks if not check.passed]
    for name, value in {
        "method": result.method,
        "engine_version": data.engine_version,
        "kind": result.kind,
        "motion": result.motion,
        "lens": result.lens,
        "metric": result.metric,
        "focal_is_certain": result.focal_is_certain,
        "error_px": -1.0 if result.reproj_error_px is None else float(result.reproj_error_px),
        "solved": len(result.solved),
        "interpolated": sum(view.interpolated for view in data.solved_views),
        "total": len(result.views),
        "source": result.source,
        "failed_checks": "\n".join(failed),
    }.items():
        root[f"threer_{name}"] = value


def _refuse_while_edited(there: dict[tuple[str, str], bpy.types.Object]) -> None:
    edited = next((item.name for item in there.values() if item.mode != "OBJECT"), None)
    if edited is not None:
        raise EngineError("usage", f"{edited} is being edited.", "Leave Edit Mode and import again.")


class _Builder:
    """One import: what is being built, and what was there."""

    def __init__(
        self,
        scene: bpy.types.Scene,
        data: JobData,
        options: ImportOptions,
        there: dict[tuple[str, str], bpy.types.Object],
        aside: Aside,
    ) -> None:
        self.scene, self.data, self.options, self.there, self.aside = scene, data, options, there, aside
        self.warnings: list[str] = []
        self.kept: set[tuple[str, str]] = set()

    def build(self) -> ImportResult:
        updated = ("root", "") in self.there
        self.collection = self._collection("job", self.data.name, self.scene.collection)
        self.root = self._object("root", "", self.data.name, None, self.collection)
        self._place_root(fresh=not updated)
        self.root.pop(tags.RUN, None)
        write_facts(self.root, self.data)
        cameras = self._video_camera() if self.data.is_video else self._photo_cameras()
        had_slideshow = ("slideshow", "") in self.there
        slideshow = self._slideshow() if self.options.slideshow or had_slideshow else None
        points = self._points("points", "Points", self.aside.points)
        moving = self._points("moving", "Moving", self.aside.moving)
        self._remove_stale()
        if self.options.match_scene:
            self._warn(match_scene(self.scene, self.data))
            if slideshow is not None:
                frames = frames_of(self.data.solved_views)
                self.scene.frame_start, self.scene.frame_end = frames[0], frames[-1]
        ours = self.scene.camera is not None and self.scene.camera.get(tags.JOB) == self.data.folder
        is_new = slideshow is not None and not had_slideshow
        if self.scene.camera is None or (self.options.match_scene and (is_new or not ours)):
            self.scene.camera = slideshow or cameras[0]
        return ImportResult(self.root, self.collection, cameras, points, updated, self.warnings, slideshow, moving)

    # -- parts

    def _place_root(self, fresh: bool) -> None:
        """Stand the world upright, unless the user has moved it since."""
        placement = self.data.placement.copy()
        if self.data.reconstruction.metric:
            placement[:3] /= self.scene.unit_settings.scale_length
        root = self.root
        written = np.array(root.get(_PLACEMENT, np.zeros(16))).reshape(4, 4)
        untouched = np.allclose(np.array(root.matrix_basis), written, rtol=0, atol=1e-4 * (1 + np.abs(written).max()))
        if fresh or untouched:
            root.matrix_basis = Matrix(placement.tolist())
            root[_PLACEMENT] = placement.reshape(-1).tolist()
            root.empty_display_size = 0.5 / float(np.linalg.norm(placement[:3, 0]))

    def _video_camera(self) -> list[bpy.types.Object]:
        collection = self._collection("cameras", f"{self.data.name} Cameras", self.collection)
        camera = self._camera("", f"{self.data.name} Camera", collection)
        order = sorted(self.data.solved_views, key=lambda view: view.frame)
        tripod = self.data.reconstruction.motion == "tripod"
        write_animated_camera(camera, order, scene_frames(self.data, order), tripod)
        if self.options.plate:
            self._warn(attach_footage(camera, self.data, self.aside.clip))
        return [camera]

    def _photo_cameras(self) -> list[bpy.types.Object]:
        collection = self._collection("cameras", f"{self.data.name} Cameras", self.collection)
        cameras = []
        for view, path in zip(self.data.solved_views, self.aside.paths, strict=True):
            camera = self._camera(view.file, os.path.splitext(os.path.basename(view.file))[0], collection)
            if camera != self.aside.cameras.get(view.file):  # else it is as it should be
                write_photo_camera(camera, view)
                if path is not None:
                    attach_photo(camera, view, path, self.data.source)
            cameras.append(camera)
        missing = self.aside.paths.count(None)
        if self.options.plate and missing:
            self._warn(f"{missing} of {len(cameras)} pictures are not there, so their cameras have no background.")
        return cameras

    def _slideshow(self) -> bpy.types.Object | None:
        """One camera for all photos. A job that still runs has none, since photos come and go."""
        if self.data.is_video or self.options.is_partial:
            return self.there.get(("slideshow", ""))
        collection = self._collection("cameras", f"{self.data.name} Cameras", self.collection)
        camera = self._camera("", f"{self.data.name} Slideshow", collection, "slideshow")
        write_slideshow(camera, self.data.solved_views, self.aside.paths, self.data.source)
        return camera

    def _camera(self, view: str, name: str, collection: bpy.types.Collection, role: str = "camera") -> bpy.types.Object:
        camera = self.there.get((role, view))
        if camera is None:
            made = self.aside.cameras.get(view)
            lens = made.data if made else bpy.data.cameras.new(name)
            lens.name = name
            tags.set_tag(lens, self.data.folder, "lens", view)
            if self.data.depth is not None:
                share = 0.1 if self.data.is_video else 0.03
                set_depth_range(lens, self.data.depth, self.root.matrix_basis.median_scale, share)
            camera = self._object(role, view, name, lens, collection, made)
        self._hang_on_root(camera)
        self.kept.add((role, view))
        return camera

    def _points(self, role: str, title: str, made: Points | None) -> bpy.types.Object | None:
        """Points that were made aside take their place; without any, what is there stays where it may."""
        there = self.there.get((role, ""))
        if made is None:
            has_none = self.data.cloud is None and self.data.moving is None
            if self.options.is_partial or (has_none and self.options.point_budget <= 0):
                self.kept.add((role, ""))
                return there
            return None
        tags.set_tag(made, self.data.folder, "cloud")
        if there is None:
            made.name = name = f"{self.data.name} {title}"
            collection = self._collection("points", f"{self.data.name} Points", self.collection)
            there = self._object(role, "", name, made, collection)
        else:
            _take_place(there.data, made)
        self._show(role, there)
        self._hang_on_root(there)
        self.kept.add((role, ""))
        return there

    def _show(self, role: str, points: bpy.types.Object) -> None:
        """Modifiers that points lack; how those of an earlier import are displayed is the artist's choice by now."""
        is_new = point_modifier(points) is None
        add_point_display(points)
        if role == "moving":
            add_moving_display(points)
        if is_new and is_drawn_by_processor():  # which takes three times as long for what the nodes show
            add_fast_display(points)

    def _remove_stale(self) -> None:
        """Cameras of views that are no longer solved, points that are no longer there."""
        ours = {key: item for key, item in self.there.items() if key[0] in ("camera", "points", "moving")}
        stale = [item for key, item in ours.items() if key not in self.kept]
        if not self.options.is_partial:
            bpy.data.batch_remove(stale)
        tags.remove_unused(self.data.folder)

    # -- find or make

    def _collection(self, role: str, name: str, parent: bpy.types.Collection) -> bpy.types.Collection:
        found = tags.find(self.scene.collection.children_recursive, self.data.folder, f"{role} collection")
        if found is None:
            found = bpy.data.collections.new(name)
            tags.set_tag(found, self.data.folder, f"{role} collection")
            parent.children.link(found)
        return found

    def _object(
        self,
        role: str,
        view: str,
        name: str,
        content: bpy.types.ID | None,
        collection: bpy.types.Collection,
        made: bpy.types.Object | None = None,
    ) -> bpy.types.Object:
        found = self.there.get((role, view))
        if found is None:
            found = made or bpy.data.objects.new(name, content)
            found.name = name
            tags.set_tag(found, self.data.folder, role, view)
            collection.objects.link(found)
        return found

    def _hang_on_root(self, item: bpy.types.Object) -> None:
        if item.parent != self.root:
            item.parent = self.root
            item.matrix_parent_inverse.identity()

    def _warn(self, sentence: str) -> None:
        if sentence:
            self.warnings.append(sentence)


def _take_place(old: Points, new: Points) -> None:
    """Let everybody who uses old use new, under its name; old goes."""
    name, new.use_fake_user = old.name, old.use_fake_user
    old.user_remap(new)
    bpy.data.batch_remove([old])
    new.name = name

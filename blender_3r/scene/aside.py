"""What takes long of an import, made before its time and in slices: points, the clip, cameras of photos.

Datablocks without users: nothing shows them, no file keeps them, and the scene is as it was until all of them take
their places at once. Between two slices anything may happen to a file; what is aside may be gone then (Purge Unused
Data), but is never half in a scene.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self, TypeVar

import bpy

from . import tags
from .cameras import write_photo_camera
from .dynamic import moving_group, write_moving_in_slices
from .fast_display import fast_group, is_drawn_by_processor
from .jobdata import JobData
from .plate import attach_photo, open_clip, photo_paths
from .point_kind import new_points
from .point_materials import points_material
from .point_nodes import points_group_in_slices
from .points import Points, write_points_in_slices

Block = TypeVar("Block", bound=bpy.types.ID)

_DISPLAY = (points_material, lambda: points_material(lit=True), points_group_in_slices)


class Vanished(Exception):
    """Somebody removed what was being made: begin again."""


class Aside:
    """Datablocks made aside. As a context: those that nobody took are removed at the end.

    as_cloud: points that are not there yet become point clouds, where Blender can; others stay what they are.
    points, moving: as they are to be. clip: of the footage, None where there is one. cameras: by view, of photos
    that have none yet. paths: of the solved photos, None where the file is not there.
    """

    def __init__(self, as_cloud: bool = False) -> None:
        self._as_cloud = as_cloud
        self.points: Points | None = None
        self.moving: Points | None = None
        self.clip: bpy.types.MovieClip | None = None
        self.cameras: dict[str, bpy.types.Object] = {}
        self.paths: list[str | None] = []
        self._blocks: list[bpy.types.ID] = []

    def make(self, scene: bpy.types.Scene, data: JobData, plate: bool) -> Iterator[None]:
        """In steps of some milliseconds. Nothing gets a tag yet: the same job may be imported meanwhile.

        plate: footage is to be seen behind the cameras. Raises Vanished.
        """
        for _ in self._steps(tags.objects_of(scene, data.folder), data, plate):
            yield
            if any(not _is_alive(block) for block in self._blocks):
                raise Vanished

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            bpy.data.batch_remove(list(filter(_is_alive, self.cameras.values())))
        while unused := [block for block in filter(_is_alive, self._blocks) if block.users == 0]:
            bpy.data.batch_remove(unused)  # with it others lose their last user

    def _steps(self, there: dict[tuple[str, str], bpy.types.Object], data: JobData, plate: bool) -> Iterator[None]:
        fast = (fast_group,) if is_drawn_by_processor() else ()
        if data.cloud is not None and len(data.cloud):
            self.points = self._new_points(there.get(("points", "")), f"{data.name} Points")
            yield from write_points_in_slices(self.points, data.cloud)
            yield from self._make_display(*_DISPLAY, *fast)
        if data.moving is not None and len(data.moving):
            self.moving = self._new_points(there.get(("moving", "")), f"{data.name} Moving")
            yield from write_moving_in_slices(self.moving, data)
            yield from self._make_display(*_DISPLAY, moving_group, *fast)
        if not data.is_video:
            yield from self._make_photo_cameras(there, data, plate)
        elif plate:
            self.clip = open_clip(data)
            if self.clip is not None:
                self._add(self.clip)
            yield

    def _new_points(self, shown: bpy.types.Object | None, name: str) -> Points:
        """A copy of what is shown, so that the user's materials and properties stay."""
        block = self._add(shown.data.copy() if shown else new_points(name, self._as_cloud))
        tags.clear(block)
        return block

    def _make_display(self, *makers: Callable[[], bpy.types.ID | Iterator[bpy.types.ID]]) -> Iterator[None]:
        """makers: each gives a datablock that is shared, at once or in steps; what was not there is made aside."""
        yield
        for make in makers:
            known = tags.census()
            made = make()
            for block in made if isinstance(made, Iterator) else (made,):
                if block.session_uid not in known:
                    known.add(block.session_uid)
                    self._add(block)
                yield

    def _make_photo_cameras(
        self, there: dict[tuple[str, str], bpy.types.Object], data: JobData, plate: bool
    ) -> Iterator[None]:
        views = data.solved_views
        self.paths = photo_paths(views, data.source) if plate else [None] * len(views)
        for view, path in zip(views, self.paths, strict=True):
            yield
            if ("camera", view.file) not in there:
                lens = self._add(bpy.data.cameras.new(view.file))
                camera = self.cameras[view.file] = self._add(bpy.data.objects.new(view.file, lens))
                write_photo_camera(camera, view)
                image = attach_photo(camera, view, path, data.source) if path is not None else None
                if image is not None:
                    self._add(image)
        yield

    def _add(self, block: Block) -> Block:
        self._blocks.append(block)
        return block


def _is_alive(block: bpy.types.ID) -> bool:
    """Blender makes the Python object of a removed datablock useless."""
    try:
        return block.session_uid >= 0
    except ReferenceError:
        return False

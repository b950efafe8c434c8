"""The points an artist has picked: vertices or points in Edit Mode, objects in Object Mode, tracks of a clip."""

from __future__ import annotations

from dataclasses import dataclass, field

import bmesh
import bpy
import numpy as np

from ..engine.errors import EngineError
from . import tags
from .jobdata import read_job
from .shown import edited_clip
from .track_points import is_of_job, selected_tracks, track_points

MODES = ("OBJECT", "EDIT_MESH", "EDIT_POINTCLOUD")
_NO_PICKS = ("root", "camera", "slideshow", "points", "surface", "view surface", "floor")  # objects that are no points


@dataclass(frozen=True)
class Picks:
    """points: (n, 3) float64 in the world; of two, the one picked last comes last. objects: what stands for points
    and does not hang on the root, so that it has to be moved along."""

    points: np.ndarray
    objects: list[bpy.types.Object] = field(default_factory=list)

    def need(self, count: int, what: str) -> np.ndarray:
        """The points. Raises EngineError("usage") unless there are exactly count."""
        if len(self.points) != count:
            raise _wrong_count(f"{what} takes {_spelt(count)}", len(self.points))
        return self.points

    def need_at_least(self, count: int, what: str) -> np.ndarray:
        """The points. Raises EngineError("usage") when there are fewer than count."""
        if len(self.points) < count:
            raise _wrong_count(f"{what} takes at least {_spelt(count)}", len(self.points))
        return self.points


def find_root(context: bpy.types.Context) -> bpy.types.Object | None:
    """The root empty of the reconstruction that the user means: the selected one's, else the only one there is."""
    chosen = [edited_clip(context), context.active_object, *context.selected_objects]
    job = next((item[tags.JOB] for item in chosen if item is not None and item.get(tags.JOB)), None)
    roots = [item for item in context.scene.objects if item.get(tags.ROLE) == "root" and item.library is None]
    if job is None:
        return roots[0] if len(roots) == 1 else None
    return next((item for item in roots if item.get(tags.JOB) == job), None)


def picked_points(context: bpy.types.Context, root: bpy.types.Object) -> Picks:
    """Selected vertices of meshes or points of point clouds in Edit Mode; in Object Mode places of selected objects.

    In the Movie Clip Editor selected tracks, which the solved cameras place. Raises EngineError where they cannot.
    """
    clip = edited_clip(context)
    if clip is not None:
        return Picks(_track_places(clip, root))
    if context.mode == "EDIT_MESH":
        return Picks(_joined([_vertices(item) for item in context.objects_in_mode_unique_data]))
    if context.mode == "EDIT_POINTCLOUD":
        return Picks(_joined([_cloud_points(item) for item in context.objects_in_mode_unique_data]))
    chosen = [item for item in context.selected_objects if item.get(tags.ROLE) not in _NO_PICKS]
    chosen.sort(key=lambda item: item == context.active_object)
    places = [np.array(item.matrix_world.translation, dtype=np.float64)[None] for item in chosen]
    return Picks(_joined(places), [item for item in chosen if not _hangs_on(item, root)])


def picked_corners(context: bpy.types.Context, root: bpy.types.Object) -> Picks:
    """As picked_points, but an object counts with the corners of its bounding box, so that it has a height."""
    picks = picked_points(context, root)
    if context.mode != "OBJECT" or edited_clip(context) is not None:
        return picks
    corners = []
    for item in context.selected_objects:
        if item.get(tags.ROLE) not in _NO_PICKS:
            here = np.zeros((1, 3)) if item.type == "EMPTY" else np.array(item.bound_box, dtype=np.float64)
            corners.append(_to_world(here, item))
    return Picks(_joined(corners), picks.objects)


def leave_edit_mode(context: bpy.types.Context) -> None:
    """Back to Object Mode: an undo step made in Edit Mode knows only what is edited, not how the root stands."""
    if context.mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")


def _vertices(item: bpy.types.Object) -> np.ndarray:
    item.update_from_editmode()
    mesh = item.data
    chosen = np.zeros(len(mesh.vertices), dtype=bool)
    mesh.vertices.foreach_get("select", chosen)
    order = np.flatnonzero(chosen)
    clicked = bmesh.from_edit_mesh(mesh).select_history
    elements = [clicked[place] for place in range(len(clicked))]  # its iterator fails in Python 3.13
    history = [element.index for element in elements if isinstance(element, bmesh.types.BMVert)]
    if sorted(history) == order.tolist():  # else they were not clicked one by one
        order = np.array(history, dtype=np.int64)
    places = np.empty(3 * len(mesh.vertices), dtype=np.float32)
    mesh.vertices.foreach_get("co", places)  # attributes are hidden in Edit Mode
    return _to_world(places.reshape(-1, 3)[order].astype(np.float64), item)


def _cloud_points(item: bpy.types.Object) -> np.ndarray:
    positions = item.data.attributes["position"].data
    places = np.empty(3 * len(positions), dtype=np.float32)
    positions.foreach_get("vector", places)
    chosen = np.ones(len(positions), dtype=bool)  # without the attribute all are selected
    selection = item.data.attributes.get(".selection")
    if selection is not None:
        values = np.empty(len(positions), dtype=np.float32 if selection.data_type == "FLOAT" else bool)
        selection.data.foreach_get("value", values)
        chosen = values > 0
    return _to_world(places.reshape(-1, 3)[chosen].astype(np.float64), item)


def _track_places(clip: bpy.types.MovieClip, root: bpy.types.Object) -> np.ndarray:
    tracks = selected_tracks(clip)
    if not tracks:
        return np.empty((0, 3))
    data = read_job(root[tags.JOB], 0)
    if not is_of_job(clip, data):
        raise EngineError(
            "usage", f"{clip.name} is not the footage of {root.name}.", "Open the reconstruction's own clip."
        )
    return _to_world(track_points(clip, tracks, data), root)


def _to_world(points: np.ndarray, item: bpy.types.Object) -> np.ndarray:
    matrix = np.array(item.matrix_world, dtype=np.float64)
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.empty((0, 3)), *parts])


def _hangs_on(item: bpy.types.Object, root: bpy.types.Object) -> bool:
    while item is not None and item != root:
        item = item.parent
    return item is not None


def _spelt(count: int) -> str:
    return {1: "one point", 2: "two points", 3: "three points"}.get(count, f"{count} points")


def _wrong_count(need: str, found: int) -> EngineError:
    there = "none is" if found == 0 else "one is" if found == 1 else f"{found} are"
    return EngineError(
        "usage",
        f"{need}, but {there} selected.",
        "Select vertices of the points in Edit Mode, empties that you have put on points, or tracks in a clip.",
    )

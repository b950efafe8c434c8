"""What the compositor takes from disk: the footage, or the undistorted plates and ST-maps that the engine wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from ..engine.errors import EngineError
from ..engine.reconstruction import View
from . import tags
from .depth_images import load_image, load_sequence
from .jobdata import JobData

FOLDER = "undistorted"  # of the job folder: where the engine writes them
_FACTS = "undistorted.json"


@dataclass(frozen=True)
class Footage:
    """A movie clip, a mask, or an image with the frames (start, duration, offset) that its node needs, if it moves."""

    block: bpy.types.MovieClip | bpy.types.Mask | bpy.types.Image
    frames: tuple[int, int, int] | None = None

    def node(self, tree: bpy.types.NodeTree) -> bpy.types.Node:
        """A compositor node whose first output shows it."""
        if isinstance(self.block, bpy.types.Mask):
            node = tree.nodes.new("CompositorNodeMask")
            node.mask = self.block
            return node
        if isinstance(self.block, bpy.types.MovieClip):
            node = tree.nodes.new("CompositorNodeMovieClip")
            node.clip = self.block
            return node
        node = tree.nodes.new("CompositorNodeImage")
        node.image = self.block
        if self.frames is not None:
            node.frame_start, node.frame_duration, node.frame_offset = self.frames
            node.use_auto_refresh = True
        return node


def plates_are_current(data: JobData) -> bool:
    """Whether undistorted plates lie in the job folder that belong to the cameras as they are now."""
    facts = _read_facts(data)
    if facts is None:
        return False
    views = {item["file"]: item for item in facts["views"]}
    return all(_is_current(data, view, views.get(view.file)) for view in data.reconstruction.views)


def shot_view(scene: bpy.types.Scene, data: JobData) -> View | None:
    """Of photos the one whose camera is the scene's; None for footage, and when the camera is another."""
    file = scene.camera.get(tags.VIEW) if scene.camera is not None and not data.is_video else None
    return next((view for view in data.solved_views if view.file == file), None)


def original_plate(scene: bpy.types.Scene, data: JobData) -> Footage:
    """The footage as it was filmed. Raises EngineError("input") when Blender does not have it."""
    if data.is_video:
        clip = tags.find(bpy.data.movieclips, data.folder, "plate")
        if clip is not None:
            return Footage(clip)
    elif scene.camera is not None:
        for item in scene.camera.data.background_images:
            if item.image is not None:
                return Footage(item.image)
    raise EngineError("input", "The footage is not there.", "Put it back where it was, and import again.")


def undistorted_plate(scene: bpy.types.Scene, data: JobData) -> Footage:
    """The engine's plates. Raises EngineError("input") when they are not there."""
    return _from_disk(scene, data, "plate", "undistorted plates", None)


def stmap(scene: bpy.types.Scene, data: JobData, kind: str) -> Footage:
    """kind: "undistort" or "redistort". Raises EngineError("input") when it is not there."""
    facts = _read_facts(data)
    if facts is not None and facts["one_lens"]:
        file = Path(data.folder) / FOLDER / "stmaps" / f"{kind}.exr"
        return Footage(load_image(data, kind, "", f"{data.name} {kind.title()}", file))
    return _from_disk(scene, data, kind, kind, "Non-Color")


def depth_sequence(data: JobData) -> Footage | None:
    """The depth that Load Depth Sequence has loaded, if it has."""
    image = tags.find(bpy.data.images, data.folder, "depth")
    return None if image is None or image.source != "SEQUENCE" else Footage(image, frames_of(image))


def _from_disk(scene: bpy.types.Scene, data: JobData, kind: str, role: str, color_space: str | None) -> Footage:
    """Plates (kind "plate") or ST-maps per view."""
    facts = _read_facts(data)
    if facts is None:
        raise EngineError("input", "There are no undistorted plates yet.", "Set up the shot again.")
    by_file = {item["file"]: item for item in facts["views"]}

    def path(view: View) -> Path:
        item = by_file[view.file]
        inside = item["plate"] if kind == "plate" else f"stmaps/{kind}/{item['name']}.exr"
        return Path(data.folder) / FOLDER / inside

    if not data.is_video:
        view = shot_view(scene, data) or data.solved_views[0]
        return Footage(load_image(data, role, view.file, f"{Path(view.file).stem} {role}", path(view), color_space))
    views = data.reconstruction.views
    first = min(views, key=lambda view: view.frame)
    image = load_sequence(data, role, path(first), views, color_space)
    return Footage(image, frames_of(image))


def frames_of(image: bpy.types.Image) -> tuple[int, int, int]:
    """(start, duration, offset) that load_sequence wrote on the image."""
    return image["frame_start"], image["frame_duration"], image["frame_offset"]


def _read_facts(data: JobData) -> dict[str, Any] | None:
    """undistorted.json, or None when it is missing or damaged (it can always be made again)."""
    try:
        facts = json.loads((Path(data.folder) / FOLDER / _FACTS).read_text(encoding="utf-8"))
        paths = [Path(item[key]) for item in facts["views"] for key in ("file", "name", "plate")]
        inside = not any(path.is_absolute() or ".." in path.parts for path in paths)  # of a folder that was passed on
        return facts if paths and inside and isinstance(facts["one_lens"], bool) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_current(data: JobData, view: View, item: dict[str, Any] | None) -> bool:
    if item is None or not (Path(data.folder) / FOLDER / item["plate"]).is_file():
        return False
    lens = view.intrinsics
    return all(item.get(name) == getattr(lens, name) for name in item if hasattr(lens, name))

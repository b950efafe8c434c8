"""What footage a file shows already: behind a camera, on an empty, in the Movie Clip Editor."""

from __future__ import annotations

import bpy

from . import tags


def shown_footage(context: bpy.types.Context) -> bpy.types.MovieClip | bpy.types.Image | None:
    """What the artist looks at: the picture of the active empty, or what is behind the active or the scene's camera.

    Plates of our own are left out: they are footage that was reconstructed already.
    """
    for item in (context.active_object, context.scene.camera):
        for block in _footage_of(item):
            if not block.get(tags.JOB):
                return block
    return None


def _footage_of(item: bpy.types.Object | None) -> list[bpy.types.MovieClip | bpy.types.Image]:
    if item is None or item.get(tags.JOB):
        return []
    if item.type == "EMPTY" and item.empty_display_type == "IMAGE" and item.data is not None:
        return [item.data]
    if item.type != "CAMERA":
        return []
    shown = [_background(one) for one in item.data.background_images if one.show_background_image]
    return [block for block in shown if block is not None]


def _background(item: bpy.types.CameraBackgroundImage) -> bpy.types.MovieClip | bpy.types.Image | None:
    return item.image if item.source == "IMAGE" else item.clip


def edited_clip(context: bpy.types.Context) -> bpy.types.MovieClip | None:
    """The clip of the Movie Clip Editor that is used right now."""
    space = context.space_data
    return space.clip if isinstance(space, bpy.types.SpaceClipEditor) else None

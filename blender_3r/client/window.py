"""What a timer must know of Blender's windows: whether there are any, what to redraw, whether the artist is busy."""

from __future__ import annotations

import bpy


def redraw() -> None:
    """Let the sidebars and the preferences show what is new, without redrawing the 3D views themselves."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()
            elif area.type == "PREFERENCES":
                area.tag_redraw()


def has_window() -> bool:
    """Without one no timer runs between a script's statements."""
    return not bpy.app.background


def window_of(scene: bpy.types.Scene) -> bpy.types.Window:
    """A window that shows scene, else the first."""
    windows = bpy.context.window_manager.windows
    return next((window for window in windows if window.scene == scene), windows[0])


def is_artist_busy(window: bpy.types.Window) -> bool:
    """Whether new objects and an undo step now would disturb: other modes than Object and Pose, transforms, renders."""
    if bpy.app.is_job_running("RENDER") or bpy.app.is_job_running("OBJECT_BAKE"):
        return True
    with bpy.context.temp_override(window=window):
        if bpy.context.mode not in ("OBJECT", "POSE"):
            return True
    return any(operator.bl_idname.startswith("TRANSFORM_OT") for operator in window.modal_operators)

"""When the buttons that work on an imported reconstruction can be pressed."""

from __future__ import annotations

import bpy

from ..scene.surfaces import job_of


def has_job(cls: type[bpy.types.Operator], context: bpy.types.Context) -> bool:
    """Whether there is a job to work on, in Object Mode; else the button says why not."""
    if job_of(context) is None:
        cls.poll_message_set("Select anything of an imported reconstruction")
        return False
    if context.mode != "OBJECT":
        cls.poll_message_set("Switch to Object Mode first")
        return False
    return True

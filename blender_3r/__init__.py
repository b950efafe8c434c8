"""blender_3r: photos and footage to a tracked camera and scene geometry.

Importing this package imports nothing of Blender, so that the engine's side (`blender_3r.engine`) can be used, and
tested, by a Python without bpy.
"""

from __future__ import annotations


def register() -> None:
    """Called by Blender when the extension is enabled."""
    from . import registration

    registration.register()


def unregister() -> None:
    """Called by Blender when the extension is disabled."""
    from . import registration

    registration.unregister()

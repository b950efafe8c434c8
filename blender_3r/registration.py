"""What Blender is told when the extension is switched on, and taken back in reverse when it is switched off."""

from __future__ import annotations

import bpy

from . import panels, preferences, preferred, properties, translations
from .client import library, session
from .operators import (
    downloads,
    drop,
    engine,
    export,
    footage,
    import_job,
    models,
    orient,
    points,
    presets,
    reconstruct,
    render,
    report,
    scene_footage,
    shot,
    step_cameras,
    surfaces,
    tracks,
)
from .viewport import fast_points

CLASSES = (
    *preferences.classes,
    *footage.classes,
    *engine.classes,
    *reconstruct.classes,
    *import_job.classes,
    *step_cameras.classes,
    *scene_footage.classes,
    *drop.classes,
    *presets.classes,
    *models.classes,
    *downloads.classes,
    *points.classes,
    *surfaces.classes,
    *orient.classes,
    *shot.classes,
    *render.classes,
    *export.classes,
    *report.classes,
    *tracks.classes,
    *panels.classes,
)


def register() -> None:
    properties.register()
    translations.register()
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.TOPBAR_MT_file_export.append(panels.export.draw_menu)
    step_cameras.register_keys()
    presets.register_presets()
    fast_points.register()
    session.register()
    library.register(reconstruct.ask_for_estimate)
    preferred.refresh_engine()


def unregister() -> None:
    library.unregister()
    session.unregister()
    fast_points.unregister()
    presets.unregister_presets()
    step_cameras.unregister_keys()
    bpy.types.TOPBAR_MT_file_export.remove(panels.export.draw_menu)
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
    translations.unregister()
    properties.unregister()

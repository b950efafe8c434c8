"""The sidebar tab: drawing only, from the scene's settings and from what the session knows."""

from __future__ import annotations

from . import (
    clip,
    engine,
    export,
    main,
    mask,
    method,
    model_menu,
    models,
    options,
    orient,
    photos,
    points,
    presets,
    report,
    shot,
    surfaces,
)

classes = (
    *presets.classes,
    *main.classes,
    *options.classes,
    *mask.classes,
    *method.classes,
    *model_menu.classes,
    *models.classes,
    *photos.classes,
    *points.classes,
    *surfaces.classes,
    *orient.classes,
    *shot.classes,
    *report.classes,
    *export.classes,
    *engine.classes,
    *clip.classes,
)

"""A tracked shot made ready to render, in steps that can each be left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import bpy
import numpy as np

from ..engine.errors import EngineError
from . import tags
from .compositor import CompositorOptions, build_compositor
from .floor import find_shot_floor
from .jobdata import JobData
from .orient import HAS_FLOOR
from .plate import attach_footage, match_scene
from .shot_objects import add_floor, add_light, add_test_cube, engine_points
from .shot_plates import plates_are_current, shot_view
from .surface_looks import set_look
from .surfaces import surfaces_of


@dataclass(frozen=True)
class ShotOptions:
    """match_scene: size, frame rate, range and plain colours. plate: behind the camera in the view, and the lens on the
    movie clip. catcher: "FLOOR", "SURFACE" (the fused one) or "NONE". test_object: a cube on the floor, and light if
    there is none. compositor: plate, shadows and render put together. lens: "PLATE" undistorts the plate, "RENDER"
    distorts the render. foreground, mask, outputs, replace: as in CompositorOptions."""

    match_scene: bool = True
    plate: bool = True
    catcher: str = "FLOOR"
    test_object: bool = True
    compositor: bool = True
    lens: str = "PLATE"
    foreground: str = "NONE"
    mask: str = ""
    outputs: str = ""
    replace: bool = False


@dataclass
class ShotResult:
    """done: what was made, in words. warnings: sentences for the user."""

    done: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """One sentence for the status line."""
        return f"Shot set up: {', '.join(self.done)}." if self.done else "Nothing was set up."


def needs_plates(data: JobData, options: ShotOptions) -> bool:
    """Whether the engine has to write undistorted plates and ST-maps first."""
    return options.compositor and is_distorted(data) and not plates_are_current(data)


def is_distorted(data: JobData) -> bool:
    return any(view.intrinsics.is_distorted for view in data.solved_views)


def set_up_shot(
    scene: bpy.types.Scene, layer: bpy.types.ViewLayer, data: JobData, options: ShotOptions = ShotOptions()
) -> ShotResult:
    """Make scene ready to render the shot of a job that is in it, camera and root included.

    A step that is not possible is told and left out. Raises EngineError("usage") when the job is not in the scene.
    """
    there = tags.objects_of(scene, data.folder)
    cameras = [item for (role, _), item in there.items() if role == "camera"]
    if ("root", "") not in there or not cameras:
        raise EngineError("usage", f"{data.name} is not in this scene.", "Import the reconstruction first.")
    result = ShotResult()
    if scene.camera is None or scene.camera.get(tags.JOB) != data.folder:
        scene.camera = cameras[0]
    if options.match_scene:
        _try(result, "scene", lambda: _match(scene, data))
    if options.plate and data.is_video:
        _try(result, "plate", lambda: attach_footage(cameras[0], data))
    if options.catcher != "NONE" or options.compositor:
        scene.render.engine = "CYCLES"  # the one that knows shadow catchers
        scene.render.film_transparent = True
    has_catcher = options.catcher != "NONE" and _add_objects(scene, data, options, result)
    if options.catcher == "NONE" and options.test_object:
        _add_objects(scene, data, options, result)
    if options.compositor:
        lens = options.lens if is_distorted(data) else "NONE"
        wishes = CompositorOptions(
            lens, has_catcher, options.foreground, options.mask, options.outputs, options.replace
        )
        _try(result, "compositor", lambda: build_compositor(scene, layer, data, wishes))
    return result


def _match(scene: bpy.types.Scene, data: JobData) -> str:
    """As match_scene, and nothing else that changes the plate's colours."""
    missing = match_scene(scene, data)
    view = scene.view_settings
    if not missing:
        view.look, view.exposure, view.gamma, view.use_curve_mapping = "None", 0.0, 1.0, False
    return missing


def _add_objects(scene: bpy.types.Scene, data: JobData, options: ShotOptions, result: ShotResult) -> bool:
    """Catcher and test object. Says whether there is something that catches shadows."""
    bpy.context.view_layer.update()
    root = tags.objects_of(scene, data.folder)[("root", "")]
    points = engine_points(scene, data)
    stand = np.array(root.matrix_world, dtype=np.float64)
    floor = find_shot_floor(data, points, stand, bool(root.get(HAS_FLOOR)), shot_view(scene, data))
    has_catcher = False
    if options.catcher == "SURFACE":
        surfaces = [item for item in surfaces_of(scene, data.folder) if item.get(tags.ROLE) == "surface"]
        for surface in surfaces:
            set_look(surface, "CATCHER")
            surface.hide_render = False
        has_catcher = bool(surfaces)
        result.done += ["surface catches shadows"] if surfaces else []
        if not surfaces:
            result.warnings.append("There is no fused surface: press Make Surface, or let the floor catch shadows.")
    elif options.catcher == "FLOOR":
        add_floor(scene, data, floor)
        has_catcher = True
        result.done.append("floor")
        if not floor.is_fitted and not root.get(HAS_FLOOR):
            result.warnings.append(
                "No floor was found in the points, so it lies at z = 0: select three points of it and press Set Floor."
            )
    if options.test_object:
        add_test_cube(scene, data, floor)
        lit = add_light(scene, data, floor)
        result.done.append("test cube and light" if lit else "test cube")
    return has_catcher


def _try(result: ShotResult, what: str, step: Callable[[], str | None]) -> None:
    """Do a step; what it warns of, or why it was not possible, is told."""
    try:
        warning = step()
    except EngineError as error:
        result.warnings.append(str(error))
        return
    result.done.append(what)
    if warning:
        result.warnings.append(warning)

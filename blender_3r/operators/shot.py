"""Set Up Shot: one button, every step an option; the engine writes undistorted plates first where the lens distorts."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty

from ..client.delivery import Delivered, Delivery
from ..engine.errors import EngineError
from ..scene.jobdata import JobData, read_job
from ..scene.shot import ShotOptions, needs_plates, set_up_shot
from ..scene.shot_plates import FOLDER
from ..scene.surfaces import job_of
from .export import start_export
from .on_job import has_job


class THREER_OT_setup_shot(bpy.types.Operator):
    """Make the scene ready to render over the footage: size and colours, plate, floor, test cube, compositor"""

    bl_idname = "threer.setup_shot"
    bl_label = "Set Up Shot"
    bl_options = {"REGISTER", "UNDO", "PRESET"}

    match_scene: BoolProperty(
        name="Match Scene", description="Size, frame rate, frame range and plain colours of the footage", default=True
    )
    plate: BoolProperty(
        name="Plate behind Camera",
        description="Show the footage behind the camera, and write the lens to its movie clip",
        default=True,
    )
    catcher: EnumProperty(
        name="Shadows",
        items=(
            ("FLOOR", "Floor", "A plane where the floor is catches the shadows (Cycles)"),
            ("SURFACE", "Surface", "The fused surface catches the shadows (Cycles)"),
            ("NONE", "None", "Nothing catches shadows"),
        ),
    )
    test_object: BoolProperty(
        name="Test Cube", description="A cube with wire on the floor, and light where there is none", default=True
    )
    compositor: BoolProperty(
        name="Compositor", description="Put plate, shadows and render together by nodes", default=True
    )
    lens: EnumProperty(
        name="Lens",
        items=(
            ("PLATE", "Undistort Plate", "The plate is undistorted by the engine and lies under the render"),
            ("RENDER", "Distort Render", "The render is distorted like the footage and lies over it as it was filmed"),
        ),
    )
    foreground: EnumProperty(
        name="In Front",
        description="What of the footage hides the render",
        items=(
            ("NONE", "Nothing", "The render lies over the whole plate"),
            ("DEPTH", "What Is Nearer", "By the depth of the footage; press Load Depth Sequence in Export first"),
            ("MASK", "Mask", "What a mask covers; without one, what was left alone by the reconstruction's mask"),
            ("MOVING", "What Moves", "What the reconstruction knows to move by itself"),
        ),
    )
    mask: StringProperty(name="Mask", description="A mask of the Movie Clip Editor; empty: the reconstruction's own")
    outputs: StringProperty(
        name="EXR Files",
        description="A folder for EXR files of result, render and shadows at every render; empty: none",
        subtype="DIR_PATH",
    )
    replace: BoolProperty(name="Replace Compositor", description="Also where the scene has a compositor that you built")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return has_job(cls, context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(self, width=320)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column(heading="Scene")
        column.prop(self, "match_scene")
        column.prop(self, "plate")
        column.prop(self, "test_object")
        layout.row().prop(self, "catcher", expand=True)
        layout.prop(self, "compositor")
        column = layout.column()
        column.active = self.compositor
        column.row().prop(self, "lens", expand=True)
        column.prop(self, "foreground")
        if self.foreground == "MASK":
            column.prop_search(self, "mask", bpy.data, "masks")
            if not self.mask:
                column.label(text="Empty: the mask of the reconstruction", icon="INFO")
        column.prop(self, "replace")
        column.prop(self, "outputs")

    def execute(self, context: bpy.types.Context) -> set[str]:
        folder = Path(job_of(context))
        options = ShotOptions(**{name: getattr(self, name) for name in ShotOptions.__dataclass_fields__})
        try:
            data = read_job(folder, 0)
            if needs_plates(data, options):
                delivery = Delivery(_read, partial(_build, options, context.view_layer.name))
                return start_export(self, context, folder, "undistorted", folder / FOLDER, {}, delivery, "Shot")
            result = set_up_shot(context.scene, context.view_layer, data, options)
        except EngineError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, result.text)
        for sentence in result.warnings:  # the status bar shows the last one
            self.report({"WARNING"}, sentence)
        return {"FINISHED"}


def _read(folder: Path, is_final: bool) -> JobData | None:
    return read_job(folder, 0) if is_final else None


def _build(
    options: ShotOptions, layer: str, scene: bpy.types.Scene, data: JobData | None, is_final: bool
) -> Generator[None, None, Delivered]:
    """The shot once the plates are written. layer: name of the view layer."""
    yield
    if data is None:
        return Delivered([], is_new=False)
    result = set_up_shot(scene, scene.view_layers.get(layer) or scene.view_layers[0], data, options)
    return Delivered([result.text, *result.warnings])


classes = (THREER_OT_setup_shot,)

"""What can be done with models beside getting them: list, remove, add one's own, choose; in the background."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy

from .. import preferred
from ..client.library import library
from ..client.model_facts import Model
from ..client.session import session
from ..client.window import redraw
from ..widgets import licence
from .engine import OFFLINE

DIALOG_WIDTH = 460


class ModelOperator:
    """What the operators share: the model they are about, and an engine to ask."""

    bl_options = {"INTERNAL"}

    model: bpy.props.StringProperty(name="Model", options={"HIDDEN", "SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        reason = "" if library.catalogue.is_usable else "Install the engine first"
        if session.is_installing:
            reason = f"{session.installer.title} is not done yet"
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def find(self) -> Model | None:
        """The model, or None with a message when the list does not have it."""
        if bpy.app.background and library.catalogue.status != "known":
            _wait_for_list()
        model = library.catalogue.models.get(self.model)
        if model is None:
            self.report({"ERROR"}, f"There is no model {self.model!r} in the list")
        return model


class THREER_OT_refresh_models(ModelOperator, bpy.types.Operator):
    """Look again which models there are, and which of them are on this machine"""

    bl_idname = "threer.refresh_models"
    bl_label = "Refresh"

    def execute(self, context: bpy.types.Context) -> set[str]:
        library.catalogue.refresh()
        library.wake()
        return finish(self, lambda: library.catalogue.status in ("known", "failed"))


class THREER_OT_remove_model(ModelOperator, bpy.types.Operator):
    """Delete this model's files; other programs that use the same files will have to download them again"""

    bl_idname = "threer.remove_model"
    bl_label = "Remove Model"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self.find() is None:
            return {"CANCELLED"}
        return open_dialog(context.window_manager, self, DIALOG_WIDTH, "Remove Model", "Remove")

    def draw(self, context: bpy.types.Context) -> None:
        model = library.catalogue.models.get(self.model)
        if model is not None:
            licence.draw_removal(self.layout, model)

    def execute(self, context: bpy.types.Context) -> set[str]:
        if self.find() is None:
            return {"CANCELLED"}
        library.catalogue.remove(self.model)
        library.wake()
        return finish(self, lambda: not has_more_to_say(self.model))


class THREER_OT_add_checkpoint(ModelOperator, bpy.types.Operator):
    """Put a checkpoint file of yours into the list; it is read where it lies, and neither copied nor changed"""

    bl_idname = "threer.add_checkpoint"
    bl_label = "Add Checkpoint"

    filepath: bpy.props.StringProperty(
        name="File", description="The checkpoint", subtype="FILE_PATH", options={"HIDDEN", "SKIP_SAVE"}
    )
    filter_glob: bpy.props.StringProperty(
        name="Files", default="*.safetensors;*.pth;*.pt;*.bin;*.ckpt", options={"HIDDEN", "SKIP_SAVE"}
    )
    title: bpy.props.StringProperty(name="Name", description="How the list calls it; empty: as the file is called")
    license: bpy.props.StringProperty(name="Licence", description="The licence of the weights, if you know it")
    commercial_use: bpy.props.BoolProperty(
        name="Commercial Use", description="The licence allows commercial use", options={"SKIP_SAVE"}
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        for name in ("title", "license", "commercial_use"):
            layout.prop(self, name)

    def execute(self, context: bpy.types.Context) -> set[str]:
        path = Path(bpy.path.abspath(self.filepath))
        if not self.filepath or not path.is_file():
            self.report({"ERROR"}, f"There is no file {path}" if self.filepath else "No file is picked")
            return {"CANCELLED"}
        library.catalogue.add(path, self.title, self.license, self.commercial_use)
        library.wake()
        return finish(self, lambda: not has_more_to_say(""))


class THREER_OT_choose_model(bpy.types.Operator):
    """Use this model for the scene's footage"""

    bl_idname = "threer.choose_model"
    bl_label = "Choose Model"
    bl_options = {"INTERNAL", "UNDO"}

    model: bpy.props.StringProperty(name="Model", options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.scene.threer.model = self.model
        redraw()
        return {"FINISHED"}


class THREER_OT_show_model(bpy.types.Operator):
    """Show or hide what there is to know of this model, and what can be done with it"""

    bl_idname = "threer.show_model"
    bl_label = "Details"
    bl_options = {"INTERNAL"}

    model: bpy.props.StringProperty(name="Model", options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        library.expanded = "" if library.expanded == self.model else self.model
        return {"FINISHED"}


class THREER_OT_dismiss_models(bpy.types.Operator):
    """Remove this message"""

    bl_idname = "threer.dismiss_models"
    bl_label = "Dismiss Message"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        library.catalogue.failure, library.catalogue.note = None, ""
        return {"FINISHED"}


class THREER_OT_install_full(bpy.types.Operator):
    """Install the Full engine with PyTorch, which the methods with networks need; the Classic one goes on working"""

    bl_idname = "threer.install_full"
    bl_label = "Install Full Engine"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not bpy.ops.threer.install_engine.poll():
            cls.poll_message_set("The engine is busy")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        if not bpy.app.online_access:
            self.report({"ERROR"}, OFFLINE)
            return {"CANCELLED"}
        library.catalogue.rest()
        preferred.get().profile = "full"
        return bpy.ops.threer.install_engine()


# -- inside


def open_dialog(
    manager: bpy.types.WindowManager, operator: bpy.types.Operator, width: int, title: str, confirm: str
) -> set[str]:
    """A dialog with the operator's drawing and a named button; Blender 4.2 may know fewer arguments."""
    known = manager.bl_rna.functions["invoke_props_dialog"].parameters.keys()
    wishes = {"title": title, "confirm_text": confirm, "cancel_default": False}
    return manager.invoke_props_dialog(
        operator, width=width, **{name: value for name, value in wishes.items() if name in known}
    )


def has_more_to_say(id_: str) -> bool:
    """Of a model that is cancelled or removed, and of the list that is asked for after that."""
    return id_ in library.catalogue.downloads or library.catalogue.is_waiting


def _wait_for_list() -> None:
    library.catalogue.refresh()
    library.wait(lambda: library.catalogue.status in ("known", "failed"))


def finish(operator: bpy.types.Operator, is_done: Callable[[], bool]) -> set[str]:
    """Without a window no timer runs: stay until the end, and tell what went wrong."""
    if not bpy.app.background:
        return {"FINISHED"}
    library.wait(is_done)
    failure = library.catalogue.failure
    if failure is not None:
        operator.report({"ERROR"}, f"{failure.message} {failure.hint}".strip())
        return {"CANCELLED"}
    if library.catalogue.note:
        operator.report({"INFO"}, library.catalogue.note)
    return {"FINISHED"}


classes = (
    THREER_OT_refresh_models,
    THREER_OT_remove_model,
    THREER_OT_add_checkpoint,
    THREER_OT_choose_model,
    THREER_OT_show_model,
    THREER_OT_dismiss_models,
    THREER_OT_install_full,
)

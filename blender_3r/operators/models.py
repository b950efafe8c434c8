"""What can be done with models: get, pause, remove, add one's own, choose; all of it in the background."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy

from .. import preferences
from ..client.library import library
from ..client.model_facts import Model
from ..client.session import session
from ..panels import licence
from . import model_choice
from .engine import OFFLINE

DIALOG_WIDTH = 460


class _ModelOperator:
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


class THREER_OT_refresh_models(_ModelOperator, bpy.types.Operator):
    """Look again which models there are, and which of them are on this machine"""

    bl_idname = "threer.refresh_models"
    bl_label = "Refresh"

    def execute(self, context: bpy.types.Context) -> set[str]:
        library.catalogue.refresh()
        library.wake()
        return _finish(self, lambda: library.catalogue.status in ("known", "failed"))


class THREER_OT_download_model(_ModelOperator, bpy.types.Operator):
    """Read and accept the licence, then download the model in the background"""

    bl_idname = "threer.download_model"
    bl_label = "Download Model"

    accept: bpy.props.BoolProperty(
        name="I accept the licence",
        description="Without it nothing is downloaded",
        options={"SKIP_SAVE"},
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self.find() is None:
            return {"CANCELLED"}
        return open_dialog(context.window_manager, self, DIALOG_WIDTH, "Licence of the Model", "Download")

    def draw(self, context: bpy.types.Context) -> None:
        model = library.catalogue.models.get(self.model)
        if model is not None:
            licence.draw_licence(self.layout, model, library.catalogue.hub, library.catalogue.free_bytes)
            self.layout.prop(self, "accept")

    def execute(self, context: bpy.types.Context) -> set[str]:
        model = self.find()
        if model is None:
            return {"CANCELLED"}
        reason = _why_not_download(model, self.accept)
        if reason:
            self.report({"ERROR"}, reason)
            return {"CANCELLED"}
        return _download(self, model.id)


class THREER_OT_resume_download(_ModelOperator, bpy.types.Operator):
    """Go on with this download where it stopped"""

    bl_idname = "threer.resume_download"
    bl_label = "Resume"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self.model not in library.catalogue.accepted:  # begun in another session, perhaps by somebody else
            return bpy.ops.threer.download_model("INVOKE_DEFAULT", model=self.model)
        return self.execute(context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        model = self.find()
        if model is None:
            return {"CANCELLED"}
        reason = _why_not_download(model, self.model in library.catalogue.accepted)
        if reason:
            self.report({"ERROR"}, reason)
            return {"CANCELLED"}
        return _download(self, model.id)


class THREER_OT_pause_download(_ModelOperator, bpy.types.Operator):
    """Stop this download; what has come is kept, and Resume goes on from there"""

    bl_idname = "threer.pause_download"
    bl_label = "Pause"

    def execute(self, context: bpy.types.Context) -> set[str]:
        library.catalogue.pause(self.model)
        library.wake()
        return _finish(self, lambda: not _is_stopping(self.model))


class THREER_OT_cancel_download(_ModelOperator, bpy.types.Operator):
    """Stop this download and delete what has come of it"""

    bl_idname = "threer.cancel_download"
    bl_label = "Cancel Download"

    def execute(self, context: bpy.types.Context) -> set[str]:
        library.catalogue.drop(self.model)
        library.wake()
        return _finish(self, lambda: not _has_more_to_say(self.model))


class THREER_OT_remove_model(_ModelOperator, bpy.types.Operator):
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
        return _finish(self, lambda: not _has_more_to_say(self.model))


class THREER_OT_add_checkpoint(_ModelOperator, bpy.types.Operator):
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
        return _finish(self, lambda: not _has_more_to_say(""))


class THREER_OT_choose_model(bpy.types.Operator):
    """Use this model for the scene's footage"""

    bl_idname = "threer.choose_model"
    bl_label = "Choose Model"
    bl_options = {"INTERNAL", "UNDO"}

    model: bpy.props.StringProperty(name="Model", options={"HIDDEN", "SKIP_SAVE"})

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """The tool tip: what the model is good at."""
        model = library.catalogue.models.get(properties.model)
        return model.good_for if model is not None and model.good_for else cls.__doc__

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.scene.threer.model = self.model
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
        preferences.get().profile = "full"
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


def _why_not_download(model: Model, accept: bool) -> str:
    if not model.allowed:
        return model_choice.FORBIDDEN
    if not accept:
        return f"The licence of {model.title} ({model.license}) was not accepted, so nothing is downloaded"
    if not bpy.app.online_access:
        return OFFLINE
    free, needed = library.catalogue.free_bytes, model.download_bytes - model.begun_bytes
    if free is not None and needed > free:
        return (
            f"{model.title} takes {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free: make room, or choose another "
            "models folder in the preferences"
        )
    return ""


def _download(operator: bpy.types.Operator, id_: str) -> set[str]:
    library.catalogue.download(id_)
    library.wake()
    finished = _finish(operator, lambda: not _is_coming(id_) and not library.catalogue.is_waiting)
    failed = library.catalogue.downloads.get(id_)
    if bpy.app.background and failed is not None and failed.failure is not None:
        operator.report({"ERROR"}, f"{failed.failure.message} {failed.failure.hint}".strip())
        return {"CANCELLED"}
    return finished


def _is_coming(id_: str) -> bool:
    known = library.catalogue.downloads.get(id_)
    return known is not None and (known.is_active or known.status == "waiting")


def _is_stopping(id_: str) -> bool:
    known = library.catalogue.downloads.get(id_)
    return known is not None and known.status == "pausing"


def _has_more_to_say(id_: str) -> bool:
    """Of a model that is cancelled or removed, and of the list that is asked for after that."""
    return id_ in library.catalogue.downloads or library.catalogue.is_waiting


def _wait_for_list() -> None:
    library.catalogue.refresh()
    library.wait(lambda: library.catalogue.status in ("known", "failed"))


def _finish(operator: bpy.types.Operator, is_done: Callable[[], bool]) -> set[str]:
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
    THREER_OT_download_model,
    THREER_OT_resume_download,
    THREER_OT_pause_download,
    THREER_OT_cancel_download,
    THREER_OT_remove_model,
    THREER_OT_add_checkpoint,
    THREER_OT_choose_model,
    THREER_OT_show_model,
    THREER_OT_dismiss_models,
    THREER_OT_install_full,
)

"""Models are downloaded: licence, pause, resume, cancel; all of it in the background."""

from __future__ import annotations

import bpy

from ..client import licences
from ..client.library import library
from ..client.model_facts import Model
from ..widgets import licence
from . import model_choice
from .engine import OFFLINE
from .models import ModelOperator, finish, has_more_to_say, open_dialog


class THREER_OT_download_model(ModelOperator, bpy.types.Operator):
    """Read and accept the licence, then download the model in the background"""

    bl_idname = "threer.download_model"
    bl_label = "Download Model"

    accept: bpy.props.BoolProperty(
        name="I have read and accept the licence",
        description="Without it nothing is downloaded",
        options={"SKIP_SAVE"},
    )
    page: bpy.props.IntProperty(
        name="Page", description="The page of the licence that is shown", default=1, min=1, options={"SKIP_SAVE"}
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self.find() is None:
            return {"CANCELLED"}
        return open_dialog(context.window_manager, self, licence.WIDTH_PX, "Licence of the Model", "Download")

    def draw(self, context: bpy.types.Context) -> None:
        model = library.catalogue.models.get(self.model)
        if model is not None:
            licence.draw_licence(self.layout, self, model, library.catalogue.hub, library.catalogue.free_bytes)

    def check(self, context: bpy.types.Context) -> bool:
        """Called after each change in the dialog: there is no page behind the last one."""
        model = library.catalogue.models.get(self.model)
        last = len(licences.pages(model.license)) if model is not None else 1
        self.page = min(self.page, max(1, last))
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        model = self.find()
        if model is None:
            return {"CANCELLED"}
        reason = _why_not_download(model, self.accept)
        if reason:
            self.report({"ERROR"}, reason)
            return {"CANCELLED"}
        return _download(self, model.id)


class THREER_OT_read_licence(ModelOperator, bpy.types.Operator):
    """Open the licence in your browser, where its publisher has it"""

    bl_idname = "threer.read_licence"
    bl_label = "Read the Licence"

    def execute(self, context: bpy.types.Context) -> set[str]:
        model = self.find()
        if model is None:
            return {"CANCELLED"}
        library.read.add(model.id)
        return bpy.ops.wm.url_open(url=model.license_url)


class THREER_OT_resume_download(ModelOperator, bpy.types.Operator):
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


class THREER_OT_pause_download(ModelOperator, bpy.types.Operator):
    """Stop this download; what has come is kept, and Resume goes on from there"""

    bl_idname = "threer.pause_download"
    bl_label = "Pause"

    def execute(self, context: bpy.types.Context) -> set[str]:
        library.catalogue.pause(self.model)
        library.wake()
        return finish(self, lambda: not _is_stopping(self.model))


class THREER_OT_cancel_download(ModelOperator, bpy.types.Operator):
    """Stop this download and delete what has come of it"""

    bl_idname = "threer.cancel_download"
    bl_label = "Cancel Download"

    def execute(self, context: bpy.types.Context) -> set[str]:
        library.catalogue.drop(self.model)
        library.wake()
        return finish(self, lambda: not has_more_to_say(self.model))


# -- inside


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
    finished = finish(operator, lambda: not _is_coming(id_) and not library.catalogue.is_waiting)
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


classes = (
    THREER_OT_download_model,
    THREER_OT_read_licence,
    THREER_OT_resume_download,
    THREER_OT_pause_download,
    THREER_OT_cancel_download,
)

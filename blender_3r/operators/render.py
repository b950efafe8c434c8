"""Render Shot: EXR files and a review movie by a second Blender, so that this one can be worked in."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import bpy
from bpy.props import BoolProperty, StringProperty

from ..client.delivery import Delivered, Delivery, Home, Turn
from ..client.job import Failure
from ..client.render_job import RenderJob
from ..client.session import session
from ..engine import __version__, protocol
from ..engine.errors import EngineError
from ..scene import render_script
from ..scene.surfaces import job_of
from .reconstruct import is_headless, launcher, refuse, wait_for_job


class THREER_OT_render_shot(bpy.types.Operator):
    """Render the scene to EXR files and a review movie in the background, as it is now"""

    bl_idname = "threer.render_shot"
    bl_label = "Render Shot"
    bl_options = {"REGISTER"}

    directory: StringProperty(name="Folder", subtype="DIR_PATH", options={"SKIP_SAVE"})
    movie: BoolProperty(name="Review Movie", description="An MP4 movie of the frames, too", default=True)
    _offered: Path | None = None  # a folder made for the file browser, which shows only what is there

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if context.scene.camera is None:
            cls.poll_message_set("The scene has no camera")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if not self.directory:
            folder = _default_folder(context)
            self._offered = _made(folder)
            self.directory = str(folder)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def cancel(self, context: bpy.types.Context) -> None:
        self._take_back()

    def draw(self, context: bpy.types.Context) -> None:
        self.layout.prop(self, "movie")

    def execute(self, context: bpy.types.Context) -> set[str]:
        out = Path(bpy.path.abspath(self.directory)) if self.directory else _default_folder(context)
        if out != self._offered:
            self._take_back()
        name = bpy.path.clean_name(context.scene.name)
        movie = self.movie
        try:
            _make_folder(out)
            command = render_command(_save_copy())
            launch = launcher(lambda: RenderJob(command, out, name, movie))
            home = Home.of(context.scene)
            session.start(Turn(f"Render to {out.name}", ("render", str(out)), out, launch, home, _NO_DELIVERY))
        except EngineError as error:
            return refuse(self, Failure(error.message, error.hint, error.kind))
        return wait_for_job(self) if is_headless() else {"FINISHED"}

    def _take_back(self) -> None:
        """Remove the offered folder, which was not taken, unless something is in it."""
        if self._offered is not None:
            with contextlib.suppress(OSError):
                self._offered.rmdir()


def render_command(file: Path) -> list[str]:
    """How another Blender is told to render file. Where Blender is a Python module, that Python is its program."""
    script = str(Path(render_script.__file__).resolve())
    tail = ["--", str(protocol.VERSION), __version__, str(file)]
    if bpy.app.binary_path:
        return [bpy.app.binary_path, "-b", str(file), "--python", script, *tail]
    return [sys.executable, script, *tail]


def _made(folder: Path) -> Path | None:
    """The folder, if it was not there before and can be made."""
    try:
        folder.mkdir()
    except OSError:
        return None
    return folder


def _make_folder(out: Path) -> None:
    """Raises EngineError("machine") when files cannot be put there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise EngineError(
            "machine", f"Nothing can be written to {out} ({error.strerror or error}).", "Choose another folder."
        ) from error


def _save_copy() -> Path:
    """The file as it is now, saved aside; Blender removes it at its end. Raises EngineError("machine")."""
    folder = Path(tempfile.mkdtemp(prefix="render-", dir=bpy.app.tempdir or None))
    path = folder / "shot.blend"
    try:
        bpy.ops.wm.save_as_mainfile(filepath=str(path), copy=True, compress=False)
    except RuntimeError as error:
        raise EngineError(
            "machine", f"The scene cannot be saved to {folder} for the render.", "Free disk space there."
        ) from error
    return path


def _default_folder(context: bpy.types.Context) -> Path:
    """Beside the .blend, else in the job's folder."""
    if bpy.data.filepath:
        return Path(bpy.data.filepath).parent / "render"
    job = job_of(context)
    return Path(job) / "render" if job else Path(tempfile.gettempdir()) / "render"


def _read(folder: Path, is_final: bool) -> None:
    """A render leaves nothing to bring in."""


def _build(scene: bpy.types.Scene, data: None, is_final: bool) -> Generator[None, None, Delivered]:
    yield
    return Delivered([], is_new=False)


_NO_DELIVERY = Delivery(_read, _build)

classes = (THREER_OT_render_shot,)

"""Runs in a Blender without a window: renders the file's scene to EXR files and a movie, and tells how far it is.

    blender -b FILE --python render_script.py -- PROTOCOL VERSION FILE

Speaks the engine's protocol (engine/protocol.py) with the extension that started it: hello, then a request
render {id, out, name, movie}, answered by progress and done or failed. It leaves when its standard input closes. Needs
nothing of the extension. A frame that is there and newer than the file is kept, so that a render which was started
again goes on; but for the last one, which may be half written.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import bpy

_CANCEL = ("cancel", "quit")


class Failed(Exception):
    """A sentence what happened, and one what to do."""


class Line:
    """Messages to and from the extension. What Blender itself prints goes to standard error from here on."""

    def __init__(self) -> None:
        self._out = os.dup(1)
        os.dup2(2, 1)
        self.requests: queue.SimpleQueue[dict] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def say(self, type_: str, **fields: object) -> None:
        os.write(self._out, json.dumps({"type": type_, **fields}).encode() + b"\n")

    def _read(self) -> None:
        with os.fdopen(0, "rb", closefd=False) as stream:
            for line in stream:
                message = json.loads(line)
                if message.get("type") in _CANCEL:
                    self.say("cancelled", id=message.get("id"))
                    break
                self.requests.put(message)
        os._exit(0)  # Blender would render to the end


def render_frames(scene: bpy.types.Scene, out: Path, name: str, tell: Callable[[int, int], None]) -> list[Path]:
    """Render the scene's frame range to out/name_0001.exr...; tell(done, total) after each. Returns the files.

    Raises Failed when a frame cannot be rendered or written; those before stay.
    """
    frames = range(scene.frame_start, scene.frame_end + 1, scene.frame_step)
    files = [out / f"{name}_{frame:04d}.exr" for frame in frames]
    newest = Path(bpy.data.filepath).stat().st_mtime if bpy.data.filepath else time.time()
    there = [file for file in files if file.is_file() and file.stat().st_mtime >= newest]
    _use_images(scene)
    scene.render.filepath = str(out / f"{name}_####")
    scene.render.use_overwrite = True
    scene.frame_step = 1
    for done, (frame, file) in enumerate(zip(frames, files, strict=True)):
        if file not in there[:-1]:
            scene.frame_start = scene.frame_end = frame
            try:
                bpy.ops.render.render(animation=True)
            except RuntimeError as error:
                raise _not_written(out, frame, done, str(error)) from error
            if not file.is_file() or file.stat().st_size == 0:
                raise _not_written(out, frame, done, "nothing was written")
        tell(done + 1, len(files))
    return files


def write_movie(scene: bpy.types.Scene, files: list[Path], path: Path) -> None:
    """An H.264 movie of rendered files, in the colours that scene shows. Raises Failed."""
    review = bpy.data.scenes.new("3R Review")
    source, target = scene.render, review.render
    share = source.resolution_percentage / 100
    # H.264 wants even sizes
    target.resolution_x = max(2, int(source.resolution_x * share) // 2 * 2)
    target.resolution_y = max(2, int(source.resolution_y * share) // 2 * 2)
    target.pixel_aspect_x, target.pixel_aspect_y = source.pixel_aspect_x, source.pixel_aspect_y
    target.fps, target.fps_base = source.fps, source.fps_base
    for name in ("view_transform", "look", "exposure", "gamma"):
        setattr(review.view_settings, name, getattr(scene.view_settings, name))
    editor = review.sequence_editor_create()
    strips = editor.strips if hasattr(editor, "strips") else editor.sequences  # until 4.3
    strip = strips.new_image("Render", str(files[0]), 1, 1)
    for file in files[1:]:
        strip.elements.append(file.name)
    review.frame_start, review.frame_end = 1, len(files)
    settings = target.image_settings
    if hasattr(settings, "media_type"):  # from 5.0
        settings.media_type = "VIDEO"
    settings.file_format = "FFMPEG"
    target.ffmpeg.format, target.ffmpeg.codec, target.ffmpeg.constant_rate_factor = "MPEG4", "H264", "HIGH"
    target.filepath, target.use_file_extension = str(path), False
    try:
        bpy.ops.render.render(animation=True, scene=review.name)
    except RuntimeError as error:
        raise Failed(f"The movie {path} cannot be written ({_plain(error)}).", "The frames are there.") from error
    finally:
        bpy.data.scenes.remove(review)


def answer(line: Line, request: dict) -> None:
    """Do one request to the end."""
    number, out, name = request["id"], Path(request["out"]), request["name"]
    scene, started = bpy.context.scene, time.monotonic()
    frames = scene.frame_end - scene.frame_start + 1

    def tell(done: int, total: int) -> None:
        left = (time.monotonic() - started) / done * (total - done)
        stage = f"Rendering frame {done} of {total}"
        line.say("progress", id=number, stage=stage, done=done, total=total, fraction=0.97 * done / total, eta_s=left)

    line.say("started", id=number, total=frames, resumed=False)
    line.say("progress", id=number, stage="Preparing the render", done=0, total=frames, fraction=0.0, eta_s=None)
    try:
        out.mkdir(parents=True, exist_ok=True)
        files = render_frames(scene, out, name, tell)
        if request["movie"]:
            line.say("progress", id=number, stage="Writing movie", done=0, total=1, fraction=0.98, eta_s=None)
            write_movie(scene, files, out / f"{name}.mp4")
    except Failed as error:
        line.say("failed", id=number, kind="machine", message=error.args[0], hint=error.args[1])
        return
    except OSError as error:
        text = f"Cannot write to {out} ({error.strerror or error})."
        line.say("failed", id=number, kind="machine", message=text, hint="Choose another folder.")
        return
    text = f"{_counted(len(files))} rendered to {out}."
    line.say("done", id=number, summary={"kind": "render", "path": str(out), "text": text, "warnings": []})


def main() -> None:
    protocol, version, file = sys.argv[sys.argv.index("--") + 1 :][:3]
    line = Line()
    if Path(bpy.data.filepath) != Path(file):  # Blender as a Python module opens nothing by itself
        bpy.ops.wm.open_mainfile(filepath=file)
    line.say("hello", protocol=int(protocol), version=version, python=sys.version.split()[0], pid=os.getpid())
    while True:
        request = line.requests.get()
        if request.get("type") == "render":
            answer(line, request)


def _use_images(scene: bpy.types.Scene) -> None:
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):  # from 5.0
        settings.media_type = "IMAGE"
    settings.file_format, settings.color_mode, settings.color_depth = "OPEN_EXR", "RGBA", "16"


def _not_written(out: Path, frame: int, done: int, reason: str) -> Failed:
    return Failed(
        f"Frame {frame} cannot be rendered to {out} ({_plain(reason)}).",
        f"Free disk space or choose another folder; {_counted(done)} {'is' if done == 1 else 'are'} there.",
    )


def _counted(frames: int) -> str:
    return f"{frames} frame{'' if frames == 1 else 's'}"


def _plain(error: object) -> str:
    """Blender's message on one line."""
    return " ".join(str(error).removeprefix("Error: ").split()).rstrip(".")


if __name__ == "__main__":
    main()

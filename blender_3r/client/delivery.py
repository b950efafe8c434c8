"""How a job's result comes into the scene and file in which the job was started, and which those are."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import bpy

from .job import Job


class Delivered(NamedTuple):
    """notes: sentences for the user. is_there: False when the artist took out of the scene what was there of the job.
    is_new: datablocks came or went, which needs an undo step at once; else some have new content, which does not.
    """

    notes: list[str]
    is_there: bool = True
    is_new: bool = True


@dataclass(frozen=True)
class Delivery:
    """How a result comes into the scene; the flag says whether it is the final one, else what there is so far.

    read: job folder to whatever build needs; runs in a thread, so it must not touch bpy. build: makes the datablocks,
    in steps of some milliseconds; until the last one the scene is as it was, and closed before that it leaves
    nothing. Both raise EngineError. redrawn: told the seconds until the window was back, after build gave what was
    there new content.
    """

    read: Callable[[Path, bool], Any]
    build: Callable[[bpy.types.Scene, Any, bool], Generator[None, None, Delivered]]
    redrawn: Callable[[float], None] = lambda seconds: None


class Reading:
    """Delivery.read in a thread. is_final: as there. data or error, and the time it took, once is_done."""

    def __init__(self, delivery: Delivery, folder: Path, is_final: bool) -> None:
        self.is_final = is_final
        self.data: Any = None
        self.error: Exception | None = None
        self.cpu_s = 0.0
        self._thread = threading.Thread(target=self._run, args=(delivery, folder), name="3R import", daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def _run(self, delivery: Delivery, folder: Path) -> None:
        try:
            self.data = delivery.read(folder, self.is_final)
        except Exception as error:  # raised again in the main thread, where it is shown
            self.error = error
        self.cpu_s = time.thread_time()


@dataclass
class Home:
    """The file and scene in which a job was started. uid: Blender's id of the scene, good until a file is loaded."""

    file: str
    scene: str
    uid: int
    is_open: bool = True
    was_reloaded: bool = False

    @classmethod
    def of(cls, scene: bpy.types.Scene) -> Home:
        return cls(bpy.data.filepath, scene.name, scene.session_uid)

    def find_scene(self) -> bpy.types.Scene | None:
        """The scene, if its file is open and the scene still there."""
        if not self.is_open:
            return None
        if self.was_reloaded:
            return bpy.data.scenes.get(self.scene)
        return next((scene for scene in bpy.data.scenes if scene.session_uid == self.uid), None)

    def before_load(self) -> None:
        if self.is_open:
            self.file = bpy.data.filepath  # it may have been saved under a name since

    def after_load(self) -> None:
        self.is_open = bool(self.file) and bpy.data.filepath == self.file
        self.was_reloaded = True

    @property
    def file_name(self) -> str:
        return Path(self.file).name or "an unsaved file"


@dataclass
class Turn:
    """A job on its way: what it is called, how it starts, where its result goes.

    key: equal for the same footage, which is not computed twice at a time. folder: the job's. launch: starts the job;
    raises EngineError.
    """

    name: str
    key: object
    folder: Path
    launch: Callable[[], Job]
    home: Home
    delivery: Delivery

"""A method that solves nothing: cameras on a line, a slanted depth. The variable FAKE_METHOD says how it behaves, or
@FILE with it, which is read anew for each job.

{"sleep": s between views, "raise": exception to raise after the views, "early": the same before anything is solved,
"kill_at": view at which the process dies, "print": chatter on standard output, "unsolved": cameras without a pose,
"runs": file that gets a line per run, "large": times the size of the maps, "limit": [view, bytes]: from that view on
the system lets no file grow beyond bytes, as if the disk were full}
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np

from blender_3r.engine.errors import EngineError
from blender_3r.engine.methods.base import CamerasSolved, MethodInfo, Progress, ViewReady
from blender_3r.engine.reconstruction import Check, Intrinsics, Reconstruction, View

INFO = MethodInfo("fake", "Fake", "Cameras on a line.", True)

ERRORS = {
    "bug": RuntimeError("a wire is loose"),
    "memory": MemoryError(),
    "os": OSError(28, "No space left on device"),
    "unsolved": EngineError("unsolved", "The images do not overlap.", "Take more photos."),
}


def run(frames, settings, context):
    how = read_behaviour(os.environ.get("FAKE_METHOD") or "{}")
    if "runs" in how:
        with open(how["runs"], "a") as file:
            file.write("run\n")
    if how.get("print"):
        os.system("echo chatter of a library")  # the way C++ code prints: past Python
        print("chatter of Python")
    yield Progress("Solving cameras", 0, len(frames), 0.1)
    if "early" in how:
        raise ERRORS[how["early"]]
    result = make_result(frames, set(how.get("unsolved", ())))
    rng = np.random.default_rng(0)
    sparse = {
        "points": rng.normal(size=(50, 3)).astype(np.float32),
        "color": rng.integers(0, 255, (50, 3)).astype(np.uint8),
        "error": rng.random(50).astype(np.float32),
        "views": np.full(50, 3, np.int32),
    }
    yield CamerasSolved(result, sparse, {"xy": np.zeros((3, 2))})
    for index in range(len(frames)):
        context.check_cancelled()
        if how.get("kill_at") == index:
            os.kill(os.getpid(), signal.SIGKILL)
        if how.get("limit", [None])[0] == index:
            limit_files(how["limit"][1])
        time.sleep(how.get("sleep", 0))
        yield Progress("Computing depth", index, len(frames), 0.2 + 0.8 * index / len(frames))
        if settings.get("dense", True) and not context.job.has_view(index):
            large = int(how.get("large", 1))
            depth = np.full((12 * large, 16 * large), 2.0 + index, np.float32)
            depth[0] = 0
            confidence = np.linspace(0, 1, depth.size, dtype=np.float32).reshape(depth.shape)
            color = frames.read(index, max_side=16).repeat(large, axis=0).repeat(large, axis=1)
            yield ViewReady(index, {"depth": depth, "confidence": confidence, "color": color})
    if "raise" in how:
        raise ERRORS[how["raise"]]


def read_behaviour(text):
    return json.loads(Path(text[1:]).read_text() if text.startswith("@") else text)


def limit_files(size):
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def make_result(frames, unsolved):
    views = []
    for info in frames.infos:
        pose = np.eye(4)
        pose[:3, 3] = 0.1 * info.index, 0.02 * info.index, 0
        angle = 0.05 * info.index
        pose[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        lens = Intrinsics(info.width, info.height, 150.0, 150.0, info.width / 2, info.height / 2, k1=-0.05)
        solved = info.index not in unsolved
        views.append(View(info.file, info.frame, lens, pose if solved else None, 0.4, "" if solved else "lost"))
    return Reconstruction(
        views,
        kind=frames.kind,
        method="fake",
        fps=frames.fps,
        source=frames.source.files[0],
        reproj_error_px=0.42,
        checks=[Check("overlap", True, "Enough frames overlap.", 0.9, 0.5)],
    )

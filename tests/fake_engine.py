"""A program that speaks the engine's protocol and computes nothing, for tests.

    python fake_engine.py MODE [SECONDS [LARGE]]

LARGE: times the size of the depth maps. Modes: work (a whole job over SECONDS), stream (camera by camera and view by
view from the start; late in the job all cameras are corrected), fail (a sentence), crash, killed, exit (ends without a
word), stumble (is killed the first time it does a job), hang (stops listening in mid-job), deaf (never answers),
garbage (noise between messages), version (another protocol), release (another version), huge (a line of 100 MB), half
(messages in two halves; ends in the middle of the last), flood (messages as fast as the pipe takes them), family
(starts a grandchild that outlives it), broken (unreadable results).

A job waits before a step while the folder FAKE_ENGINE_HOLD has a file with the step's number as its name.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from blender_3r.engine import __version__, protocol
from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.reconstruction import Intrinsics, Reconstruction, View
from tests import fake_models

FRAMES = 20
STEPS = 40
CORRECTED = STEPS * 3 // 4  # the step from which cameras are corrected
WIDTH, HEIGHT = 640, 360
DEPTH_WIDTH, DEPTH_HEIGHT = 64, 36
CORRECTION = 1.0  # along x


def say(type_: str, **fields: object) -> None:
    line = json.dumps({"type": type_, **fields}).encode() + b"\n"
    if sys.argv[1] == "half":
        sys.stdout.buffer.write(line[:9])
        sys.stdout.buffer.flush()
        time.sleep(0.003)
        line = line[9:]
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


class Fake:
    def __init__(self, mode: str, seconds: float) -> None:
        self.mode, self.seconds = mode, seconds
        self.cancelled = threading.Event()
        self.models = fake_models.FakeModels(mode, seconds, say)

    def listen(self) -> None:
        """Main thread: messages until the input closes."""
        for line in sys.stdin.buffer:
            message = json.loads(line)
            if message["type"] == "quit":
                break
            if message["type"] in fake_models.KINDS:
                self.models.answer(message)
            if message["type"] == "cancel":
                self.cancelled.set()
            if message["type"] == "reconstruct":
                self.cancelled.clear()
                threading.Thread(target=self.run, args=(message,), daemon=True).start()
                if self.mode == "hang":
                    signal.signal(signal.SIGTERM, signal.SIG_IGN)
                    time.sleep(600)
        os._exit(0)

    def run(self, message: dict) -> None:
        id_, job = message["id"], JobFolder.create(message["job"])
        job.write_json("request", message["request"])
        say("started", id=id_, job=message["job"], total=FRAMES, resumed=False)
        if self.mode == "fail":
            say("failed", id=id_, kind="unsolved", message="There is no parallax.", hint="Move the camera sideways.")
            return
        for step in range(STEPS):
            self.hold(step)
            if self.cancelled.is_set():
                say("cancelled", id=id_)
                return
            time.sleep(self.seconds / STEPS)
            self.disturb(step, job)
            left = self.seconds * (1 - step / STEPS)
            stage = "Tracking points" if step < STEPS // 2 else "Measuring depth"
            say("progress", id=id_, stage=stage, done=step, total=STEPS, fraction=step / STEPS, eta_s=left)
            if self.mode == "stream":
                self.stream(step, job, message)
                continue
            if step == STEPS // 2:
                write_cameras(job, message["request"])
                say("cameras", id=id_, solved=FRAMES - 1, total=FRAMES)
            if step > STEPS // 2 and step % 5 == 0:
                write_view(job, step - STEPS // 2 - 1)
                say("view", id=id_, index=step - STEPS // 2 - 1)
        if self.mode == "broken":
            (job.path / "cameras.json").write_text("{")
        if self.mode == "half":
            os.write(1, b'{"type": "done", "id": ')
            os._exit(0)
        say("done", id=id_, summary=summary(self.seconds))

    def hold(self, step: int) -> None:
        """Wait for the test, which may be slower than any job."""
        folder = os.environ.get("FAKE_ENGINE_HOLD")
        while folder and Path(folder, str(step)).exists() and not self.cancelled.is_set():
            time.sleep(0.005)

    def stream(self, step: int, job: JobFolder, message: dict) -> None:
        """A frame in every second step."""
        index, half = divmod(step, 2)
        if half or index >= FRAMES - 1:
            return
        write_cameras(job, message["request"], index + 1, CORRECTION if step >= CORRECTED else 0.0)
        say("cameras", id=message["id"], solved=index + 1, total=FRAMES)
        write_view(job, index)
        say("view", id=message["id"], index=index)

    def disturb(self, step: int, job: JobFolder) -> None:
        if self.mode == "garbage":
            sys.stdout.buffer.write(b'\xff\xfe not json \x00\n[1, 2]\n{"type": 5}\n{"no": "type"}\n\n{"type"\n')
            sys.stdout.buffer.write(b"x" * (3 << 20) + b"\n" if step == 3 else b"")
            say("progress", id="another job", fraction=0.99)
            say("progress", fraction="many")
            say("something new", id=1)
        if self.mode == "huge" and step == STEPS // 4:
            for _ in range(100):
                sys.stdout.buffer.write(b"x" * (1 << 20))
            sys.stdout.buffer.write(b"\n")
        if self.mode == "flood":
            for _ in range(2000):
                say("progress", id="another job", fraction=0.5)
        if step == STEPS * 3 // 4:
            if self.mode == "stumble" and not (job.path / "stumbled").exists():
                (job.path / "stumbled").touch()
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)
            if self.mode == "crash":
                print("Fatal: the solver divided by zero", file=sys.stderr, flush=True)
                os.kill(os.getpid(), signal.SIGSEGV)
                time.sleep(60)  # the signal may reach another thread, a little later
            elif self.mode == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)
            elif self.mode == "exit":
                os._exit(0)
            elif self.mode == "hang":
                time.sleep(600)
            elif self.mode == "family":
                child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
                Path(os.environ["FAKE_ENGINE_CHILD"]).write_text(str(child.pid))
                os._exit(7)


def write_cameras(job: JobFolder, request: dict, solved: int = FRAMES - 1, shift: float = 0.0) -> None:
    """A camera that walks forward; the last frames are not solved."""
    lens = Intrinsics(WIDTH, HEIGHT, 600.0, 600.0, WIDTH / 2, HEIGHT / 2)
    views = []
    for index in range(FRAMES):
        pose = np.eye(4)
        pose[:3, 3] = 0.05 * index + shift, 0, 0.1 * index
        views.append(View(f"frame_{index:04d}", index, lens, pose if index < solved else None))
    job.write_cameras(
        Reconstruction(views, method="classic", reproj_error_px=0.42, fps=24.0, source=request["source"]["files"][0])
    )


def write_view(job: JobFolder, index: int) -> None:
    """A wall two units before the camera."""
    large = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    height, width = DEPTH_HEIGHT * large, DEPTH_WIDTH * large
    rows, columns = np.mgrid[:height, :width]
    color = np.stack([rows * 255 // height, columns * 255 // width, np.full_like(rows, 90)], axis=-1)
    depth = np.full((height, width), 2.0, np.float32)
    job.write_view(index, {"depth": depth, "confidence": np.ones_like(depth), "color": color.astype(np.uint8)})


def summary(seconds: float) -> dict:
    return {
        "solved": FRAMES - 1,
        "total": FRAMES,
        "reproj_error_px": 0.42,
        "seconds": seconds,
        "motion": "free",
        "lens": "shared",
        "focal_is_certain": True,
        "points": 3 * DEPTH_WIDTH * DEPTH_HEIGHT,
        "warnings": [],
        "checks": [],
        "text": f"{FRAMES - 1} of {FRAMES} frames solved.",
    }


def main() -> None:
    mode = sys.argv[1]
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 0.4
    if mode == "deaf":
        time.sleep(600)
    spoken = 99 if mode == "version" else protocol.VERSION
    release = "0.0.1" if mode == "release" else __version__
    say("hello", protocol=spoken, version=release, python="3", pid=os.getpid())
    Fake(mode, seconds).listen()


if __name__ == "__main__":
    main()

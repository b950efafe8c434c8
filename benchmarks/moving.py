"""What moves by itself, as a job finds it, against the true masks of the rendered shots.

    .venv/models/bin/python -m benchmarks.moving [SCENE ...] [--no-own] [--parts] [--work FOLDER]

Rows: the true depth of every tenth frame with an error put on it, of each pixel alone or in waves of some 20 pixels;
and what the classic method makes of the movie and of made shots (moving_shots.py, SCENE is one of their names too). The
latter are left out by --no-own; shots and jobs that --work has already are used again. A run of all writes the part
"moving" of RESULTS.md. --parts: the classic method's rows only, and each again without a part of the evidence.

Precision: share of the marked pixels with depth that move. Recall: share of the moving pixels with depth that are
marked. False: share of all pixels with depth that are marked and stand. With depth: share of the moving pixels that
have depth at all. Time: CPU seconds a view, beside those of the same step without asking what moves.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import cv2
import numpy as np

from blender_3r.engine.geometry.appearance import Appearance
from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.reconstruction import Reconstruction
from blender_3r.engine.service import moving
from blender_3r.engine.service.judging import judge_views
from blender_3r.engine.service.moving import AUTO, OFF

from .moving_shots import SHOTS, write_shot
from .page import write_part
from .scenes import data_folder, reference
from .surfaces import own_job

ROOT = Path(__file__).resolve().parent.parent
SCENES = ("syn_moving", "syn_walk", "syn_zoom")
PARTS = ("", "gray pictures", "no looks", "no tracks", "neither")
ERRORS = ((0.0, 0.0), (0.01, 0.0), (0.02, 0.0), (0.0, 0.01), (0.0, 0.02))  # of each pixel, in waves
WAVE = 20  # px between the waves' supports


@dataclass(frozen=True)
class Row:
    scene: str
    depth: str
    views: int
    precision: float | None
    recall: float | None
    false: float
    filled: float | None
    seconds: float
    seconds_without: float


def true_job(scene: Path, folder: Path, white: float, smooth: float) -> JobFolder:
    """A job folder as if an engine had found the true cameras, and depth with those errors (shares of the depth)."""
    cameras = Reconstruction.from_json(reference(scene))
    indices = [i for i in range(len(cameras.views)) if truth_file(scene, i).is_file()]
    job = JobFolder.create(folder)
    job.write_cameras(Reconstruction([cameras.views[i] for i in indices]))
    for place, index in enumerate(indices):
        with np.load(truth_file(scene, index)) as data:
            depth = data["depth"].astype(np.float32)
        depth *= np.exp(error_of(depth.shape, white, smooth, seed=index)).astype(np.float32)
        color = np.full((*depth.shape, 3), 128, np.uint8)
        job.write_view(place, {"depth": depth, "confidence": np.ones_like(depth), "color": color})
    return job


def error_of(shape: tuple[int, int], white: float, smooth: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    waves = random.standard_normal((shape[0] // WAVE + 2, shape[1] // WAVE + 2))
    waves = cv2.resize(waves, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return white * random.standard_normal(shape) + smooth * waves / waves.std()


def truth_file(scene: Path, frame: int) -> Path:
    return scene / "depth" / f"frame_{frame:04d}.npz"


def measure(scene: Path, depth: str, job: JobFolder) -> Row:
    """One row of a job whose views are called or numbered as the shot's frames."""
    result = job.read_cameras()
    marked = right = moves = filled = pixels = 0
    indices = list(job.view_indices())
    without, seconds = judged(job, result, OFF), judged(job, result, AUTO)
    for index in indices:
        file = truth_file(scene, result.views[index].frame)
        if not file.is_file():
            continue
        known, found = job.read_view(index)["depth"] > 0, np.array(job.read_extra(index, "moving"))
        with np.load(file) as data:
            true = cv2.resize(data["moving"].astype(np.uint8), known.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
        found &= known
        marked, right = marked + found.sum(), right + (found & true).sum()
        moves, filled, pixels = moves + true.sum(), filled + (true & known).sum(), pixels + known.sum()
    return Row(
        scene.name,
        depth,
        len(indices),
        right / marked if marked and moves else None,
        right / filled if filled else None,
        (marked - right) / pixels,
        filled / moves if moves else None,
        seconds / len(indices),
        without / len(indices),
    )


def judged(job: JobFolder, result: Reconstruction, wish: str) -> float:
    """CPU seconds of the step that a job does after its last view."""
    began = time.process_time()
    for _ in judge_views(job, result, None, lambda text: None, wish):
        pass
    return time.process_time() - began


@contextmanager
def lacking(part: str) -> Iterator[None]:
    """Without the evidence of PARTS: tints, all of how the pictures look, what the tracks tell."""
    with ExitStack() as stack:
        if part in ("no looks", "neither"):
            stack.enter_context(mock.patch.object(Appearance, "of", return_value=None))
        if part == "gray pictures":
            of, gray = Appearance.of, (1 / 3,) * 3
            stack.enter_context(
                mock.patch.object(
                    Appearance, "of", side_effect=lambda color: of(cv2.transform(color, np.array([gray] * 3)))
                )
            )
        if part in ("no tracks", "neither"):
            stack.enter_context(mock.patch.object(moving._Tracks, "of", return_value=None))
        yield


def page(rows: list[Row]) -> str:
    lines = [
        "## What moves by itself",
        "",
        "`.venv/models/bin/python -m benchmarks.moving`: true depth of every tenth frame with errors, and the classic "
        "method's own depth, of these and of [made shots](moving_shots.py), judged as a job is. Columns: "
        "[moving.py](moving.py).",
        "",
        "| scene | depth | views | precision % | recall % | false % | with depth % | s a view | s without |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        shares = (row.precision, row.recall, row.false, row.filled)
        told = ["-" if share is None else f"{100 * share:.1f}" for share in shares]
        told[2] = f"{100 * row.false:.3f}"
        lines.append(
            f"| {row.scene} | {row.depth} | {row.views} | {' | '.join(told)} | {row.seconds:.3f} | "
            f"{row.seconds_without:.3f} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    every = [*SCENES, *SHOTS]
    parser.add_argument("scenes", nargs="*", default=every, metavar="SCENE")
    parser.add_argument("--no-own", action="store_true")
    parser.add_argument("--parts", action="store_true")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "blender_3r_surfaces")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    rows = []
    for name in options.scenes:
        if name in SCENES and not options.parts:
            rows += true_rows(data_folder() / name)
        if not options.no_own:
            rows += own_rows(name, options.work, PARTS if options.parts else ("",))
    whole = options.scenes == every and not options.no_own and not options.parts
    write_part((ROOT / "benchmarks" if whole else ROOT / "out" / "benchmarks") / "RESULTS.md", "moving", page(rows))
    return 0


def true_rows(scene: Path) -> list[Row]:
    """Of the true depth, with each of the errors."""
    rows = []
    for white, smooth in ERRORS:
        told = f"true, {100 * max(white, smooth):g} % {'in waves' if smooth else 'a pixel'}"
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(scene, told, true_job(scene, Path(folder) / "job", white, smooth)))
        print(rows[-1], flush=True)
    return rows


def own_rows(name: str, work: Path, parts: tuple[str, ...]) -> list[Row]:
    """Of what the classic method makes of a scene or a made shot."""
    work.mkdir(parents=True, exist_ok=True)
    scene = data_folder() / name if name in SCENES else write_shot(name, work / "shots" / name)
    job, rows = own_job(scene, work / f"{name}_own"), []
    for part in parts:
        with lacking(part):
            rows.append(measure(scene, ", ".join(filter(None, ("classic method", part))), job))
        print(rows[-1], flush=True)
    return rows


if __name__ == "__main__":
    sys.exit(main())

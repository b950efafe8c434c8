"""One case solved by one method, in a process of its own, and what came of it."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from .measure import Run, run_measured
from .scenes import BLENDER, OURS, SIFT_INC, Bar, Case, disturbed, footage, reference
from .scores import (
    dense_seconds,
    depth_maps,
    score_cameras,
    score_dense,
    score_pair,
    score_stereo_depth,
)

ROOT = Path(__file__).resolve().parent.parent
EXIT_UNSOLVED = 4  # of the engine and of the comparisons
BLENDER_PYTHON = ROOT / ".venv" / "blender" / "bin" / "python"


@dataclass
class Row:
    """values: what was measured, by name. note: what went wrong, or what the engine said. walls, cpus: of each run."""

    case: Case
    method: str
    values: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    walls: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)

    def verdicts(self) -> list[tuple[Bar, Any, bool]]:
        """(bar, measured value, whether it holds) of the case's bars."""
        return [(bar, self.values.get(bar.value), bar.holds(self.values.get(bar.value))) for bar in self.case.bars]


class Runner:
    """Runs cases in a folder of their own. limit_s: for each run."""

    def __init__(self, data: Path, work: Path, limit_s: float) -> None:
        self.data, self.work, self.limit_s = data, work, limit_s

    def warm_up(self) -> None:
        """Compiled modules and libraries into place, so that whoever runs first does not pay for it."""
        engine = [sys.executable, ROOT / "blender_3r" / "engine", "check"]
        for name, command in (("engine", engine), ("baselines", [sys.executable, "-m", "benchmarks.baselines", "-h"])):
            run_measured(command, self.work / "warm_up" / name, self.limit_s, ROOT)

    def run(self, row: Row) -> None:
        """Run once more and fill the row: values are those of the last run, times the medians of all."""
        folder = self.work / _file_name(row.case.id) / row.method
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if row.method == BLENDER and not BLENDER_PYTHON.is_file():
            row.note = "not run: Blender's environment is missing (python -m scripts.environments blender)"
            return
        run = run_measured(self._command(row, folder), folder, self.limit_s, ROOT)
        row.walls.append(run.wall_s)
        row.cpus.append(run.cpu_s)
        row.values = {
            "refused": run.status == EXIT_UNSOLVED,
            "wall_s": median(row.walls),
            "cpu_s": median(row.cpus),
            "peak_mb": run.peak_mb,
        }
        row.note = run.ending
        if row.method == OURS:
            self._read_ours(row, run, folder / "job")
        else:
            self._read_other(row, run, folder / "cameras.json")

    def _command(self, row: Row, folder: Path) -> list[str | Path]:
        case, scene = row.case, self.data / row.case.scene
        if row.method == OURS:
            return self._our_command(case, folder)
        if row.method == BLENDER:
            clip = footage(scene) if footage(scene).is_file() else min(footage(scene).iterdir())
            return [BLENDER_PYTHON, ROOT / "benchmarks" / "blender_tracker.py", clip, folder / "cameras.json"]
        pictures = footage(scene)
        if row.method == SIFT_INC and pictures.is_file():
            pictures = self._frames_of(pictures, case.scene)
        command = [sys.executable, "-m", "benchmarks.baselines", row.method, pictures, folder / "cameras.json"]
        if row.method == SIFT_INC and case.photos:
            command.append("--photos")
        if case.scene == "syn_zoom" and row.method != SIFT_INC:
            command.append("--zoom")
        # Two cameras that differ cannot be told to the comparison, which knows one.
        if case.known and case.table != "pair":
            lens = reference(scene)["images"][0]
            command += ["--camera", *(str(lens[name]) for name in ("fx", "fy", "cx", "cy"))]
        return command

    def _our_command(self, case: Case, folder: Path) -> list[str | Path]:
        scene = self.data / case.scene
        command = [sys.executable, ROOT / "blender_3r" / "engine", "reconstruct", footage(scene)]
        command += ["--method", "classic", "--out", folder / "job", "--json", *case.options]
        if case.known == "focal":
            command += ["--focal", str(reference(scene)["images"][0]["fx"])]
        if case.known == "intrinsics":
            command += ["--intrinsics", scene / "reference.json"]
        if case.known == "disturbed":
            start = folder / "start.json"
            start.write_text(json.dumps(disturbed(reference(scene))), encoding="utf-8")
            command += ["--poses", start]
        return command if case.dense else [*command, "--no-dense"]

    def _frames_of(self, movie: Path, name: str) -> Path:
        """A movie's frames as pictures, for a program that takes no movies; made once and not timed."""
        folder = self.work / "frames" / name
        if not folder.is_dir():
            command = [sys.executable, "-m", "benchmarks.baselines", "frames", movie, folder]
            run = run_measured(command, self.work / "frames" / f"{name}.log", self.limit_s, ROOT)
            if run.ending:
                shutil.rmtree(folder, ignore_errors=True)
                raise RuntimeError(f"the frames of {name} could not be written ({run.ending})")
        return folder

    def _read_ours(self, row: Row, run: Run, job: Path) -> None:
        case, values = row.case, row.values
        answer = _last_json(run.stdout)
        maps = depth_maps(job)
        values.update(
            depth_maps=len(maps),
            points=answer.get("points", 0),
            says_why=bool(answer.get("message")) and answer.get("status") == "failed",
        )
        if answer.get("status") == "failed":
            row.note = f"{row.note}: {self._without_paths(answer['message'] + ' ' + answer['hint'])}"
        if answer.get("status") != "done":
            return
        row.note = "; ".join([answer["text"], *answer["warnings"]])
        values.update({name: answer[name] for name in ("motion", "lens", "focal_is_certain")})
        values.update(
            warns_of_focal=any("focal" in text and "uncertain" in text for text in answer["warnings"]),
            says_tripod="tripod" in answer["text"],
            sparse=(job / "sparse").is_dir(),
        )
        if values["sparse"] and values["motion"] == "tripod":
            values["points"] = max(1, values["points"])  # a cloud of its own, whatever the summary counts
        self._score(row, job / "cameras.json")
        if case.table == "pair":
            values.update(score_stereo_depth(self.data, case.scene, job))
        if case.table == "dense":
            values.update(score_dense(self.data, case.scene, job))
            seconds = dense_seconds(job)
            if seconds is not None:
                values["s_per_view"] = seconds / len(maps)

    def _read_other(self, row: Row, run: Run, result: Path) -> None:
        if result.is_file() and not run.ending:
            self._score(row, result)
        elif row.values["refused"]:
            row.note = "nothing solved"

    def _score(self, row: Row, cameras: Path) -> None:
        row.values.update(score_cameras(self.data, row.case.scene, cameras))
        if row.case.table == "pair":
            row.values.update(score_pair(self.data, row.case.scene, cameras))
        if "problem" in row.values:
            row.note = self._without_paths(row.values["problem"])

    def _without_paths(self, text: str) -> str:
        return text.replace(str(self.work), "WORK").replace(str(self.data), "DATA").replace(str(ROOT), ".")


def _last_json(text: str) -> dict[str, Any]:
    """The last line that is a JSON object, or {}."""
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            try:
                return json.loads(line)
            except ValueError:
                continue
    return {}


def _file_name(text: str) -> str:
    return text.replace(", ", "-").replace(" ", "_")

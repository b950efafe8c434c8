"""The engine's report of a solve, read from its folder: facts as lines, pictures as images of the file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..engine.errors import EngineError
from . import tags

FOLDER = "report"  # of the job folder: where the engine writes it
PICTURES = {"plot": "error_per_frame.png", "contact sheet": "contact_sheet.png"}


@dataclass(frozen=True)
class Report:
    """facts: report.json. job: the job folder, folder: where the pictures lie."""

    job: str
    folder: Path
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.facts['solved']} of {self.facts['total']} frames solved"

    @property
    def is_complete(self) -> bool:
        return self.facts["solved"] == self.facts["total"]

    @property
    def lines(self) -> list[tuple[str, str]]:
        """(what, how much) for the dialog, as far as known."""
        facts = self.facts
        tracks = facts.get("tracks") or {}
        found = [
            ("Reprojection error", _text(facts.get("reproj_error_px"), "{:.2f} px")),
            ("Median of the tracks", _text(tracks.get("median_error_px"), "{:.2f} px")),
            ("Worst frame", facts.get("worst_frame") or ""),
            ("Tracks used", f"{tracks['used']} of {tracks['count']}" if tracks else ""),
            ("Mean length", _text(tracks.get("mean_length"), "{:.0f} frames")),
            ("Picture covered", _text(facts.get("coverage"), "{:.0%}")),
            ("Frames interpolated", str(facts.get("interpolated") or "")),
            ("Time", _text(facts.get("seconds"), "{:.0f} s")),
        ]
        return [(what, value) for what, value in found if value]

    @property
    def doubts(self) -> list[str]:
        """Sentences an artist must not overlook."""
        failed = [check["text"] for check in self.facts.get("checks", ()) if not check["passed"]]
        return [*self.facts.get("warnings", ()), *failed, *self.facts.get("notes", ())]


def read_report(job: str, folder: Path) -> Report:
    """Raises EngineError("input") when there is none, or it is damaged."""
    path = folder / "report.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        report = Report(job, folder, facts)
        report.title, report.lines, report.doubts  # noqa: B018 - a form that is wrong shows here
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineError("input", f"{path} cannot be read ({error}).", "Make the report again.") from error
    return report


def load_pictures(report: Report, name: str) -> dict[str, bpy.types.Image]:
    """The report's pictures by PICTURES' keys, made or read again. name: the job's, for the images'."""
    images: dict[str, bpy.types.Image] = {}
    for role, file in PICTURES.items():
        path = report.folder / file
        if not path.is_file():
            continue
        image = tags.find(bpy.data.images, report.job, role)
        if image is None:
            image = bpy.data.images.load(str(path))
            image.name = f"{name} {role.title()}"
            tags.set_tag(image, report.job, role)
        else:
            image.filepath = str(path)
            image.reload()
        _give_preview(image)
        images[role] = image
    return images


def _give_preview(image: bpy.types.Image) -> None:
    """A preview of full size: Blender's own has 128 pixels, too few to read a plot by."""
    width, height = image.size
    if image.channels != 4 or width * height == 0:
        return
    pixels = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(pixels)
    image.preview_ensure().image_size = (width, height)
    image.preview.image_pixels_float.foreach_set(pixels)


def _text(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)

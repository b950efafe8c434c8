"""The report's facts as the dialog tells them, and its pictures in the file."""

from __future__ import annotations

import json

import bpy
import extension
import jobs
import pytest

from blender_3r.engine.errors import EngineError
from blender_3r.engine.reconstruction import Reconstruction
from blender_3r.scene.job import ImportOptions, import_job
from blender_3r.scene.report import FOLDER, PICTURES, load_pictures, read_report

FACTS = {
    "solved": 4,
    "total": 5,
    "interpolated": 0,
    "reproj_error_px": 0.312,
    "worst_frame": "frame_0003",
    "coverage": 0.82,
    "seconds": 12.4,
    "tracks": {"count": 900, "used": 700, "mean_length": 21.6, "median_error_px": 0.2},
    "checks": [{"text": "The lens is plausible.", "passed": True}, {"text": "Few tracks.", "passed": False}],
    "warnings": ["The focal length is uncertain."],
    "notes": [],
}


@pytest.fixture
def job(tmp_path, empty_file):
    folder = jobs.make_job(tmp_path / "job", Reconstruction(jobs.walk(5), fps=24.0))
    import_job(empty_file, folder.path, ImportOptions(0, plate=False))
    return folder


def write_report(job, facts=FACTS, size=(96, 60)):
    folder = job.path / FOLDER
    folder.mkdir(exist_ok=True)
    (folder / "report.json").write_text(json.dumps(facts))
    for name in PICTURES.values():
        image = bpy.data.images.new("made", *size)
        image.filepath_raw, image.file_format = str(folder / name), "PNG"
        image.save()
        bpy.data.images.remove(image)
    return folder


def test_what_the_dialog_tells(job):
    report = read_report(str(job.path), write_report(job))
    assert report.title == "4 of 5 frames solved"
    assert not report.is_complete
    assert report.lines == [
        ("Reprojection error", "0.31 px"),
        ("Median of the tracks", "0.20 px"),
        ("Worst frame", "frame_0003"),
        ("Tracks used", "700 of 900"),
        ("Mean length", "22 frames"),
        ("Picture covered", "82%"),
        ("Time", "12 s"),
    ]
    assert report.doubts == ["The focal length is uncertain.", "Few tracks."]


def test_what_is_unknown_is_left_out(job):
    bare = {**FACTS, "tracks": None, "coverage": None, "reproj_error_px": None, "seconds": None, "worst_frame": None}
    report = read_report(str(job.path), write_report(job, bare))
    assert report.lines == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"solved": 1, "total": 1, "checks": [3]}'])
def test_a_damaged_report(job, text):
    (write_report(job) / "report.json").write_text(text)
    with pytest.raises(EngineError, match="cannot be read"):
        read_report(str(job.path), job.path / FOLDER)


def test_pictures_are_read_again_in_place(job):
    report = read_report(str(job.path), write_report(job))
    first = load_pictures(report, "my shot")
    assert {image.name for image in first.values()} == {"my shot Plot", "my shot Contact Sheet"}
    write_report(job, size=(48, 30))
    again = load_pictures(report, "my shot")
    assert again == first
    assert tuple(again["plot"].size) == (48, 30)
    assert tuple(again["plot"].preview.image_size) == (48, 30), "the dialog shows it at full size"
    (job.path / FOLDER / PICTURES["contact sheet"]).unlink()
    assert list(load_pictures(report, "my shot")) == ["plot"]


def test_without_a_report(job):
    extension.switch_on()
    try:
        with pytest.raises(RuntimeError, match="cannot be read"):
            bpy.ops.threer.show_report(job=str(job.path))
        write_report(job)
        assert bpy.ops.threer.show_report(job=str(job.path)) == {"FINISHED"}
        assert bpy.ops.threer.open_report_image(image="no such image") == {"CANCELLED"}
    finally:
        extension.switch_off()

"""The method "auto" where it chooses a network: real jobs with a tiny one, and classic where it cannot begin."""

from __future__ import annotations

import json
import shutil

import cv2
import pytest

from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.service.runner import run_job
from blender_3r.engine.service.settings import make_request
from blender_3r.engine.source import source_from_path
from scripts.environments import ROOT
from tests.models.support.tiny_weights import write_records


@pytest.fixture
def run(tmp_path, monkeypatch):
    """run(number of photos, settings) -> (summary, reports); the tiny DUSt3R is all the weights that are here."""
    records = write_records(tmp_path / "records")
    text = (records / "tiny.toml").read_text(encoding="utf-8")
    (records / "tiny.toml").write_text(text.split("\n[[models]]")[1].join(["[[models]]", ""]), encoding="utf-8")
    monkeypatch.setenv("BLENDER_3R_RECORDS", str(records))
    monkeypatch.setenv("BLENDER_3R_ZOO", str(tmp_path / "zoo"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("BLENDER_3R_COMMERCIAL_ONLY", raising=False)

    def start(count, **settings):
        photos = tmp_path / "photos"
        shutil.rmtree(photos, ignore_errors=True)
        photos.mkdir()
        movie = cv2.VideoCapture(str(ROOT / "demo" / "courtyard.mp4"))
        for number in range(count):
            movie.set(cv2.CAP_PROP_POS_FRAMES, 6 * number)
            cv2.imwrite(str(photos / f"photo_{number}.png"), movie.read()[1])
        movie.release()
        reports = []
        request = make_request("auto", source_from_path(photos), {"threads": 1, "quality": "draft", **settings})
        summary = run_job(request, tmp_path / "job", lambda type_, **fields: reports.append((type_, fields)))
        return summary, [fields for type_, fields in reports if type_ == "chosen"]

    return start


def test_one_image_goes_through_the_network_that_is_here(run, tmp_path):
    summary, chosen = run(1, min_confidence=0.0)
    why = "Pairwise with Tiny dust3r (no commercial use): one image takes a network."
    assert chosen == [{"method": "pairwise", "model": "tiny-dust3r", "why": why}]
    assert (summary["solved"], summary["choice"]["why"]) == (1, why)
    request = json.loads((tmp_path / "job" / "request.json").read_text(encoding="utf-8"))
    assert (request["method"], request["settings"]["model"]) == ("pairwise", "tiny-dust3r")
    assert JobFolder(tmp_path / "job").read_cameras().method == "pairwise"
    again, chosen = run(1, min_confidence=0.0)
    assert again["solved"] == 1
    assert chosen[0]["model"] == "tiny-dust3r"


def test_classic_does_it_where_the_device_is_not_there(run, tmp_path):
    summary, chosen = run(4, device="cuda:77", dense=False)
    assert [one["method"] for one in chosen] == ["pairwise", "classic"]
    assert JobFolder(tmp_path / "job").read_cameras().method == "classic"
    assert summary["solved"] == 4
    told = "Tiny dust3r could not be used, so Classic did it. The device cuda:77 is not there"
    assert any(warning.startswith(told) for warning in summary["warnings"])

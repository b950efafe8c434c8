"""The pairwise method with checkpoints on disk: tiny networks, random weights, real pictures, the whole service.

Random weights see nothing, so nothing is asked of the geometry: only that every part is there and of the right form.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from blender_3r.engine import zoo
from blender_3r.engine.errors import EngineError
from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.methods.pairwise import inference, similar, solve
from blender_3r.engine.service.runner import run_job
from blender_3r.engine.service.settings import make_request
from blender_3r.engine.source import source_from_path
from tests.models.support.tiny_weights import CONFIGS, write_checkpoint, write_records, write_retrieval

ROOT = Path(__file__).resolve().parents[2]
SHOT = ROOT / "demo" / "courtyard.mp4"


@pytest.fixture(autouse=True)
def own_zoo(tmp_path, monkeypatch):
    """No weights on this machine but the tiny ones."""
    monkeypatch.setenv("BLENDER_3R_ZOO", str(tmp_path / "zoo"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("BLENDER_3R_RECORDS", str(write_records(tmp_path / "records")))
    yield
    zoo.shared_cache().release_all()


@pytest.fixture
def photos(tmp_path):
    """Four frames of the demo shot, one of them upright."""
    movie = cv2.VideoCapture(str(SHOT))
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        movie.set(cv2.CAP_PROP_POS_FRAMES, 8 * number)
        frame = cv2.resize(movie.read()[1], (320, 180), interpolation=cv2.INTER_AREA)
        frame = cv2.rotate(frame, cv2.ROTATE_90_CLOCKWISE) if number == 3 else frame
        (folder / f"view {number}.png").write_bytes(cv2.imencode(".png", frame)[1].tobytes())
    movie.release()
    return folder


def run(source, job, kind=None, **settings):
    values = {"device": "cpu", "threads": 1, "iterations": 5, **settings}
    if settings.get("model") == "tiny-dust3r":
        values.setdefault("alignment", "reference")
    return run_job(
        make_request("pairwise", source_from_path(source, kind=kind), values), job, lambda type_, **fields: None
    )


def check_views(job, count):
    """Whatever the weights say, the form is right."""
    folder = JobFolder.open(job)
    cameras = folder.read_cameras()
    assert len(cameras.views) == count
    assert list(folder.view_indices()) == cameras.solved
    for index in cameras.solved:
        view, arrays = cameras.views[index], folder.read_view(index)
        pose = view.world_from_camera
        assert np.allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-5)
        assert np.linalg.det(pose[:3, :3]) == pytest.approx(1, abs=1e-5)
        assert view.intrinsics.fx > 0
        height, width = arrays["depth"].shape
        assert max(height, width) == 64
        assert height / width == pytest.approx(view.intrinsics.height / view.intrinsics.width, rel=0.03)
        assert arrays["color"].shape == (height, width, 3)
        assert arrays["color"].dtype == np.uint8
        assert arrays["depth"].dtype == arrays["confidence"].dtype == np.float32
        assert np.isfinite(arrays["depth"]).all()
        assert arrays["depth"].min() >= 0
        assert 0 <= arrays["confidence"].min() <= arrays["confidence"].max() <= 1
    return cameras


@pytest.mark.parametrize(
    ("model", "alignment"),
    [("dust3r", "reference"), ("mast3r", "sparse"), ("mast3r", "auto")],
)
def test_photos_through_every_alignment(photos, tmp_path, model, alignment):
    summary = run(photos, tmp_path / "job", model=f"tiny-{model}", alignment=alignment)
    assert summary["total"] == 4
    cameras = check_views(tmp_path / "job", 4)
    assert cameras.method == "pairwise"
    assert cameras.metric is (model == "mast3r")


@pytest.mark.parametrize("count", [1, 2])
def test_one_and_two_pictures(photos, tmp_path, count):
    chosen = sorted(photos.iterdir())[2 - count : 2]
    summary = run(chosen, tmp_path / "job", "photos", model="tiny-dust3r")
    assert (summary["solved"], summary["total"]) == (count, count)
    check_views(tmp_path / "job", count)


def test_a_movie_has_one_focal(tmp_path):
    source = source_from_path(SHOT, first=0, last=36, step=12)
    settings = {"model": "tiny-dust3r", "alignment": "reference", "iterations": 5, "device": "cpu", "threads": 1}
    request = make_request("pairwise", source, settings)
    summary = run_job(request, tmp_path / "job", lambda type_, **fields: None)
    assert summary["total"] == 4
    cameras = check_views(tmp_path / "job", 4)
    assert (cameras.kind, cameras.lens, cameras.fps) == ("video", "shared", 24.0)
    assert [view.frame for view in cameras.views] == [0, 12, 24, 36]
    assert len({round(cameras.views[k].intrinsics.fx, 3) for k in cameras.solved}) == 1


def test_a_rig_of_movies_takes_one_frame_of_each(tmp_path):
    movies = []
    for number in range(3):
        path = tmp_path / f"camera {number}.mp4"
        path.write_bytes(SHOT.read_bytes())
        movies.append(path)
    source = source_from_path(movies, rig_frame=5)
    assert source.kind == "rig"
    request = make_request("pairwise", source, {"model": "tiny-mast3r", "iterations": 5, "device": "cpu", "threads": 1})
    run_job(request, tmp_path / "job", lambda type_, **fields: None)
    cameras = check_views(tmp_path / "job", 3)
    assert (cameras.kind, cameras.lens) == ("photos", "groups")
    assert [view.file for view in cameras.views] == [path.name for path in movies]


def test_an_image_size_can_be_asked_for(photos, tmp_path):
    run(photos, tmp_path / "job", model="tiny-dust3r", image_size=96)
    arrays = JobFolder.open(tmp_path / "job").read_view(0)
    assert arrays["depth"].shape == (54, 96)
    assert not arrays["depth"][:3].any()  # what the network does not see
    run(photos, tmp_path / "square", model="tiny-dust3r", image_size=224)
    arrays = JobFolder.open(tmp_path / "square").read_view(0)
    assert arrays["depth"].shape == (224, 398)
    assert arrays["depth"][:, :80].max() == 0
    assert arrays["color"][:, :80].max() > 0


def test_the_model_stays_loaded(photos, tmp_path):
    run(photos, tmp_path / "one", model="tiny-dust3r")
    assert zoo.shared_cache().loaded() == ["tiny-dust3r"]
    loaded = zoo.shared_cache()._entries
    before = next(iter(loaded.values())).model
    run(photos, tmp_path / "two", model="tiny-dust3r", scene_graph="swin-1")
    assert next(iter(loaded.values())).model is before


def test_a_checkpoint_of_ones_own(photos, tmp_path):
    path = write_checkpoint(tmp_path / "mine" / "weights.safetensors", "mast3r", seed=3)
    (path.parent / "config.json").write_text(json.dumps(CONFIGS["mast3r"]))
    run(photos, tmp_path / "job", model="mast3r-512", weights=str(path), image_size=64)
    check_views(tmp_path / "job", 4)
    with pytest.raises(EngineError, match="do not fit"):
        run(photos, tmp_path / "other", model="dust3r-512-dpt", weights=str(path), image_size=64)
    with pytest.raises(EngineError, match="no weights at"):
        run(photos, tmp_path / "gone", weights=str(tmp_path / "gone.safetensors"))


def test_pairs_of_images_that_look_alike(photos, tmp_path, monkeypatch):
    with pytest.raises(EngineError, match="retrieval head") as caught:
        run(photos, tmp_path / "job", model="tiny-mast3r", scene_graph="retrieval-2-2")
    assert "models download mast3r-retrieval" in caught.value.hint
    with pytest.raises(EngineError, match="MASt3R's encoder only"):
        run(photos, tmp_path / "job", model="tiny-dust3r", scene_graph="retrieval-2-2")
    write_retrieval(tmp_path / "records")
    asked = []
    collect = solve.collect_matches
    monkeypatch.setattr(solve, "collect_matches", lambda *all_: (asked.append(all_[3]), collect(*all_)))
    run(photos, tmp_path / "job", model="tiny-mast3r", scene_graph="retrieval-2-2")
    check_views(tmp_path / "job", 4)
    run(photos, tmp_path / "dense", model="tiny-mast3r", scene_graph="retrieval-2-2", alignment="reference")
    check_views(tmp_path / "dense", 4)
    run(photos, tmp_path / "all", model="tiny-mast3r", scene_graph="retrieval-4-0")
    few, every = asked
    assert {image for edge in few for image in edge} == set(range(4))
    assert len(few) < len(every) == 12
    monkeypatch.setattr(similar, "COMPLETE_UP_TO", 3)
    run(photos, tmp_path / "auto", model="tiny-mast3r")
    assert "scene graph retrieval-4-3" in (tmp_path / "auto" / "log.txt").read_text()


def test_missing_weights_are_told_with_licence_size_and_way(photos, tmp_path):
    with pytest.raises(EngineError) as caught:
        run(photos, tmp_path / "job", model="dust3r-512-dpt")
    error = caught.value
    assert error.kind == "machine"
    for part in ("DUSt3R 512", "2.3 GB", "CC BY-NC-SA 4.0", "no commercial use"):
        assert part in error.message
    assert "models download dust3r-512-dpt" in error.hint
    assert "--weights" in error.hint


def test_models_that_predict_no_pairs_are_refused(photos, tmp_path):
    with pytest.raises(EngineError, match="does not predict pairs") as caught:
        run(photos, tmp_path / "job", model="croco-v2-large")
    assert "tiny-dust3r" in caught.value.hint
    with pytest.raises(EngineError, match="no model"):
        run(photos, tmp_path / "job", model="nerf")


def test_the_command_line(photos, tmp_path):
    command = [
        sys.executable,
        str(ROOT / "blender_3r" / "engine"),
        "reconstruct",
        str(photos),
        "--out",
        str(tmp_path / "job"),
    ]
    arguments = ["--method", "pairwise", "--model", "tiny-mast3r", "--alignment", "sparse", "--iterations", "5"]
    arguments += ["--min-confidence", "0", "--no-clean", "--device", "cpu", "--threads", "1", "--json"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, env=os.environ, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["total"] == 4
    asked = json.loads((tmp_path / "job" / "request.json").read_text())["settings"]
    assert asked["alignment"] == "sparse"
    assert asked["clean"] is False
    check_views(tmp_path / "job", 4)


# -- memory


@pytest.fixture
def small_memory(monkeypatch):
    """Images of more than 224 pixels do not fit."""
    real = inference.PairRunner._run

    def run_if_small(self, network, *inputs):
        if isinstance(inputs[0], torch.Tensor) and min(inputs[0].shape[-2:]) > 224:
            raise MemoryError
        return real(self, network, *inputs)

    monkeypatch.setattr(inference.PairRunner, "_run", run_if_small)


def test_smaller_images_when_memory_runs_out(photos, tmp_path, small_memory):
    chosen = sorted(photos.iterdir())[:2]
    settings = {"model": "tiny-dust3r", "image_size": 512}
    with pytest.raises(EngineError, match="does not fit") as caught:
        run(chosen, tmp_path / "job", "photos", **settings)
    assert caught.value.kind == "machine"
    summary = run(chosen, tmp_path / "job", "photos", **settings, allow_smaller=True)
    assert "squares of 224 pixels were used" in summary["warnings"][0]
    assert JobFolder.open(tmp_path / "job").read_view(0)["depth"].shape == (224, 398)
    assert "begins again" in (tmp_path / "job" / "log.txt").read_text()


def test_memory_that_runs_out_anywhere_is_told_with_numbers(photos, tmp_path, monkeypatch):
    def no_room(*arguments):
        raise MemoryError

    monkeypatch.setattr(solve, "align_pairs", no_room)
    with pytest.raises(EngineError, match=r"Memory ran out with 4 images of 64 pixels.*are free now") as caught:
        run(photos, tmp_path / "job", model="tiny-dust3r")
    assert caught.value.kind == "machine"
    assert "fewer images" in caught.value.hint

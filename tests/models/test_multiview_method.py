"""The multi-view method with checkpoints on disk: tiny networks, random weights, real pictures, the whole service.

Random weights see nothing, so nothing is asked of the geometry: only that every part is there and of the right form.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from blender_3r.engine import zoo
from blender_3r.engine.errors import Cancelled, EngineError
from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.methods.multiview import passes as passes_module
from blender_3r.engine.methods.multiview.drivers import fast3r, mv_dust3r, pi3, vggt
from blender_3r.engine.methods.multiview.estimate import Room
from blender_3r.engine.methods.multiview.results import is_believable
from blender_3r.engine.service.runner import run_job
from blender_3r.engine.service.settings import make_request
from blender_3r.engine.source import source_from_path
from tests.models.support.tiny_multiview_weights import MODELS, write_records

SHOT = Path(__file__).resolve().parents[2] / "demo" / "courtyard.mp4"
SIZE = (180, 320)  # of the photos
DRIVERS = (vggt.VggtDriver, pi3.Pi3Driver, fast3r.Fast3rDriver, mv_dust3r.MvDust3rDriver)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return write_records(tmp_path_factory.mktemp("records"))


@pytest.fixture(autouse=True)
def own_zoo(records, tmp_path, monkeypatch):
    """No weights on this machine but the tiny ones."""
    monkeypatch.setenv("BLENDER_3R_ZOO", str(tmp_path / "zoo"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("BLENDER_3R_RECORDS", str(records))
    yield
    zoo.shared_cache().release_all()


@pytest.fixture(scope="module")
def frames():
    """Frames of the demo shot."""
    movie, found = cv2.VideoCapture(str(SHOT)), []
    for number in range(8):
        movie.set(cv2.CAP_PROP_POS_FRAMES, 5 * number)
        found.append(cv2.resize(movie.read()[1], SIZE[::-1], interpolation=cv2.INTER_AREA))
    movie.release()
    return found


@pytest.fixture
def photos(frames, tmp_path):
    """The frames as photos in a folder."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, frame in enumerate(frames):
        (folder / f"view {number}.png").write_bytes(cv2.imencode(".png", frame)[1].tobytes())
    return folder


@pytest.fixture
def encoded(monkeypatch):
    """How often each picture went through an encoder, by its pixels."""
    counted: Counter[bytes] = Counter()
    for driver in DRIVERS:
        original = driver.encode

        def encode(self, image, original=original):
            assert len(image) == 1
            counted[image.numpy().tobytes()] += 1
            return original(self, image)

        monkeypatch.setattr(driver, "encode", encode)
    return counted


class Run:
    """One run of a job and what it announced."""

    def __init__(self, source, job, kind=None, is_cancelled=lambda events: False, **settings):
        self.events = []
        values = {"device": "cpu", "threads": 1, **settings}
        request = make_request("multiview", source_from_path(source, kind=kind), values)
        self.job = JobFolder(job)
        self.summary = run_job(
            request, job, lambda type_, **fields: self.events.append((type_, fields)), lambda: is_cancelled(self.events)
        )

    @property
    def announced(self):
        return [fields["index"] for type_, fields in self.events if type_ == "view"]

    @property
    def solved(self):
        return [fields["solved"] for type_, fields in self.events if type_ == "cameras"]


def check_views(job, count, shape=None):
    """Whatever the weights say, the form is right."""
    cameras = job.read_cameras()
    assert len(cameras.views) == count
    assert list(job.view_indices()) == cameras.solved
    for index in cameras.solved:
        view, arrays = cameras.views[index], job.read_view(index)
        pose = view.world_from_camera
        assert np.allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-5)
        assert np.linalg.det(pose[:3, :3]) == pytest.approx(1, abs=1e-5)
        assert is_believable(view.intrinsics)
        height, width = arrays["depth"].shape
        if shape is not None:
            assert (height, width) == shape
        assert arrays["color"].shape == (height, width, 3)
        assert (arrays["depth"].dtype, arrays["confidence"].dtype) == (np.float32, np.float32)
        assert arrays["color"].dtype == np.uint8
        assert np.isfinite(arrays["depth"]).all()
        assert arrays["depth"].min() >= 0
        assert arrays["confidence"].min() >= 0
        assert arrays["confidence"].max() <= 1
    assert not list(job.path.glob("chunk_*"))
    return cameras


# What tiny random weights say of lenses is nonsense in some models; these are told theirs.
LENS = {"tiny-pi3x": {"focal_px": 260.0}, "tiny-fast3r": {"focal_px": 260.0}}
SHAPES = {"vggt": (42, 70), "pi3": (42, 84), "pi3x": (42, 84), "fast3r": (39, 70), "mv_dust3r": (224, 398)}


@pytest.mark.parametrize("model", MODELS)
def test_a_video_in_chunks(model, frames, photos, tmp_path, encoded):
    for number in range(len(frames)):  # a sequence of frames
        (photos / f"view {number}.png").rename(photos / f"shot.{number:04d}.png")
    names = sorted(photos.iterdir())
    for path in names[4:]:
        path.unlink()
    settings = {"model": model, "chunk_size": 3, "overlap": 2, **LENS.get(model, {})}
    run = Run(names[0], tmp_path / "job", **settings)
    assert (run.summary["solved"], run.summary["total"]) == (4, 4)
    assert run.announced == [0, 1, 2, 3]
    assert run.solved == [3, 4]
    assert len(encoded) == 4
    assert set(encoded.values()) == {1}
    cameras = check_views(run.job, 4)
    assert run.job.read_view(0)["depth"].shape[1] == SHAPES[MODELS[model][0]][1]
    assert (cameras.kind, cameras.method, cameras.lens) == ("video", "multiview", "shared")
    assert len({view.intrinsics.fx for view in cameras.views}) == 1
    assert cameras.metric is (MODELS[model][0] == "pi3x")
    assert [check.name for check in cameras.checks] == ["seams"]
    assert "seam: views 1-2" in (run.job.path / "log.txt").read_text()
    gaussians = run.job.read_gaussians(2)
    assert (gaussians is not None) is model.startswith("tiny-mv")
    if gaussians is not None:
        check_gaussians(gaussians)


def check_gaussians(gaussians):
    shape = gaussians["opacity"].shape
    assert shape == (224, 224)
    assert gaussians["position"].shape == gaussians["color"].shape == gaussians["scale"].shape == (*shape, 3)
    assert gaussians["rotation"].shape == (*shape, 4)
    assert np.allclose(np.linalg.norm(gaussians["rotation"], axis=-1), 1, atol=1e-4)
    assert gaussians["scale"].min() > 0
    assert 0 <= gaussians["opacity"].min() <= gaussians["opacity"].max() <= 1


@pytest.mark.parametrize("model", ["tiny-vggt", "tiny-pi3", "tiny-mv-dust3r-plus"])
def test_one_image(model, photos, tmp_path, encoded):
    run = Run([photos / "view 0.png"], tmp_path / "job", "photos", model=model)
    assert (run.summary["solved"], run.announced) == (1, [0])
    assert len(encoded) == 1
    assert not check_views(run.job, 1).focal_is_certain


def test_photos_that_fit_go_through_in_one_pass(photos, tmp_path):
    run = Run(photos, tmp_path / "job", model="tiny-pi3")
    assert run.solved == [8]
    cameras = check_views(run.job, 8, SHAPES["pi3"])
    assert (cameras.kind, cameras.lens, cameras.checks) == ("photos", "groups", [])
    assert cameras.views[0].intrinsics.fx == cameras.views[0].intrinsics.fy


def test_a_movie_keeps_its_frame_numbers(tmp_path):
    source = source_from_path(SHOT, first=0, last=24, step=8)
    request = make_request("multiview", source, {"model": "tiny-pi3", "device": "cpu", "threads": 1})
    run_job(request, tmp_path / "job", lambda type_, **fields: None)
    cameras = check_views(JobFolder(tmp_path / "job"), 4)
    assert (cameras.kind, cameras.lens, cameras.fps) == ("video", "shared", 24.0)
    assert [view.frame for view in cameras.views] == [0, 8, 16, 24]


def test_a_rig_of_movies_takes_one_frame_of_each(tmp_path):
    movies = [tmp_path / f"camera {number}.mp4" for number in range(3)]
    for path in movies:
        path.write_bytes(SHOT.read_bytes())
    source = source_from_path(movies, rig_frame=5)
    request = make_request("multiview", source, {"model": "tiny-pi3", "device": "cpu", "threads": 1})
    run_job(request, tmp_path / "job", lambda type_, **fields: None)
    cameras = check_views(JobFolder(tmp_path / "job"), 3)
    assert (cameras.kind, cameras.lens) == ("photos", "groups")
    assert [view.file for view in cameras.views] == [path.name for path in movies]


def test_sizes_and_orientations_together(photos, frames, tmp_path):
    upright = cv2.imencode(".png", cv2.rotate(frames[1], cv2.ROTATE_90_CLOCKWISE))[1].tobytes()
    (photos / "view 1.png").write_bytes(upright)
    (photos / "view 2.png").write_bytes(cv2.imencode(".png", frames[2][:, 60:260])[1].tobytes())
    for number in range(4, 8):
        (photos / f"view {number}.png").unlink()
    shapes = {
        "tiny-vggt": [(42, 70), (70, 42), (56, 70), (42, 70)],
        "tiny-pi3": [(42, 84)] * 4,
        "tiny-fast3r": [(39, 70), (70, 39), (63, 70), (39, 70)],
    }
    for model, expected in shapes.items():
        run = Run(photos, tmp_path / model, model=model, **LENS.get(model, {}))
        cameras = check_views(run.job, 4)
        for index in cameras.solved:
            assert run.job.read_view(index)["depth"].shape == expected[index]
            lens = cameras.views[index].intrinsics
            assert (lens.width, lens.height) == [(320, 180), (180, 320), (200, 180), (320, 180)][index]


def test_a_damaged_file_among_others_is_skipped_and_named(photos, tmp_path):
    path = photos / "view 2.png"
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)  # the header stays good
    path.write_bytes(data)
    run = Run(photos, tmp_path / "job", model="tiny-pi3", chunk_size=4)
    assert (run.summary["solved"], run.summary["total"]) == (7, 8)
    assert any("view 2.png" in warning for warning in run.summary["warnings"])
    cameras = check_views(run.job, 8)
    assert "view 2.png" in cameras.views[2].note
    assert run.announced == [0, 1, 3, 4, 5, 6, 7]


# -- memory


def test_a_pass_that_does_not_fit_is_cut_in_two(photos, tmp_path, monkeypatch, encoded):
    limit_views(monkeypatch, 4)
    run = Run(photos, tmp_path / "job", model="tiny-pi3")
    assert run.summary["solved"] == 8
    assert "Memory ran out with 8 views of 84 x 42 pixels" in (run.job.path / "log.txt").read_text()
    assert run.announced == list(range(8))
    assert set(encoded.values()) == {1}
    assert len(encoded) == 8


def test_where_not_even_two_views_fit_it_is_said_with_numbers(photos, tmp_path, monkeypatch):
    limit_views(monkeypatch, 1)
    with pytest.raises(EngineError) as caught:
        Run(photos, tmp_path / "job", model="tiny-pi3")
    assert caught.value.kind == "machine"
    assert caught.value.message.startswith("Memory ran out with 2 views of 84 x 42 pixels. ")
    assert "are free now" in caught.value.message


def test_smaller_images_where_they_are_allowed(photos, tmp_path, monkeypatch):
    limit_views(monkeypatch, 1, above=12_000)
    run = Run(photos, tmp_path / "job", model="tiny-pi3", image_size=192, allow_smaller=True)
    assert run.summary["solved"] == 8
    assert "taken at 112 pixels" in run.summary["warnings"][0]
    assert run.job.read_view(0)["depth"].shape == (84, 140)


def limit_views(monkeypatch, most, above=0):
    """Passes over more views, of pictures of more pixels, run out of memory."""
    original = pi3.Pi3Driver.predict

    def predict(self, views, device):
        if len(views) > most and np.prod(views[0].picture.size) > above:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return original(self, views, device)

    monkeypatch.setattr(pi3.Pi3Driver, "predict", predict)


def test_more_images_than_the_memory_takes_go_in_chunks(photos, tmp_path):
    patches = SHAPES["pi3"][0] * SHAPES["pi3"][1] // 14**2
    memory = Room("pi3", patches, None).needed(5) + 1
    run = Run(photos, tmp_path / "job", model="tiny-pi3", memory_gb=memory / 1e9)
    assert run.summary["solved"] == 8
    assert "8 views do not go into one pass: 5 in each, 2 of them shared" in (run.job.path / "log.txt").read_text()
    assert run.solved == [5, 8]


def test_what_fits_is_judged_before_the_run(photos, tmp_path, encoded):
    with pytest.raises(EngineError) as caught:
        Run(photos, tmp_path / "job", model="tiny-pi3", memory_gb=0.001)
    assert caught.value.kind == "machine"
    assert "A pass over 2 views takes about" in caught.value.message
    assert "1 MB may be used" in caught.value.message
    assert not encoded


# -- going on


def test_a_job_that_was_stopped_goes_on(photos, tmp_path, encoded):
    settings = {"model": "tiny-pi3", "chunk_size": 4, "overlap": 2}
    with pytest.raises(Cancelled):
        Run(
            photos,
            tmp_path / "job",
            is_cancelled=lambda events: sum(type_ == "cameras" for type_, _ in events) == 2,
            **settings,
        )
    job = JobFolder(tmp_path / "job")
    assert len(list(job.path.glob("chunk_*.npz"))) == 2
    there = list(job.view_indices())
    assert there[:2] == [0, 1]
    assert job.read_cameras().solved == list(range(6))
    before = dict(encoded)
    run = Run(photos, tmp_path / "job", **settings)
    assert len([1 for key, count in encoded.items() if count > before.get(key, 0)]) <= 4  # what the last pass sees
    assert sorted(set(run.announced)) == list(range(8))
    whole = Run(photos, tmp_path / "whole", **settings)
    for index in range(8):
        ours, theirs = run.job.read_view(index), whole.job.read_view(index)
        assert np.allclose(ours["depth"], theirs["depth"], atol=1e-5)
    ours, theirs = (np.array([v.world_from_camera for v in job.read_cameras().views]) for job in (run.job, whole.job))
    assert np.allclose(ours, theirs, atol=1e-6)


def test_passes_of_other_pictures_or_damaged_ones_are_made_again(photos, tmp_path, encoded):
    settings = {"model": "tiny-pi3", "chunk_size": 4, "overlap": 2}
    with pytest.raises(Cancelled):
        Run(
            photos,
            tmp_path / "job",
            is_cancelled=lambda events: any(type_ == "cameras" for type_, _ in events),
            **settings,
        )
    (tmp_path / "job" / "chunk_00000.npz").write_bytes(b"nothing")
    assert Run(photos, tmp_path / "job", **settings).summary["solved"] == 8


def test_cancelling_within_a_pass(photos, tmp_path, monkeypatch):
    layers = []
    monkeypatch.setattr(passes_module, "cancellable", counting(passes_module.cancellable, layers), raising=True)
    with pytest.raises(Cancelled):
        Run(photos, tmp_path / "job", is_cancelled=lambda events: len(layers) > 40, model="tiny-pi3")
    assert len(layers) < 60


def counting(original, layers):
    def cancellable(network, device, check):
        def counted():
            layers.append(1)
            check()

        return original(network, device, counted)

    return cancellable


# -- what is known


def test_known_lenses_poses_and_depth(photos, tmp_path):
    first = Run(photos, tmp_path / "first", model="tiny-pi3")
    given = first.job.path / "cameras.json"
    settings = {
        "model": "tiny-pi3x",
        "chunk_size": 5,
        "intrinsics": str(given),
        "poses": str(given),
        "depth_maps": str(first.job.path),
    }
    told = Run(photos, tmp_path / "told", **settings)
    cameras, known = told.job.read_cameras(), first.job.read_cameras()
    assert not cameras.metric
    for ours, theirs in zip(cameras.views, known.views, strict=True):
        assert np.allclose(ours.world_from_camera, theirs.world_from_camera, atol=1e-5)
        assert ours.intrinsics.fx == pytest.approx(theirs.intrinsics.fx)
        assert ours.intrinsics.cx == pytest.approx(theirs.intrinsics.cx)
    maps = tmp_path / "maps"
    maps.mkdir()
    for index in range(3):
        np.save(maps / f"view {index}.npy", 7 * np.ones(SIZE, np.float32))
    scaled = Run(photos, tmp_path / "scaled", model="tiny-pi3x", focal_px=260.0, depth_maps=str(maps), min_confidence=0)
    found = [np.asarray(scaled.job.read_view(index)["depth"]) for index in range(3)]
    depth = np.concatenate([maps[maps > 0] for maps in found])
    assert np.median(depth) == pytest.approx(7, rel=0.2)
    assert not scaled.job.read_cameras().metric


def test_depth_of_nothing_is_refused(photos, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(EngineError, match="holds no depth of these images"):
        Run(photos, tmp_path / "job", model="tiny-pi3x", depth_maps=str(tmp_path / "empty"))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"poses": "x"}, "does not take known poses"),
        ({"depth_maps": "x"}, "does not take known depth"),
        ({"learned_tracks": True}, "follows no points"),
        ({"chunk_size": 3, "overlap": 3}, "Chunks of 3 views cannot share 3"),
        ({"model": "mast3r-512"}, "does not see all views at once"),
        ({"model": "vggt-1b"}, "are not on this machine"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(photos, tmp_path, settings, told):
    with pytest.raises(EngineError, match=told) as caught:
        Run(photos, tmp_path / "job", **{"model": "tiny-pi3", **settings})
    assert caught.value.hint


def test_the_other_head_and_the_users_own_threshold(photos, tmp_path):
    points = Run(photos, tmp_path / "points", model="tiny-vggt", head="points")
    depth = Run(photos, tmp_path / "depth", model="tiny-vggt", min_confidence=0)
    assert check_views(depth.job, 8)
    assert (depth.job.read_view(0)["depth"] > 0).all()
    kept = depth.job.read_view(0)["confidence"]
    strict = Run(photos, tmp_path / "strict", model="tiny-vggt", min_confidence=float(np.median(kept)))
    assert 0.3 < (strict.job.read_view(0)["depth"] > 0).mean() < 0.7
    check_views(points.job, 8)
    assert not np.allclose(points.job.read_view(0)["depth"], depth.job.read_view(0)["depth"])


def test_refined_cameras_come_with_tracks(photos, tmp_path):
    run = Run(photos, tmp_path / "job", model="tiny-vggt", chunk_size=5, overlap=2, learned_tracks=True)
    names = [check.name for check in check_views(run.job, 8).checks]
    tracks = run.job.read_npz("tracks")
    if "adjustment" in names:  # tiny weights may follow nothing worth it
        assert set(tracks) == {"frame", "track", "xy", "error_px", "kept", "points", "moving", "weight"}
        assert tracks["frame"].max() <= 7
        assert run.job.read_sparse()["points"].shape[1] == 3
    else:
        assert any("as predicted" in warning for warning in run.summary["warnings"])
    assert run.announced == list(range(8))


def test_states_are_plain_json(photos, tmp_path):
    run = Run(photos, tmp_path / "job", model="tiny-pi3", chunk_size=4)
    check = run.summary["checks"][0]
    assert check["name"] == "seams"
    assert "3 chunks of views were joined" in check["text"]
    assert json.loads((tmp_path / "job" / "cameras.json").read_text())["checks"]

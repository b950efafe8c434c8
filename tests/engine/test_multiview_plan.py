"""The multi-view method before it runs: sizes of pictures, memory of a pass, chunks, what the panel is told."""

from __future__ import annotations

import numpy as np
import pytest

from blender_3r.engine.errors import EngineError
from blender_3r.engine.jobfolder import GAUSSIAN_ARRAYS, JobFolder
from blender_3r.engine.methods.memory import DoesNotFit, in_gigabytes
from blender_3r.engine.methods.multiview.estimate import AT_ONCE, FIXED, NEEDS, Room, forecast
from blender_3r.engine.methods.multiview.gaussians import gaussian_arrays, move_gaussians
from blender_3r.engine.methods.multiview.layout import PATCHES, Layout
from blender_3r.engine.methods.multiview.options import Options
from blender_3r.engine.methods.multiview.predictions import Prediction
from blender_3r.engine.methods.multiview.queries import choose_queries, frame_pixels, picture_pixels, usable_tracks
from blender_3r.engine.service import estimate
from blender_3r.engine.service.settings import make_request
from blender_3r.engine.source import Source

GB = 1_000_000_000


# -- pictures


@pytest.mark.parametrize("architecture", PATCHES)
@pytest.mark.parametrize("frames", [[(300, 400)] * 2, [(400, 300)] * 2, [(300, 400), (400, 300), (210, 333)]])
@pytest.mark.parametrize("image_size", [112, 224])
def test_sizes_are_known_before_a_frame_is_read(architecture, frames, image_size):
    layout = Layout(architecture, frames, image_size)
    random = np.random.default_rng(0)
    for number, (height, width) in enumerate(frames):
        picture = layout.prepare(random.integers(0, 255, (height, width, 3), dtype=np.uint8))
        assert picture.size == layout.sizes[number]
        assert picture.scaled == layout.scaled[number]
        patch = PATCHES[architecture]
        assert layout.tokens(number) == picture.size[0] * picture.size[1] // patch**2


def test_upright_frames_are_not_cut_for_vggt():
    landscape, upright, mixed = (
        Layout("vggt", frames, 112) for frames in ([(300, 400)], [(400, 300)], [(300, 400), (400, 300)])
    )
    assert landscape.sizes == [(84, 112)]
    assert upright.sizes == [(112, 112)]
    assert upright.scaled == [(112, 84)]
    assert mixed.sizes == [(112, 112)] * 2


# -- memory


def test_views_that_fit_need_no_more_than_there_is():
    for architecture, need in NEEDS.items():
        for available in (10**7, 10**9, 5 * 10**9, 2 * 10**10):
            room = Room(architecture, 1036, available)
            fitting = room.views_that_fit
            assert 0 <= fitting <= need.most
            assert fitting == 0 or room.needed(fitting) <= available
            assert fitting == need.most or room.needed(fitting + 1) > available
    assert Room("pi3", 1036, None).views_that_fit == NEEDS["pi3"].most
    halves, whole = (Room("vggt", 1036, None, precision) for precision in ("bfloat16", "float32"))
    assert halves.needed(20) < whole.needed(20)
    assert Room("vggt", 1036, None, refine=True).needed(20) > whole.needed(20)
    need = NEEDS["vggt"]
    assert whole.needed(AT_ONCE) - FIXED == 1036 * AT_ONCE * (need.kept + max(need.heads, need.passing))
    assert whole.needed(150) - FIXED == 1036 * 150 * (need.kept + need.passing)


def test_the_size_of_a_pass():
    room = Room("pi3", 1000, Room("pi3", 1000, None).needed(10))
    assert room.views_that_fit == 10
    assert room.choose_size(7, None) == 7
    assert room.choose_size(30, None) == 10
    assert room.choose_size(30, 6) == 6
    assert room.choose_size(30, 16) == 10
    with pytest.raises(DoesNotFit) as caught:
        Room("pi3", 1000, 10_000_000).choose_size(30, None)
    assert "A pass over 2 views takes about" in caught.value.message
    assert "10 MB may be used" in caught.value.message


@pytest.mark.parametrize(
    ("options", "size", "overlap"),
    [
        (Options(), 16, 4),
        (Options(), 6, 2),
        (Options(), 3, 2),
        (Options(), 2, 1),
        (Options(), 100, 8),
        (Options(overlap=6), 16, 6),
        (Options(overlap=6), 4, 3),
        (Options(overlap=6, chunk_size=16), 5, 4),
    ],
)
def test_chunks_share_what_is_asked_or_a_quarter(options, size, overlap):
    assert options.overlap_of(size) == overlap


def test_chunks_that_add_nothing_are_refused():
    with pytest.raises(EngineError, match="cannot share"):
        Options(overlap=6, chunk_size=6).overlap_of(6)


def test_forecast_tells_passes():
    found = forecast("pi3", Options(chunk_size=16), 40, (1920, 1080), 518, None)
    assert (found.pass_views, found.overlap, found.passes) == (16, 4, 3)
    assert found.text == "40 images in 3 passes of 16, 4 of them shared (1000 fit into one)"
    assert forecast("pi3", Options(), 40, (1920, 1080), 518, None).text == "40 images in one pass"
    assert forecast("pi3", Options(), 1, (1920, 1080), 518, None).text == "1 image in one pass"


# -- what the panel is told


def ask(monkeypatch, count, free=32 * GB, device="cpu", **settings):
    monkeypatch.setattr(estimate, "free_memory", lambda place, number=None: free)
    monkeypatch.setattr(estimate, "network_device", lambda name: device)
    source = Source("photos", tuple(f"/x/{number}.png" for number in range(count)))
    return estimate.estimate_job(make_request("multiview", source, settings), count, [1920, 1080])


def test_the_estimate_of_a_job(monkeypatch):
    found = ask(monkeypatch, 20, model="vggt-1b")
    assert found["fits"]
    tokens = 37 * 21  # 518 x 294
    assert found["memory_bytes"] == found["network_bytes"] + Room("vggt", tokens, None).needed(20)
    assert found["disk_bytes"] == 20 * (11 + 9) * 518 * 294
    memory = in_gigabytes(found["memory_bytes"])
    assert found["text"] == f"20 images in one pass on the processor: about {memory} of memory and 61 MB on disk."
    many = ask(monkeypatch, 400, model="vggt-1b")
    assert many["fits"]
    assert "passes of 200, 8 of them shared (200 fit into one)" in many["text"]
    less = ask(monkeypatch, 400, model="vggt-1b", free=15 * GB)
    assert less["memory_bytes"] <= 0.85 * 15 * GB
    assert "400 images in" in less["text"]


def test_the_estimate_says_what_cannot_be(monkeypatch):
    found = ask(monkeypatch, 20, model="vggt-1b", free=7 * GB)
    assert not found["fits"]
    assert "A pass over 2 views takes about" in found["text"]
    assert found["hint"]
    with pytest.raises(EngineError, match="does not see all views at once"):
        ask(monkeypatch, 20, model="mast3r-512")


# -- pieces


def test_pixels_of_pictures_and_frames():
    random = np.random.default_rng(1)
    picture = Layout("vggt", [(400, 300), (300, 400)], 112).prepare(
        random.integers(0, 255, (400, 300, 3), dtype=np.uint8)
    )
    xy = random.uniform(0, 100, (20, 2))
    assert np.allclose(picture_pixels(picture, frame_pixels(picture, xy)), xy)
    middle = np.array([[(picture.size[1] - 1) / 2, (picture.size[0] - 1) / 2]])
    assert np.allclose(frame_pixels(picture, middle), [[150, 200]])


def test_queries_lie_on_corners_within_the_frame():
    board = np.kron(np.indices((20, 15)).sum(axis=0) % 2, np.ones((20, 20))) * 255
    image = np.repeat(board[..., None], 3, axis=-1).astype(np.uint8)
    picture = Layout("vggt", [(400, 300)], 224).prepare(image)
    queries = choose_queries(picture, 200)
    assert 60 < len(queries) <= 200
    frame = frame_pixels(picture, queries)
    assert (frame > 0).all()
    assert (frame < [300, 400]).all()
    off = np.abs(frame / 20 - np.rint(frame / 20)).max(axis=1)
    assert np.median(off) < 0.1
    assert (
        len(choose_queries(Layout("vggt", [(400, 300)], 224).prepare(np.full((400, 300, 3), 90, np.uint8)), 200)) == 0
    )


def test_tracks_are_kept_where_they_are_seen_within_the_frame():
    picture = Layout("vggt", [(300, 400)], 112).prepare(np.zeros((300, 400, 3), np.uint8))
    positions = np.array([[[10, 10], [50, 50], [60, 60]], [[12, 11], [500, 50], [61, 60]]], dtype=float)
    sure = np.array([[0.0, 0.9, 0.9], [0.9, 0.9, 0.1]])
    found = usable_tracks(positions, sure, [picture, picture], [7, 3])
    assert found.view.tolist() == [7, 7, 7, 3]
    assert found.track.tolist() == [0, 1, 2, 0]
    assert np.allclose(found.xy[3], (np.array([12.5, 11.5])) * 400 / 112)


def test_gaussians_move_with_their_scene():
    from blender_3r.engine.geometry.quaternions import rotation_from_quaternion
    from blender_3r.engine.geometry.rotations import rotation_from_vector
    from blender_3r.engine.geometry.similarity import Similarity

    random = np.random.default_rng(2)
    points, color = random.normal(size=(4, 5, 3)), np.zeros((4, 5, 3), np.uint8)
    rotation = random.normal(size=(4, 5, 4))
    rotation /= np.linalg.norm(rotation, axis=-1, keepdims=True)
    scale = np.full((4, 5, 3), 0.002)
    scale[0] = -1
    arrays = gaussian_arrays(points, color, np.ones((4, 5)), scale, rotation, 3.0)
    assert np.allclose(arrays["scale"][0], 3e-4)
    assert np.allclose(arrays["scale"][1:], 0.002)
    move = Similarity(np.float64(2.0), rotation_from_vector(np.array([0.3, -1.0, 0.4])), np.array([1.0, 2.0, 3.0]))
    moved = move_gaussians(arrays, move)
    assert np.allclose(moved["position"], move.apply(points), atol=1e-5)
    assert np.allclose(moved["scale"], 2 * arrays["scale"])
    expected = move.rotation @ rotation_from_quaternion(rotation)
    assert np.allclose(rotation_from_quaternion(moved["rotation"]), expected, atol=1e-5)


def test_a_prediction_in_another_world():
    from blender_3r.engine.geometry.rotations import rotation_from_vector
    from blender_3r.engine.geometry.similarity import Similarity

    random = np.random.default_rng(3)
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[1] = np.nan
    depth = [random.uniform(1, 3, (6, 8)).astype(np.float32)] * 2
    ones = [np.ones((6, 8), np.float32)] * 2
    kept = [np.ones((6, 8), bool)] * 2
    prediction = Prediction([3, 4], poses, np.full((2, 2), 7.0), np.tile([4.0, 3.0], (2, 1)), depth, ones, kept)
    assert prediction.posed.tolist() == [True, False]
    assert prediction.as_chunk().views == [3]
    local = prediction.local_points(0)
    projected = 7.0 * local[..., :2] / local[..., 2:] + np.array([4.0, 3.0])
    assert np.allclose(projected[..., 0], np.arange(8)[None], atol=1e-5)
    move = Similarity(np.float64(2.0), rotation_from_vector(np.array([0.1, 0.2, 0.3])), np.ones(3))
    assert np.allclose(prediction.moved(move).world_points(0), move.apply(prediction.world_points(0)), atol=1e-5)


def test_gaussians_lie_in_the_job_folder_till_its_results_are_cleared(tmp_path):
    job = JobFolder.create(tmp_path / "job")
    assert job.read_gaussians(3) is None
    random = np.random.default_rng(4)
    arrays = gaussian_arrays(
        random.normal(size=(4, 5, 3)),
        np.zeros((4, 5, 3), np.uint8),
        np.ones((4, 5)),
        np.full((4, 5, 3), 0.01),
        np.tile([1.0, 0, 0, 0], (4, 5, 1)),
        3.0,
    )
    job.write_gaussians(3, arrays)
    assert (job.path / "gaussians" / "000003" / "rotation.npy").is_file()
    found = job.read_gaussians(3)
    assert set(found) == set(GAUSSIAN_ARRAYS)
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
    with pytest.raises(ValueError, match="opacity"):
        job.write_gaussians(4, {name: values for name, values in arrays.items() if name != "opacity"})
    job.clear_results()
    assert job.read_gaussians(3) is None

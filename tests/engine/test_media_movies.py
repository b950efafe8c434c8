"""Movies and rigs: the right frame under the right number, whatever order and however damaged."""

from __future__ import annotations

import os
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import number_in, write_images, write_movie

from blender_3r.engine.errors import EngineError
from blender_3r.engine.media import frames as frames_module
from blender_3r.engine.media.checks import frames_are_dark, require_frames, require_visible
from blender_3r.engine.media.frames import open_source
from blender_3r.engine.media.movies import Movie
from blender_3r.engine.source import source_from_path


def opened(path, **options):
    return open_source(source_from_path(path, **options))


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "mp4v"), ("a.avi", "MJPG"), ("a.mkv", "mp4v"), ("a.mpg", "MPG1")]
)
def test_every_frame_is_the_one_asked_for_in_any_order(tmp_path, monkeypatch, name, codec):
    monkeypatch.setattr(frames_module, "_CACHE_FRAMES", 1)  # so that every read decodes
    frames = opened(write_movie(tmp_path / name, 100, codec))
    assert len(frames) == 100
    assert frames.fps == pytest.approx(25.0)
    order = [0, 1, 2, 50, 99, 3, 98, 97, 10, 70, 71, 69, 0, 60]
    assert [number_in(frames.read(i)) for i in order] == order


def test_what_is_known_of_a_movie(movie):
    frames = opened(movie)
    info = frames.infos[7]
    assert (frames.kind, info.file, info.frame, info.width, info.height) == ("video", "frame_0007", 7, 160, 120)
    assert info.focal_px is None
    assert frames.warnings == []


def test_range_and_step(movie):
    frames = opened(movie, first=2, last=9, step=3)
    assert [info.frame for info in frames.infos] == [2, 5, 8]
    assert [number_in(frames.read(i)) for i in (2, 0, 1)] == [8, 2, 5]


def test_a_range_past_the_end_is_cut_with_a_warning(movie):
    frames = opened(movie, first=8, last=40)
    assert [info.frame for info in frames.infos] == [8, 9, 10, 11]
    assert any("ends at frame 11" in warning for warning in frames.warnings)


def test_a_range_outside_is_refused(movie):
    with pytest.raises(EngineError, match="frames are 0 to 11"):
        opened(movie, first=100)


def test_sizes_and_gray(movie):
    frames = opened(movie)
    assert frames.read(3).shape == (120, 160, 3)
    assert frames.read(3, max_side=40).shape == (30, 40, 3)
    assert frames.read(3, max_side=4000).shape == (120, 160, 3)
    assert frames.read(3, gray=True).shape == (120, 160)
    assert frames.read(3).dtype == np.uint8
    with pytest.raises(IndexError):
        frames.read(12)


def test_changing_a_frame_does_not_change_the_next_read(movie):
    frames = opened(movie)
    for options in ({}, {"max_side": 4000}):
        frames.read(3, **options)[:] = 0
        assert number_in(frames.read(3)) == 3


@pytest.mark.parametrize("kind", ["movie", "photos"])
def test_frames_are_right_when_read_from_several_threads(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(frames_module, "_CACHE_FRAMES", 3)
    if kind == "movie":
        frames = opened(write_movie(tmp_path / "a.mp4", 40))
    else:
        write_images(tmp_path, [f"{n}.jpg" for n in range(40)])
        frames = opened(tmp_path, kind="photos")
    order = np.random.default_rng(2).integers(0, 40, 200).tolist()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda i: number_in(frames.read(i)), order)) == order


def test_the_cache_is_bounded(movie, monkeypatch):
    monkeypatch.setattr(frames_module, "_CACHE_BYTES", 3 * 160 * 120 * 3)
    frames = opened(movie)
    for index in range(12):
        frames.read(index)
        assert frames._cached_bytes() <= 3 * 160 * 120 * 3


def test_a_truncated_movie_yields_its_good_frames(tmp_path):
    path = write_movie(tmp_path / "cut.avi", 60, "MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames = opened(path)
    last = len(frames) - 1
    assert 20 < last < 40
    assert frames.warnings == [
        f"cut.avi is cut short: {last + 1} of 60 frames can be read, the last good one is frame {last}."
    ]
    assert number_in(frames.read(last)) == last


@pytest.mark.parametrize("content", [b"", b"This is a text file.\n" * 50])
def test_what_is_no_movie_is_refused(tmp_path, content):
    path = tmp_path / "notes.mp4"
    path.write_bytes(content)
    with pytest.raises(EngineError, match=r"notes\.mp4 cannot be read as a movie") as caught:
        opened(path)
    assert caught.value.kind == "input"
    assert caught.value.hint


def test_a_movie_without_its_index_is_refused(movie):
    movie.write_bytes(movie.read_bytes()[:-400])
    with pytest.raises(EngineError, match="damaged"):
        opened(movie)


def test_rotation_metadata_is_applied(movie):
    data = bytearray(movie.read_bytes())
    header = data.index(b"tkhd")
    quarter_turn = (0, 1 << 16, 0, -1 << 16, 0, 0, 120 << 16, 0, 1 << 30)
    struct.pack_into(">9i", data, header + 44, *quarter_turn)
    movie.write_bytes(data)
    frames = opened(movie)
    assert (frames.infos[0].width, frames.infos[0].height) == (120, 160)
    upright = frames.read(5)
    assert upright.shape == (160, 120, 3)
    assert number_in(np.rot90(upright)) == 5


def test_without_sound_time_stamps_frames_are_counted_by_decoding(movie, monkeypatch):
    monkeypatch.setattr(Movie, "_packet_times", lambda self, last: [])
    frames = opened(movie)
    assert [number_in(frames.read(i)) for i in (11, 0, 5)] == [11, 0, 5]


def test_progress_can_stop_the_counting(tmp_path, monkeypatch):
    monkeypatch.setattr(Movie, "_packet_times", lambda self, last: [])
    seen = []

    def stop(done, total):
        seen.append((done, total))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_source(source_from_path(write_movie(tmp_path / "a.mp4", 40)), stop)
    assert seen == [(16, 40)]


def test_a_rig_takes_one_frame_of_every_movie(tmp_path):
    for camera in ("a", "b", "c"):
        write_movie(tmp_path / f"{camera}.mp4", 10 if camera != "b" else 3)
    frames = opened(tmp_path, rig_frame=6)
    assert frames.kind == "photos"
    assert [info.file for info in frames.infos] == ["a.mp4", "c.mp4"]
    assert len({info.camera for info in frames.infos}) == 2
    assert [number_in(frames.read(i)) for i in (1, 0)] == [6, 6]
    assert any("b.mp4 is left out" in warning for warning in frames.warnings)


def test_a_rig_frame_no_camera_has_is_refused(tmp_path):
    for camera in ("a", "b"):
        write_movie(tmp_path / f"{camera}.mp4", 3)
    with pytest.raises(EngineError, match="readable frame 50"):
        opened(tmp_path, rig_frame=50)


def test_black_footage_is_recognised(movie, monkeypatch):
    frames = opened(movie)
    assert not frames_are_dark(frames)
    require_visible(frames)
    monkeypatch.setattr(frames, "read", lambda index, **options: np.full((90, 160), 9, np.uint8))
    assert frames_are_dark(frames)
    with pytest.raises(EngineError, match="black"):
        require_visible(frames)


def test_a_black_beginning_is_not_black_footage(movie, monkeypatch):
    frames = opened(movie)
    monkeypatch.setattr(frames, "read", lambda index, **options: np.full((9, 16), 100 * (index == 11), np.uint8))
    assert not frames_are_dark(frames)


def test_too_few_frames_is_a_sentence(movie):
    frames = opened(movie, first=0, last=0)
    with pytest.raises(EngineError, match="one image, and at least 2"):
        require_frames(frames, 2)
    require_frames(opened(movie), 12)


DATA = Path(os.environ.get("BLENDER_3R_DATA") or Path(__file__).parents[3] / "shared" / "data")


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no test footage in {DATA} (set BLENDER_3R_DATA)")
@pytest.mark.parametrize(
    ("path", "kind", "count", "size", "fps"),
    [
        ("fox/images", "photos", 50, (576, 1024), None),
        ("fountain_p11/images", "photos", 11, (1024, 683), None),
        ("fr3_office/images", "photos", 17, (640, 480), None),
        ("kitti07_drive/images", "sequence", 60, (1024, 309), None),
        ("lady_running/lady_running.mp4", "movie", 65, (854, 480), 24.0),
    ],
)
def test_real_footage_is_taken_for_what_it_is(path, kind, count, size, fps):
    source = source_from_path(DATA / path)
    frames = open_source(source)
    assert (source.kind, len(frames), frames.fps) == (kind, count, fps)
    assert {(info.width, info.height) for info in frames.infos} == {size}
    assert frames.read(count - 1, max_side=200).max() > 100
    assert frames.warnings == []

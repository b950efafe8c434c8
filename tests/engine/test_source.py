"""What a path is taken for. Names only: the files are empty."""

from __future__ import annotations

import json
import os

import pytest

from blender_3r.engine.errors import EngineError
from blender_3r.engine.source import Source, source_from_path


def touch(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def names_of(source):
    return [os.path.basename(file) for file in source.files]


FRAMES = [f"shot_{n:04d}.png" for n in range(1001, 1049)]


def test_a_movie_is_a_movie(tmp_path):
    touch(tmp_path, ["a clip.MP4"])
    source = source_from_path(tmp_path / "a clip.MP4", first=3, last=9, step=2)
    assert (source.kind, source.name, source.first, source.last, source.step) == ("movie", "a clip", 3, 9, 2)
    assert source.is_video


def test_a_folder_with_one_movie_is_that_movie(tmp_path):
    assert source_from_path(touch(tmp_path, ["a.mov", "notes.txt"])).kind == "movie"


def test_several_movies_are_a_rig(tmp_path):
    touch(tmp_path, ["left.mp4", "right.mp4"])
    by_list = source_from_path([tmp_path / "right.mp4", tmp_path / "left.mp4"], rig_frame=7)
    by_folder = source_from_path(tmp_path, rig_frame=7)
    assert by_list == by_folder
    assert (by_list.kind, by_list.rig_frame, names_of(by_list)) == ("rig", 7, ["left.mp4", "right.mp4"])


def test_a_folder_of_consecutive_frames_is_a_sequence(tmp_path):
    source = source_from_path(touch(tmp_path, FRAMES))
    assert (source.kind, source.numbers, source.name) == ("sequence", tuple(range(1001, 1049)), "shot")


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ([f"{n:04d}.jpg" for n in range(60) if n % 7], "gaps"),
        ([f"{n:04d}.jpg" for n in range(17)], "few"),
        ([f"DSC_{n:04d}.JPG" for n in range(60)], "a stills camera's name"),
        ([f"IMG_20240101_{n:06d}.jpg" for n in range(120000, 120060)], "a phone's name"),
        ([f"f_{n:04d}.png" for n in range(60)] + ["extra.png"], "another image"),
    ],
)
def test_a_folder_of_anything_else_is_photos(tmp_path, names, why):
    source = source_from_path(touch(tmp_path, names))
    assert source.kind == "photos", why
    assert names_of(source) == sorted(names)
    assert source.numbers == ()


@pytest.mark.parametrize("stem", ["img", "image_", "shot010_", "PROJ_sh010_plate_v002.", ""])
def test_what_video_extractors_write_is_a_sequence(tmp_path, stem):
    assert source_from_path(touch(tmp_path, [f"{stem}{n:04d}.jpg" for n in range(24)])).kind == "sequence"


def test_exif_marks_photos_whatever_they_are_called(tmp_path):
    touch(tmp_path, [f"{n:04d}.jpg" for n in range(60)])
    assert source_from_path(tmp_path).kind == "sequence"
    (tmp_path / "0000.jpg").write_bytes(b"\xff\xd8\xff\xe1\x00\x10Exif\x00\x00II*\x00")
    assert source_from_path(tmp_path).kind == "photos"


def test_kind_overrides_the_rules(tmp_path):
    touch(tmp_path / "gaps", ["a_1.png", "a_2.png", "a_9.png"])
    sequence = source_from_path(tmp_path / "gaps", kind="sequence")
    assert sequence.numbers == (1, 2, 9)
    assert "6 frames are missing" in sequence.warnings[0]
    assert source_from_path(touch(tmp_path / "frames", FRAMES), kind="photos").kind == "photos"


def test_one_picked_frame_stands_for_its_sequence(tmp_path):
    touch(tmp_path, [*FRAMES[:5], "shot_1010.png", "other_0001.png", "shot_1003.jpg", "._shot_1004.png"])
    source = source_from_path(tmp_path / "shot_1003.png")
    assert source.kind == "sequence"
    assert source.numbers == (1001, 1002, 1003, 1004, 1005, 1010)


def test_the_frame_number_is_the_one_that_varies(tmp_path):
    touch(tmp_path, ["s2_0001_v3.exr", "s2_0002_v3.exr", "s2_0003_v3.exr", "s2_0002_v4.exr"])
    source = source_from_path(tmp_path / "s2_0002_v3.exr")
    assert names_of(source) == ["s2_0001_v3.exr", "s2_0002_v3.exr", "s2_0003_v3.exr"]


def test_unpadded_numbers_are_in_the_order_people_count(tmp_path):
    touch(tmp_path, [f"f{n}.png" for n in range(1, 31)])
    assert names_of(source_from_path(tmp_path / "f7.png"))[8:11] == ["f9.png", "f10.png", "f11.png"]
    assert names_of(source_from_path(tmp_path, kind="photos"))[8:11] == ["f9.png", "f10.png", "f11.png"]


def test_one_image_without_siblings_is_a_photo(tmp_path):
    touch(tmp_path, ["left.png", "right.png"])
    assert names_of(source_from_path(tmp_path / "left.png")) == ["left.png"]


def test_picked_photos_are_exactly_these(tmp_path):
    touch(tmp_path, ["a.png", "b.png", "c.png"])
    assert names_of(source_from_path([tmp_path / "c.png", tmp_path / "a.png"])) == ["a.png", "c.png"]


def test_relative_paths_become_absolute(tmp_path, monkeypatch):
    touch(tmp_path, ["a.mp4"])
    monkeypatch.chdir(tmp_path)
    assert source_from_path("a.mp4").files == (str(tmp_path / "a.mp4"),)


def test_generic_folder_names_do_not_name_the_result(tmp_path):
    assert source_from_path(touch(tmp_path / "kitchen" / "images", ["a.png", "b.png"])).name == "kitchen"


def test_a_range_on_photos_is_left_out_with_a_warning(tmp_path):
    source = source_from_path(touch(tmp_path, ["a.png", "b.png"]), first=1, last=2)
    assert (source.first, source.last) == (None, None)
    assert "sequences only" in source.warnings[0]


@pytest.mark.parametrize(
    ("make", "options", "kind", "says"),
    [
        ([], {}, "input", "no images or movies"),
        (["a.txt"], {"pick": "a.txt"}, "input", "neither a movie nor an image"),
        ([], {"pick": "gone.mp4"}, "input", "does not exist"),
        (["a.mp4"], {"pick": "a.mp4", "kind": "photos"}, "usage", "is a movie"),
        (["a.png"], {"pick": "a.png", "kind": "movie"}, "usage", "is an image"),
        (["a.png"], {"pick": "a.png", "kind": "sequence"}, "input", "no frame number"),
        (["a.mp4"], {"pick": "a.mp4", "kind": "rig"}, "input", "at least two movies"),
        (["a.mp4"], {"pick": "a.mp4", "kind": "film"}, "usage", "no kind of source"),
        (["a.mp4"], {"pick": "a.mp4", "step": 0}, "usage", "step of 0"),
        (["a.mp4"], {"pick": "a.mp4", "last": -1}, "usage", "no frame -1"),
        (["a.mp4"], {"pick": "a.mp4", "first": 5, "last": 4}, "usage", "before the first"),
    ],
)
def test_what_cannot_be_meant_is_told(tmp_path, make, options, kind, says):
    touch(tmp_path, make)
    options = dict(options)
    path = tmp_path / options.pop("pick", "")
    with pytest.raises(EngineError, match=says) as caught:
        source_from_path(path, **options)
    assert caught.value.kind == kind
    assert caught.value.hint


def test_nothing_picked(tmp_path):
    for nothing in ("", []):
        with pytest.raises(EngineError, match="No footage is picked"):
            source_from_path(nothing)
    touch(tmp_path, ["a.mp4", "b.png"])
    with pytest.raises(EngineError, match="picked together"):
        source_from_path([tmp_path / "a.mp4", tmp_path / "b.png"])


def test_the_folder_above_is_answered_with_the_right_one(tmp_path):
    touch(tmp_path / "images", ["a.png"])
    with pytest.raises(EngineError) as caught:
        source_from_path(tmp_path)
    assert str(tmp_path / "images") in caught.value.hint


def test_json_round_trip_and_refusals(tmp_path):
    source = source_from_path(touch(tmp_path, FRAMES), first=1002, step=3)
    assert Source.from_json(json.loads(json.dumps(source.to_json()))) == source
    movie = {"kind": "movie", "files": ["a"]}
    for bad in (
        {},
        {"kind": "movie"},
        {**movie, "kind": "tape"},
        {**movie, "files": [3]},
        {**movie, "files": 3},
        {**movie, "step": 0},
        {**movie, "step": "2"},
        {**movie, "first": "3"},
        {**movie, "last": 2.5},
        {**movie, "kind": "sequence"},
    ):
        with pytest.raises(EngineError) as caught:
            Source.from_json(bad)
        assert caught.value.kind == "usage"

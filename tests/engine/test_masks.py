"""Masks: matched with the frames, turned round, and respected by tracks, features and depth."""

import json

import cv2
import numpy as np
import pytest
from conftest import write_images
from pictures import Pictures, shifted, texture
from test_classic import SHOT, context

from blender_3r.engine.errors import EngineError
from blender_3r.engine.media.frames import open_source
from blender_3r.engine.media.masks import Masks
from blender_3r.engine.methods import classic
from blender_3r.engine.service.settings import fingerprint, make_request
from blender_3r.engine.solve.features import extract_features
from blender_3r.engine.solve.tracks import track_video
from blender_3r.engine.source import source_from_path

LEFT = np.zeros((120, 160), np.uint8)
LEFT[:, :80] = 255  # white over the left half


def frames_of(folder, names, kind=None):
    write_images(folder, names)
    return open_source(source_from_path(folder, kind=kind))


def write_masks(folder, names, mask=LEFT):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        assert cv2.imwrite(str(folder / name), mask)
    return str(folder)


def left_and_right(masks, index, margin=0):
    allowed = masks.allowed(index, (60, 80), margin)
    return bool(allowed[:, :35].any()), bool(allowed[:, 45:].all())


@pytest.fixture
def sequence(tmp_path):
    return frames_of(tmp_path / "shot", [f"shot_{n:04d}.png" for n in range(11, 17)], "sequence")


def test_white_is_left_out_and_can_be_turned_round(tmp_path, sequence):
    path = write_masks(tmp_path / "masks", [f"roto_{n:04d}.png" for n in range(11, 17)])
    assert left_and_right(Masks(path, sequence), 0) == (False, True)
    assert left_and_right(Masks(path, sequence, invert=True), 0) == (True, False)
    assert Masks(path, sequence).warnings == []


def test_masks_are_matched_by_frame_number(tmp_path, sequence):
    path = write_masks(tmp_path / "masks", ["m.0013.png", "m.0015.png", "m.0099.png"])
    masks = Masks(path, sequence)
    assert [masks.allowed(index, (60, 80)) is not None for index in range(6)] == [
        False,
        False,
        True,
        False,
        True,
        False,
    ]
    assert masks.warnings == ["4 of 6 frames have no mask and are used whole."]


def test_one_mask_for_each_frame_counted_from_elsewhere_goes_by_order(tmp_path, sequence):
    path = write_masks(tmp_path / "masks", [f"m_{n}.png" for n in range(1, 7)])
    assert all(Masks(path, sequence).allowed(index, (60, 80)) is not None for index in range(6))


def test_masks_of_photos_have_their_names(tmp_path):
    photos = frames_of(tmp_path / "photos", ["a.png", "b.png", "c.png"], "photos")
    masks = Masks(write_masks(tmp_path / "masks", ["c.png", "a.png"]), photos)
    assert [masks.allowed(index, (60, 80)) is not None for index in range(3)] == [True, False, True]


def test_one_image_masks_all_frames(tmp_path, sequence):
    folder = write_masks(tmp_path / "logo", ["logo.png"])
    masks = Masks(folder + "/logo.png", sequence)
    assert left_and_right(masks, 0) == left_and_right(masks, 5) == (False, True)


def test_a_movie_of_masks(tmp_path, movie):
    frames = open_source(source_from_path(movie))
    writer = cv2.VideoWriter(str(tmp_path / "m.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 25, (160, 120))
    for _ in range(12):
        writer.write(np.repeat(LEFT[:, :, None], 3, axis=2))
    writer.release()
    assert left_and_right(Masks(str(tmp_path / "m.mp4"), frames), 7) == (False, True)


def test_a_matte_in_the_alpha_channel(tmp_path, sequence):
    picture = np.dstack([np.full((120, 160, 3), 90, np.uint8), LEFT])
    path = write_masks(tmp_path / "masks", [f"m_{n}.png" for n in range(11, 17)], picture)
    assert left_and_right(Masks(path, sequence), 2) == (False, True)


def test_alpha_of_the_footage_leaves_out_what_is_transparent(tmp_path, sequence):
    picture = np.dstack([np.full((120, 160, 3), 90, np.uint8), 255 - LEFT])
    folder = write_masks(tmp_path / "keyed", [f"k_{n:02d}.png" for n in range(3)], picture)
    frames = open_source(source_from_path(folder, kind="sequence"))
    assert left_and_right(Masks("alpha", frames), 1) == (False, True)
    with pytest.raises(EngineError, match="no alpha channel"):
        Masks("alpha", sequence)


def test_the_margin_widens_what_is_left_out(tmp_path, sequence):
    masks = Masks(write_masks(tmp_path / "masks", ["m_11.png"]), sequence)
    narrow, wide = masks.allowed(0, (120, 160)), masks.allowed(0, (120, 160), margin=7)
    assert narrow.sum() - wide.sum() == 7 * 120
    assert list(masks.covered(0, np.array([[10.0, 5.0], [150.0, 5.0]]), (160, 120))) == [True, False]


def test_masks_that_lead_nowhere_are_named(tmp_path, sequence):
    with pytest.raises(EngineError, match="no mask at"):
        Masks(str(tmp_path / "nowhere"), sequence)
    with pytest.raises(EngineError, match="belongs to a frame"):
        Masks(write_masks(tmp_path / "masks", ["m_90.png", "m_91.png"]), sequence)
    (tmp_path / "masks" / "m_11.png").write_bytes(b"no picture")
    with pytest.raises(EngineError, match=r"m_11\.png cannot be read"):
        Masks(str(tmp_path / "masks"), sequence).allowed(0, (60, 80))


def test_a_mask_that_hides_everything(tmp_path, sequence):
    names = [f"m_{n}.png" for n in range(11, 17)]
    masks = Masks(write_masks(tmp_path / "white", names, np.full((120, 160), 255, np.uint8)), sequence)
    with pytest.raises(EngineError, match="hides the whole picture in 6 of 6 frames") as caught:
        masks.require_something(sequence)
    assert caught.value.kind == "input"
    with pytest.raises(EngineError, match="hides the whole picture"):
        list(classic.run(sequence, {"mask": str(tmp_path / "white")}, context(tmp_path / "job")))
    write_masks(tmp_path / "white", names[:3])
    masks = Masks(str(tmp_path / "white"), sequence)
    masks.require_something(sequence)
    assert masks.warnings == ["The mask hides 3 of 6 frames whole."]


def test_no_track_enters_what_is_left_out(tmp_path):
    frames = Pictures([shifted(texture(), 6 * i, 0) for i in range(8)])
    matte = np.zeros((300, 420), np.uint8)
    matte[:, 200:300] = 255
    masks = Masks(write_masks(tmp_path / "m", ["m.png"], matte) + "/m.png", frames)
    tracks = track_video(frames, masks=masks)
    x = tracks.xy[:, 0]
    assert len(tracks) > 1000
    assert x[x < 250].max() <= 200 - 6
    assert x[x > 250].min() >= 300 + 6


def test_no_feature_lies_on_what_is_left_out(tmp_path):
    for number in range(2):
        (tmp_path / "p").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "p" / f"{'ab'[number]}.png"), texture(seed=number))
    photos = open_source(source_from_path(tmp_path / "p", kind="photos"))
    masks = Masks(write_masks(tmp_path / "m", ["b.png"]), photos)
    free, masked = extract_features(photos, 800, 500, 1, masks=masks)
    assert free.xy[:, 0].min() < 100
    assert masked.xy[:, 0].min() >= 209
    assert len(masked.values()) == len(masked.xy) > 20


def test_depth_is_left_out_too(tmp_path):
    frames = open_source(source_from_path(SHOT))
    matte = np.zeros((360, 640), np.uint8)
    matte[:, :320] = 255
    masks = Masks(write_masks(tmp_path / "m", ["m.png"], matte) + "/m.png", frames)
    arrays = {name: np.ones((36, 64), np.float32) for name in ("depth", "confidence")}
    arrays["color"] = np.ones((36, 64, 3), np.uint8)
    hidden = classic._unmasked(arrays, masks, 0)
    assert hidden["depth"][:, :32].max() == hidden["confidence"][:, :32].max() == 0
    assert hidden["depth"][:, 32:].min() == 1
    assert hidden["depth"].dtype == np.float32
    frames.close()


def test_other_masks_make_another_job(tmp_path, movie):
    path = write_masks(tmp_path / "masks", ["m_1.png"])
    request = make_request("classic", source_from_path(movie), {"mask": path})
    first = fingerprint(request)
    write_masks(tmp_path / "masks", ["m_2.png"])
    assert fingerprint(request) != first
    assert json.loads(json.dumps(request))["settings"]["mask"] == path

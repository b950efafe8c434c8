"""Photos and sequences: every depth and mode, upright, with the focal length that EXIF knows."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from conftest import number_in, numbered_frame, write_images
from PIL import Image

from blender_3r.engine.errors import EngineError
from blender_3r.engine.media.frames import open_source
from blender_3r.engine.media.images import exif_focal, image_info, read_image
from blender_3r.engine.source import source_from_path

PHONE = {0x010F: "Maker", 0x0110: "Phone 3"}


def save(path, image, orientation=None, **exif_tags):
    """Write an image with Pillow; exif_tags: of the EXIF directory, by hexadecimal number (xA405=26)."""
    exif = Image.Exif()
    exif.update(PHONE)
    if orientation:
        exif[0x0112] = orientation
    if exif_tags:
        exif.get_ifd(0x8769).update({int(tag[1:], 16): value for tag, value in exif_tags.items()})
    Image.fromarray(image).save(path, exif=exif)
    return path


def test_a_sequence_keeps_its_numbers(tmp_path):
    write_images(tmp_path, [f"shot_{n:04d}.png" for n in (1, 2, 3, 5, 8, 9)])
    frames = open_source(source_from_path(tmp_path / "shot_0003.png", first=2, last=8))
    assert frames.kind == "video"
    assert [(info.file, info.frame) for info in frames.infos] == [
        ("shot_0002.png", 2),
        ("shot_0003.png", 3),
        ("shot_0005.png", 5),
        ("shot_0008.png", 8),
    ]
    assert number_in(frames.read(3)) == 4  # the fifth image
    assert any("3 frames are missing" in warning for warning in frames.warnings)


def test_a_step_counts_frame_numbers_not_files(tmp_path):
    write_images(tmp_path, [f"s_{n:04d}.png" for n in (10, 11, 12, 14, 15, 16)])
    frames = open_source(source_from_path(tmp_path / "s_0010.png", step=2))
    assert [info.frame for info in frames.infos] == [10, 12, 14, 16]


def test_photos_with_spaces_and_other_scripts_in_their_paths(tmp_path):
    write_images(tmp_path / "schöne Fotos 写真", ["eins ä.jpg", "два.png"])
    frames = open_source(source_from_path(tmp_path / "schöne Fotos 写真"))
    assert frames.kind == "photos"
    assert [info.file for info in frames.infos] == ["eins ä.jpg", "два.png"]
    assert [number_in(frames.read(i)) for i in (1, 0)] == [1, 0]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(tmp_path, suffix, orientation):
    upright = numbered_frame(0b1011)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright),
        7: np.rot90(upright, 2).swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]
    path = save(tmp_path / f"a{suffix}", np.ascontiguousarray(stored), orientation)
    assert number_in(read_image(path)) == 0b1011
    assert read_image(path).shape == (120, 160, 3)
    info = image_info(path)
    assert (info.width, info.height) == (160, 120)


def test_deep_and_odd_images_become_8_bit_rgb(tmp_path):
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))
    color = np.stack([ramp, ramp, ramp], axis=-1)
    linear = np.where(color <= 10, color / 255 / 12.92, ((color / 255 + 0.055) / 1.055) ** 2.4).astype(np.float32)
    files = {
        "gray.png": ramp,
        "gray16.png": ramp.astype(np.uint16) * 257,
        "rgb16.tif": color.astype(np.uint16) * 257,
        "alpha.png": np.dstack([color, np.full_like(ramp, 7)]),
        "linear.exr": linear,
        "plain.bmp": color,
    }
    for name, image in files.items():
        path = tmp_path / name
        path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
        read = read_image(path)
        assert read.dtype == np.uint8
        np.testing.assert_allclose(read.astype(int), color.astype(int), atol=1, err_msg=name)
    Image.fromarray(color).convert("P").save(tmp_path / "palette.png")
    assert read_image(tmp_path / "palette.png").shape == (48, 64, 3)
    Image.fromarray(color).convert("CMYK").save(tmp_path / "print.jpg")
    assert read_image(tmp_path / "print.jpg").shape == (48, 64, 3)
    Image.fromarray(color).save(tmp_path / "old.tga")  # OpenCV does not read these
    np.testing.assert_array_equal(read_image(tmp_path / "old.tga"), color)


def test_channels_are_rgb(tmp_path):
    red = np.zeros((40, 40, 3), np.uint8)
    red[..., 0] = 200
    Image.fromarray(red).save(tmp_path / "red.png")
    assert read_image(tmp_path / "red.png")[20, 20].tolist() == [200, 0, 0]


def test_exr_with_impossible_values_is_read(tmp_path):
    image = np.full((40, 40, 3), 0.2, np.float32)
    image[0, 0], image[0, 1], image[0, 2] = np.nan, np.inf, -3
    path = tmp_path / "wild.exr"
    path.write_bytes(cv2.imencode(".exr", image)[1].tobytes())
    assert read_image(path)[0, :4, 0].tolist() == [0, 255, 0, 124]


@pytest.mark.parametrize(
    ("tags", "focal"),
    [
        ({0xA405: 26}, 26 * 5000 / 43.267),
        ({0x920A: 50.0, 0xA20E: 4000 / 36, 0xA210: 4}, 50 * 4000 / 36),
        ({0x920A: 50.0, 0xA20E: 4000 / 36 * 25.4}, 50 * 4000 / 36),  # no unit: inches
        ({0x920A: 50.0, 0xA20E: 8000 / 36, 0xA210: 4, 0xA002: 8000, 0xA003: 6000}, 50 * 4000 / 36),  # resized since
        ({0xA405: 26, 0x920A: 4.2, 0xA20E: 72.0}, 26 * 5000 / 43.267),  # the plane's resolution is nonsense
        ({0xA405: 0}, None),
        ({0xA405: 26, 0xA002: 4000, 0xA003: 2000}, None),  # cropped since
        ({0xA405: "wide"}, None),
        ({0x920A: 4.2}, None),
        ({0xA405: 9000}, None),
        ({0x920A: 4.2, 0xA20E: float("nan")}, None),
        ({}, None),
    ],
)
def test_focal_from_exif(tags, focal):
    for size in ((4000, 3000), (3000, 4000)):
        assert exif_focal(tags, *size) == (pytest.approx(focal, rel=1e-3) if focal else None)


def test_lens_groups_by_camera_size_and_focal(tmp_path):
    wide, tele = numbered_frame(1), numbered_frame(2)
    save(tmp_path / "a.jpg", wide, xA405=26, x920A=4.2)
    save(tmp_path / "b.jpg", wide, xA405=26, x920A=4.2)
    save(tmp_path / "c.jpg", tele, xA405=77, x920A=9.0)
    save(tmp_path / "d.jpg", np.ascontiguousarray(np.rot90(wide)), xA405=26, x920A=4.2)
    frames = open_source(source_from_path(tmp_path))
    cameras = [info.camera for info in frames.infos]
    assert cameras[0] == cameras[1]
    assert len(set(cameras)) == 3
    assert frames.infos[0].focal_px == pytest.approx(26 * 200 / 43.267, rel=1e-3)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_exif_is_no_reason_to_refuse(tmp_path):
    path = save(tmp_path / "a.jpg", numbered_frame(3), xA405=26)
    data = bytearray(path.read_bytes())
    start = data.index(b"Exif\0\0")
    data[start + 14 : start + 60] = b"\xff" * 46
    path.write_bytes(data)
    assert number_in(read_image(path)) == 3
    assert image_info(path).focal_px is None


def test_unreadable_images_are_left_out_by_name(tmp_path):
    paths = write_images(tmp_path, [f"{name}.jpg" for name in "abcdefgh"])
    paths[1].write_bytes(b"no image")
    paths[2].write_bytes(paths[2].read_bytes()[:1500])
    paths[3].write_bytes(b"")
    cv2.imwrite(str(paths[4]), np.zeros((2, 2, 3), np.uint8))
    frames = open_source(source_from_path(tmp_path))
    assert [info.file for info in frames.infos] == ["a.jpg", "f.jpg", "g.jpg", "h.jpg"]
    assert [info.index for info in frames.infos] == [0, 1, 2, 3]
    assert number_in(frames.read(1)) == 5
    told = "\n".join(frames.warnings)
    assert all(f"{name}.jpg" in told for name in "bcde")
    assert "c.jpg is damaged: the file ends early" in told
    assert "e.jpg is only 2 x 2 pixels large" in told


def test_a_truncated_png_is_left_out(tmp_path):
    paths = write_images(tmp_path, ["a.png", "b.png"])
    paths[1].write_bytes(paths[1].read_bytes()[:-200])
    assert len(open_source(source_from_path(tmp_path))) == 1


def test_a_large_trailer_is_no_damage(tmp_path):
    path = write_images(tmp_path, ["motion.jpg"])[0]
    path.write_bytes(path.read_bytes() + bytes(200_000))
    assert number_in(read_image(path)) == 0


@pytest.mark.parametrize(("size", "says"), [((1, 1), "1 x 1"), ((2, 2), "2 x 2"), ((20, 400), "400 x 20")])
def test_tiny_images_are_refused(tmp_path, size, says):
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((*size, 3), np.uint8))
    with pytest.raises(EngineError, match=says) as caught:
        open_source(source_from_path(tmp_path))
    assert caught.value.kind == "input"


def test_no_readable_image_is_an_error(tmp_path):
    for name in ("a.jpg", "b.exr"):
        (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(EngineError, match="None of the 2 images can be used") as caught:
        open_source(source_from_path(tmp_path))
    assert caught.value.hint


def test_a_range_without_frames_is_refused(tmp_path):
    write_images(tmp_path, ["s_0010.png", "s_0011.png"])
    with pytest.raises(EngineError, match="frames are 10 to 11"):
        open_source(source_from_path(tmp_path / "s_0010.png", first=20))


def test_an_image_that_vanishes_is_a_sentence(tmp_path):
    paths = write_images(tmp_path, ["a.jpg", "b.jpg"])
    frames = open_source(source_from_path(tmp_path))
    paths[1].unlink()
    with pytest.raises(EngineError, match=r"b\.jpg cannot be opened"):
        frames.read(1)

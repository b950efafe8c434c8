"""Frames to network input and back: pixels and cameras of the network give the same points in the frame."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from blender_3r.engine.errors import EngineError
from blender_3r.engine.methods.pairwise.pictures import prepare
from blender_3r.engine.reconstruction import Intrinsics, View, depth_to_points

# (width, height, size): landscape, portrait, square, panorama, sides that do not divide, growing, square cut.
SHAPES = [
    (1920, 1080, 512),
    (1079, 1917, 512),
    (700, 700, 512),
    (1500, 401, 512),
    (333, 251, 512),
    (160, 120, 512),
    (1280, 719, 224),
    (481, 640, 224),
    (300, 300, 224),
]


def frame(width, height):
    """(height, width, 3) uint8: red grows to the right, green downwards."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(0, 255, width)[None]
    image[..., 1] = np.linspace(0, 255, height)[:, None]
    return image


@pytest.mark.parametrize(("width", "height", "size"), SHAPES)
def test_sizes(width, height, size):
    picture = prepare(frame(width, height), size)
    assert picture.original == (height, width)
    if size == 224:
        assert picture.size == (224, 224)
        assert min(picture.scaled) == 224
    else:
        assert max(picture.size) == 512
        assert all(side % 16 == 0 for side in picture.size)
        assert (picture.size[0] > picture.size[1]) == (height > width)
    assert picture.tensor.shape == (3, *picture.size)
    assert picture.tensor.dtype == np.float32
    assert -1 <= picture.tensor.min() < picture.tensor.max() <= 1
    np.testing.assert_allclose((picture.tensor + 1) * 127.5, picture.color.transpose(2, 0, 1), atol=1e-4)
    assert picture.whole.shape == (*picture.scaled, 3)


def test_square_is_cut_to_four_by_three_unless_allowed():
    assert prepare(frame(700, 700), 512).size == (384, 512)
    assert prepare(frame(700, 700), 512, square_ok=True).size == (512, 512)
    assert prepare(frame(700, 700), 512, crop=False).size == (512, 512)


def test_other_patch_size():
    picture = prepare(frame(1920, 1080), 518, patch_size=14)
    assert picture.size == (280, 518)


@pytest.mark.parametrize("crop", [True, False])
@pytest.mark.parametrize(("width", "height", "size"), SHAPES)
def test_the_frames_camera_sees_the_networks_points(width, height, size, crop):
    picture = prepare(frame(width, height), size, crop=crop)
    rng = np.random.default_rng(4)
    depth = rng.uniform(1, 5, picture.size).astype(np.float32)
    focal, (cx, cy) = 431.7, (picture.size[1] / 2 + 3.3, picture.size[0] / 2 - 7.1)
    rows, columns = np.indices(picture.size)
    pointmap = np.stack([(columns - cx) / focal * depth, (rows - cy) / focal * depth, depth], axis=-1)

    pose = np.eye(4)
    view = View("a.png", None, picture.intrinsics(focal, (cx, cy)), pose)
    whole = picture.to_whole(depth)
    assert whole.shape == picture.scaled
    points, index = depth_to_points(view, whole)
    np.testing.assert_allclose(points, pointmap.reshape(-1, 3), rtol=2e-6, atol=2e-6)
    np.testing.assert_array_equal(picture.from_whole(whole), depth)
    np.testing.assert_array_equal(picture.whole.reshape(-1, 3)[index], picture.color.reshape(-1, 3))


def test_the_two_axes_have_their_own_scale():
    picture = prepare(frame(1000, 333), 512)  # 170.5 rows become 170
    lens = picture.intrinsics(500.0)
    assert picture.scaled == (170, 512)
    assert lens.fx == pytest.approx(500 * 1000 / 512)
    assert lens.fy == pytest.approx(500 * 333 / 170)
    assert lens.fx != pytest.approx(lens.fy, rel=1e-3)


def test_default_principal_point_is_the_networks():
    picture = prepare(frame(512, 384), 512)
    lens = picture.intrinsics(400.0)
    assert (lens.cx, lens.cy) == (256.5, 192.5)


@pytest.mark.parametrize(("width", "height", "size"), SHAPES)
def test_a_known_camera_comes_back(width, height, size):
    picture = prepare(frame(width, height), size)
    known = Intrinsics(width, height, 1.1 * width, 1.1 * width, width / 2 + 5, height / 2 - 3)
    back = picture.intrinsics(*picture.pinhole(known))
    np.testing.assert_allclose(back.matrix, known.matrix, rtol=1e-12)
    # of the same frame at another size
    again = picture.intrinsics(*picture.pinhole(known.scaled_to(2 * width, 2 * height)))
    np.testing.assert_allclose(again.matrix, known.matrix, rtol=1e-12)


def test_a_camera_of_another_shape_is_refused():
    picture = prepare(frame(640, 360), 512)
    with pytest.raises(EngineError, match="640 x 480"):
        picture.pinhole(Intrinsics(640, 480, 500, 500, 320, 240))


def test_the_cut_lies_where_offset_says():
    image = frame(640, 427)
    picture = prepare(image, 512)
    left, top = picture.offset
    scaled = np.asarray(Image.fromarray(image).resize((512, 342), Image.Resampling.LANCZOS))
    assert picture.scaled == (342, 512)
    assert (left, top) == (0, 3)
    np.testing.assert_array_equal(picture.color, scaled[top : top + 336])


def test_maps_of_several_channels_and_kinds():
    picture = prepare(frame(1280, 719), 224)
    mask = np.ones(picture.size, bool)
    assert picture.to_whole(mask).dtype == bool
    assert picture.to_whole(mask).sum() == mask.size
    points = np.ones((*picture.size, 3), np.float32)
    assert picture.to_whole(points).shape == (*picture.scaled, 3)
    with pytest.raises(ValueError, match="does not fit"):
        picture.to_whole(mask[1:])
    with pytest.raises(ValueError, match="does not fit"):
        picture.from_whole(mask)


def test_bad_frames():
    with pytest.raises(EngineError, match="too narrow") as caught:
        prepare(frame(2000, 50), 512)
    assert caught.value.kind == "input"
    with pytest.raises(ValueError, match="uint8"):
        prepare(np.zeros((60, 60, 3), np.float32), 512)
    with pytest.raises(ValueError, match="uint8"):
        prepare(np.zeros((60, 60), np.uint8), 512)

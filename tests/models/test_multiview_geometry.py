"""Pictures for the networks that see all views at once, and the geometry around them."""

import numpy as np
import pytest

from blender_3r.engine.geometry.edges import depth_edges, depth_normal_edges, normal_edges, surface_normals
from blender_3r.engine.geometry.focal import estimate_focal, intrinsics_from_rays
from blender_3r.engine.geometry.pose_encoding import decode_pose, encode_pose, unproject_depth
from blender_3r.engine.methods.multiview.cameras import (
    align_local_points,
    cameras_after_mv_dust3r,
    cameras_from_points,
    cameras_one_by_one,
    lowest_confidence,
    pose_by_default_ransac,
)
from blender_3r.engine.methods.multiview.pictures import (
    PI3_PIXELS,
    depth_prior,
    intrinsics_prior,
    pad_to,
    pi3_size,
    prepare_for_pi3,
    prepare_for_vggt,
)

SIZE = (36, 48)
FOCAL = 40.0


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


# -- pictures


@pytest.mark.parametrize(
    ("shape", "mode", "size", "offset"),
    [
        ((300, 400), "crop", (392, 518), (0, 0)),
        ((400, 300), "crop", (518, 518), (0, 84)),
        ((300, 400), "pad", (518, 518), (0, -63)),
        ((400, 300), "pad", (518, 518), (-63, 0)),
        ((10, 1000), "crop", (14, 518), (0, 0)),
    ],
)
def test_vggt_cuts_or_pads_to_whole_patches(shape, mode, size, offset):
    picture = prepare_for_vggt(image(*shape), mode)
    assert picture.size == size
    assert picture.offset == offset
    assert picture.tensor.shape == (3, *size)
    assert picture.tensor.dtype == np.float32
    assert 0 <= picture.tensor.min() <= picture.tensor.max() <= 1


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="stretch"):
        prepare_for_vggt(image(20, 20), "stretch")


def test_what_is_added_around_a_picture_is_white_and_taken_away_again(rng):
    picture = prepare_for_vggt(image(300, 400), "pad")
    assert (picture.color[:63] == 255).all()
    assert (picture.color[-63:] == 255).all()
    assert np.array_equal(picture.color[63:-63], picture.whole)
    depth = rng.random(picture.size)
    whole = picture.to_whole(depth)
    assert whole.shape == picture.scaled == (392, 518)
    assert np.array_equal(whole, depth[63:-63])
    assert np.array_equal(picture.from_whole(whole)[63:-63], whole)
    assert not picture.from_whole(whole)[:63].any()
    with pytest.raises(ValueError, match="does not fit"):
        picture.to_whole(depth[1:])


def test_maps_of_a_cut_picture_cover_the_whole_frame():
    picture = prepare_for_vggt(image(400, 300), "crop")
    whole = picture.to_whole(np.ones(picture.size))
    assert whole.shape == picture.scaled == (686, 518)
    assert not whole[:84].any()
    assert whole[84:602].all()
    assert not whole[602:].any()


@pytest.mark.parametrize(("shape", "mode"), [((300, 400), "pad"), ((400, 300), "crop"), ((300, 400), "crop")])
def test_the_camera_of_a_picture_is_that_of_its_frame(shape, mode):
    picture = prepare_for_vggt(image(*shape), mode)
    lens = picture.intrinsics((500.0, 510.0), (250.0, 240.0))
    focal, center = picture.pinhole(lens)
    assert focal == pytest.approx((500.0, 510.0))
    assert center == pytest.approx((250.0, 240.0))
    height, width = shape
    # The picture's own middle is the frame's: it was cut and padded evenly.
    middle = picture.intrinsics(500.0, ((picture.size[1] - 1) / 2, (picture.size[0] - 1) / 2))
    assert (middle.cx, middle.cy) == pytest.approx((width / 2, height / 2))


def test_pictures_of_several_sizes_are_padded_to_one():
    pictures = [pad_to(prepare_for_vggt(image(*shape)), (518, 518)) for shape in [(300, 400), (400, 300), (200, 400)]]
    assert {picture.size for picture in pictures} == {(518, 518)}
    assert np.array_equal(pictures[0].color[63:455], pictures[0].whole)
    assert (pictures[0].color[:63] == 255).all()


def test_pi3_keeps_its_limit_and_about_the_shape():
    for shape in [(480, 640), (1080, 1920), (3024, 4032), (64, 64), (1000, 300)]:
        height, width = pi3_size(shape)
        assert height % 14 == width % 14 == 0
        assert 0.9 * PI3_PIXELS < height * width <= PI3_PIXELS
        assert height / width == pytest.approx(shape[0] / shape[1], rel=0.06)
    picture = prepare_for_pi3(image(30, 40), (28, 42))
    assert picture.tensor.shape == (3, 28, 42)
    assert picture.scaled == picture.size


def test_priors_are_brought_to_the_pictures_pixels():
    depth = np.array([[1.0, np.nan], [-1.0, 4.0]])
    assert depth_prior(depth, (4, 2)).tolist() == [[1, 0], [1, 0], [0, 4], [0, 4]]
    matrix = np.array([[100.0, 0, 50], [0, 100, 40], [0, 0, 1]])
    ours = intrinsics_prior(matrix, (80, 100), (40, 200))
    assert ours.tolist() == [[200, 0, 100], [0, 50, 20], [0, 0, 1]]


# -- cameras as numbers


def rotations(rng, count):
    turns = np.linalg.qr(rng.normal(size=(count, 3, 3)))[0]
    return turns * np.sign(np.linalg.det(turns))[:, None, None]


def test_a_camera_survives_its_encoding(rng):
    poses = np.tile(np.eye(4), (60, 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = rotations(rng, 60), rng.normal(size=(60, 3))
    poses[:3, :3, :3] = [np.diag(signs) for signs in ([1, -1, -1], [-1, 1, -1], [-1, -1, 1])]  # half turns
    matrices = np.tile(np.diag([300.0, 320.0, 1.0]), (60, 1, 1))
    matrices[:, 0, 2], matrices[:, 1, 2] = 259, 196
    encoding = encode_pose(poses, matrices, (392, 518))
    assert (encoding[:, 6] >= 0).all()
    back, lenses = decode_pose(encoding, (392, 518))
    np.testing.assert_allclose(back, poses, atol=1e-12)
    np.testing.assert_allclose(lenses, matrices, atol=1e-9)
    encoding[:, 3:7] *= -3
    np.testing.assert_allclose(decode_pose(encoding, (392, 518))[0], poses, atol=1e-12)


def test_no_field_of_view_is_an_endless_focal_length():
    encoding = np.array([0, 0, 0, 0, 0, 0, 1, 0.5, 0.0])
    _, matrix = decode_pose(encoding, (10, 20))
    assert matrix[0, 0] == np.inf
    assert matrix[1, 1] == pytest.approx(5 / np.tan(0.25))


def wavy_scene(views, rng):
    """Pointmaps (views, H, W, 3) of a wavy wall in the first camera's frame, and world_from_camera of every view."""
    rows, columns = np.indices(SIZE, dtype=float)
    poses = np.tile(np.eye(4), (views, 1, 1))
    for view in range(1, views):
        angle = 0.1 * view
        poses[view, :3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
        poses[view, :3, 3] = rng.normal(size=3) * 0.3
    depth = 4 + np.sin(columns / 5) + np.cos(rows / 4)
    rays = np.stack([(columns - SIZE[1] / 2) / FOCAL, (rows - SIZE[0] / 2) / FOCAL, np.ones(SIZE)], axis=-1)
    local = rays * depth[..., None]
    return np.stack([local @ pose[:3, :3].T + pose[:3, 3] for pose in poses]).astype(np.float32), poses, depth


def test_depth_is_unprojected_where_the_points_are(rng):
    points, poses, depth = wavy_scene(3, rng)
    matrix = np.array([[FOCAL, 0, SIZE[1] / 2], [0, FOCAL, SIZE[0] / 2], [0, 0, 1]])
    found = unproject_depth(np.stack([depth] * 3), np.stack([matrix] * 3), np.linalg.inv(poses))
    np.testing.assert_allclose(found, points, atol=1e-5)


# -- cameras from points


@pytest.mark.parametrize("way", [cameras_from_points, cameras_after_mv_dust3r])
def test_cameras_are_found_from_their_points(rng, way):
    points, poses, _ = wavy_scene(3, rng)
    confidence = 1 + rng.random((3, *SIZE))
    worst = confidence < 1.02
    points[worst] += rng.normal(size=(np.count_nonzero(worst), 3)) * 3
    cameras = way(points, confidence)
    assert cameras.found.all()
    np.testing.assert_allclose(cameras.focals, FOCAL, rtol=0.01)
    np.testing.assert_allclose(cameras.world_from_camera, poses, atol=0.05)


def test_a_view_without_a_pose_is_told(rng):
    points, _, _ = wavy_scene(3, rng)
    points[2] = np.nan
    cameras = cameras_from_points(points, 1 + rng.random((3, *SIZE)))
    assert cameras.found.tolist() == [True, True, False]
    assert np.array_equal(cameras.world_from_camera[2], np.eye(4))
    assert pose_by_default_ransac(points[2], np.ones(SIZE, bool), np.eye(3)) is None


def test_views_of_several_cameras_have_a_focal_length_each(rng):
    points, poses, _ = wavy_scene(2, rng)
    cameras = cameras_one_by_one(points)
    # Five pixels are much in so small a picture: the first focal length within them is taken.
    np.testing.assert_allclose(cameras.focals, FOCAL, rtol=0.3)
    np.testing.assert_allclose(cameras.world_from_camera[1, :3, :3], poses[1, :3, :3], atol=0.15)


def test_own_points_are_moved_onto_the_common_ones(rng):
    points, _, _ = wavy_scene(2, rng)
    own = (points[1] - [1, 2, 3]) @ rotations(rng, 1)[0].T * 0.25
    confidence = rng.random(SIZE)
    bad = confidence < 0.5
    common = points[1].copy()
    common[bad] += rng.normal(size=(np.count_nonzero(bad), 3))
    np.testing.assert_allclose(align_local_points(own, common, confidence), points[1], atol=1e-4)
    assert np.abs(align_local_points(own, common, confidence, 0) - points[1]).max() > 0.01


def test_the_lowest_confidence_drops_its_share():
    values = np.arange(100.0).reshape(4, 25)
    assert lowest_confidence(values) == 3
    assert lowest_confidence(values, 0) == 0
    assert lowest_confidence(values, 100) == 99


def test_unusable_pixels_do_not_count_for_the_focal_length(rng):
    points, _, _ = wavy_scene(1, rng)
    usable = rng.random(SIZE) > 0.4
    points[0][~usable] = rng.normal(size=(np.count_nonzero(~usable), 3))
    assert estimate_focal(points[0], usable=usable, rounds=100) == pytest.approx(FOCAL, rel=1e-3)
    assert estimate_focal(points[0]) != pytest.approx(FOCAL, rel=1e-2)


def test_rays_tell_the_whole_pinhole():
    rows, columns = np.indices(SIZE, dtype=float)
    for center, centred in (((23.5, 17.5), True), ((20.0, 11.0), False)):
        rays = np.stack([(columns - center[0]) / 50, (rows - center[1]) / 45, np.ones(SIZE)], axis=-1)
        matrix = intrinsics_from_rays(np.stack([rays, rays * 3]), centred)
        expected = [[50, 0, center[0]], [0, 45, center[1]], [0, 0, 1]]
        np.testing.assert_allclose(matrix, [expected, expected], atol=1e-6)


# -- edges


def test_a_step_is_an_edge_and_a_slope_is_none():
    rows, columns = np.indices(SIZE, dtype=float)
    rays = np.stack([(columns - 24) / FOCAL, (rows - 18) / FOCAL, np.ones(SIZE)], axis=-1)
    usable = np.ones(SIZE, bool)
    step = np.where(columns < 20, 2.0, 3.0)
    edges = depth_normal_edges(rays * step[..., None], usable)
    assert edges[:, 19:21].all()
    assert not edges[:, :17].any()
    assert not edges[:, 23:].any()
    slope = 2 + columns / 4  # jumps by more than the ratio, but bends nowhere
    tilted = np.stack([columns / 4, rows / 4, slope], axis=-1)
    assert depth_edges(slope, usable)[:, 1:-1].all()
    assert not depth_normal_edges(tilted, usable).any()


def test_normals_need_their_neighbours():
    rows, columns = np.indices(SIZE, dtype=float)
    plane = np.stack([columns, rows, 5 + 0 * rows], axis=-1)
    usable = np.ones(SIZE, bool)
    usable[10, :] = usable[12, :] = False
    normals, found = surface_normals(plane, usable)
    assert not found[10:13].any()
    assert found[:10].all()
    np.testing.assert_allclose(np.abs(normals[found]), [[0, 0, 1]] * np.count_nonzero(found), atol=1e-12)
    edges = normal_edges(normals, found)
    assert edges[[9, 13]].all()  # beside pixels without a normal
    assert not edges[:9].any()
    assert not edges[10:13].any()
    assert not edges[14:].any()

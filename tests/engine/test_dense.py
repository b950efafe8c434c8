"""Dense depth of a small ray-cast room with exact depth: floor, back wall and a box, seen by known cameras."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from blender_3r.engine.errors import Cancelled
from blender_3r.engine.jobfolder import VIEW_ARRAYS
from blender_3r.engine.reconstruction import Intrinsics, Reconstruction, View
from blender_3r.engine.solve.dense import DenseSettings, choose_views, dense_depth
from blender_3r.engine.solve.dense.fusion import extend_background, remove_specks
from blender_3r.engine.solve.dense.neighbours import Scene
from blender_3r.engine.solve.dense.pictures import Picture
from blender_3r.engine.solve.dense.semiglobal import COST_MAX, aggregate
from blender_3r.engine.solve.dense.sparse import triangulate_sparse

WIDTH, HEIGHT = 160, 96
# Axis-aligned surfaces of the room: axis, where on it, and the bounds on the two other axes (None = none).
WALL = (2, 6.0, None)
FLOOR = (1, 1.2, None)
BOX = (2, 3.5, ((-0.6, 0.5), (-0.1, 1.2)))
SURFACES = (WALL, FLOOR, BOX)
SETTINGS = DenseSettings(max_side=WIDTH, sources=4, planes=64, partners=4)


def texture(axis: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Grey 0..255 of a surface point: bilinear noise of several sizes, the same from every side."""
    rng = np.random.default_rng(axis)
    total = np.zeros(np.shape(a))
    for size, weight in ((0.06, 1.0), (0.2, 1.0), (0.7, 0.7)):
        table = rng.random((64, 64))
        u, v = a / size, b / size
        i, j = np.floor(u).astype(int), np.floor(v).astype(int)
        fu, fv = u - i, v - j
        for di, wu in ((0, 1 - fu), (1, fu)):
            for dj, wv in ((0, 1 - fv), (1, fv)):
                total += weight * wu * wv * table[(i + di) % 64, (j + dj) % 64]
    return total / 2.7 * 255


def cast(lens: Intrinsics, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Picture (h, w, 3) uint8 (four rays a pixel) and planar depth (h, w) at pixel centres."""
    pictures, depth = [], None
    for dx, dy in ((0.5, 0.5), (0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)):
        columns, rows = np.meshgrid(np.arange(lens.width) + dx, np.arange(lens.height) + dy)
        rays = lens.rays(np.stack([columns, rows], axis=-1)) @ pose[:3, :3].T
        best = np.full(columns.shape, np.inf)
        gray = np.zeros(columns.shape)
        for index, (axis, place, bounds) in enumerate(SURFACES):
            t = (place - pose[axis, 3]) / np.where(np.abs(rays[..., axis]) > 1e-9, rays[..., axis], 1e-9)
            others = [k for k in range(3) if k != axis]
            a, b = (pose[k, 3] + np.clip(t, 0, 1e3) * rays[..., k] for k in others)
            hit = (t > 0) & (t < best)
            if bounds:
                hit &= (a > bounds[0][0]) & (a < bounds[0][1]) & (b > bounds[1][0]) & (b < bounds[1][1])
            best[hit] = t[hit]
            gray[hit] = texture(index, a, b)[hit]
        if depth is None:
            depth = best
        else:
            pictures.append(gray)
    noise = np.random.default_rng(1).normal(0, 1.5, depth.shape)
    gray = np.clip(np.mean(pictures, axis=0) + noise, 0, 255).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2), depth


class Room:
    """Frames, cameras and true depth of the room; stands in for a FrameSource."""

    def __init__(self, positions: list[tuple[float, float, float]], k1: float = 0.0, kind: str = "video") -> None:
        lens = Intrinsics(WIDTH, HEIGHT, 130.0, 130.0, WIDTH / 2, HEIGHT / 2, k1=k1)
        views = []
        self.pictures, self.depths, self.reads = [], [], []
        for n, position in enumerate(positions):
            pose = np.eye(4)
            pose[:3, 3] = position
            picture, depth = cast(lens, pose)
            self.pictures.append(picture)
            self.depths.append(depth)
            views.append(View(f"frame_{n:04d}", n, lens, pose))
        self.reconstruction = Reconstruction(views, kind=kind)

    def read(self, index: int, max_side: int | None = None, gray: bool = False) -> np.ndarray:
        assert max_side is None or max_side >= WIDTH
        self.reads.append(index)
        return self.pictures[index][..., 0].copy() if gray else self.pictures[index].copy()

    def points(self) -> np.ndarray:
        """Sparse points on the true surfaces, as seen from the middle view."""
        middle = len(self.depths) // 2
        view = self.reconstruction.views[middle]
        rows, columns = np.mgrid[4:HEIGHT:9, 4:WIDTH:9].reshape(2, -1)
        rays = view.intrinsics.rays(np.stack([columns + 0.5, rows + 0.5], axis=-1))
        return rays * self.depths[middle][rows, columns][:, None] + view.world_from_camera[:3, 3]

    def score(self, index: int, depth: np.ndarray) -> tuple[float, float]:
        """Share of all pixels within 2 %, share of the filled ones."""
        known = depth > 0
        right = known & (np.abs(depth / self.depths[index] - 1) < 0.02)
        return right.mean(), right.sum() / max(known.sum(), 1)


@pytest.fixture(scope="module")
def sideways() -> Room:
    return Room([(0.09 * n - 0.4, 0.0, 0.0) for n in range(10)], k1=-0.08)


@pytest.fixture(scope="module")
def result(sideways) -> dict[int, dict[str, np.ndarray]]:
    return dict(dense_depth(sideways, sideways.reconstruction, range(10), sideways.points(), SETTINGS))


def test_sideways_depth_is_right_on_the_distorted_grid(sideways, result):
    for index in (0, 5, 9):
        all_right, filled_right = sideways.score(index, result[index]["depth"])
        assert all_right > 0.75
        assert filled_right > 0.85


def test_arrays_are_those_of_a_view(sideways, result):
    assert list(result) == list(range(10))
    for index, arrays in result.items():
        assert set(arrays) == set(VIEW_ARRAYS)
        assert arrays["depth"].shape == arrays["confidence"].shape == (HEIGHT, WIDTH)
        assert arrays["depth"].dtype == arrays["confidence"].dtype == np.float32
        np.testing.assert_array_equal(arrays["color"], sideways.pictures[index])
        assert 0 <= arrays["confidence"].min() <= arrays["confidence"].max() <= 1
        assert (arrays["confidence"][arrays["depth"] == 0] == 0).all()


def test_confident_depth_is_nearly_always_right(sideways, result):
    right = total = 0
    for index, arrays in result.items():
        sure = arrays["confidence"] > 0.5
        right += (np.abs(arrays["depth"] / sideways.depths[index] - 1) < 0.02)[sure].sum()
        total += sure.sum()
    assert total > 0.4 * 10 * WIDTH * HEIGHT
    assert right / total > 0.9


def test_each_frame_is_read_once(sideways, result):
    assert sorted(sideways.reads) == list(range(10))


def test_forward_motion():
    room = Room([(0.0, 0.0, 0.1 * n - 0.7) for n in range(13)])
    views = [2, 4, 6, 8, 10]
    result = dict(dense_depth(room, room.reconstruction, views, room.points(), SETTINGS))
    all_right, filled_right = room.score(6, result[6]["depth"])
    assert all_right > 0.6
    assert filled_right > 0.8


def test_pair_is_filled_and_its_guesses_are_marked():
    room = Room([(0.0, 0.0, 0.0), (0.6, 0.0, 0.0)], kind="photos")
    result = dict(dense_depth(room, room.reconstruction, [0, 1], room.points(), SETTINGS))
    depth, confidence = result[0]["depth"], result[0]["confidence"]
    assert (depth > 0).all()
    assert room.score(0, depth)[0] > 0.8
    wrong = np.abs(depth / room.depths[0] - 1) > 0.02
    assert wrong[confidence > 0.5].mean() < 0.1 < wrong[confidence < 0.2].mean()


def test_a_single_view_gets_helpers(sideways):
    (index, arrays), *more = dense_depth(sideways, sideways.reconstruction, [5], sideways.points(), SETTINGS)
    assert index == 5
    assert more == []
    assert sideways.score(5, arrays["depth"])[0] > 0.7


def test_points_are_triangulated_when_there_are_none(sideways):
    points = triangulate_sparse(sideways, sideways.reconstruction, WIDTH)
    assert len(points) > 100
    off = np.min([np.abs(points[:, axis] - place) for axis, place, _ in SURFACES], axis=0)
    assert np.median(off) < 0.1


def test_turning_on_the_spot_gives_no_depth():
    room = Room([(0.0, 0.0, 0.0)] * 4)
    lines: list[str] = []
    result = list(dense_depth(room, room.reconstruction, range(4), room.points(), SETTINGS, log=lines.append))
    assert result == []
    assert len(lines) == 4
    assert "another place" in lines[0]
    room.reconstruction.motion = "tripod"
    assert choose_views(room.reconstruction, 10) == []
    assert list(dense_depth(room, room.reconstruction, range(4), None, SETTINGS, log=lines.append)) == []
    assert "only turns" in lines[-1]


def test_black_frames_give_no_depth():
    room = Room([(0.1 * n, 0.0, 0.0) for n in range(4)])
    points = room.points()
    room.pictures = [np.zeros_like(p) for p in room.pictures]
    result = dict(dense_depth(room, room.reconstruction, range(4), points, SETTINGS))
    assert all((arrays["depth"] == 0).mean() > 0.95 for arrays in result.values())
    assert list(dense_depth(room, room.reconstruction, range(4), None, SETTINGS)) == []


def test_unsolved_views_are_passed_over(sideways):
    views = list(sideways.reconstruction.views)
    views[3] = View("frame_0003", 3, views[3].intrinsics, note="not solved")
    partly = Reconstruction(views)
    assert 3 not in choose_views(partly, 10)
    result = dict(dense_depth(sideways, partly, [2, 3, 4], sideways.points(), SETTINGS))
    assert sorted(result) == [2, 4]


def test_cancelling_ends_the_work(sideways):
    calls = SimpleNamespace(left=12)

    def check() -> None:
        calls.left -= 1
        if calls.left < 0:
            raise Cancelled

    with pytest.raises(Cancelled):
        list(dense_depth(sideways, sideways.reconstruction, range(10), sideways.points(), SETTINGS, check))


def test_sources_have_a_baseline_and_reach_both_sides(sideways):
    scene = Scene(sideways.reconstruction, sideways.points(), WIDTH)
    sources = scene.sources(5, 4)
    assert min(sources) < 5 < max(sources)
    low, high = scene.depth_range(5)
    assert low < 1 / 6.0 < 1 / sideways.depths[5].min() < high


def test_views_of_a_video_are_evenly_spaced_and_within_budget():
    lens = Intrinsics(WIDTH, HEIGHT, 130.0, 130.0, WIDTH / 2, HEIGHT / 2)

    def pose(x: float) -> np.ndarray:
        result = np.eye(4)
        result[0, 3] = x
        return result

    walk = Reconstruction([View(f"frame_{n:04d}", n, lens, pose(0.05 * n)) for n in range(300)])
    assert choose_views(walk, 1000) == list(range(300))
    assert choose_views(walk, 100) == list(range(0, 300, 5))
    assert choose_views(walk, 1) == [0]
    photos = Reconstruction(walk.views, kind="photos")
    chosen = choose_views(photos, 7)
    assert len(chosen) == len(set(chosen)) == 7
    assert {0, 299} <= set(chosen)
    # Frames that hardly differ are thinned out although the budget would allow them.
    still = Reconstruction([View(f"frame_{n:04d}", n, lens, pose(0.002 * n)) for n in range(100)])
    points = np.random.default_rng(0).uniform((-2, -1, 4), (2, 1, 6), (300, 3))
    assert len(choose_views(still, 1000, points)) <= 20


def test_undistorted_canvas_holds_the_whole_picture():
    lens = Intrinsics(WIDTH, HEIGHT, 130.0, 130.0, WIDTH / 2, HEIGHT / 2, k1=-0.2)
    color = np.full((HEIGHT, WIDTH, 3), 200, dtype=np.uint8)
    flat = Picture.prepare(View("a", None, lens, np.eye(4)), color)
    assert flat.flat.shape[0] > HEIGHT
    assert flat.flat.shape[1] > WIDTH
    corner = flat.flat_matrix @ lens.rays(np.array([0.5, 0.5]))
    column, row = (corner[:2] / corner[2]).astype(int)
    assert flat.flat[row, column] == 200
    assert flat.flat[0, flat.flat.shape[1] // 2] == 0


def test_aggregation_carries_depth_over_blank_pixels():
    """Two known ends and no information between: the middle takes their label, not the cheapest noise."""
    cost = np.full((9, 16, 21), 60, dtype=np.uint8)
    cost[:, 5, :3] = cost[:, 5, -3:] = 0
    cost[4, 11, 10] = 55
    total = aggregate(cost, 14, np.full((9, 21), 95, dtype=np.uint8))
    assert total.dtype == np.uint16
    assert total.max() <= 8 * (COST_MAX + 95)
    assert (total.argmin(axis=1) == 5).all()


def test_aggregation_is_the_same_from_all_sides():
    rng = np.random.default_rng(3)
    cost = rng.integers(0, COST_MAX, (12, 9, 12), dtype=np.uint8)
    jump = np.full((12, 12), 90, dtype=np.uint8)
    total = aggregate(cost, 14, jump)
    np.testing.assert_array_equal(aggregate(cost[::-1], 14, jump)[::-1], total)
    np.testing.assert_array_equal(aggregate(cost[:, :, ::-1], 14, jump)[:, :, ::-1], total)
    np.testing.assert_array_equal(aggregate(cost.transpose(2, 1, 0), 14, jump).transpose(2, 1, 0), total)


def test_specks_go_and_surfaces_stay():
    depth = np.full((40, 40), 2.0, dtype=np.float32)
    depth[:, 20:] = 3.0
    depth[10:13, 5:8] = 9.0
    cleaned = remove_specks(depth)
    assert (cleaned[10:13, 5:8] == 0).all()
    assert (cleaned == depth).sum() == depth.size - 9
    assert (remove_specks(np.zeros((5, 5), dtype=np.float32)) == 0).all()


def test_hidden_strip_takes_the_background():
    depth = np.full((20, 30), 5.0, dtype=np.float32)
    depth[:, 12:20] = 2.0
    depth[:, 9:12] = 0
    filled = extend_background(depth)
    assert (filled[:, 9:12] == 5.0).all()
    assert (filled[depth > 0] == depth[depth > 0]).all()

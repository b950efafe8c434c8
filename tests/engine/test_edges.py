"""The measure of edges, on pictures whose shift is known; and the picture it draws."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from benchmarks.edge_measure import edge_displacement, find_edges
from benchmarks.edge_picture import write_picture

HEIGHT, WIDTH = 180, 320


def scene(shift: tuple[float, float], noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """(h, w) float32: gray patches with straight edges in all directions, moved by shift (x, y) px."""
    large = np.full((HEIGHT * 4, WIDTH * 4), 90.0, np.float32)
    rng = np.random.default_rng(4)
    for _ in range(60):
        middle, size = rng.uniform((0, 0), (WIDTH * 4, HEIGHT * 4)), rng.uniform(60, 160, 2)
        box = cv2.boxPoints(((float(middle[0]), float(middle[1])), tuple(map(float, size)), float(rng.uniform(0, 90))))
        cv2.fillPoly(large, [np.round(box).astype(np.int32)], float(rng.uniform(10, 245)))
    move = np.float32([[1, 0, 4 * shift[0]], [0, 1, 4 * shift[1]]])
    moved = cv2.warpAffine(large, move, (WIDTH * 4, HEIGHT * 4), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    small = cv2.resize(moved, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return small + noise * np.random.default_rng(seed).normal(size=small.shape).astype(np.float32)


ALL = np.ones((HEIGHT, WIDTH), bool)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.3, 0.0), (-0.25, 0.6), (1.5, -1.0)])
def test_a_shift_is_found_square_to_every_edge(shift):
    found = edge_displacement(scene((0, 0)), scene(shift), ALL)
    assert found.share > 0.9
    wanted = found.normals @ np.array(shift)
    assert np.median(np.abs(found.displacement - wanted)) < 0.03
    assert found.mean_px == pytest.approx(np.abs(wanted).mean(), abs=0.05)


def test_noise_alone_moves_edges_little():
    found = edge_displacement(scene((0, 0)), scene((0, 0), noise=3.0), ALL)
    assert found.share > 0.9
    assert found.mean_px < 0.1


def test_edges_that_are_not_in_the_other_picture_are_left_out():
    other = scene((0, 0))
    other[:, : WIDTH // 2] = 90
    found = edge_displacement(scene((0, 0)), other, ALL)
    assert 0.2 < found.share < 0.8
    assert found.places[:, 0].min() > WIDTH // 2 - 6
    nothing = edge_displacement(np.zeros_like(other), other, ALL)
    assert (nothing.sought, len(nothing.places)) == (0, 0)
    assert np.isnan(nothing.mean_px)


def test_only_valid_parts_are_looked_at():
    valid = ALL.copy()
    valid[:, 200:] = False
    places, normals = find_edges(scene((0, 0)), valid)
    assert places[:, 0].max() < 200 - 8
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)


def test_the_picture_shows_both(tmp_path):
    gray = scene((0, 0))
    plate = np.repeat(gray[..., None], 3, axis=2).clip(0, 255).astype(np.uint8)
    render = np.dstack([255 - plate, np.full((HEIGHT, WIDTH), 255)]).astype(np.float32)
    edges = edge_displacement(gray, scene((0.8, 0)), ALL)
    write_picture(tmp_path / "edges.jpg", plate, render, edges)
    sheet = cv2.imread(str(tmp_path / "edges.jpg"))
    assert sheet.shape[1] == 2 * WIDTH + 6
    first, second = sheet[5:20, 5:20].mean(), sheet[5:20, 27:42].mean()  # a square of the plate, one of the render
    assert abs(first - plate[5:20, 5:20].mean()) < 8
    assert abs(second - (255 - plate[5:20, 27:42]).mean()) < 8

"""Photos: features, which pairs are matched, cameras. The photos are frames of the demo shot, far apart."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from walk import walk

from blender_3r.engine.errors import Cancelled, EngineError
from blender_3r.engine.media.frames import open_source
from blender_3r.engine.solve.features import (
    ALIKE,
    EXHAUSTIVE_UP_TO,
    NEIGHBOURS,
    choose_pairs,
    extract_features,
    match_features,
)
from blender_3r.engine.solve.mapping import MatchGraph
from blender_3r.engine.solve.photos import PhotoSettings, solve_photos
from blender_3r.engine.source import source_from_path

SHOT = Path(__file__).parents[2] / "demo" / "courtyard.mp4"


class Described:
    """Features as the choice of pairs sees them."""

    def __init__(self, values):
        self._values = values

    def values(self):
        return self._values


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    movie = cv2.VideoCapture(str(SHOT))
    for number in range(40):
        image = movie.read()[1]
        if number % 6 == 0:
            cv2.imwrite(str(folder / f"view_{number:02d}.png"), image)
    frames = open_source(source_from_path(folder, kind="photos"))
    yield frames
    frames.close()


@pytest.fixture(scope="module")
def graph(photos):
    features = extract_features(photos, 1000, 2000, 2)
    return match_features(features, choose_pairs(features), 2)


def test_few_photos_are_matched_exhaustively():
    assert len(choose_pairs([Described(np.zeros((0, 128), np.uint8))] * EXHAUSTIVE_UP_TO)) == 595


def test_of_many_photos_neighbours_and_lookalikes_are_matched():
    """Forty photos round a circle of twenty places: each place is seen twice, far apart in the order of names."""
    rng = np.random.default_rng(0)
    places = rng.integers(0, 120, (20, 300, 128))
    photos = [
        Described(np.clip(places[i % 20] + rng.integers(0, 12, (300, 128)), 0, 255).astype(np.uint8)) for i in range(60)
    ]
    pairs = choose_pairs(photos)
    assert len(set(pairs)) == len(pairs) <= 60 * (NEIGHBOURS + ALIKE)
    assert all(a < b for a, b in pairs)
    assert all((i, i + 1) in pairs for i in range(59))
    assert all((i, i + 20) in pairs for i in range(40))


def test_matches_are_right(photos, graph):
    assert graph.frames == list(range(7))
    matches = graph.matches[(0, 1)]
    assert len(matches) > 60
    a, b = graph.keypoints[0][matches[:, 0]], graph.keypoints[1][matches[:, 1]]
    _, good = cv2.findFundamentalMat(a, b, cv2.USAC_MAGSAC, 2.0, 0.999, 2000)
    assert good.mean() > 0.7


def test_key_points_are_in_original_pixels(photos):
    full = extract_features(photos, 1000, 500, 2)[0].xy
    half = extract_features(photos, 320, 500, 2)[0].xy
    assert full.max() > 500
    assert half.max() > 500


def test_cameras_of_photos(photos, graph):
    lenses = walk(frames=7).lenses()
    solution = solve_photos(graph, lenses, PhotoSettings(2))
    assert solution.cameras.solved.all()
    assert solution.mean_error_px < 1.0
    assert {check.name for check in solution.checks if not check.passed} == set()


def test_photos_without_overlap_are_refused_in_a_sentence():
    rng = np.random.default_rng(0)
    keypoints = {i: rng.uniform((0, 0), (640, 360), (300, 2)) for i in range(4)}
    with pytest.raises(EngineError, match="do not overlap") as caught:
        solve_photos(MatchGraph(keypoints, {}), walk(frames=4).lenses(), PhotoSettings())
    assert caught.value.kind == "unsolved"
    assert caught.value.hint


def test_matching_can_be_stopped(photos):
    def stop(done):
        raise Cancelled

    with pytest.raises(Cancelled):
        extract_features(photos, 320, 200, 2, stop)

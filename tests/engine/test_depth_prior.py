"""Depth of a network in the bundle adjustment: a long walk whose scale hangs on a few points in the middle."""

from __future__ import annotations

import numpy as np
import pytest
from corridor import BARE, FRAMES, OPTIONS, SIZE, growth, make_corridor, solved

from blender_3r.engine.geometry.bundle_state import BundleOptions
from blender_3r.engine.geometry.cameras import Observations
from blender_3r.engine.geometry.depth_prior import weigh
from blender_3r.engine.geometry.reprojection import Problem
from blender_3r.engine.solve.bundle import refine
from blender_3r.engine.solve.solution import Solution
from blender_3r.engine.solve.steady import hold_scale, predicted_depth


@pytest.fixture(scope="module")
def corridor():
    return make_corridor()


def test_scale_drifts_without_depth_and_holds_with_it(corridor):
    solution = solved(corridor, 1.25)
    drift = abs(growth(solution.cameras) - 1)
    held = hold_scale(solution, corridor.predicted(), OPTIONS)
    assert drift > 0.1
    assert abs(growth(held.cameras) - 1) < 0.015
    assert held.mean_error_px < 1.01 * solution.mean_error_px


def test_wrong_depth_of_a_third_of_the_points_is_let_go(corridor):
    solution = solved(corridor, 1.25)
    predicted = corridor.predicted()
    rng = np.random.default_rng(9)
    wrong = rng.random(len(corridor.points)) < 0.3
    predicted += np.where(wrong, rng.normal(0.8, 0.5, len(wrong)), 0.0)[corridor.observations.track]
    held = hold_scale(solution, predicted, OPTIONS)
    assert abs(growth(held.cameras) - 1) < 0.02


def test_where_tracks_hold_the_scale_depth_hardly_moves_it(corridor):
    """Depth whose later half is 10 % too far: tracks that lead on in plenty know better."""
    rich = np.flatnonzero(corridor.observations.frame < BARE[0])
    seen = corridor.observations[rich]
    cameras = corridor.cameras.copy()
    cameras.world_from_camera[BARE[0] :] = np.nan
    bundle = refine(seen, cameras, corridor.points, OPTIONS)
    solution = Solution.from_bundle(bundle, seen, "shared")
    predicted = corridor.predicted()[rich] + np.where(seen.frame >= BARE[0] // 2, 0.1, 0.0)
    held = hold_scale(solution, predicted, OPTIONS)
    step = [np.linalg.norm(np.diff(one.centers[: BARE[0]], axis=0), axis=1) for one in (solution.cameras, held.cameras)]
    grown = [one[BARE[0] // 2 :].mean() / one[: BARE[0] // 2].mean() for one in step]
    assert grown[1] == pytest.approx(grown[0], abs=0.03)


def test_depth_of_few_frames_says_nothing(corridor):
    seen = corridor.observations
    predicted = np.where(seen.frame < 2, corridor.predicted(), np.nan)
    assert weigh(predicted, corridor.log_depth, seen.frame, seen.track, FRAMES, 0.3) is None


def test_the_derivatives_are_those_of_the_cost(corridor):
    """Against differences of the cost along random steps."""
    seen = corridor.observations[::7]
    cameras, points = corridor.drifted(1.05)
    some = corridor.predicted()[::7]
    some[::3] = np.nan
    depth = weigh(some, corridor.log_depth[::7], seen.frame, seen.track, FRAMES, 0.3)
    options = BundleOptions(lens="shared", distortion=2, center=True, loss="squared")
    problem = Problem(seen, cameras, points, options, None, depth)
    problem.depth = type(depth)(**{**problem.depth.__dict__, "spread": 1e6})  # as good as squared
    equations, _ = problem.linearize(problem.start)
    rng = np.random.default_rng(0)
    for _ in range(3):
        step = 1e-5 * rng.normal(size=len(equations.gradient))
        shift = 1e-5 * rng.normal(size=(len(problem.groups.tracks), 3))
        slope = 2 * (equations.gradient @ step + np.sum(equations.point_gradient * shift))
        ahead, back = (problem.cost(problem.moved(problem.start, k * step, k * shift)) for k in (1, -1))
        assert (ahead - back) / 2 == pytest.approx(slope, rel=1e-3)


def test_depth_is_read_where_tracks_were_seen():
    seen = Observations([0, 0, 1, 2], [0, 1, 0, 0], [[1, 1], [639, 359], [320, 180], [5, 5]])
    maps = {0: np.array([[1.0, 2.0], [3.0, 4.0]]), 1: np.zeros((2, 2))}
    found = predicted_depth(seen, maps.get, [SIZE] * 3)
    assert found[:2] == pytest.approx(np.log([1.0, 4.0]))
    assert np.isnan(found[2:]).all()

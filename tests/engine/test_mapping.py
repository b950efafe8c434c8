"""The mappers, the solve of footage and its checks, on a made-up shot with known truth."""

import threading
import time
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from walk import FOCAL, path_error, walk

from blender_3r.engine.errors import Cancelled, EngineError
from blender_3r.engine.geometry.cameras import Observations
from blender_3r.engine.geometry.rotations import rotation_from_vector
from blender_3r.engine.reconstruction import Check
from blender_3r.engine.solve import video
from blender_3r.engine.solve.checks import check_solution, refuse_hopeless, track_pairs
from blender_3r.engine.solve.keyframes import match_keyframes
from blender_3r.engine.solve.mapping import MatchDatabase, MatchGraph, run_cancellable
from blender_3r.engine.solve.tracks import FramePairs
from blender_3r.engine.solve.video import VideoSettings, solve_video


@pytest.fixture(scope="module")
def shot():
    return walk()


@pytest.fixture(scope="module")
def solved(shot):
    return solve_video(shot.observations, shot.lenses(), VideoSettings())


@pytest.mark.parametrize("mapper", ["map_globally", "map_incrementally"])
def test_mappers_find_the_cameras(shot, mapper):
    graph = match_keyframes(FramePairs(shot.observations, 24), list(range(0, 24, 2)))
    with MatchDatabase(graph, shot.lenses()) as database:
        inliers, types = database.verified()
        mapping = getattr(database, mapper)()
    assert sum(types.values()) == len(graph.matches)
    assert set(inliers) <= set(graph.matches)
    assert mapping.solved_count == 12
    assert not mapping.cameras.solved[1]
    assert path_error(mapping.cameras, shot.cameras) < 0.02
    assert len(mapping.points) > 100
    assert np.diff(mapping.observations.frame).min() >= 0


def test_a_given_focal_is_held(shot):
    graph = match_keyframes(FramePairs(shot.observations, 24), list(range(0, 24, 2)))
    with MatchDatabase(graph, shot.lenses(FOCAL)) as database:
        mapping = database.map_globally()
    assert np.allclose(mapping.cameras.focal[mapping.cameras.solved], FOCAL)


def test_unrelated_key_points_are_not_mapped():
    rng = np.random.default_rng(0)
    keypoints = {i: rng.uniform((0, 0), (640, 360), (200, 2)) for i in range(4)}
    matches = {(a, b): np.stack([np.arange(60)] * 2, 1) for a in range(4) for b in range(a + 1, 4)}
    with MatchDatabase(MatchGraph(keypoints, matches), walk(frames=4).lenses()) as database:
        assert not database.verified()[0]
        assert database.map_incrementally() is None


def test_cancelling_stops_waiting_and_tells_the_work():
    told = threading.Event()
    asked = []

    def check():
        asked.append(time.monotonic())
        if len(asked) > 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        run_cancellable(lambda: told.wait(30), check, told.set)
    assert told.is_set()


def test_errors_of_the_work_come_through():
    with pytest.raises(ZeroDivisionError):
        run_cancellable(lambda: 1 / 0, lambda: None)


def test_footage_is_solved_in_every_frame(shot, solved):
    assert solved.cameras.solved.all()
    assert solved.lens == "shared"
    assert path_error(solved.cameras, shot.cameras) < 0.002
    assert np.allclose(solved.cameras.focal, FOCAL, rtol=0.005)
    assert solved.mean_error_px < 0.4
    assert all(check.passed for check in solved.checks)


def test_a_long_shot_is_solved_without_one_huge_refinement(shot, monkeypatch):
    monkeypatch.setattr(video, "MAX_JOINT_FRAMES", 10)
    solution = solve_video(shot.observations, shot.lenses(), VideoSettings())
    assert solution.cameras.solved.all()
    assert path_error(solution.cameras, shot.cameras) < 0.004
    assert solution.mean_error_px < 0.5
    assert solution.kept.mean() > 0.9


def test_a_zoom_is_found_without_being_told():
    shot = walk(frames=30, zoom=1.5, forward=1.5)
    solution = solve_video(shot.observations, shot.lenses(), VideoSettings())
    assert solution.lens == "zoom"
    assert np.median(np.abs(solution.cameras.focal / shot.cameras.focal - 1)) < 0.02
    assert path_error(solution.cameras, shot.cameras) < 0.01


def test_frames_behind_a_cut_are_left_out(shot):
    """After frame 15 nothing is seen again: the longer part is delivered, the rest has no camera."""
    seen = shot.observations
    later = seen.frame >= 16
    track = np.where(later, seen.track + seen.track.max() + 1, seen.track)
    track = np.unique(track, return_inverse=True)[1]
    order = np.lexsort((track, seen.frame))
    cut = Observations(seen.frame[order], track[order], seen.xy[order])
    solution = solve_video(cut, shot.lenses(), VideoSettings())
    assert solution.cameras.solved[:16].all()
    assert not solution.cameras.solved[16:].any()


def test_things_that_move_by_themselves_are_refused():
    rng = np.random.default_rng(1)
    frames, count = 12, 400
    start = rng.uniform((0, 0), (640, 360), (1, count, 2))
    speed = rng.uniform(-6, 6, (1, count, 2))
    xy = start + speed * np.arange(frames)[:, None, None]
    seen = Observations(np.repeat(np.arange(frames), count), np.tile(np.arange(count), frames), xy.reshape(-1, 2))
    lenses = walk(frames=frames).lenses()
    # Aligned in the pictures, such tracks would lie as near to their points as those of a scene.
    settings = VideoSettings(align=lambda *_: pytest.fail("aligned"))
    solution = solve_video(seen, lenses, settings)
    checks = check_solution(solution, lenses, track_pairs(seen, solution.cameras))
    with pytest.raises(EngineError, match="one scene"):
        refuse_hopeless(checks)


def test_a_good_solve_passes_every_check(shot, solved):
    checks = check_solution(solved, shot.lenses(), track_pairs(shot.observations, solved.cameras))
    assert {check.name for check in checks if not check.passed} == set()
    assert len(checks) >= 6


def test_a_torn_solve_fails_the_pair_rotations(shot, solved):
    """The second half of the path turned and moved as one, as when a mapper joins two parts wrongly."""
    torn = replace(solved, cameras=solved.cameras.copy())
    pose = torn.cameras.world_from_camera
    pose[12:, :3, :3] = rotation_from_vector(np.array([[0.0, 0.7, 0.0]]))[0] @ pose[12:, :3, :3]
    pose[12:, :3, 3] += (0.5, 0.3, 0.0)
    checks = check_solution(torn, shot.lenses(), track_pairs(shot.observations, torn.cameras))
    assert "pair rotations" in {check.name for check in checks if not check.passed}


@pytest.mark.parametrize(
    ("agreeing", "error_px", "refused"),
    [(0.9, 0.3, False), (0.1, 0.3, False), (0.9, 5.0, False), (0.5, 2.0, False), (0.5, 3.5, True), (0.1, 2.0, True)],
)
def test_one_fault_alone_is_left_to_the_user(agreeing, error_px, refused):
    checks = [Check("pair rotations", False, "", agreeing, 0.7), Check("reprojection error", False, "", error_px, 3.0)]
    with pytest.raises(EngineError, match="one scene") if refused else nullcontext():
        refuse_hopeless(checks)


def test_an_impossible_lens_and_a_loose_focal_are_told(shot, solved):
    odd = replace(solved, cameras=solved.cameras.copy(), focal_log_std=0.05)
    odd.cameras.focal *= 20
    checks = check_solution(odd, shot.lenses(), track_pairs(shot.observations, odd.cameras))
    assert {"lens", "focal firmness"} <= {check.name for check in checks if not check.passed}


def test_cancel_reaches_the_solve(shot):
    def stop():
        raise Cancelled

    with pytest.raises(Cancelled):
        solve_video(shot.observations, shot.lenses(), VideoSettings(check_cancelled=stop))

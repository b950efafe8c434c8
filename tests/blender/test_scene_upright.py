"""Which way is up: made rooms in worlds that were tilted, seen by cameras that are rolled and pitched."""

from __future__ import annotations

import jobs
import numpy as np
import pytest

from blender_3r.scene.upright import find_floor, find_up, held, near

UP = np.array([0.0, -1.0, 0.0])  # of the room before it is tilted: y down
DEPTH = 5.0


def points_of(what: str, noise: float = 0.01) -> np.ndarray:
    """Points of a room: a floor 1.6 below the cameras, a wall ahead, clutter; with strays."""
    random = np.random.default_rng(5)
    floor = np.column_stack([random.uniform(-3, 3, 500), np.full(500, 1.6), random.uniform(1, 7, 500)])
    wall = np.column_stack([random.uniform(-3, 3, 400), random.uniform(-1.5, 1.6, 400), np.full(400, 7.0)])
    clutter = random.uniform((-2, 0.3, 2), (2, 1.6, 6), (500, 3))
    parts = {"floor": (floor, wall, clutter), "no floor": (wall, clutter), "bare floor": (floor,)}[what]
    points = np.concatenate(parts)
    return points + noise * random.normal(size=points.shape)


def cameras(count: int, roll_deg: float, pitch_deg: float, yaw_deg: float) -> np.ndarray:
    """(count, 4, 4) hand-held poses: rolled by about so much, pitched, yaw spread over so many degrees."""
    random = np.random.default_rng(9)
    poses = []
    for i in range(count):
        yaw = yaw_deg * (i / max(1, count - 1) - 0.5)
        pose = jobs.pose(0.1 * i, 0.02 * random.normal(), 0, yaw, pitch_deg + random.normal())
        roll = np.radians(roll_deg * random.normal())
        turn = np.eye(4)
        turn[:2, :2] = [[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]]
        poses.append(pose @ turn)
    return np.array(poses)


def off_deg(found: np.ndarray, true: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(found @ true, -1, 1))))


def tilted(points: np.ndarray, poses: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same in a world that is turned anyhow: points, poses, up."""
    world = jobs.pose(3.0, -4.0, 2.0, 70.0, 130.0)
    return points @ world[:3, :3].T + world[:3, 3], world @ poses, world[:3, :3] @ UP


@pytest.mark.parametrize("roll_deg", [0.0, 3.0, 6.0])
@pytest.mark.parametrize("pitch_deg", [-35.0, -10.0, 10.0])
@pytest.mark.parametrize("yaw_deg", [0.0, 40.0])
def test_a_floor_is_found_however_the_cameras_are_held(roll_deg, pitch_deg, yaw_deg):
    points, poses, up = tilted(points_of("floor"), cameras(30, roll_deg, pitch_deg, yaw_deg))
    found, height = find_up(points, poses, 0.01 * DEPTH)
    assert off_deg(found, up) < 0.3
    assert np.median(points[:500] @ found) == pytest.approx(height, abs=0.02)


def test_a_wall_tells_the_pitch_where_no_floor_is_seen():
    points, poses, up = tilted(points_of("no floor"), cameras(30, 2.0, -15.0, 5.0))
    assert off_deg(held(poses).up, up) > 5
    found, height = find_up(points, poses, 0.01 * DEPTH)
    assert off_deg(found, up) < 1.5
    assert height is None


def test_cameras_alone_tell_up_when_they_look_around():
    poses = cameras(30, 2.0, -30.0, 120.0)
    assert off_deg(held(poses).up, UP) < 1.5
    assert held(poses).pitch_deg == 20  # no need to doubt it more


def test_cameras_that_look_one_way_may_be_wrong_about_the_pitch_only():
    poses = cameras(30, 2.0, -30.0, 0.0)
    said = held(poses)
    assert said.pitch_deg == 40
    roll, pitch = said.leans(UP[None])
    assert abs(roll[0]) < 2
    assert abs(pitch[0]) == pytest.approx(30, abs=2)


def test_a_table_is_no_floor_while_there_is_something_under_it():
    random = np.random.default_rng(2)
    table = np.column_stack([random.uniform(-1, 1, 900), np.full(900, 0.8), random.uniform(2, 4, 900)])
    points = np.concatenate([points_of("floor"), table])
    _, height = find_up(points, cameras(20, 1.0, -10.0, 20.0), 0.01 * DEPTH)
    assert height == pytest.approx(-1.6, abs=0.02)


def test_nothing_is_found_in_a_ball_or_above_the_cameras():
    ball = np.random.default_rng(0).normal(size=(500, 3))
    assert find_floor(ball, np.zeros((1, 3)), near(np.array([0, 0, 1.0])), 0.01) is None
    ceiling = points_of("bare floor") * (1, -1, 1)
    assert find_floor(ceiling, cameras(10, 0, 0, 0)[:, :3, 3], near(UP), 0.05) is None
    assert find_floor(ball[:5], np.zeros((1, 3)), near(UP), 0.01) is None

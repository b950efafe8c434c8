"""How many views agree on a pixel, what is taken for sky, and both in the job folder."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from blender_3r.engine.geometry.agreement import PARTNERS, choose_partners, count_agreeing
from blender_3r.engine.geometry.edges import floating_strength
from blender_3r.engine.geometry.sky import find_sky
from blender_3r.engine.jobfolder import JobFolder
from blender_3r.engine.reconstruction import Intrinsics, View
from blender_3r.engine.service.runner import run_job
from blender_3r.engine.service.settings import make_request
from blender_3r.engine.source import source_from_path

LENS = Intrinsics(64, 48, 60.0, 60.0, 32.0, 24.0)


def view(x: float, yaw_deg: float = 0.0) -> View:
    pose = np.eye(4)
    yaw = np.radians(yaw_deg)
    pose[:3, :3] = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
    pose[0, 3] = x
    return View(f"{x}", None, LENS, pose)


def test_views_of_one_wall_agree_where_they_overlap():
    wall = np.full((48, 64), 2.0, np.float32)
    count = count_agreeing(view(0), wall, [(view(0.2), wall), (view(-0.2), np.full((24, 32), 2.0, np.float32))])
    assert count.dtype == np.uint8
    assert set(count[:, 8:56].ravel()) == {3}  # 0.2 to the side is 6 pixels
    assert set(count[:, :5].ravel()) == set(count[:, 60:].ravel()) == {2}


def test_a_floating_patch_is_alone_and_unknown_depth_counts_nothing():
    wall = np.full((48, 64), 2.0, np.float32)
    own = wall.copy()
    own[10:20, 30:40] = 1.5
    own[30:40, 30:40] = 0
    own[0, 0] = np.nan
    count = count_agreeing(view(0), own, [(view(0.05), wall)])
    assert set(count[12:18, 32:38].ravel()) == {1}
    assert set(count[31:39, 31:39].ravel()) == {0}
    assert count[0, 0] == 0
    assert count[25, 10] == 2


def test_points_behind_a_camera_are_not_asked_about():
    wall = np.full((48, 64), 2.0, np.float32)
    count = count_agreeing(view(0), wall, [(view(0, 180), wall)])
    assert set(count.ravel()) == {1}


def test_partners_look_the_same_way_and_are_not_all_next_door():
    views = [view(0.1 * i) for i in range(30)]
    assert choose_partners(views, 0, range(30)) == [1, 3, 5, 7, 9, 11][:PARTNERS]
    assert choose_partners(views, 0, range(4)) == [1, 2, 3]
    assert choose_partners([view(0), view(0.1, 90), view(5)], 0, [0, 1, 2]) == [2]
    assert choose_partners(views, 0, [0]) == []


def test_a_blue_sky_above_textured_ground_is_found():
    random = np.random.default_rng(0)
    color = random.integers(0, 255, (90, 160, 3), dtype=np.uint8)
    color[:40] = (110, 160, 230)
    cv2.circle(color, (60, 20), 10, (245, 245, 250), -1)  # a cloud
    color[60:70, 20:60] = (110, 160, 230)  # a pond
    depth = np.full((90, 160), 3.0, np.float32)
    depth[:40] = 50
    sky = find_sky(color, depth)
    assert sky[:36].mean() > 0.9
    assert not sky[45:].any()
    depth[:40] = 3.0  # a blue wall as near as the rest
    assert not find_sky(color, depth).any()
    depth[:40] = 0
    assert find_sky(color, depth)[:36].mean() > 0.9


def test_planes_do_not_float_whatever_their_slope_and_streamers_do():
    rows = np.arange(60, dtype=np.float32)[:, None] + np.zeros((1, 80), np.float32)
    floor = 100 / (rows + 5)  # a floor up to the horizon: inverse depth is linear
    usable = np.ones(floor.shape, dtype=bool)
    assert floating_strength(floor, usable).max() < 1e-4
    steps = np.where(np.arange(80) < 40, 2.0, 4.0).astype(np.float32) + np.zeros((60, 1), np.float32)
    steps[:, 39:42] = 2.5, 3.0, 3.5  # points that hang between
    strength = floating_strength(steps, usable)
    assert (strength[:, 39:42] > 0.1).all()
    assert strength[:, :37].max() == strength[:, 44:].max() == 0
    usable[:, 41:] = False
    assert (floating_strength(steps, usable)[:, 41:] == 0).all()


def test_a_job_ends_with_support_and_sky(movie, fake_method, tmp_path):
    fake_method(unsolved=[3])
    stages = []
    summary = run_job(
        make_request("fake", source_from_path(movie), {}),
        tmp_path / "job",
        lambda kind, **fields: stages.append(fields.get("stage")),
    )
    job = JobFolder.open(tmp_path / "job")
    assert "Comparing views" in stages
    for index in job.view_indices():
        solved = job.read_cameras().views[index].is_solved
        assert job.has_extra(index, "support") == job.has_extra(index, "sky") == solved
        if solved:
            assert job.read_extra(index, "support").shape == job.read_view(index)["depth"].shape
            assert job.read_extra(index, "sky").dtype == bool
    assert summary["solved"] == 11


def test_extras_go_with_the_arrays_they_belong_to(tmp_path):
    job = JobFolder.create(tmp_path / "job")
    maps = {"depth": np.ones((2, 2), np.float32), "confidence": np.ones((2, 2), np.float32)}
    maps["color"] = np.zeros((2, 2, 3), np.uint8)
    job.write_view(0, maps)
    assert job.read_extra(0, "sky") is None
    job.add_to_view(0, {"sky": np.ones((2, 2), bool)})
    assert job.read_extra(0, "sky").all()
    with pytest.raises(ValueError, match="no array of a view"):
        job.add_to_view(0, {"../depth": np.ones((2, 2))})
    job.write_view(0, maps)
    assert job.read_extra(0, "sky") is None
    assert not list((tmp_path / "job" / "views").glob(".tmp-*"))

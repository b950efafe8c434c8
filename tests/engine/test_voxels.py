"""Thinning by cells of a grid, and what an export makes of it."""

from __future__ import annotations

import numpy as np
import pytest

from blender_3r.engine.errors import EngineError
from blender_3r.engine.export import export_job
from blender_3r.engine.geometry.voxels import VoxelThinner
from blender_3r.engine.service.runner import run_job
from blender_3r.engine.service.settings import make_request
from blender_3r.engine.source import source_from_path


def test_one_point_per_cell_the_surest():
    points = np.array([[0.1, 0.1, 0.1], [0.9, 0.9, 0.9], [1.1, 0.1, 0.1], [-0.1, 0.1, 0.1]])
    kept = VoxelThinner(1.0).keep(points, np.array([0.2, 0.8, 0.1, 0.0]))
    assert kept.tolist() == [1, 2, 3]


def test_cells_that_are_taken_stay_so():
    thinner = VoxelThinner(0.5)
    random = np.random.default_rng(0)
    blocks = [random.uniform(-3, 3, (4000, 3)) for _ in range(5)]
    kept = [block[thinner.keep(block, random.random(len(block)))] for block in blocks]
    cells = np.floor(np.concatenate(kept) / 0.5)
    assert len(np.unique(cells, axis=0)) == len(cells)
    everything = np.floor(np.concatenate(blocks) / 0.5)
    assert len(cells) == len(np.unique(everything, axis=0))
    assert len(kept[4]) < len(kept[0])


def test_no_points_and_impossible_cells():
    assert len(VoxelThinner(1.0).keep(np.empty((0, 3)), np.empty(0))) == 0
    with pytest.raises(ValueError, match="too small"):
        VoxelThinner(1e-6).keep(np.array([[0.0, 0.0, 2.0]]), np.ones(1))
    for size in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="holds no points"):
            VoxelThinner(size)


def test_an_export_keeps_one_point_per_voxel(movie, fake_method, tmp_path):
    fake_method()
    folder = tmp_path / "job"
    run_job(make_request("fake", source_from_path(movie), {}), folder, lambda *a, **k: None)

    def exported(**options) -> np.ndarray:
        data = export_job(folder, "ply", tmp_path / "cloud.ply", **options).read_bytes()
        kinds = [("xyz", "<f4", 3), ("rgb", "u1", 3), ("confidence", "<f4")]
        return np.frombuffer(data[data.index(b"end_header\n") + 11 :], dtype=kinds)["xyz"]

    whole = exported()
    size = float(np.ptp(whole, axis=0).max()) / 10
    thinned = exported(voxel=size)
    cells = np.floor(thinned.astype(np.float64) / size)
    assert len(np.unique(cells, axis=0)) == len(cells) < len(whole) / 2
    assert len(cells) == len(np.unique(np.floor(whole.astype(np.float64) / size), axis=0))
    assert len(exported(voxel=size, points=50)) <= 50
    with pytest.raises(EngineError, match="too small for this scene"):
        export_job(folder, "ply", tmp_path / "never.ply", voxel=1e-9)
    with pytest.raises(EngineError, match="must be above 0"):
        export_job(folder, "ply", tmp_path / "never.ply", voxel=0.0)
    assert not (tmp_path / "never.ply").exists()

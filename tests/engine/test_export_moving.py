"""What moves by itself in exports and in the fused surface: left out, asked for, frame by frame."""

from __future__ import annotations

import json
from types import SimpleNamespace

import ball_scene
import numpy as np
import pytest
from export_jobs import COLUMNS, NEAR, ROWS, files_in, make_job
from test_export import read_ply
from test_export_glb import Glb
from test_surfaces import made
from walk import SIZE, walk

from blender_3r.engine.errors import EngineError
from blender_3r.engine.export import export_job
from blender_3r.engine.methods.sparse_cloud import sparse_cloud
from blender_3r.engine.solve.solution import Solution

DENSE = (ROWS - 1) * COLUMNS  # known pixels of a view
WIDTH = 4  # columns that move in view i: 4 * i


@pytest.fixture
def job(tmp_path):
    """Four frames, 0, 2, 4, 6 of a movie; in all but the first some columns on the left move."""
    job = make_job(tmp_path / "job", 4, kind="video", fps=24.0)
    for index in range(1, 4):
        moving = np.zeros((ROWS, COLUMNS), bool)
        moving[:, : WIDTH * index] = True
        job.add_to_view(index, {"moving": moving})
    return job


MOVING = (ROWS - 1) * WIDTH * (1 + 2 + 3)


def exported(job, tmp_path, format_="ply", **options):
    return export_job(job.path, format_, tmp_path / f"out.{format_}", **options)


def test_points_that_move_are_left_out_unless_asked_for(job, tmp_path):
    counts = {}
    for wish in ("static", "all", "only", 0, 3, 4, 100):
        path = exported(job, tmp_path, moving=wish)
        counts[wish] = len(read_ply(path))
    of_frame = [(ROWS - 1) * WIDTH * index for index in range(4)]
    static = 4 * DENSE - MOVING
    assert counts == {
        "static": static,
        "all": 4 * DENSE,
        "only": MOVING,
        0: static,
        3: static + of_frame[1],  # frame 2 shows until frame 4
        4: static + of_frame[2],
        100: static + of_frame[3],
    }
    assert len(read_ply(exported(job, tmp_path))) == static, "the default"


def test_the_file_says_so(job, tmp_path):
    assert b"comment without what moves by itself\n" in exported(job, tmp_path).read_bytes()[:300]
    assert b"but for frame 4\n" in exported(job, tmp_path, moving=4).read_bytes()[:300]
    assert b"moves" not in exported(job, tmp_path, moving="all").read_bytes()[:300]


def test_a_limit_counts_what_is_written(job, tmp_path):
    assert len(read_ply(exported(job, tmp_path, moving="only", points=50))) == 50
    assert len(read_ply(exported(job, tmp_path, points=200))) == 200


def test_gltf_points_and_surfaces(job, tmp_path):
    def vertices(**options):
        glb = Glb(exported(job, tmp_path, "glb", frusta=0.0, **options))
        names = [*glb.names("points "), *glb.names("surface ")]
        return sum(len(glb.array(glb.primitive(name)["attributes"]["POSITION"])) for name in names)

    assert vertices() == 4 * DENSE - MOVING
    assert vertices(moving="all") == 4 * DENSE
    assert vertices(mesh=True) < vertices(mesh=True, moving="all")


def test_a_file_for_each_frame(job, tmp_path):
    folder = exported(job, tmp_path, "ply-frames")
    names = [f"frames/frame_{index:04d}.ply" for index in range(4)]
    assert files_in(folder) == sorted(["export.json", "frames.json", "static.ply", *names])
    assert [len(read_ply(folder / name)) for name in names] == [(ROWS - 1) * WIDTH * index for index in range(4)]
    assert len(read_ply(folder / "static.ply")) == 4 * DENSE - MOVING
    said = json.loads((folder / "frames.json").read_text())
    assert said == {"fps": 24.0, "files": [{"file": n, "frame": 2 * i} for i, n in enumerate(names)]}
    exported(job, tmp_path, "ply-frames", moving="all")
    assert "static.ply" not in files_in(folder)
    assert [len(read_ply(folder / name)) for name in names] == [DENSE] * 4
    near = read_ply(folder / names[2])
    assert np.isfinite(near["x"]).all()


def test_the_frames_lie_where_the_whole_cloud_has_them(job, tmp_path):
    whole = read_ply(exported(job, tmp_path, moving="only"))
    folder = exported(job, tmp_path, "ply-frames")
    parts = np.concatenate([read_ply(folder / f"frames/frame_{i:04d}.ply") for i in range(4)])
    assert np.array_equal(whole, parts)
    assert NEAR < np.linalg.norm([parts["x"], parts["y"], parts["z"]], axis=0).max() < 6


def refused(kind, match, *arguments, **options):
    with pytest.raises(EngineError, match=match) as caught:
        export_job(*arguments, **options)
    assert caught.value.kind == kind


def test_what_cannot_be_is_a_sentence(job, tmp_path):
    refused("usage", "Moving must be", job.path, "ply", tmp_path / "a.ply", moving="some")
    refused("usage", "Moving must be", job.path, "ply", tmp_path / "a.ply", moving=True)
    photos = make_job(tmp_path / "photos")
    refused("usage", "Photos have no frames", photos.path, "ply", tmp_path / "a.ply", moving=3)
    refused("usage", "Photos have no frames", photos.path, "ply-frames", tmp_path / "seq")
    still = make_job(tmp_path / "still", kind="video")
    refused("input", "Nothing is known to move", still.path, "ply-frames", tmp_path / "seq")
    refused("input", "Nothing is known to move", still.path, "ply", tmp_path / "a.ply", moving="only")
    sparse = make_job(tmp_path / "sparse", dense=False, kind="video")
    refused("input", "has no depth", sparse.path, "ply-frames", tmp_path / "seq")
    assert not (tmp_path / "a.ply").exists()


def test_the_command_line_takes_words_and_numbers(job, engine, tmp_path):
    for wish, count in (("static", 4 * DENSE - MOVING), ("4", 4 * DENSE - MOVING + (ROWS - 1) * 2 * WIDTH)):
        done = engine("export", job.path, "--format", "ply", "--out", tmp_path / "x.ply", "--moving", wish)
        assert done.returncode == 0, done.stderr
        assert len(read_ply(tmp_path / "x.ply")) == count
    assert engine("export", job.path, "--format", "ply", "--out", tmp_path / "x.ply", "--moving", "x").returncode == 2


def test_a_surface_is_made_of_what_stands(tmp_path):
    job = ball_scene.make_job(tmp_path, 3)
    for index in range(3):
        job.add_to_view(index, {"moving": np.array(job.read_view(index)["color"][..., 0] == ball_scene.BALL_COLOR[0])})
    assert not ball_scene.is_on_ball(made(job, faces=0).mesh.vertices).any()
    assert ball_scene.is_on_ball(made(job, faces=0, moving=True).mesh.vertices).any()


def test_the_sparse_cloud_stands_still():
    """A point that took part, but whose track is known to move, is not among the points of the solve."""
    shot = walk()
    info = SimpleNamespace(width=SIZE[0], height=SIZE[1])
    frames = SimpleNamespace(
        infos=[info] * len(shot.cameras), read=lambda index, max_side: np.zeros((36, 64, 3), np.uint8)
    )
    seen = shot.observations
    solution = Solution(shot.cameras, seen, shot.points, np.zeros(len(seen)), np.ones(len(seen), bool))
    every = sparse_cloud(frames, solution)["points"]
    solution.moving = np.arange(len(shot.points)) % 4 == 0
    kept = sparse_cloud(frames, solution)["points"]
    assert 0.7 * len(every) < len(kept) < 0.8 * len(every)
    assert not np.isin(kept[:, 0], shot.points[solution.moving, 0].astype(np.float32)).any()

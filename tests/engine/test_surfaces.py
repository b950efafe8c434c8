"""A fused surface against the scene that its depth maps show; what the job folder gets; what is refused."""

from __future__ import annotations

import json

import ball_scene
import numpy as np
import pytest

from blender_3r.engine.errors import Cancelled, EngineError
from blender_3r.engine.jobfolder import FolderInUse, JobFolder
from blender_3r.engine.methods.base import Context
from blender_3r.engine.reconstruction import depth_to_points
from blender_3r.engine.service.surface import run_surface
from blender_3r.engine.surfaces.fuse import Surface, fuse
from blender_3r.engine.surfaces.mesh import face_normals
from blender_3r.engine.surfaces.settings import SurfaceSettings


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> JobFolder:
    return ball_scene.make_job(tmp_path_factory.mktemp("ball"))


def made(job: JobFolder, **settings: object) -> Surface:
    return fuse(job.read_cameras(), SurfaceSettings(**settings), Context(job), lambda progress: None)


@pytest.fixture(scope="module")
def surface(job) -> Surface:
    return made(job, faces=0)


def ignore(type_: str, **fields: object) -> None:
    pass


# -- the surface


def test_it_lies_where_ball_and_floor_are(surface):
    off = ball_scene.distance(surface.mesh.vertices.astype(np.float64)) / surface.voxel
    assert np.median(off) < 0.1
    assert np.percentile(off, 99) < 1.0
    assert len(surface.mesh.faces) > 8_000
    assert surface.notes == []


def test_it_is_complete_where_views_look(job, surface):
    """Every point that a view sees, away from edges, has a vertex near by."""
    view = job.read_cameras().views[3]
    depth = job.read_view(3)["depth"]
    points, _ = depth_to_points(view, np.array(depth))
    points = points[depth[depth > 0] < 6]
    cells = {tuple(cell) for cell in np.floor(surface.mesh.vertices / (2 * surface.voxel)).astype(int)}
    steps = [(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1)]
    wanted = np.floor(points[::7] / (2 * surface.voxel)).astype(int)
    near = [any(tuple(cell + step) in cells for step in np.array(steps)) for cell in wanted]
    assert np.mean(near) > 0.97


def test_faces_and_normals_look_at_the_cameras(surface):
    mesh = surface.mesh
    centres = mesh.vertices[mesh.faces].mean(axis=1)
    normals = face_normals(mesh.vertices, mesh.faces)
    on_ball = ball_scene.is_on_ball(centres)
    outwards = ((centres - ball_scene.CENTRE) * normals).sum(axis=1) > 0
    assert outwards[on_ball].mean() > 0.999
    assert (normals[~on_ball][:, 1] < 0).mean() > 0.99, "up is -y"
    assert np.allclose(np.linalg.norm(surface.normals, axis=1), 1, atol=1e-5)


def test_colours_are_those_of_the_pictures(surface):
    inner = np.linalg.norm(surface.mesh.vertices - ball_scene.CENTRE, axis=1) < 1.02 * ball_scene.RADIUS
    color = surface.mesh.color
    assert np.median(np.abs(color[inner].astype(int) - ball_scene.BALL_COLOR), axis=0).max() <= 1
    far = ball_scene.distance(surface.mesh.vertices) < 0.02
    far &= np.linalg.norm(surface.mesh.vertices - ball_scene.CENTRE, axis=1) > 2 * ball_scene.RADIUS
    assert (np.abs(color[far].astype(int) - ball_scene.FLOOR_COLOR).max(axis=1) <= 1).mean() > 0.98


def test_what_others_look_through_is_gone(tmp_path):
    """A patch that only one view puts before the floor, in the empty space that the others see."""
    job = ball_scene.make_job(tmp_path)
    arrays = {name: np.array(array) for name, array in job.read_view(3).items()}
    wrong = np.zeros(ball_scene.SIZE, bool)
    wrong[52:82, 4:34] = True
    arrays["depth"][wrong & (arrays["depth"] > 0)] *= 0.6
    job.write_view(3, arrays)
    off = ball_scene.distance(made(job, faces=0).mesh.vertices)
    assert (off > 0.3).mean() < 0.002
    alone = ball_scene.make_job(tmp_path / "alone", 1)
    alone.write_view(0, arrays)
    assert (ball_scene.distance(made(alone, faces=0).mesh.vertices) > 0.3).mean() > 0.02, "the patch is there at all"


def test_noise_is_averaged(tmp_path):
    job = ball_scene.make_job(tmp_path)
    rng = np.random.default_rng(0)
    for index in range(7):
        arrays = {name: np.array(array) for name, array in job.read_view(index).items()}
        arrays["depth"] *= 1 + 0.005 * rng.standard_normal(ball_scene.SIZE).astype(np.float32)
        job.write_view(index, arrays)
    surface = made(job, faces=0)
    near = np.linalg.norm(surface.mesh.vertices - ball_scene.CENTRE, axis=1) < 1.2 * ball_scene.RADIUS
    off = ball_scene.distance(surface.mesh.vertices[near].astype(np.float64))
    assert np.median(off) < 0.5 * 0.005 * 4, "half of what a single view is wrong by"


def test_fewer_faces_and_other_voxels(job, surface):
    few = made(job, faces=2000)
    assert 1500 < len(few.mesh.faces) <= 2000
    assert np.percentile(ball_scene.distance(few.mesh.vertices) / few.voxel, 95) < 1.0
    coarse = made(job, detail="draft", faces=0)
    assert coarse.voxel == pytest.approx(2 * surface.voxel)
    assert len(coarse.mesh.faces) < 0.35 * len(surface.mesh.faces)
    assert made(job, voxel=0.1, faces=0).voxel == 0.1


def test_one_view_is_enough(tmp_path):
    surface = made(ball_scene.make_job(tmp_path, 1), faces=0)
    assert surface.views == 1
    assert np.percentile(ball_scene.distance(surface.mesh.vertices) / surface.voxel, 95) < 1.0


def test_doubtful_depth_is_left_out(tmp_path):
    job = ball_scene.make_job(tmp_path, 3)
    for index in range(3):
        arrays = {name: np.array(array) for name, array in job.read_view(index).items()}
        arrays["confidence"][arrays["color"][..., 0] != ball_scene.BALL_COLOR[0]] = 0.05
        job.write_view(index, arrays)
    only_ball = made(job, faces=0)
    assert ball_scene.is_on_ball(only_ball.mesh.vertices).all()
    assert not ball_scene.is_on_ball(made(job, faces=0, min_confidence=0.0).mesh.vertices).all()


def test_sky_is_left_out(tmp_path):
    job = ball_scene.make_job(tmp_path, 3)
    assert not ball_scene.is_on_ball(made(job, faces=0).mesh.vertices).all()
    for index in range(3):
        job.add_to_view(index, {"sky": np.array(job.read_view(index)["color"][..., 0] != ball_scene.BALL_COLOR[0])})
    assert ball_scene.is_on_ball(made(job, faces=0).mesh.vertices).all()


# -- the job folder


def test_the_job_folder_keeps_it(tmp_path):
    job = ball_scene.make_job(tmp_path, 3)
    told = []
    summary = run_surface(tmp_path, {"faces": 3000}, lambda type_, **fields: told.append((type_, fields)))
    arrays = job.read_surface()
    assert {name: (array.dtype.name, array.shape[1]) for name, array in arrays.items()} == {
        "vertices": ("float32", 3),
        "faces": ("int32", 3),
        "normals": ("float32", 3),
        "color": ("uint8", 3),
    }
    assert len(arrays["vertices"]) == len(arrays["normals"]) == len(arrays["color"]) == summary["vertices"]
    assert summary["faces"] == len(arrays["faces"]) <= 3000
    assert summary["text"].startswith("A surface of ")
    assert job.read_json("surface")["settings"]["faces"] == 3000
    assert told[0][0] == "started"
    fractions = [fields["fraction"] for type_, fields in told if type_ == "progress"]
    assert fractions == sorted(fractions)
    assert fractions[-1] > 0.9
    assert "surface: A surface of" in (tmp_path / "log.txt").read_text()
    job.clear_results()
    assert job.read_surface() is None


def test_a_cancel_leaves_the_surface_that_was_there(tmp_path):
    job = ball_scene.make_job(tmp_path, 3)
    run_surface(tmp_path, {"faces": 1000}, ignore)
    before = np.array(job.read_surface()["vertices"])
    for number in (0, 2, 5, 9):  # so many questions are answered by no
        asked = []

        def is_cancelled(asked=asked, number=number) -> bool:
            asked.append(1)
            return len(asked) > number

        with pytest.raises(Cancelled, match="The surface was cancelled"):
            run_surface(tmp_path, {"faces": 0}, ignore, is_cancelled)
    assert (job.read_surface()["vertices"] == before).all()
    assert not list(tmp_path.glob(".tmp*"))


def refused(folder, kind: str, match: str, **settings: object) -> None:
    with pytest.raises(EngineError, match=match) as failure:
        run_surface(folder, settings, ignore)
    assert failure.value.kind == kind
    assert failure.value.hint


def test_what_cannot_be_is_a_sentence(tmp_path):
    refused(tmp_path, "input", "There is no reconstruction")
    ball_scene.make_job(tmp_path / "tripod", 3, dense=False, motion="tripod")
    refused(tmp_path / "tripod", "input", "only turns, so it has no depth")
    ball_scene.make_job(tmp_path / "sparse", 3, dense=False)
    refused(tmp_path / "sparse", "input", "has no depth to make a surface of")
    job = ball_scene.make_job(tmp_path / "job", 3)
    refused(job.path, "usage", "finer than the depth maps", voxel=1e-4)
    refused(job.path, "machine", r"need \d.*of memory or more", voxel=0.03, memory_gb=0.005)
    refused(job.path, "usage", "no setting 'size'", size=3)
    refused(job.path, "usage", "The detail must be one of", detail="best")
    refused(job.path, "usage", "wrong form", voxel="large")
    with job.claimed(), pytest.raises(FolderInUse):
        run_surface(job.path, {}, ignore)
    for index in range(3):
        arrays = {name: np.array(array) for name, array in job.read_view(index).items()}
        job.write_view(index, arrays | {"confidence": np.zeros(ball_scene.SIZE, np.float32)})
    refused(job.path, "input", "No depth is certain enough")
    assert job.read_surface() is None


def test_too_little_memory_makes_an_automatic_surface_coarser(job):
    wide = made(job, faces=0, memory_gb=0.005)
    assert wide.voxel > made(job, detail="normal", faces=0).voxel
    assert "coarser than asked for" in wide.notes[0]


def test_a_world_too_far_from_its_origin_is_made_coarser(tmp_path):
    """Voxels are counted from the origin, and not without end."""
    job = ball_scene.make_job(tmp_path, 1)
    result = job.read_cameras()
    result.views[0].world_from_camera[:3, 3] += (3e5, 0, 0)
    job.write_cameras(result)
    surface = made(job, faces=0)
    assert surface.voxel > 0.25
    assert surface.notes
    refused(tmp_path, "machine", "Voxels of 0.1 need", voxel=0.1)


# -- the command line


def test_command_writes_ply_and_glb(engine, tmp_path):
    ball_scene.make_job(tmp_path / "job", 3)
    out = tmp_path / "out.ply"
    done = engine("surface", tmp_path / "job", "--faces", 2000, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["status"], summary["kind"]) == ("done", "surface")
    assert "Fusing depth" in done.stderr
    header = out.read_bytes()[:400].decode("latin-1")
    assert f"element vertex {summary['vertices']}\n" in header
    assert f"element face {summary['faces']}\n" in header
    assert out.stat().st_size == header.index("end_header") + 11 + 27 * summary["vertices"] + 13 * summary["faces"]
    glb = engine("surface", tmp_path / "job", "--faces", 500, "--out", tmp_path / "out.glb")
    assert glb.returncode == 0, glb.stderr
    assert (tmp_path / "out.glb").read_bytes()[:4] == b"glTF"
    assert "Wrote" in glb.stdout


def test_command_tells_what_is_wrong(engine, tmp_path):
    ball_scene.make_job(tmp_path / "job", 2, dense=False, motion="tripod")
    for arguments, status, words in (
        ((tmp_path / "job",), 3, "only turns"),
        ((tmp_path,), 3, "There is no reconstruction"),
        ((tmp_path / "job", "--out", tmp_path / "x.obj"), 2, "neither a .ply nor a .glb"),
        ((tmp_path / "job", "--faces", "-3"), 2, "number of faces"),
    ):
        done = engine("surface", *arguments)
        assert done.returncode == status, done.stderr
        assert words in done.stderr
        assert "Traceback" not in done.stderr

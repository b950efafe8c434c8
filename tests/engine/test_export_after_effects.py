"""The After Effects script read back by its definition: its cameras see its nulls where the job's cameras do."""

from __future__ import annotations

import json
import math
import shutil
import subprocess

import numpy as np
import pytest
from export_jobs import make_job

from blender_3r.engine.export import export_job
from blender_3r.engine.export.after_effects import NULLS, orientation
from blender_3r.engine.reconstruction import Intrinsics
from blender_3r.engine.source import Source

LENS = Intrinsics(64, 48, 50.0, 50.0, 32.0, 24.0)

# What the script uses of After Effects, writing down what is done with it.
STAGE = """
const keyed = {};
const prop = (name) => ({
  property: (part) => prop(name + "/" + part),
  setValue: (value) => { keyed[name] = value; },
  setValuesAtTimes: (times, values) => { keyed[name] = [times, values]; },
  numKeys: 2, setInterpolationTypeAtKey() {}, setSpatialTangentsAtKey() {},
});
global.AutoOrientType = { NO_AUTO_ORIENT: 1 };
global.KeyframeInterpolationType = { HOLD: 1, LINEAR: 2 };
global.File = class { constructor(path) { this.exists = true; this.path = path; } };
global.ImportOptions = class { constructor(file) { this.file = file; } };
let nulls = 0;
const plate = {};
const layers = {
  addNull: () => prop("null" + nulls++),
  addCamera: () => prop("camera"),
  add: (item) => { plate.path = item.file.path; return plate; },
};
global.app = {
  beginUndoGroup() {}, endUndoGroup() {},
  project: {
    items: { addComp: (...comp) => { keyed.comp = comp; return { layers, openInViewer() {} }; } },
    importFile: (options) => ({ file: options.file, mainSource: {} }),
  },
};
require(process.argv[2]);
console.log(JSON.stringify({ keyed, nulls, plate }));
"""


def data_of(path):
    """The object DATA of the script."""
    text = path.read_text(encoding="utf-8")
    return json.loads(text[text.index("var DATA = {") + 11 : text.index("};") + 1])


def straight_job(folder, **result):
    """A job whose cameras After Effects can show: square pixels, centred, no distortion."""
    job = make_job(folder, views=4, **result)
    cameras = job.read_cameras()
    for view in cameras.views:
        view.intrinsics = LENS
    job.write_cameras(cameras)
    return job


def turn(axis, degrees):
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    i, j = [k for k in range(3) if k != axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = c
    matrix[i, j], matrix[j, i] = (-s, s) if axis != 1 else (s, -s)
    return matrix


def seen(data, key, point):
    """Where After Effects draws a point of 3D space in the composition, in pixels from the upper left corner."""
    x, y, z = data["camera"]["orientations"][key]
    rotation = turn(0, x) @ turn(1, y) @ turn(2, z)
    local = rotation.T @ (np.array(point) - data["camera"]["positions"][key])
    return local[:2] / local[2] * data["camera"]["zooms"][key] + [data["width"] / 2, data["height"] / 2]


def test_cameras_see_the_nulls_where_the_job_sees_the_points(tmp_path):
    job = straight_job(tmp_path / "job", kind="video", fps=25.0, unsolved=(1,))
    data = data_of(export_job(job.path, "jsx", tmp_path / "a.jsx"))
    result, points = job.read_cameras(), np.array(job.read_sparse()["points"], float)
    assert data["camera"]["times"] == [0.0, 0.16, 0.24]  # frames 0, 4 and 6; 2 is a gap
    assert (data["width"], data["height"], data["fps"], data["frames"]) == (64, 48, 25.0, 7)
    nulls = np.array(data["nulls"]) / data["pxPerUnit"]
    assert len(nulls) == 20  # the better half
    for null, place in zip(data["nulls"], nulls, strict=True):
        assert np.abs(points - place).max(axis=1).min() < 1e-4, "every null is a solved point"
        for key, index in enumerate((0, 2, 3)):
            pose = result.views[index].world_from_camera
            expected = LENS.project((place - pose[:3, 3]) @ pose[:3, :3])
            np.testing.assert_allclose(seen(data, key, null), expected, atol=0.01)


def test_zoom_number_of_nulls_and_photos(tmp_path):
    job = straight_job(tmp_path / "job")
    cameras = job.read_cameras()
    cameras.views[1].intrinsics = Intrinsics(128, 96, 200.0, 200.0, 64.0, 48.0)
    job.write_cameras(cameras)
    data = data_of(export_job(job.path, "jsx", tmp_path / "a.jsx", points=5))
    assert data["camera"]["zooms"] == [50.0, 100.0, 50.0, 50.0]  # a larger photo is shown at the first one's size
    assert data["camera"]["times"] == pytest.approx([0, 1 / 24, 2 / 24, 3 / 24], abs=1e-6)
    assert data["hold"]
    assert len(data["nulls"]) == 5 < NULLS
    gaps = [math.dist(a, b) for i, a in enumerate(data["nulls"]) for b in data["nulls"][:i]]
    assert min(gaps) > 0.3 * data["pxPerUnit"], "nulls stand apart"
    bare = make_job(tmp_path / "bare", sparse=False)
    assert data_of(export_job(bare.path, "jsx", tmp_path / "b.jsx"))["nulls"] == []


@pytest.mark.parametrize("angles", [(10, 20, 30), (-170, 85, 100), (30, 90, 0), (-60, -90, 0), (0, 0, 180)])
def test_orientation_is_the_inverse_of_its_definition(angles):
    rotation = turn(0, angles[0]) @ turn(1, angles[1]) @ turn(2, angles[2])
    x, y, z = np.degrees(orientation(rotation))
    np.testing.assert_allclose(turn(0, x) @ turn(1, y) @ turn(2, z), rotation, atol=1e-9)


@pytest.mark.skipif(shutil.which("node") is None, reason="no node to run the script with")
def test_the_script_runs(tmp_path):
    job = straight_job(tmp_path / "job", kind="video", fps=25.0)
    source = Source("sequence", ('/plates/Größe "7".0011.png', '/plates/Größe "7".0012.png'), (11, 12))
    job.write_json("request", {"source": source.to_json()})
    script = export_job(job.path, "jsx", tmp_path / "a.jsx")
    (tmp_path / "stage.cjs").write_text(STAGE)
    (tmp_path / "a.cjs").write_bytes(script.read_bytes())
    done = subprocess.run(
        ["node", str(tmp_path / "stage.cjs"), str(tmp_path / "a.cjs")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    told, data = json.loads(done.stdout), data_of(script)
    keys = data["camera"]
    assert told["keyed"]["camera/Transform/Position"] == [keys["times"], keys["positions"]]
    assert told["keyed"]["camera/Transform/Orientation"] == [keys["times"], keys["orientations"]]
    assert told["keyed"]["camera/Camera Options/Zoom"] == [keys["times"], keys["zooms"]]
    assert told["keyed"]["null0/Transform/Position"] == data["nulls"][0]
    assert told["nulls"] == len(data["nulls"])
    assert told["keyed"]["comp"][1:] == [64, 48, 1, 7 / 25, 25]
    assert told["plate"] == {"path": source.files[0], "startTime": 11 / 25}

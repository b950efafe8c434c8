"""An After Effects script: a composition with the plate, the camera and nulls at solved points."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from ..jobfolder import JobFolder
from ..reconstruction import Reconstruction, View
from ..source import Source
from . import ExportOptions
from .cloud import sparse_block
from .folder import whole_file
from .glb import typical_depth

NULLS = 30  # where the number of points is not given: as many as an artist can still choose from
_FPS = 24.0  # of photos, and of footage that has no rate


def write_jsx(job: JobFolder, result: Reconstruction, out: Path, options: ExportOptions) -> None:
    """A script for File ▸ Scripts ▸ Run Script File. Axes as in After Effects: x right, y down, z away, like the job's.

    Lengths are pixels: pxPerUnit of them (in the script) are one scene unit, so that the typical depth is about the
    width of the picture. A one-node camera gets a key of position, orientation (R = Rx Ry Rz) and zoom for every solved
    view. Distortion, an off-centre lens and pixels that are not square have no place in it: zoom is the geometric mean
    of fx and fy. Photos follow each other frame by frame, and their keys are held. options.points: how many nulls,
    NULLS where not given.
    """
    scale = _round(result.views[result.solved[0]].intrinsics.width / typical_depth(job, result))
    data = _shot(job, result)
    data["pxPerUnit"] = scale
    data["camera"] = _camera_keys(result, data, scale)
    data["nulls"] = [[round(float(v), 4) for v in point * scale] for point in _chosen_points(job, options)]
    lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(value)}" for name, value in data.items())
    with whole_file(out) as temporary:
        temporary.write_text(_SCRIPT.replace("@DATA@", lines), encoding="utf-8")


def orientation(rotation: np.ndarray) -> tuple[float, float, float]:
    """(x, y, z) in radians with rotation (3, 3) = Rx(x) Ry(y) Rz(z), the order of After Effects' Orientation."""
    y = math.asin(float(np.clip(rotation[0, 2], -1.0, 1.0)))
    if abs(rotation[0, 2]) > 1 - 1e-9:  # only x +- z is defined, so z = 0
        return math.atan2(rotation[2, 1], rotation[1, 1]), y, 0.0
    return math.atan2(-rotation[1, 2], rotation[2, 2]), y, math.atan2(-rotation[0, 1], rotation[0, 0])


def _shot(job: JobFolder, result: Reconstruction) -> dict[str, Any]:
    """What the composition is made of; "plate" is empty where After Effects cannot show it in sync."""
    lens = result.views[result.solved[0]].intrinsics
    fps = result.fps or _FPS
    frames = _frames(result)
    request = job.read_json("request") or {}
    source = Source.from_json(request["source"]) if isinstance(request.get("source"), dict) else None
    name = source.name if source is not None else result.source or job.path.name
    is_plate = source is not None and source.kind in ("movie", "sequence")
    first = 0
    if is_plate and source.kind == "sequence" and source.numbers:
        first = source.numbers[0]
    return {
        "name": name,
        "width": lens.width,
        "height": lens.height,
        "fps": fps,
        "firstFrame": min(frames),
        "frames": max(frames) - min(frames) + 1,
        "plate": Path(source.files[0]).as_posix() if is_plate else "",
        "isSequence": is_plate and source.kind == "sequence",
        "plateFirst": first,
        "hold": result.kind != "video",
    }


def _frames(result: Reconstruction) -> list[int]:
    """The frame of every view: as in the footage, photos counted from 0."""
    if result.kind == "video" and all(view.frame is not None for view in result.views):
        return [view.frame for view in result.views]
    return list(range(len(result.views)))


def _camera_keys(result: Reconstruction, shot: dict[str, Any], scale: float) -> dict[str, list[Any]]:
    """times (s), positions (px), orientations (degrees), zooms (px of the composition)."""
    keys: dict[str, list[Any]] = {"times": [], "positions": [], "orientations": [], "zooms": []}
    frames = _frames(result)
    for index in sorted(result.solved, key=lambda i: frames[i]):
        view = result.views[index]
        keys["times"].append(round((frames[index] - shot["firstFrame"]) / shot["fps"], 6))
        keys["positions"].append([round(float(v), 5) for v in view.world_from_camera[:3, 3] * scale])
        angles = (math.degrees(angle) for angle in orientation(view.world_from_camera[:3, :3]))
        keys["orientations"].append([round(angle, 6) for angle in angles])
        keys["zooms"].append(round(_zoom(view, shot["width"]), 4))
    return keys


def _zoom(view: View, width: int) -> float:
    """Focal length in pixels of a composition of that width."""
    lens = view.intrinsics
    return math.sqrt(lens.fx * lens.fy) * width / lens.width


def _chosen_points(job: JobFolder, options: ExportOptions) -> np.ndarray:
    """(n, 3) solved points, far from each other, of the half with the smaller error; none where there are none."""
    sparse = sparse_block(job)
    if sparse is None:
        return np.zeros((0, 3))
    good = sparse.points[sparse.quality <= np.median(sparse.quality)].astype(np.float64)
    middle = np.median(good, axis=0)
    distance = np.linalg.norm(good - middle, axis=1)
    good = good[distance <= 3 * np.median(distance) + 1e-12]  # a null that lies far away is of no use
    wanted = min(options.points or NULLS, len(good))
    gap = np.linalg.norm(good - middle, axis=1)
    chosen = [int(np.argmin(gap))]
    gap = np.full(len(good), np.inf)
    while len(chosen) < wanted:
        gap = np.minimum(gap, np.linalg.norm(good - good[chosen[-1]], axis=1))
        chosen.append(int(np.argmax(gap)))
    return good[chosen]


def _round(value: float) -> float:
    """Two significant digits, for a number that somebody may have to type."""
    return float(f"{value:.2g}")


_SCRIPT = """\
// A tracked camera for After Effects: File > Scripts > Run Script File.
// x right, y down, z away from the viewer; pxPerUnit pixels are one unit of the solved scene.
(function () {
  var DATA = {
@DATA@
  };

  app.beginUndoGroup("Tracked Camera");
  var seconds = DATA.frames / DATA.fps;
  var comp = app.project.items.addComp(DATA.name, DATA.width, DATA.height, 1, seconds, DATA.fps);

  var file = DATA.plate ? new File(DATA.plate) : null;
  if (file && file.exists) {
    var options = new ImportOptions(file);
    options.sequence = DATA.isSequence;
    var footage = app.project.importFile(options);
    if (DATA.isSequence) { footage.mainSource.conformFrameRate = DATA.fps; }
    var plate = comp.layers.add(footage);
    plate.startTime = (DATA.plateFirst - DATA.firstFrame) / DATA.fps;
  }

  for (var i = 0; i < DATA.nulls.length; i++) {
    var marker = comp.layers.addNull(seconds);
    marker.name = "Point " + (i + 1);
    marker.threeDLayer = true;
    marker.property("Transform").property("Anchor Point").setValue([0, 0, 0]);
    marker.property("Transform").property("Position").setValue(DATA.nulls[i]);
  }

  var camera = comp.layers.addCamera(DATA.name + " Camera", [DATA.width / 2, DATA.height / 2]);
  camera.autoOrient = AutoOrientType.NO_AUTO_ORIENT;
  var keys = DATA.camera;
  var animated = [
    [camera.property("Transform").property("Position"), keys.positions],
    [camera.property("Transform").property("Orientation"), keys.orientations],
    [camera.property("Camera Options").property("Zoom"), keys.zooms]
  ];
  for (var a = 0; a < animated.length; a++) {
    var property = animated[a][0];
    property.setValuesAtTimes(keys.times, animated[a][1]);
    var kind = DATA.hold ? KeyframeInterpolationType.HOLD : KeyframeInterpolationType.LINEAR;
    for (var k = 1; k <= property.numKeys; k++) {
      property.setInterpolationTypeAtKey(k, kind, kind);
      if (a === 0) { property.setSpatialTangentsAtKey(k, [0, 0, 0], [0, 0, 0]); }
    }
  }
  comp.openInViewer();
  app.endUndoGroup();
})();
"""

"""Two ways to solve cameras with pycolmap alone, each run as a process of its own.

    python -m benchmarks.baselines sift_inc FOOTAGE RESULT.json [--photos] [--camera FX FY CX CY]
    python -m benchmarks.baselines klt_glob FOOTAGE RESULT.json [--zoom]   [--camera FX FY CX CY]
    python -m benchmarks.baselines frames   MOVIE FOLDER

sift_inc: SIFT and the incremental mapper, pycolmap's defaults (4096 features a picture; footage: neighbours and
powers of two, photos: all pairs). FOOTAGE is a folder of pictures, `frames` makes one of a movie.
klt_glob: Lucas-Kanade tracks with an anchor (klt.py) and the global mapper. FOOTAGE is a movie or a folder.
The result has the form of cameras.json. Exit status 4: no camera could be solved.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pycolmap

from .klt import FrameTracks, track

SEED = 1
START_FOCAL = 1.2  # of the longer side: COLMAP's guess
FEATURES = 4096
STRIDES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
MIN_SHARED = 40
EXIT_UNSOLVED = 4


def main() -> int:
    parser = argparse.ArgumentParser(description="Solve cameras with pycolmap alone.")
    parser.add_argument("what", choices=("sift_inc", "klt_glob", "frames"))
    parser.add_argument("footage", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--photos", action="store_true")
    parser.add_argument("--zoom", action="store_true")
    parser.add_argument("--camera", type=float, nargs=4, metavar=("FX", "FY", "CX", "CY"))
    options = parser.parse_args()
    pycolmap.logging.minloglevel = pycolmap.logging.ERROR
    if options.what == "frames":
        options.result.mkdir(parents=True, exist_ok=True)
        for name, image in pictures(options.footage, cv2.IMREAD_COLOR):
            cv2.imwrite(str(options.result / f"{name}.png"), image)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        if options.what == "sift_inc":
            model, names = sift_incremental(options.footage, Path(folder), options.camera, options.photos)
        else:
            model, names = klt_global(options.footage, Path(folder), options.camera, options.zoom)
    if model is None:
        print("No camera could be solved.", file=sys.stderr)
        return EXIT_UNSOLVED
    options.result.write_text(json.dumps(cameras_json(model, names)))
    return 0


def pictures(footage: Path, flag: int) -> Iterator[tuple[str, np.ndarray]]:
    """(name without suffix, picture) of a movie's frames or of a folder's pictures in the order of names."""
    if footage.is_dir():
        for path in sorted(footage.iterdir()):
            yield path.stem, cv2.imread(str(path), flag)
        return
    capture = cv2.VideoCapture(str(footage))
    for number in count():
        read, image = capture.read()
        if not read:
            break
        yield f"frame_{number:04d}", cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if flag == cv2.IMREAD_GRAYSCALE else image
    capture.release()


def sift_incremental(
    folder: Path, scratch: Path, camera: list[float] | None, photos: bool
) -> tuple[pycolmap.Reconstruction | None, list[str]]:
    """The largest model of the incremental mapper over a folder of pictures, and the names of all pictures."""
    database = scratch / "database.db"
    reader = pycolmap.ImageReaderOptions()
    if camera:
        reader.camera_model = "PINHOLE"
        reader.camera_params = ",".join(map(str, camera))
    extraction = pycolmap.FeatureExtractionOptions()
    extraction.sift.max_num_features = FEATURES
    cpu = pycolmap.Device.cpu
    pycolmap.extract_features(
        database,
        folder,
        camera_mode=pycolmap.CameraMode.SINGLE,
        reader_options=reader,
        extraction_options=extraction,
        device=cpu,
    )
    if photos:
        pycolmap.match_exhaustive(database, device=cpu)
    else:
        pycolmap.match_sequential(database, device=cpu)
    options = pycolmap.IncrementalPipelineOptions()
    options.ba_global_frames_ratio = options.ba_global_points_ratio = 1.2
    options.random_seed = SEED
    if camera:
        options.ba_refine_focal_length = options.ba_refine_extra_params = False
        options.mapper.abs_pose_refine_focal_length = options.mapper.abs_pose_refine_extra_params = False
    models = pycolmap.incremental_mapping(database, folder, scratch, options)
    return _largest(models), [path.name for path in sorted(folder.iterdir())]


def klt_global(
    footage: Path, scratch: Path, camera: list[float] | None, zoom: bool
) -> tuple[pycolmap.Reconstruction | None, list[str]]:
    """The largest model of the global mapper over tracked footage. zoom: told that every frame has its own focal."""
    names, images = zip(*pictures(footage, cv2.IMREAD_GRAYSCALE))
    tracks = track(images)
    database = scratch / "database.db"
    height, width = images[0].shape
    pairs = _write_database(database, tracks, names, _start_camera(width, height, camera, zoom), zoom)
    listed = scratch / "pairs.txt"
    listed.write_text("\n".join(f"{a} {b}" for a, b in pairs))
    pycolmap.verify_matches(database, listed)
    options = pycolmap.GlobalPipelineOptions()
    options.random_seed = SEED
    if camera:
        adjustment = options.mapper.bundle_adjustment
        adjustment.refine_focal_length = adjustment.refine_extra_params = False
    return _largest(pycolmap.global_mapping(database, scratch, scratch, options)), list(names)


def _start_camera(width: int, height: int, known: list[float] | None, zoom: bool) -> pycolmap.Camera:
    if known:
        camera = pycolmap.Camera(model="PINHOLE", width=width, height=height, params=known)
        camera.has_prior_focal_length = True
        return camera
    focal, model = START_FOCAL * max(width, height), "SIMPLE_PINHOLE" if zoom else "SIMPLE_RADIAL"
    params = [focal, width / 2, height / 2] + ([] if zoom else [0.0])
    return pycolmap.Camera(model=model, width=width, height=height, params=params)


def _write_database(
    path: Path, tracks: list[FrameTracks], names: tuple[str, ...], camera: pycolmap.Camera, per_frame: bool
) -> list[tuple[str, str]]:
    """Write cameras, pictures, key points and matches; returns the names of the matched pairs."""
    pairs = []
    with pycolmap.Database.open(path) as database, pycolmap.DatabaseTransaction(database):
        rig = None
        for number, (name, seen) in enumerate(zip(names, tracks), 1):
            if rig is None or per_frame:
                camera.camera_id = database.write_camera(camera)
                rig = pycolmap.Rig()
                rig.add_ref_sensor(camera.sensor_id)
                rig.rig_id = database.write_rig(rig)
            image = pycolmap.Image()
            image.image_id, image.name, image.camera_id = number, name, camera.camera_id
            database.write_image(image, use_image_id=True)
            frame = pycolmap.Frame()
            frame.rig_id = rig.rig_id
            frame.add_data_id(image.data_id)
            database.write_frame(frame)
            database.write_keypoints(number, seen.xy.astype(np.float32))
        for a in range(len(names)):
            for b in (a + stride for stride in STRIDES if a + stride < len(names)):
                _, left, right = np.intersect1d(tracks[a].ids, tracks[b].ids, assume_unique=True, return_indices=True)
                if len(left) >= MIN_SHARED:
                    database.write_matches(a + 1, b + 1, np.stack([left, right], axis=1).astype(np.uint32))
                    pairs.append((names[a], names[b]))
    return pairs


def _largest(models: dict[int, pycolmap.Reconstruction]) -> pycolmap.Reconstruction | None:
    return max(models.values(), key=lambda model: model.num_reg_images(), default=None)


def cameras_json(model: pycolmap.Reconstruction, names: list[str]) -> dict[str, Any]:
    """The form of cameras.json: all names, those the model lacks without a pose."""
    solved = {image.name: image for image in model.images.values() if image.has_pose}
    images = []
    for name in names:
        image = solved.get(name)
        if image is None:
            images.append({"file": name, "c2w": None})
            continue
        camera = image.camera
        k1 = float(camera.params[3]) if camera.model.name == "SIMPLE_RADIAL" else 0.0
        pose = np.vstack([image.cam_from_world().inverse().matrix(), [0, 0, 0, 1]])
        images.append(
            {
                "file": name,
                "width": camera.width,
                "height": camera.height,
                "fx": camera.focal_length_x,
                "fy": camera.focal_length_y,
                "cx": camera.principal_point_x,
                "cy": camera.principal_point_y,
                "dist": {"k1": k1, "k2": 0.0, "p1": 0.0, "p2": 0.0},
                "c2w": pose.tolist(),
            }
        )
    return {"images": images, "reproj_error_px": model.compute_mean_reprojection_error()}


if __name__ == "__main__":
    sys.exit(main())

"""Matches to first cameras, by pycolmap's global and incremental mappers.

Whatever the frames are and however they were matched, they come as a MatchGraph; what goes back is a Mapping. The
mappers run in a thread of their own, so that a job can be cancelled while one is at work.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pycolmap

from ..geometry.cameras import Cameras, Observations
from ..reconstruction import Intrinsics

SEED = 1  # RANSAC and the mappers' random starts: the same footage gives the same camera
MIN_VIEWS_FOR_PRINCIPAL_POINT = 8
MAX_PRINCIPAL_SHIFT = 0.03  # of the long side; beyond it the principal point stays in the middle
Value = TypeVar("Value")


@dataclass
class MatchGraph:
    """Key points of some frames and which of them are the same scene point.

    keypoints: {frame: (k, 2) float64 pixels, top-left corner = (0, 0)}. matches: {(a, b): (m, 2) uint32 indices into
    the key points of a and b}, a < b.
    """

    keypoints: dict[int, np.ndarray]
    matches: dict[tuple[int, int], np.ndarray]

    @property
    def frames(self) -> list[int]:
        return sorted(self.keypoints)


@dataclass(frozen=True)
class LensModel:
    """What is known of the lenses before mapping.

    start: intrinsics of each frame, known or guessed. group: frames with the same number share one lens. focal_known,
    distortion_known: hold that part of start instead of refining it. focal_measured: start's focals come from EXIF,
    so that they are a good start.
    """

    start: list[Intrinsics]
    group: np.ndarray
    focal_known: bool = False
    distortion_known: bool = False
    focal_measured: bool = False

    def per_frame(self) -> LensModel:
        """The same with a lens of its own for every frame."""
        return replace(self, group=np.arange(len(self.start)))

    def with_focal(self, focal: float) -> LensModel:
        """The same with one focal, in units of each frame's long side, held fixed."""
        start = []
        for lens in self.start:
            fx = focal * max(lens.width, lens.height)
            start.append(replace(lens, fx=fx, fy=fx * lens.fy / lens.fx))
        return replace(self, start=start, focal_known=True)


@dataclass
class Mapping:
    """A mapper's result. cameras: of all frames, nan poses where not solved. observations: those the mapper kept,
    sorted by frame; points: (p, 3) their scene points.
    """

    cameras: Cameras
    observations: Observations
    points: np.ndarray

    @property
    def solved_count(self) -> int:
        return int(self.cameras.solved.sum())


class MatchDatabase:
    """A MatchGraph in COLMAP's form under one lens model, its pairs verified, ready for mapping.

    Use as a context manager: the files are temporary. threads: -1 for all. check_cancelled raises to stop.
    """

    def __init__(
        self,
        graph: MatchGraph,
        lenses: LensModel,
        threads: int = -1,
        check_cancelled: Callable[[], None] = lambda: None,
    ) -> None:
        self.graph, self.lenses, self.threads, self.check_cancelled = graph, lenses, threads, check_cancelled
        self._folder = tempfile.TemporaryDirectory(prefix="3r-mapping-", ignore_cleanup_errors=True)
        self.path = Path(self._folder.name) / "matches.db"
        try:
            self._write()
            self._verify()
        except BaseException:
            self._folder.cleanup()
            raise

    def __enter__(self) -> MatchDatabase:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def verified(self) -> tuple[dict[tuple[int, int], np.ndarray], dict[str, int]]:
        """({(a, b): (m, 2) matches that agree with the pair's geometry}, {two-view type: number of pairs})."""
        inliers, types = {}, {}
        with pycolmap.Database.open(self.path) as database:
            for pair, geometry in zip(*database.read_two_view_geometries()):
                name = pycolmap.TwoViewGeometryConfiguration(geometry.config).name
                types[name] = types.get(name, 0) + 1
                if len(geometry.inlier_matches):
                    a, b = pycolmap.pair_id_to_image_pair(pair)
                    inliers[(a - 1, b - 1)] = np.asarray(geometry.inlier_matches)
        return inliers, types

    def map_globally(self) -> Mapping | None:
        """GLOMAP (Pan et al. 2024): all cameras at once. None when nothing could be solved."""
        options = pycolmap.GlobalPipelineOptions()
        options.random_seed = SEED
        options.num_threads = self.threads
        mapper = options.mapper
        mapper.random_seed = mapper.global_positioning.random_seed = mapper.rotation_averaging.random_seed = SEED
        # What follows refines with all tracks anyway: one round is start enough.
        mapper.ba_num_iterations = 1
        mapper.skip_retriangulation = True
        mapper.bundle_adjustment.refine_focal_length = not self.lenses.focal_known
        mapper.bundle_adjustment.refine_extra_params = not self.lenses.distortion_known
        return self._run(lambda out: pycolmap.global_mapping(self.path, out, out, options))

    def map_incrementally(self, seed: int = SEED) -> Mapping | None:
        """COLMAP's classic mapper (Schoenberger and Frahm 2016): one frame after the other. None when it fails."""
        options = pycolmap.IncrementalPipelineOptions()
        options.random_seed = seed
        options.num_threads = self.threads
        options.ba_global_frames_ratio = options.ba_global_points_ratio = 1.2
        options.extract_colors = False
        options.min_model_size = 3
        options.ba_refine_focal_length = not self.lenses.focal_known
        options.ba_refine_extra_params = not self.lenses.distortion_known
        options.mapper.abs_pose_refine_focal_length = not self.lenses.focal_known
        options.mapper.abs_pose_refine_extra_params = not self.lenses.distortion_known
        token = pycolmap.CancellationToken()

        def work(out: Path) -> dict[int, pycolmap.Reconstruction]:
            models = pycolmap.incremental_mapping(self.path, out, out, options, cancellation_token=token)
            for model in models.values():
                self._refine_principal_point(model)
            return models

        return self._run(work, token.cancel)

    # -- inside

    def _write(self) -> None:
        with pycolmap.Database.open(self.path) as database, pycolmap.DatabaseTransaction(database):
            cameras: dict[int, tuple[int, int]] = {}  # lens group: (camera, rig)
            for frame in self.graph.frames:
                group = int(self.lenses.group[frame])
                if group not in cameras:
                    cameras[group] = self._write_camera(database, self.lenses.start[frame])
                # Images are numbered frame + 1, so that no table of names is needed.
                image = pycolmap.Image()
                image.image_id, image.name, image.camera_id = frame + 1, f"{frame:06d}", cameras[group][0]
                database.write_image(image, use_image_id=True)
                placed = pycolmap.Frame()
                placed.rig_id = cameras[group][1]
                placed.add_data_id(image.data_id)
                database.write_frame(placed)
                database.write_keypoints(frame + 1, self.graph.keypoints[frame].astype(np.float32))
            for (a, b), matches in self.graph.matches.items():
                database.write_matches(a + 1, b + 1, np.ascontiguousarray(matches, dtype=np.uint32))
        pairs = "\n".join(f"{a:06d} {b:06d}" for a, b in self.graph.matches)
        self.path.with_suffix(".pairs").write_text(pairs)

    def _write_camera(self, database: pycolmap.Database, lens: Intrinsics) -> tuple[int, int]:
        if self.lenses.distortion_known:
            values = [lens.fx, lens.fy, lens.cx, lens.cy, *lens.distortion]
            camera = pycolmap.Camera(model="OPENCV", width=lens.width, height=lens.height, params=values)
        else:
            values = [lens.fx, lens.cx, lens.cy, 0.0]
            camera = pycolmap.Camera(model="SIMPLE_RADIAL", width=lens.width, height=lens.height, params=values)
        camera.has_prior_focal_length = self.lenses.focal_known or self.lenses.focal_measured
        camera.camera_id = database.write_camera(camera)
        rig = pycolmap.Rig()
        rig.add_ref_sensor(camera.sensor_id)
        return camera.camera_id, database.write_rig(rig)

    def _refine_principal_point(self, model: pycolmap.Reconstruction) -> None:
        """A focal that is given exactly is worth little beside a principal point that is 5 px off.

        Only with a given focal and many views: otherwise the data hold the principal point too loosely.
        """
        loose = not self.lenses.focal_known or self.lenses.distortion_known
        if loose or model.num_reg_images() < MIN_VIEWS_FOR_PRINCIPAL_POINT:
            return
        before = {number: np.array(camera.params) for number, camera in model.cameras.items()}
        options = pycolmap.BundleAdjustmentOptions()
        options.print_summary = False
        options.refine_focal_length = False
        options.refine_principal_point = True
        pycolmap.bundle_adjustment(model, options)
        for number, camera in model.cameras.items():
            shift = np.abs(camera.params[1:3] - before[number][1:3]) / max(camera.width, camera.height)
            if shift.max() > MAX_PRINCIPAL_SHIFT:
                camera.params = before[number]

    def _verify(self) -> None:
        options = pycolmap.TwoViewGeometryOptions()
        options.detect_watermark = False
        options.ransac.random_seed = SEED
        token = pycolmap.CancellationToken()
        pairs = self.path.with_suffix(".pairs")
        run_cancellable(
            lambda: pycolmap.verify_matches(self.path, pairs, options, cancellation_token=token),
            self.check_cancelled,
            token.cancel,
        )

    def _run(
        self, mapper: Callable[[Path], dict[int, pycolmap.Reconstruction]], cancel: Callable[[], None] = lambda: None
    ) -> Mapping | None:
        out = Path(tempfile.mkdtemp(dir=self._folder.name))
        models = run_cancellable(lambda: mapper(out), self.check_cancelled, cancel)
        if not models:
            return None
        return _from_colmap(max(models.values(), key=lambda model: model.num_reg_images()), self.lenses)


def run_cancellable(
    work: Callable[[], Value], check_cancelled: Callable[[], None], cancel: Callable[[], None] = lambda: None
) -> Value:
    """work() in a thread, while check_cancelled() is asked, by raising, whether to stop.

    cancel is called when it does; work that cannot be stopped is left to end by itself. Raises what work raises.
    """
    outcome: list[Any] = []

    def target() -> None:
        try:
            outcome.append((work(), None))
        except BaseException as error:  # handed to the waiting thread, which raises it
            outcome.append((None, error))

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
        try:
            check_cancelled()
        except BaseException:
            cancel()
            raise
    value, error = outcome[0]
    if error is not None:
        raise error
    return value


def _from_colmap(model: pycolmap.Reconstruction, lenses: LensModel) -> Mapping:
    cameras = Cameras.from_intrinsics(lenses.start, np.full((len(lenses.start), 4, 4), np.nan))
    for image in model.images.values():
        if not image.has_pose:
            continue
        frame = image.image_id - 1
        pose = np.eye(4)
        pose[:3] = image.cam_from_world().inverse().matrix()
        cameras.world_from_camera[frame] = pose
        camera = image.camera
        cameras.focal[frame] = camera.focal_length_x
        cameras.center[frame] = (camera.principal_point_x, camera.principal_point_y)
        if camera.model.name == "SIMPLE_RADIAL":
            cameras.distortion[frame] = (camera.params[3], 0.0, 0.0, 0.0)
            cameras.aspect[frame] = 1.0
    frame, track, xy, points = [], [], [], []
    for point in model.points3D.values():
        for element in point.track.elements:
            frame.append(element.image_id - 1)
            track.append(len(points))
            xy.append(model.images[element.image_id].points2D[element.point2D_idx].xy)
        points.append(point.xyz)
    observations = Observations(np.array(frame), np.array(track), np.array(xy).reshape(-1, 2))
    order = np.lexsort((observations.track, observations.frame))
    return Mapping(cameras, observations[order], np.array(points).reshape(-1, 3))

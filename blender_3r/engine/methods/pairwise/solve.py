"""From frames to an aligned scene: reading, encoding, pairs, alignment."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from ...media.frames import FrameSource
from ..base import Context, Event
from ..memory import USABLE, DoesNotFit, free_memory
from ..networks import choose_device, choose_precision, is_memory_error, loaded, make_room, out_of_memory
from ..stages import Stages
from ..views import UNBELIEVABLE, no_camera
from .alignment import AlignSettings, Scene, align_pairs, clean
from .collect import PairMaps, collect_matches, collect_pairs, on_device, restore_matches
from .estimate import Budget, pair_map_bytes
from .inference import EncodedImages, PairRunner
from .metric import metric_scale, scaled
from .network import choose_model
from .options import MIN_CONFIDENCE, Options
from .pairs import Pairs, choose_pairs, graph_pairs, is_retrieval
from .pictures import SQUARE_SIZE
from .predictions import PairPredictions
from .reading import KnownCameras, Pictures, known_cameras
from .results import Solved, believable
from .similar import automatic_retrieval, refuse_retrieval, similar_pairs
from .sparse.collector import SparseCollector
from .sparse.optimise import SparseSettings
from .stages import ALIGNING, CLEANING, ENCODING, LOADING, PREDICTING, READING, VIEWS
from .store import PairStore, discard_pairs

PATCH_SIZE = 16
ALGORITHMS = {"global": "sampled", "optimal": "fast", "reference": "reference"}
# What the sparse alignment takes off the networks' confidences, which begin at 1.
SPARSE_OFFSET = np.float32(0.999)

# What solvers say of points from which nothing follows: all in one place, or not finite.
DEGENERATE = (cv2.error, np.linalg.LinAlgError, torch.linalg.LinAlgError)


def solve(
    frames: FrameSource, options: Options, context: Context, report: Callable[[Event], None]
) -> tuple[Solved, Pictures]:
    """Cameras and depth of all frames that can be placed.

    Raises EngineError: "usage" for settings that contradict each other or the model, "machine" when weights, memory
    or the device are missing, "input" when no frame can be read, "unsolved" when no two images overlap.
    """
    torch.set_num_threads(context.threads)
    try:
        return _run(frames, options, context, report)
    except DoesNotFit as error:
        if not options.allow_smaller or choose_model(options).image_size <= SQUARE_SIZE:
            raise
        message = error.message
    context.log(f"{message} It begins again with images of {SQUARE_SIZE} pixels.")
    discard_pairs(context.job)
    smaller = replace(options, image_size=SQUARE_SIZE)
    solved, pictures = _run(frames, smaller, context, report)
    told = f"Memory did not do for larger images, so squares of {SQUARE_SIZE} pixels were used: the result is coarser."
    return replace(solved, warnings=[told, *solved.warnings]), pictures


def _run(
    frames: FrameSource, options: Options, context: Context, report: Callable[[Event], None]
) -> tuple[Solved, Pictures]:
    """One try; memory that runs out where nothing catches it becomes a sentence with numbers."""
    work = _Solve(frames, options, context, report)
    try:
        return work.run()
    except (MemoryError, RuntimeError) as error:
        if not is_memory_error(error):
            raise
        failure = work.out_of_memory()
    gc.collect()  # what the failed attempt held
    raise failure


class _Solve:
    """One source on its way."""

    def __init__(
        self, frames: FrameSource, options: Options, context: Context, report: Callable[[Event], None]
    ) -> None:
        self.frames, self.options, self.context = frames, options, context
        self.stages = Stages(report, context)
        self.model = choose_model(options)
        self.device = choose_device(options.device)
        self.alignment = options.alignment_for(self.model.has_descriptors)
        self.shares_focal = options.shares_focal(frames.kind)
        self.pictures = Pictures(frames, self.model.image_size, PATCH_SIZE)
        self.used: list[int] = []
        self.sizes: list[tuple[int, int]] = []

    def run(self) -> tuple[Solved, Pictures]:
        frames = self.frames
        self.used, notes = self.pictures.read_all(self.stages.counted("Reading images", READING, LOADING))
        self.sizes = [self.pictures.get(frame).size for frame in self.used]
        count = len(self.used)
        if count == 1 or (count == 2 and self.options.alignment == "auto"):
            self.alignment = "global"  # which views a pair in closed form
        known = known_cameras(self.pictures, self.used, self.options)
        scene, warnings = self._sparse(known) if self.alignment == "sparse" else self._dense(known)
        scene, absurd = believable(scene)
        if self.options.clean and count > 1:  # by cameras that can be
            report, check = self.stages.named(CLEANING, VIEWS), self.context.check_cancelled
            scene = clean(scene, report=report, check_cancelled=check)
        notes |= {self.used[k]: UNBELIEVABLE.format(Path(frames.infos[self.used[k]].file).name) for k in absurd}
        solved = Solved(
            scene,
            self.used,
            input=(self.pictures.size, self.pictures.patch_size),
            min_confidence=self._min_confidence(),
            notes=notes,
            warnings=[*known.warnings, *warnings],
            lens=self._lens(),
            is_metric=self.model.is_metric and known.poses is None,
            focal_is_certain=known.focals is not None or count > 1,
            sparse=getattr(scene, "sparse", None) or None,
        )
        return solved, self.pictures

    def _min_confidence(self) -> float:
        given = self.options.min_confidence
        return MIN_CONFIDENCE[self.alignment] if given is None else float(given)

    def _lens(self) -> str:
        if self.shares_focal and (len(self.used) > 2 or self.alignment == "sparse"):
            return "shared"
        return "zoom" if self.frames.kind == "video" else "groups"

    def out_of_memory(self) -> DoesNotFit:
        """What to say when memory ran out in mid-work: how much was expected to do, how much there is."""
        return out_of_memory(
            self.model,
            self.device,
            f"{len(self.used)} images of {self.model.image_size} pixels",
            "Use fewer images (Every), allow smaller images, or close other programs.",
        )

    # -- all pixels of all pairs

    def _dense(self, known: KnownCameras) -> tuple[Scene, Sequence[str]]:
        pairs = self._plan(self.options.scene_graph)
        maps = None if is_retrieval(pairs.graph) else self._maps(pairs)
        if maps is None or maps.missing:
            with self._network() as runner:
                encoded = self._encode(runner)
                if maps is None:
                    pairs = self._retrieved(pairs, encoded)
                    maps = self._maps(pairs)
                collect_pairs(maps, runner, encoded, self.stages.counted("Predicting pairs", PREDICTING, ALIGNING))
                del encoded
        make_room(Budget(self.sizes, self.alignment, None, graph_pairs).needed(pairs.edges), self.device)
        predictions = maps.predictions()
        settings = AlignSettings(
            algorithm=ALGORITHMS[self.alignment],
            iterations=self.options.steps,
            schedule=self.options.schedule or "cosine",
            shared_focal=self.shares_focal and len(self.used) > 2,
            known_focals=known.focals,
            known_principal_points=known.principal_points,
            known_poses=known.poses,
        )
        scene = self._aligned(predictions, settings)
        if len(self.used) == 1 and known.focals is not None:
            scene = replace(scene, focals=known.focals)
        if self.model.is_metric and known.poses is None:
            scene = scaled(scene, metric_scale(scene, predictions))
        return scene, pairs.warnings

    def _aligned(self, predictions: PairPredictions, settings: AlignSettings) -> Scene:
        """The alignment on the device of the maps, and in main memory when it runs out of memory there."""
        report, check = self.stages.named(ALIGNING, CLEANING), self.context.check_cancelled
        try:
            return align_pairs(predictions, settings, report, check)
        except DEGENERATE as error:
            raise no_camera() from error
        except RuntimeError as error:
            if not is_memory_error(error) or predictions.points_i[0].device.type == "cpu":
                raise
        self.context.log(f"memory ran out on {self.device}: the alignment begins again in main memory")
        return align_pairs(on_device(predictions, torch.device("cpu")), settings, report, check)

    # -- matches

    def _sparse(self, known: KnownCameras) -> tuple[Scene, Sequence[str]]:
        graph = self.options.scene_graph
        if graph == "auto":
            graph = automatic_retrieval(self.model, len(self.used), self.frames.kind) or graph
        pairs = self._plan(graph)
        colors = [self.pictures.get(frame).color for frame in self.used]
        collector = SparseCollector(self.sizes, colors, check_cancelled=self.context.check_cancelled)
        store = self._store(pair_map_bytes(self.sizes, pairs.edges) // 2)  # of a pair's four maps, two are kept
        missing = None if is_retrieval(pairs.graph) else restore_matches(collector, store, self.sizes, pairs.edges)
        if missing is None or missing:
            with self._network() as runner:
                encoded = self._encode(runner)
                if missing is None:
                    pairs = self._retrieved(pairs, encoded)
                    missing = restore_matches(collector, store, self.sizes, pairs.edges)
                self.context.log(f"scene graph {pairs.graph}: {len(pairs.edges)} pairs, {len(missing)} to predict")
                counted = self.stages.counted("Predicting and matching pairs", PREDICTING, ALIGNING)
                collect_matches(collector, runner, encoded, missing, counted, store)
                del encoded
        settings = SparseSettings(
            coarse_iterations=self.options.steps,
            fine_iterations=self.options.steps,
            shared_intrinsics=self.shares_focal,
            known_focals=known.focals,
            known_principal_points=known.principal_points,
            known_poses=known.poses,
            clean=False,
        )
        named = self.stages.named(ALIGNING, CLEANING)
        scene = collector.finish(settings, named, self.context.check_cancelled, self.device)
        raised = [np.where(values > 0, values + SPARSE_OFFSET, np.float32(0)) for values in scene.confidence]
        return replace(scene, confidence=raised), pairs.warnings

    # -- shared by both

    def _plan(self, graph: str) -> Pairs:
        """The pairs to predict; refuses what does not fit, before anything is loaded."""
        if is_retrieval(graph):
            refuse_retrieval(self.model)
        limit, free = self.options.memory_limit, self._free_places()
        available = limit if limit is not None else (max(free.values()) if free else None)
        budget = Budget(self.sizes, self.alignment, available, graph_pairs)
        return choose_pairs(graph, self.frames.kind, budget)

    def _free_places(self) -> dict[str, int]:
        """Usable bytes of the device, the network on it, and of main memory, as far as they are known."""
        free = {}
        for device in {self.device, torch.device("cpu")}:
            found = free_memory(device.type, device.index)
            if found is not None:
                taken = self.model.record.memory_bytes if device == self.device else 0
                free[device.type] = max(0, int(USABLE * found) - taken)
        return free

    def _retrieved(self, pairs: Pairs, encoded: EncodedImages) -> Pairs:
        """The pairs of a retrieval graph, now that the images are encoded; others as they are."""
        if not is_retrieval(pairs.graph) or len(self.used) == 1:
            return pairs
        edges = similar_pairs(encoded, pairs.graph, self.device, self.context.check_cancelled)
        return replace(pairs, edges=edges)

    def _maps(self, pairs: Pairs) -> PairMaps:
        """Room for the maps of all pairs, with those of an earlier run."""
        store = self._store(pair_map_bytes(self.sizes, pairs.edges))
        maps = PairMaps(self.sizes, pairs.edges, self._place_of_maps(pairs), store)
        self.context.log(f"scene graph {pairs.graph}: {len(pairs.edges)} pairs, {len(maps.missing)} to predict")
        return maps

    def _store(self, expected_bytes: int) -> PairStore:
        """Where predictions of this job's pairs are kept for another run, where that pays."""
        return PairStore(self.context.job, expected_bytes, self.device.type == "cpu", self.context.log)

    def _place_of_maps(self, pairs: Pairs) -> torch.device:
        """The device where pair maps and alignment fit, else main memory."""
        budget = Budget(self.sizes, self.alignment, self._free_places().get(self.device.type), graph_pairs)
        if budget.fits(pairs.edges):
            return self.device
        self.context.log(f"the pair maps do not fit on {self.device}; they are kept and aligned in main memory")
        return torch.device("cpu")

    @contextmanager
    def _network(self) -> Iterator[PairRunner]:
        """The network, loaded, with what it may use."""
        self.stages.tell("Loading the model", LOADING, ENCODING, 0, 1)
        with loaded(self.model, self.device, self.context.check_cancelled) as predictor:
            yield PairRunner(
                predictor,
                self.device,
                choose_precision(self.options.precision, self.device),
                memory_limit=self.options.memory_limit,
                check_cancelled=self.context.check_cancelled,
                log=self.context.log,
            )

    def _encode(self, runner: PairRunner) -> EncodedImages:
        images = (self.pictures.get(frame).tensor for frame in self.used)
        return runner.encode(images, len(self.used), self.stages.counted("Encoding images", ENCODING, PREDICTING))

"""Takes the network's outputs pair by pair, keeps what the sparse alignment needs, and aligns at the end.

Kept are the matches, one sum per image for its canonical view, and every subsample-th point of the other view; neither
full maps nor descriptors of a pair. Memory grows with the number of images, and slowly with that of pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch

from ....errors import EngineError
from ....geometry.similarity import fit_cameras
from ....models.outputs import ViewPrediction
from ..alignment.clean import clean
from ..alignment.scene import Check, Report, Scene, no_check, no_report
from .canonical import CanonicalImage, CanonicalSum, condensed_image
from .condense import Fallback, PairMatches, condense
from .condensed_pair import CondensedPair
from .dense import dense_depth, sparse_points
from .matching import match_symmetric
from .optimise import SparseOptimiser, SparseResult, SparseSettings
from .subpixel import subpixel_shifts
from .tree import build_tree, largest_part

# Matches of all pairs at most; above, each pair keeps its share of the most trusted ones. Aligning takes about 0.6
# kilobytes of memory for each.
MATCHES = 1_500_000


@dataclass
class SparseScene(Scene):
    """A scene whose confidences are those of the canonical views, from 0.001 upwards.

    sparse: the matched pixels as a cloud, arrays of JobFolder.write_sparse (error in network pixels). losses: of
    every iteration.
    """

    sparse: dict[str, np.ndarray] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)


class SparseCollector:
    """Collects pairs of n images; see add_pair() and finish().

    A single image is paired with itself: add_pair(0, 0, ...). It keeps the focal and depth of its canonical view.
    """

    def __init__(
        self,
        sizes: list[tuple[int, int]],
        colors: list[np.ndarray] | None = None,
        subsample: int = 8,
        joining_confidence: float = float(np.log(3.0)),
        check_cancelled: Check = no_check,
    ) -> None:
        """sizes: (height, width) of each image in network pixels, multiples of subsample. colors: (height, width, 3)
        uint8 of each, for the points. joining_confidence: see SparseSettings.joining_share; what a pixel must have.
        check_cancelled: called many times a second while a pair is matched.
        """
        self._single = len(sizes) == 1
        self._sizes = list(sizes) * (2 if self._single else 1)
        self._colors = list(colors) * (2 if self._single else 1) if colors is not None else None
        self._subsample = subsample
        self._joining_confidence = joining_confidence
        self._check_cancelled = check_cancelled
        self._sums = [CanonicalSum(height, width, subsample) for height, width in self._sizes]
        self._pairs: dict[tuple[int, int], PairMatches] = {}
        self._fallbacks: dict[tuple[int, int], Fallback] = {}
        self._shares: dict[tuple[int, int], float] = {}

    @torch.no_grad()
    def add_pair(
        self,
        i: int,
        j: int,
        i_first: tuple[ViewPrediction, ViewPrediction],
        j_first: tuple[ViewPrediction, ViewPrediction],
    ) -> CondensedPair | None:
        """What the network says of the undirected pair of images i and j, predicted in both orders.

        i_first: views of i and of j, in the frame of i. j_first: views of j and of i, in the frame of j. Maps are
        (H, W, ...) or a batch of one. A pair given before is replaced in its matches only; a pair of an image with
        itself is ignored where there are others. Returns what take() takes of it. Raises ValueError for predictions
        without descriptors.
        """
        if i == j:
            if not self._single:
                return None
            i, j = 0, 1
        (ii, ji), (jj, ij) = (tuple(map(_unbatched, views)) for views in (i_first, j_first))
        if ii.descriptors is None or ii.descriptor_confidence is None:
            raise ValueError("the predictions have no descriptors to match")
        fallbacks = tuple(Fallback.sampled(view.points, view.confidence, self._subsample) for view in (ij, ji))
        share = max(self._share(ii, ji), self._share(jj, ij))
        own = ((ii.points, ii.confidence), (jj.points, jj.confidence))
        pair = CondensedPair(self._matched(i, j, (ii, ji), (ij, jj)), own, fallbacks, share)
        self.take(pair)
        return pair

    def take(self, pair: CondensedPair) -> None:
        """A pair as add_pair() gave it, in an earlier run perhaps."""
        i, j = pair.matches.first, pair.matches.second
        for image, maps in zip((i, j), pair.own):
            self._sums[image].add(*maps)
        self._fallbacks[i, j], self._fallbacks[j, i] = pair.fallbacks
        self._shares[i, j] = pair.share
        self._pairs[i, j] = pair.matches

    def _matched(
        self,
        i: int,
        j: int,
        i_first: tuple[ViewPrediction, ViewPrediction],
        j_first: tuple[ViewPrediction, ViewPrediction],
    ) -> PairMatches:
        """Views of i and of j, once in the frame of i and once in that of j."""
        orders = [(of_i.descriptors, of_j.descriptors) for of_i, of_j in (i_first, j_first)]
        trust = [(of_i.descriptor_confidence, of_j.descriptor_confidence) for of_i, of_j in (i_first, j_first)]
        matches = match_symmetric(*orders, *trust, self._subsample, self._check_cancelled)
        shift = subpixel_shifts(orders, matches.xy1, matches.xy2).to("cpu", torch.float16)
        xy1, xy2 = (xy.to("cpu", torch.int16) for xy in (matches.xy1, matches.xy2))
        return PairMatches(i, j, xy1, xy2, matches.confidence.cpu(), shift)

    def _share(self, *views: ViewPrediction) -> float:
        return min(float((view.confidence >= self._joining_confidence).float().mean()) for view in views)

    def finish(
        self,
        settings: SparseSettings | None = None,
        report: Report = no_report,
        check_cancelled: Check = no_check,
        device: torch.device | str = "cpu",
    ) -> SparseScene:
        """Align what was collected. Images that matches do not connect to the largest part are left out.

        device: where the alignment computes. Raises EngineError "unsolved" when no two images connect, and what
        check_cancelled raises.
        """
        settings = settings or SparseSettings()
        chosen = self._connected(settings)
        part = settings.select([0, 0] if self._single else chosen)
        if self._single:  # a view and its copy say nothing about depth; iterations would only let it drift
            part = replace(part, coarse_iterations=0, fine_iterations=0)
        pairs, fallbacks = self._restricted(chosen)
        images = []
        for number, index in enumerate(chosen):
            check_cancelled()
            report("Merging views", number, len(chosen))
            images.append(condensed_image(self._sums[index].result(), self._subsample))
        condensed = condense(images, pairs, fallbacks, part.matching_threshold, device)
        counts = np.zeros((len(images), len(images)))
        for pair in pairs:
            counts[pair.first, pair.second] = counts[pair.second, pair.first] = len(pair.confidence)
        tree = build_tree(counts, np.array([image.blocks for image in images]), part.tree)
        optimiser = SparseOptimiser(condensed, tree, part)
        result = optimiser.run(report, check_cancelled)
        scene = self._scene(chosen, images, optimiser, result)
        check_cancelled()
        scene = _moved_onto(scene, settings.known_poses)
        if settings.clean and scene.count > 1:
            scene = clean(scene, report=report, check_cancelled=check_cancelled)
        return scene

    def _connected(self, settings: SparseSettings) -> list[int]:
        """Images of the largest part that pairs connect."""
        joined = [
            ends
            for ends, pair in self._pairs.items()
            if len(pair.confidence) >= settings.joining_matches and self._shares[ends] >= settings.joining_share
        ]
        chosen = largest_part(len(self._sizes), joined).tolist()
        if len(chosen) < 2 and not (self._single and self._pairs):
            raise EngineError(
                "unsolved",
                "No two of the images show the same things, so nothing connects their cameras.",
                "Use images that overlap by half or more.",
            )
        return [0, 1] if self._single else chosen

    def _restricted(self, chosen: list[int]) -> tuple[list[PairMatches], dict[tuple[int, int], Fallback]]:
        """Pairs and fallbacks among some images, numbered in their order."""
        position = {index: number for number, index in enumerate(chosen)}
        pairs = [
            replace(pair, first=position[i], second=position[j])
            for (i, j), pair in self._pairs.items()
            if i in position and j in position
        ]
        fallbacks = {
            (position[i], position[j]): value
            for (i, j), value in self._fallbacks.items()
            if i in position and j in position
        }
        limit = MATCHES // max(1, len(pairs))
        return [pair.strongest(limit) for pair in pairs], fallbacks

    def _scene(
        self, chosen: list[int], images: list[CanonicalImage], optimiser: SparseOptimiser, result: SparseResult
    ) -> SparseScene:
        """The result for all images; of a single one without its copy."""
        geometry = result.geometry
        count = 1 if self._single else len(self._sizes)
        poses, focals = np.full((count, 4, 4), np.nan), np.full(count, np.nan)
        centers = np.array([[width / 2, height / 2] for height, width in self._sizes[:count]])
        depth = [np.zeros(size, np.float32) for size in self._sizes[:count]]
        confidence = [np.zeros(size, np.float32) for size in self._sizes[:count]]
        found = geometry.world_from_camera.double().cpu().numpy()
        for number, index in enumerate(chosen[:count]):
            poses[index], focals[index] = found[number], float(geometry.focal[number])
            centers[index] = geometry.center[number].cpu().numpy()
            depth[index] = dense_depth(number, images[number], optimiser.condensed, geometry)
            confidence[index] = images[number].confidence.numpy()
        colors = [self._colors[index] for index in chosen] if self._colors is not None else None
        return SparseScene(
            world_from_camera=poses,
            focals=focals,
            principal_points=centers,
            depth=depth,
            confidence=confidence,
            loss=result.losses[-1] if result.losses else float("nan"),
            left_out=sorted(set(range(count)) - set(chosen)),
            sparse=sparse_points(optimiser.condensed, geometry, colors),
            losses=result.losses,
        )


def _unbatched(view: ViewPrediction) -> ViewPrediction:
    """Float32 maps without a batch of one."""

    def single(value: torch.Tensor | None, dimensions: int) -> torch.Tensor | None:
        if value is None:
            return None
        value = value.detach().float()
        return value[0] if value.ndim > dimensions else value

    return ViewPrediction(
        single(view.points, 3),
        single(view.confidence, 2),
        single(view.descriptors, 3),
        single(view.descriptor_confidence, 2),
    )


def _moved_onto(scene: SparseScene, known_poses: np.ndarray | None) -> SparseScene:
    """The scene moved, turned and scaled onto two or more known poses; as it is where fewer are known."""
    if known_poses is None:
        return scene
    poses = np.asarray(known_poses, dtype=np.float64)
    known = np.isfinite(poses).all(axis=(1, 2)) & np.isfinite(scene.world_from_camera).all(axis=(1, 2))
    if np.count_nonzero(known) < 2 or np.array_equal(poses[known], scene.world_from_camera[known]):
        return scene
    move = fit_cameras(scene.world_from_camera[known], poses[known])
    sparse = {**scene.sparse, "points": move.apply(scene.sparse["points"])}
    depth = [(values * move.scale).astype(np.float32) for values in scene.depth]
    return replace(scene, world_from_camera=move.move_cameras(scene.world_from_camera), depth=depth, sparse=sparse)

"""All pair maps of a job in one place, for the alignments that need every pixel of every pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

import torch
from torch import Tensor

from ...models.outputs import ViewPrediction
from .inference import DecodedPairs, EncodedImages, PairRunner
from .predictions import PairPredictions
from .sparse.collector import SparseCollector
from .sparse.condensed_pair import CondensedPair
from .store import PairStore

Report = Callable[[int, int], None]
Size = tuple[int, int]
Edge = tuple[int, int]
_NAMES = ("points_i", "points_j", "confidence_i", "confidence_j")


class PairMaps:
    """Collects the maps of the given pairs on one device; pairs of an earlier run come from the store."""

    def __init__(self, sizes: Sequence[Size], edges: Sequence[Edge], place: torch.device, store: PairStore) -> None:
        self.sizes = list(sizes)
        self.edges = list(edges)
        self._place = place
        self._store = store
        self._maps: list[tuple[Tensor, ...] | None] = [self._restored(edge) for edge in self.edges]

    @property
    def missing(self) -> list[int]:
        """Indices of the pairs that are not there yet."""
        return [index for index, maps in enumerate(self._maps) if maps is None]

    def add(self, batch: DecodedPairs, indices: Sequence[int]) -> None:
        """Take a batch. indices: which of the pairs its entries are."""
        first, second = batch.first, batch.second
        whole = [first.points, second.points, first.confidence, second.confidence]
        here = [values.to(self._place, torch.float32) for values in whole]
        for k, index in enumerate(indices):
            maps = tuple(values[k] for values in here)
            self._maps[index] = maps
            if self._store.keeps:
                self._store.write(self.edges[index], {name: one.cpu().numpy() for name, one in zip(_NAMES, maps)})

    def predictions(self) -> PairPredictions:
        """All pairs; call it when none is missing."""
        columns = [list(column) for column in zip(*(maps for maps in self._maps if maps is not None), strict=True)]
        return PairPredictions(self.sizes, self.edges, *columns)

    def _restored(self, edge: Edge) -> tuple[Tensor, ...] | None:
        arrays = self._store.read(edge)
        i, j = edge
        if arrays is None or set(arrays) != set(_NAMES):
            return None
        maps = tuple(torch.from_numpy(arrays[name]).to(self._place) for name in _NAMES)
        fits = maps[0].shape[:2] == self.sizes[i] and maps[1].shape[:2] == self.sizes[j]
        return maps if fits else None


def collect_pairs(maps: PairMaps, runner: PairRunner, encoded: EncodedImages, report: Report) -> None:
    """Predict the pairs that are missing."""
    missing = maps.missing
    edges = [maps.edges[index] for index in missing]
    with closing(runner.decode(encoded, edges, report)) as batches:
        for batch in batches:
            maps.add(batch, [missing[index] for index in batch.indices])


def restore_matches(
    collector: SparseCollector, store: PairStore, sizes: Sequence[Size], edges: Sequence[Edge]
) -> list[Edge]:
    """Give the collector what the store has of the pairs; returns those that are still to be predicted.

    edges: every pair in both directions, side by side.
    """
    missing = []
    for i, j in edges:
        if i >= j:
            continue
        arrays = store.read((i, j))
        pair = None if arrays is None else CondensedPair.from_arrays((i, j), (sizes[i], sizes[j]), arrays)
        if pair is None:
            missing += [(i, j), (j, i)]
        else:
            collector.take(pair)
    return missing


def collect_matches(
    collector: SparseCollector,
    runner: PairRunner,
    encoded: EncodedImages,
    edges: Sequence[Edge],
    report: Report,
    store: PairStore,
) -> None:
    """Predict and match pairs, of which only matches are kept. edges: every pair in both directions, side by side."""
    single: dict[Edge, tuple[ViewPrediction, ViewPrediction]] = {}
    with closing(runner.decode(encoded, edges, report)) as batches:
        for batch in batches:
            for k, index in enumerate(batch.indices):
                i, j = edges[index]
                views = _entry(batch.first, k), _entry(batch.second, k)
                mirrored = single.pop((j, i), None)
                if mirrored is None:
                    single[i, j] = views
                    continue
                ends, both = ((i, j), (views, mirrored)) if i < j else ((j, i), (mirrored, views))
                pair = collector.add_pair(*ends, *both)
                if store.keeps and pair is not None:
                    store.write(ends, pair.arrays())
                runner.check_cancelled()


def _entry(view: ViewPrediction, index: int) -> ViewPrediction:
    """One of a batch, without the batch's axis."""
    return ViewPrediction(*(None if values is None else values[index] for values in view))


def on_device(predictions: PairPredictions, device: torch.device) -> PairPredictions:
    """The predictions with all maps on a device."""
    moved = {name: [values.to(device) for values in getattr(predictions, name)] for name in _NAMES}
    return PairPredictions(predictions.sizes, predictions.edges, **moved)
